//! JavaScript, by componentize-qjs: QuickJS and the sources in one component, all WASI imports replaced by traps.

use std::path::Path;
use std::process::Command;

use super::manifest::PluginKind;
use super::packages::{self, Packages};
use super::tool::{Tools, run};
use super::{Source, glue};
use crate::error::{Error, Result};

/// Beside the plugin's own files, among which no hidden one is.
const GLUE: &str = ".creamery";

pub(super) fn component(
    folder: &Path,
    kind: PluginKind,
    tools: &Tools,
    sources: &[Source],
    packages: &Packages,
    work: &Path,
    output: &Path,
) -> Result<()> {
    if !folder.join("plugin.js").is_file() {
        return Err(Error::plugin("there is no plugin.js")
            .file(folder)
            .help("it exports the functions of the plugin's kind"));
    }
    let copy = glue::copy(sources.iter().chain(&packages.files), work)?;
    let mut entry = "import \"./console.js\";\nimport * as plugin from \"../plugin.js\";\n".to_owned();
    entry += "import { held } from \"./contract.js\";\n";
    for interface in glue::interfaces(kind, sources) {
        let name = glue::camel(interface);
        entry += &format!("export const {name} = held(plugin, \"{name}\");\n");
    }
    let glue_files =
        [("console.js", glue::JAVASCRIPT_CONSOLE), ("contract.js", glue::JAVASCRIPT_CONTRACT), ("entry.js", &entry)];
    for (name, text) in glue_files {
        glue::write(&copy, &Path::new(GLUE).join(name), text.as_bytes())?;
    }
    let mut command = Command::new(&tools.main);
    command.args(["--wit", "wit", "--world", "plugin", "--module-root", ".", "--js"]).arg(format!("{GLUE}/entry.js"));
    command.args(["--stub-wasi", "--sync", "--output"]).arg(output).current_dir(&copy);
    run(&mut command, folder)
}

const PACKAGES: &str = "node_modules";

/// What a plugin may import of the packages that are installed in its folder: all but the tool that builds it.
pub(super) fn packages(folder: &Path) -> Result<Packages> {
    if !folder.join(PACKAGES).is_dir() {
        return Ok(Packages::default());
    }
    let tool = |name: &str| name.starts_with('.') || name == "componentize-qjs" || name == "@andreiltd";
    Ok(Packages { files: packages::read(folder, Path::new(PACKAGES), tool)?, environment: None })
}
