//! Python, by componentize-py: CPython and the sources in one component, all WASI imports replaced by traps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::manifest::PluginKind;
use super::packages::{self, Packages};
use super::tool::{Tools, run_and_tidy};
use super::{Source, glue};
use crate::error::{Error, Result};

pub(super) fn component(
    folder: &Path,
    kind: PluginKind,
    tools: &Tools,
    sources: &[Source],
    packages: &Packages,
    work: &Path,
    output: &Path,
) -> Result<()> {
    if !folder.join("plugin.py").is_file() {
        return Err(Error::plugin("there is no plugin.py")
            .file(folder)
            .help("the plugin's class is in the module `plugin`"));
    }
    let copy = glue::copy(sources, work)?;
    let mut entry = "import creamery_contract\nimport plugin\n".to_owned();
    for interface in glue::interfaces(kind, sources) {
        let name = glue::pascal(interface);
        entry += &format!("{name} = creamery_contract.held(plugin, \"{name}\")\n");
    }
    for (name, text) in [("creamery_contract.py", glue::PYTHON_CONTRACT), ("creamery_entry.py", &entry)] {
        glue::write(&copy, Path::new(name), text.as_bytes())?;
    }
    // Without an environment the tool takes what the machine's Python has, another thing on every machine.
    let environment = packages.environment.clone().unwrap_or_else(|| work.join("no-packages"));
    if packages.environment.is_none() {
        let empty = environment.join("site-packages");
        fs::create_dir_all(&empty).map_err(|e| Error::io("create the folder", &empty, &e))?;
    }
    let mut command = Command::new(&tools.main);
    command.args(["--wit-path", "wit", "--world", "plugin", "componentize", "--stub-wasi", "creamery_entry"]);
    // The seed of hashes becomes part of the component: with a fixed one, building again gives the same behaviour.
    command.arg("--output").arg(output).current_dir(&copy).env("PYTHONHASHSEED", "0");
    command.env("VIRTUAL_ENV", environment);
    run_and_tidy(&mut command, folder, essence)
}

/// What a plugin may import: the packages of the environment in its folder, or else of the active one, but for those that
/// are there for the tool's sake.
pub(super) fn packages(folder: &Path) -> Result<Packages> {
    let own = Some(folder.join(".venv")).filter(|path| path.is_dir());
    let Some(environment) = own.or_else(|| std::env::var_os("VIRTUAL_ENV").map(PathBuf::from)) else {
        return Ok(Packages::default());
    };
    let tool = |name: &str| TOOLS.iter().any(|tool| name.starts_with(tool));
    let mut files = Vec::new();
    for site in site_packages(&environment) {
        files.extend(packages::read(&environment, &site, tool)?);
    }
    Ok(Packages { files, environment: Some(environment) })
}

/// How the names begin of what an environment has for the tool's sake.
const TOOLS: &[&str] = &[
    "componentize_py",
    "pip",
    "setuptools",
    "wheel",
    "pkg_resources",
    "_distutils_hack",
    "distutils-precedence",
    "__pycache__",
];

/// `lib/pythonX.Y/site-packages`; on Windows `Lib/site-packages`.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let libraries =
        fs::read_dir(environment.join("lib")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut found: Vec<PathBuf> = libraries.map(|library| Path::new("lib").join(library)).collect();
    found.push("Lib".into());
    found.sort();
    found
        .into_iter()
        .map(|library| library.join("site-packages"))
        .filter(|path| environment.join(path).is_dir())
        .collect()
}

/// componentize-py wraps what Python says in an exception of its own, and says it twice.
fn essence(said: &str) -> &str {
    let inner = said.split_once("\nAssertionError: ").map_or(said, |(_, inner)| inner);
    match inner.split_once("\n\nCaused by:") {
        Some((before, _)) if !before.trim().is_empty() => before,
        _ => inner,
    }
}
