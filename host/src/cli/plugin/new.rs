//! `creamery plugin new`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::author::scaffold::{Language, New as Folder, write};
use crate::cli::print;
use crate::error::Result;
use crate::plugins::Kind;

const EXAMPLES: &str =
    "The folder has a plugin that works, with its parameters, a test and a README; change the rule and go on.
In Rust it depends on the crate creamery-plugin: on the one beside this program's own source, if that is still there, else on
the published one. --api-path names another folder with that crate.

Examples:
  creamery plugin new judge calm --out out/calm
  creamery plugin new regularizer doubt --language python --out out/doubt";

/// A folder to start a plugin from, which builds at once
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct New {
    #[arg(value_enum)]
    kind: KindName,
    /// Lower-case letters, digits and '-'
    name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The folder of the crate creamery-plugin that it depends on
    #[arg(long, value_name = "DIR")]
    api_path: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindName {
    /// Scores responses
    Judge,
    /// Makes ranks and preference pairs of scores
    Ranker,
    /// Says how far each pair is to be trusted, and the loss that follows
    Regularizer,
}

impl New {
    pub(super) fn run(self) -> Result<()> {
        let kind = match self.kind {
            KindName::Judge => Kind::Judge,
            KindName::Ranker => Kind::Ranker,
            KindName::Regularizer => Kind::Regularizer,
        };
        let out = self.out.unwrap_or_else(|| PathBuf::from(&self.name));
        let new = Folder { kind, name: &self.name, language: self.language, api_path: self.api_path.as_deref() };
        write(&new, &out)?;
        let (dir, rule, test) = (out.display(), self.language.rule(), self.language.test());
        print(&format!(
            "{dir}: a {kind} that works. What it does is in {dir}/{rule}. Next:\n\
             \n  (cd {dir} && {test})\n  creamery plugin check {dir}\n\
             \nIn a config:\n\n  [{kind}]\n  plugin = \"{dir}\"\n"
        ))
    }
}
