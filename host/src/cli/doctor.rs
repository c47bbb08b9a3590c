//! `creamery doctor`

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::print;
use crate::config::RunConfig;
use crate::error::{Error, Kind, Result};
use crate::{hub, model, store};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

const EXAMPLES: &str = "Examples:
  creamery doctor
  creamery doctor examples/quickstart/cream.toml";

/// Look whether this machine has what a run needs, and say what to do about what it has not
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// Look at what this config file needs: its store and its device
    config: Option<PathBuf>,
}

/// One line of the answer.
enum Finding {
    Fine(String),
    /// Something that only some runs need.
    Advice(String),
    /// Nothing runs without it.
    Broken(String),
}

use Finding::{Advice, Broken, Fine};

impl Doctor {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.map(|path| RunConfig::load(&path, &[])).transpose()?;
        let store = config.as_ref().map_or_else(|| PathBuf::from(".creamery/store"), |c| c.store.clone());
        let mut findings = vec![
            ("creamery", Fine(env!("CARGO_PKG_VERSION").to_owned())),
            ("processor", processor()),
            ("threads", threads()),
            ("device cpu", device("cpu", true)),
            ("device cuda:0", device("cuda:0", false)),
            ("cargo", cargo()),
            ("wasm target", wasm_target()),
            ("hub", hub()),
            ("store", writable(&store)),
        ];
        if let Some(config) = &config {
            findings.push(("config's device", device(&config.device.to_string(), true)));
            findings.push(("config's out", writable(&config.out)));
        }
        let mut text = String::new();
        for (name, finding) in &findings {
            let (mark, words) = match finding {
                Fine(words) => ("ok  ", words),
                Advice(words) => ("note", words),
                Broken(words) => ("BAD ", words),
            };
            text.push_str(&format!("{mark}  {name}: {words}\n"));
        }
        print(&text)?;
        match findings.iter().filter(|(_, f)| matches!(f, Broken(_))).count() {
            0 => Ok(()),
            n => Err(Error::new(Kind::Io, format!("{n} of the findings above would stop a run"))),
        }
    }
}

fn processor() -> Finding {
    let features = features();
    let words = format!("{} {}", std::env::consts::ARCH, features.join(" "));
    match (std::env::consts::ARCH, features.contains(&"avx2") && features.contains(&"fma")) {
        ("x86_64", false) => Advice(format!("{words}: without avx2 and fma, training is several times slower")),
        _ => Fine(words.trim_end().to_owned()),
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

fn threads() -> Finding {
    match std::thread::available_parallelism() {
        Ok(n) => Fine(n.to_string()),
        Err(e) => Advice(format!("the number of cores is unknown ({e}); set `threads` in the config")),
    }
}

fn device(name: &str, needed: bool) -> Finding {
    match model::device(name) {
        Ok(_) => Fine("available".to_owned()),
        Err(e) if needed => Broken(e.to_string()),
        Err(e) => Advice(e.message().to_owned()),
    }
}

fn cargo() -> Finding {
    match output("cargo", &["--version"]) {
        Some(version) => Fine(version),
        None => {
            Advice("not found; plugins given as a source folder need it: install Rust from https://rustup.rs".into())
        }
    }
}

fn wasm_target() -> Finding {
    let Some(sysroot) = output("rustc", &["--print", "sysroot"]) else {
        return Advice("rustc not found; plugins given as a source folder need it".to_owned());
    };
    if Path::new(&sysroot).join("lib/rustlib").join(WASM_TARGET).is_dir() {
        return Fine(format!("{WASM_TARGET} is installed"));
    }
    let fix = match output("rustup", &["--version"]) {
        Some(_) => format!("run: rustup target add {WASM_TARGET}"),
        None => "install Rust from https://rustup.rs, which can add it".to_owned(),
    };
    Advice(format!("{WASM_TARGET} is missing; components given as a source folder need it; {fix}"))
}

fn hub() -> Finding {
    match hub::describe() {
        Some(Ok(words)) => Fine(words),
        // Models from folders need none of it.
        Some(Err(e)) => Advice(e.to_string()),
        None => Advice("built without the feature `hub`: models are folders, not hf:owner/name".to_owned()),
    }
}

/// Tries a file in the nearest folder that exists, and leaves nothing behind.
fn writable(folder: &Path) -> Finding {
    let there = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(existing) = there.ancestors().find(|p| p.exists()) else {
        return Broken(format!("{} has no folder around it", there.display()));
    };
    let probe = existing.join(format!(".creamery-probe-{}", std::process::id()));
    let written = store::write_atomic(&probe, "probe");
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Fine(format!("{} can be written", there.display())),
        Err(e) => Broken(e.to_string()),
    }
}

/// The first line that a program prints, if there is such a program and it succeeds.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
