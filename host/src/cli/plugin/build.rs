//! `creamery plugin build`

use std::path::PathBuf;

use clap::Args;

use crate::author::inspect::bytes;
use crate::cli::plugin_args::{Built, unloaded};
use crate::cli::print;
use crate::config::PluginSource;
use crate::error::{Error, Result};
use crate::plugins::{self, Artifact};
use crate::report::Progress;
use crate::round::load::options;
use crate::store::write_atomic;

const EXAMPLES: &str =
    "A component runs in a sandbox, on any machine; a native library with all rights of the program, on machines like
this one. Both come from one source. A config may name the source folder itself, which is then built on first use.

Examples:
  creamery plugin build plugins/best-worst --out out/best-worst.wasm
  creamery plugin build plugins/best-worst --native --out out/best-worst.so";

/// Builds a plugin's source folder to a file that configs can name
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Build {
    /// The folder with the plugin's source: a Cargo.toml or a plugin.toml
    folder: String,
    /// Build a native library
    #[arg(long, group = "form")]
    native: bool,
    /// Build a component [default, where the Cargo.toml does not say]
    #[arg(long, group = "form")]
    component: bool,
    /// Build this form, as in a config and in other commands
    #[arg(long, value_name = "FORM", group = "form")]
    artifact: Option<Built>,
    /// Build both
    #[arg(long, group = "form", conflicts_with = "out")]
    both: bool,
    /// The file to write [default: FOLDER/target/creamery/NAME.wasm, or NAME with a library's ending]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Build {
    pub(super) fn run(self) -> Result<()> {
        let config = unloaded("FOLDER", &self.folder, None)?;
        let PluginSource::Folder(folder) = &config.plugin else {
            return Err(Error::config(format!("{} is no folder with a plugin's source", self.folder))
                .help("only source folders are built; name one that has a Cargo.toml"));
        };
        let forms: &[Option<Built>] = match (self.native, self.component, self.both) {
            _ if self.artifact.is_some() => &[self.artifact],
            (true, ..) => &[Some(Built::Native)],
            (_, true, _) => &[Some(Built::Component)],
            (.., true) => &[Some(Built::Component), Some(Built::Native)],
            _ => &[None],
        };
        let mut options = options(&config, true, 1, &Progress::new());
        for form in forms {
            options.artifact = form.map(|form| match form {
                Built::Native => Artifact::Native,
                Built::Component => Artifact::Component,
            });
            let built = plugins::build(folder, &options)?;
            let found = plugins::find(&built.display().to_string(), std::path::Path::new(""), &options)?;
            let name = match built.extension() {
                Some(ending) => format!("{}.{}", found.descriptor.name, ending.to_string_lossy()),
                None => found.descriptor.name.clone(),
            };
            let out = self.out.clone().unwrap_or_else(|| folder.join("target/creamery").join(name));
            if let Some(parent) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
                std::fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, &e))?;
            }
            let content = std::fs::read(&built).map_err(|e| Error::io("read", &built, &e))?;
            write_atomic(&out, content)?;
            let d = &found.descriptor;
            print(&format!(
                "{}: {} {} {}, {}, {}\n",
                out.display(),
                d.kind,
                d.name,
                d.version,
                d.artifact,
                bytes(found.size)
            ))?;
        }
        Ok(())
    }
}
