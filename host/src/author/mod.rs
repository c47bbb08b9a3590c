//! What an author of plugins needs besides the host: what is known of a plugin without running it, whether it keeps
//! the contract, what its calls cost, and a folder to start from. All of it goes through the loader that runs use.

pub mod bench;
pub mod check;
pub mod inspect;
pub mod scaffold;
pub mod templates;

use crate::error::Result;
use crate::plugins::{JudgePlugin, PluginInfo, RankerPlugin, RegularizerPlugin};

/// A loaded plugin of any kind.
pub enum Subject {
    Judge(Box<dyn JudgePlugin>),
    Ranker(Box<dyn RankerPlugin>),
    Regularizer(Box<dyn RegularizerPlugin>),
}

impl Subject {
    pub fn info(&self) -> &PluginInfo {
        match self {
            Subject::Judge(judge) => judge.info(),
            Subject::Ranker(ranker) => ranker.info(),
            Subject::Regularizer(regularizer) => regularizer.info(),
        }
    }
}

/// Loads a plugin, as often as it is called.
pub type Load<'a> = dyn FnMut() -> Result<Subject> + 'a;
