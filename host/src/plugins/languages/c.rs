//! C, by clang and wasm-component-ld. No C library is needed: `creamery/` in the folder has what the bindings call.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::tool::{Tools, run};
use super::{Source, glue};
use crate::error::{Error, Result};

const FLAGS: &[&str] = &[
    "--target=wasm32-unknown-unknown",
    "-O2",
    "-std=c11",
    "-nostdlib",
    "-mbulk-memory",
    "-ffp-contract=off",
    "-Wall",
    // No headers of the machine; a list of those that were read, but for the compiler's own.
    "-nostdlibinc",
    "-MMD",
    "-Werror=implicit-function-declaration",
    "-isystem",
    "creamery/libc",
    "-I",
    "creamery",
    "-c",
];

pub(super) fn component(folder: &Path, tools: &Tools, sources: &[Source], work: &Path, output: &Path) -> Result<()> {
    let copy = glue::copy(sources, work)?;
    let is_source = |name: &Path| {
        let file = name.file_name().unwrap_or_default().to_string_lossy();
        file.ends_with(".c") && !file.starts_with("test")
    };
    let mut objects: Vec<PathBuf> = Vec::new();
    for source in sources.iter().filter(|s| is_source(&s.name)) {
        let object = work.join(format!("{}.o", objects.len()));
        // A relative name, so that the result does not depend on where the folder lies; no name is an option of clang.
        let name = Path::new(".").join(&source.name);
        let mut command = Command::new(&tools.main);
        let list = object.with_extension("d");
        command.args(FLAGS).arg(&name).arg("-o").arg(&object).arg("-MF").arg(&list).current_dir(&copy);
        run(&mut command, folder)?;
        refuse_others(&list, &copy, folder)?;
        objects.push(object);
    }
    let Some((linker, lld)) = tools.linker.as_ref().filter(|_| !objects.is_empty()) else {
        return Err(Error::plugin("there is no .c file").file(folder).help("the plugin's functions are in plugin.c"));
    };
    let mut command = Command::new(linker);
    command.arg("--wasm-ld-path").arg(lld).args(["--wasi-adapter", "none", "--component-type", "wit"]);
    // 1 MiB of stack, below the data: an overflow traps instead of writing into it.
    command.args(["--no-entry", "--stack-first", "-z", "stack-size=1048576", "--gc-sections", "--strip-debug"]);
    run(command.args(&objects).arg("-o").arg(output).current_dir(&copy), folder).map_err(|e| {
        e.help("every function that wit/world.wit exports is written in one of the .c files, as creamery/creamery.h declares it")
    })
}

/// Fails if the compiler has read a header by an absolute path, which is in no digest of the sources. With `-MMD` it does not
/// list its own.
fn refuse_others(list: &Path, copy: &Path, folder: &Path) -> Result<()> {
    let text = std::fs::read_to_string(list).map_err(|e| Error::io("read", list, &e))?;
    let names = text.replace("\\\n", " ").replace("\\ ", "\0");
    let names = names.split_once(':').map_or("", |(_, names)| names).split_whitespace().map(|n| n.replace('\0', " "));
    match names.map(|name| copy.join(name)).find(|file| !file.starts_with(copy)) {
        Some(other) => Err(Error::plugin(format!("it includes {}, which is not among its sources", other.display()))
            .file(folder)
            .help("copy what you need of it into the plugin's folder")),
        None => Ok(()),
    }
}
