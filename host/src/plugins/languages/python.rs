//! Python, by componentize-py: CPython and the sources in one component, all WASI imports replaced by traps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::manifest::PluginKind;
use super::tool::{Tools, run};
use super::{Packages, Source, glue};
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
    // The tool leaves compiled files beside the sources, so it gets a copy.
    let copy = work.join("sources");
    for source in sources {
        glue::write(&copy, &source.name, &source.bytes)?;
    }
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
    run(&mut command, folder)
}

/// What a plugin may import of the environment in its folder, or else of the active one.
pub(super) fn packages(folder: &Path) -> Result<Packages> {
    let own = [folder.join(".venv"), folder.join("venv")].into_iter().find(|path| path.is_dir());
    let Some(environment) = own.or_else(|| std::env::var_os("VIRTUAL_ENV").map(PathBuf::from)) else {
        return Ok(Packages::default());
    };
    let mut files = Vec::new();
    for site in site_packages(&environment) {
        for entry in fs::read_dir(&site).map_err(|e| Error::io("list", &site, &e))? {
            let name = entry.map_err(|e| Error::io("read", &site, &e))?.file_name();
            let package = name.to_string_lossy().into_owned();
            let brought_along = TOOLS.iter().any(|tool| package.starts_with(&format!("{tool}-")));
            if package.ends_with(".dist-info") && !brought_along {
                // It lists the package's files with their digests.
                let bytes = fs::read(site.join(&name).join("RECORD")).unwrap_or_default();
                files.push(Source { name: PathBuf::from(name), bytes });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Packages { files, environment: Some(environment) })
}

/// What an environment has for the tool's sake.
const TOOLS: &[&str] = &["componentize_py", "pip", "setuptools", "wheel"];

/// `lib/pythonX.Y/site-packages`; on Windows `Lib/site-packages`.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let libraries =
        fs::read_dir(environment.join("lib")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let found = libraries.chain([environment.join("Lib")]).map(|library| library.join("site-packages"));
    found.filter(|path| path.is_dir()).collect()
}
