//! The place where a long training stage keeps its checkpoints, so that a run that is killed goes on from the last.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::setup::Run;
use crate::config::SaveConfig;
use crate::error::Result;
use crate::model::Decoder;
use crate::store::FolderLock;
use crate::train::Checkpoints;

/// The present stage's place, for as long as this lives.
pub struct Working {
    folder: PathBuf,
    /// The artifact's id: a digest of everything that decides the result.
    id: String,
    save: SaveConfig,
    warn: Box<dyn Fn(&str)>,
    _lock: FolderLock,
}

impl Working {
    /// `None` if the config asks for no checkpoints, or another program makes the same artifact now.
    pub fn open(run: &Run, save: &SaveConfig) -> Result<Option<Working>> {
        if save.save_steps == 0 {
            return Ok(None);
        }
        let lock = FolderLock::take(&run.working)?;
        Ok(lock.map(|lock| Working {
            folder: run.working.clone(),
            id: run.making.clone(),
            save: save.clone(),
            warn: Box::new(run.progress.warner()),
            _lock: lock,
        }))
    }

    pub fn checkpoints(&self) -> Checkpoints<'_> {
        Checkpoints {
            folder: self.folder.clone(),
            save_steps: self.save.save_steps,
            // They go when the stage is done; the second is there in case that the newest is damaged.
            save_total_limit: Some(self.save.save_total_limit.unwrap_or(2)),
            inputs: json!({ "artifact": self.id }),
            export: &|_: &Decoder, _: &Path| Ok(()),
            warn: &*self.warn,
        }
    }
}
