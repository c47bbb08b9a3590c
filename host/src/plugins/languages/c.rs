//! C, by clang and wasm-component-ld. No C library is needed: `creamery/` in the folder has what the bindings call.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Source;
use super::tool::{Tools, run};
use crate::error::{Error, Result};

const FLAGS: &[&str] = &[
    "--target=wasm32-unknown-unknown",
    "-O2",
    "-std=c11",
    "-nostdlib",
    "-mbulk-memory",
    "-ffp-contract=off",
    "-Wall",
    "-Werror=implicit-function-declaration",
    "-isystem",
    "creamery/libc",
    "-I",
    "creamery",
    "-c",
];

pub(super) fn component(folder: &Path, tools: &Tools, sources: &[Source], work: &Path, output: &Path) -> Result<()> {
    let is_source = |name: &Path| {
        let file = name.file_name().unwrap_or_default().to_string_lossy();
        file.ends_with(".c") && !file.starts_with("test")
    };
    let mut objects: Vec<PathBuf> = Vec::new();
    for source in sources.iter().filter(|s| is_source(&s.name)) {
        let object = work.join(format!("{}.o", objects.len()));
        // A relative name, so that the result does not depend on where the folder lies; no name is an option of clang.
        let name = Path::new(".").join(&source.name);
        run(Command::new(&tools.main).args(FLAGS).arg(&name).arg("-o").arg(&object).current_dir(folder), folder)?;
        objects.push(object);
    }
    let Some((linker, lld)) = tools.linker.as_ref().filter(|_| !objects.is_empty()) else {
        return Err(Error::plugin("there is no .c file").file(folder).help("the plugin's functions are in plugin.c"));
    };
    let mut command = Command::new(linker);
    command.arg("--wasm-ld-path").arg(lld).args(["--wasi-adapter", "none", "--component-type", "wit"]);
    // 1 MiB of stack, below the data: an overflow traps instead of writing into it.
    command.args(["--no-entry", "--stack-first", "-z", "stack-size=1048576", "--gc-sections", "--strip-debug"]);
    run(command.args(&objects).arg("-o").arg(output).current_dir(folder), folder)
}
