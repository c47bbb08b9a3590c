//! The tools that make components: where they are, and what to do where they are not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::manifest::Language;
use crate::error::{Error, Result};

/// The programs that build plugins of one language.
pub(super) struct Tools {
    /// The compiler, or the maker of components.
    pub main: PathBuf,
    /// Of C: what links objects to a component, and what that calls.
    pub linker: Option<(PathBuf, PathBuf)>,
    versions: String,
}

impl Tools {
    /// Finds them on the PATH and, where its `own` may be used, first in the plugin's environment (`.venv`,
    /// `node_modules`).
    pub(super) fn find(language: Language, folder: &Path, own: bool) -> Result<Tools> {
        let inside = |names: &[&str]| inside(folder, names).filter(|_| own);
        let only_path =
            if own { "" } else { " on the PATH (with --locked, those in the plugin's folder are not used)" };
        let missing = |what: &str, help: &str| {
            Error::plugin(format!(
                "to build a plugin in {}, {what} is needed{only_path}, which is not there",
                language.name()
            ))
            .file(folder)
            .help(format!("{help}; or name a built .wasm file"))
        };
        match language {
            Language::C => {
                let clang = on_path("clang").filter(|c| knows_wasm(c)).ok_or_else(|| {
                    missing(
                        "clang with WebAssembly",
                        "install it: `apt install clang`, `dnf install clang`, `brew install llvm`",
                    )
                })?;
                let linker = component_linker().ok_or_else(|| {
                    missing(
                        "wasm-component-ld",
                        "install Rust from https://rustup.rs: it comes with it; no Rust is written",
                    )
                })?;
                let versions = format!("{}{}", version(&clang), version(&linker.0));
                Ok(Tools { main: clang, linker: Some(linker), versions })
            }
            Language::Python => {
                let main = inside(&[".venv/bin/componentize-py", ".venv/Scripts/componentize-py.exe"])
                    .or_else(|| on_path("componentize-py"))
                    .ok_or_else(|| {
                        let help = "install it in the plugin's folder: `python3 -m venv .venv && .venv/bin/pip install \
                                    componentize-py==0.25.1`, or anywhere on the PATH";
                        missing("componentize-py", help)
                    })?;
                Ok(Tools { versions: version(&main), main, linker: None })
            }
            Language::JavaScript => {
                let names = ["node_modules/.bin/componentize-qjs", "node_modules/.bin/componentize-qjs.cmd"];
                let main = inside(&names).or_else(|| on_path("componentize-qjs")).ok_or_else(|| {
                    missing("componentize-qjs", "run `npm install` in the plugin's folder (Node.js 18 or later)")
                })?;
                // It is a script of Node's.
                let help = "install Node.js 18 or later: https://nodejs.org";
                on_path("node").ok_or_else(|| missing("Node.js (node)", help))?;
                Ok(Tools { versions: version(&main), main, linker: None })
            }
        }
    }

    /// What the tools say about themselves: others may make another component.
    pub(super) fn version(&self) -> &str {
        &self.versions
    }
}

/// Runs a tool, whose messages become the error where it fails.
pub(super) fn run(command: &mut Command, folder: &Path) -> Result<()> {
    run_and_tidy(command, folder, |said| said)
}

/// The same; `tidy` takes what matters from what the tool says.
pub(super) fn run_and_tidy(command: &mut Command, folder: &Path, tidy: fn(&str) -> &str) -> Result<()> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Its own stack would bury what it says about the plugin.
    let output = command
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::plugin(format!("{name} cannot be started: {e}")).file(folder))?;
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(said);
    let text = tidy(&text);
    Err(Error::plugin(format!("building this plugin failed: {name} ended with {}:\n{}", output.status, text.trim()))
        .file(folder))
}

fn inside(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(&name)).find(|path| path.is_file())
}

/// wasm-component-ld and wasm-ld: on the PATH, or those of the Rust toolchain.
fn component_linker() -> Option<(PathBuf, PathBuf)> {
    let folder = output(Path::new("rustc"), &["--print", "sysroot"]).and_then(|sysroot| {
        let host = output(Path::new("rustc"), &["-vV"])?;
        let host = host.lines().find_map(|l| l.strip_prefix("host: "))?.to_owned();
        Some(Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin"))
    });
    let of_rust = |name: &str| {
        let path = folder.as_ref()?.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        path.is_file().then_some(path)
    };
    let linker = of_rust("wasm-component-ld").or_else(|| on_path("wasm-component-ld"))?;
    let lld = of_rust("gcc-ld/wasm-ld").or_else(|| on_path("wasm-ld"))?;
    Some((linker, lld))
}

fn knows_wasm(clang: &Path) -> bool {
    output(clang, &["--print-targets"]).is_none_or(|text| text.contains("wasm32"))
}

fn version(program: &Path) -> String {
    output(program, &["--version"]).unwrap_or_else(|| program.display().to_string())
}

fn output(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
