//! The commands for single stages, through the program.

#[cfg(unix)]
mod help;
mod logps;
