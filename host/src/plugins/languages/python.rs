//! Python, by componentize-py: CPython and the sources in one component, all WASI imports replaced by traps.

use std::path::Path;
use std::process::Command;

use super::manifest::PluginKind;
use super::tool::{Tools, run};
use super::{Source, glue};
use crate::error::{Error, Result};

pub(super) fn component(
    folder: &Path,
    kind: PluginKind,
    tools: &Tools,
    sources: &[Source],
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
    let mut command = Command::new(&tools.main);
    command.args(["--wit-path", "wit", "--world", "plugin", "componentize", "--stub-wasi", "creamery_entry"]);
    // The seed of hashes becomes part of the component: with a fixed one, building again gives the same behaviour.
    command.arg("--output").arg(output).current_dir(&copy).env("PYTHONHASHSEED", "0");
    run(&mut command, folder)
}
