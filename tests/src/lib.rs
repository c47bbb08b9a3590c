//! What end-to-end tests share: the program, and the fixtures.

#[cfg(target_os = "linux")]
pub mod crash;

use std::path::PathBuf;
use std::process::Command;

/// A [`Command`] of the program under test with the given arguments. Works in integration tests of this package.
#[macro_export]
macro_rules! creamery {
    ($($argument:expr),* $(,)?) => {{
        let mut command = ::std::process::Command::new(env!("CARGO_BIN_EXE_creamery-under-test"));
        $(command.arg($argument);)*
        command
    }};
}

/// A file or folder under `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name)
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
