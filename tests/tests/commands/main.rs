//! The commands for single stages, through the program.

mod convert;
mod generate;
#[cfg(unix)]
mod help;
mod logps;
mod plugin;
mod template;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(unix)]
mod watch;
