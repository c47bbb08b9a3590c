//! Disks that are full, read-only or slow: `disk.rs` stands between the program and the C library.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Every change takes so many microseconds longer.
    Slow(u64),
    /// No space after so many bytes.
    Full(u64),
    /// No change after so many.
    ReadOnly(u64),
}

impl Fault {
    /// Starts a command on such a disk.
    pub fn on<'a>(&self, command: &'a mut Command, library: &Path) -> &'a mut Command {
        let fault = match self {
            Fault::Slow(microseconds) => format!("slow:{microseconds}"),
            Fault::Full(bytes) => format!("full:{bytes}"),
            Fault::ReadOnly(changes) => format!("read-only:{changes}"),
        };
        command.env("LD_PRELOAD", library).env("DISK_FAULT", fault)
    }
}

/// Builds the library into a folder.
pub fn library(folder: &Path) -> PathBuf {
    let library = folder.join("libdisk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/crash/disk.rs");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "--crate-type", "cdylib", "--crate-name", "disk"]);
    let built = rustc.arg("-o").arg(&library).arg(source).output().expect("rustc starts");
    assert!(built.status.success(), "rustc: {}", String::from_utf8_lossy(&built.stderr));
    library
}
