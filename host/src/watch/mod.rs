//! A run seen from outside while it works: its folder is read, never written, and nothing is asked of its process.
//!
//! [`Snapshot`] is what a folder says at one moment; [`plain`] prints it, [`screen`] shows it in a terminal, again and
//! again. Nothing that stands in the files is believed: they may be half-written, damaged, huge, or of another program,
//! and their texts are a model's or a plugin's, cleaned before they reach a terminal.

mod clean;
mod files;
pub mod place;
pub mod plain;
mod results;
pub mod screen;
mod snapshot;

pub use clean::{ascii, clean};
pub use results::{ModelRow, TrainingCurve};
pub use snapshot::{Reader, Snapshot, State};
