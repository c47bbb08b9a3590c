//! JavaScript, by componentize-qjs: QuickJS and the sources in one component, all WASI imports replaced by traps.

use std::path::Path;
use std::process::Command;

use super::tool::{Tools, run};
use crate::error::{Error, Result};

pub(super) fn component(folder: &Path, tools: &Tools, output: &Path) -> Result<()> {
    if !folder.join("plugin.js").is_file() {
        return Err(Error::plugin("there is no plugin.js")
            .file(folder)
            .help("it exports the functions of the plugin's kind"));
    }
    let mut command = Command::new(&tools.main);
    command.args(["--wit", "wit", "--world", "plugin", "--js", "plugin.js", "--stub-wasi", "--sync", "--output"]);
    run(command.arg(output).current_dir(folder), folder)
}
