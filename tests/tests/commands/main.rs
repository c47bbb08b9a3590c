//! The commands for single stages, through the program.

mod convert;
#[cfg(unix)]
mod help;
mod logps;
