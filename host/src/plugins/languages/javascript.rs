//! JavaScript, by componentize-qjs: QuickJS and the sources in one component, all WASI imports replaced by traps.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::manifest::PluginKind;
use super::tool::{Tools, run};
use super::{Packages, Source, glue};
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
    let copy = work.join("sources");
    for source in sources.iter().chain(&packages.files) {
        glue::write(&copy, &source.name, &source.bytes)?;
    }
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

/// What a plugin may import of the packages that are installed in its folder: all but the tool that builds it.
pub(super) fn packages(folder: &Path) -> Result<Packages> {
    let mut found = Vec::new();
    let installed = folder.join(PACKAGES);
    for name in names(&installed).unwrap_or_default() {
        if !name.as_encoded_bytes().starts_with(b".") && name != "componentize-qjs" && name != "@andreiltd" {
            read_tree(folder, &Path::new(PACKAGES).join(name), &mut found)
                .map_err(|e| Error::plugin(format!("the installed packages cannot be read: {e}")).file(&installed))?;
        }
    }
    Ok(Packages { files: found, environment: None })
}

const PACKAGES: &str = "node_modules";

/// Links are followed, as package managers make them; one to a folder above has no end.
fn read_tree(folder: &Path, name: &Path, found: &mut Vec<Source>) -> io::Result<()> {
    const MOST_FILES: usize = 20_000;
    let path = folder.join(name);
    if path.is_dir() {
        return names(&path)?.into_iter().try_for_each(|inner| read_tree(folder, &name.join(inner), found));
    }
    if found.len() == MOST_FILES {
        return Err(io::Error::other(format!("there are more than {MOST_FILES} files")));
    }
    // No pipes or devices.
    if path.is_file() {
        found.push(Source { name: name.to_owned(), bytes: fs::read(&path)? });
    }
    Ok(())
}

/// In one order on every machine.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
