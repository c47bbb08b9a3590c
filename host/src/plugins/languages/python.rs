//! Python, by componentize-py: CPython and the sources in one component, all WASI imports replaced by traps.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Source;
use super::tool::{Tools, run};
use crate::error::{Error, Result};

pub(super) fn component(folder: &Path, tools: &Tools, sources: &[Source], work: &Path, output: &Path) -> Result<()> {
    if !folder.join("plugin.py").is_file() {
        return Err(Error::plugin("there is no plugin.py")
            .file(folder)
            .help("the plugin's class is in the module `plugin`"));
    }
    // The tool leaves compiled files beside the sources, so it gets a copy.
    let copy = work.join("sources");
    for source in sources {
        let path = copy.join(&source.name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &source.bytes));
        written.map_err(|e| Error::io("write", &path, &e))?;
    }
    let mut command = Command::new(&tools.main);
    command.args(["--wit-path", "wit", "--world", "plugin", "componentize", "--stub-wasi", "plugin", "--output"]);
    // The seed of hashes becomes part of the component: with a fixed one, building again gives the same behaviour.
    command.arg(output).current_dir(&copy).env("PYTHONHASHSEED", "0");
    run(&mut command, folder)
}
