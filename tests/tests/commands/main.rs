//! The commands for single stages, through the program.

mod generate;
#[cfg(unix)]
mod help;
mod logps;
mod template;
