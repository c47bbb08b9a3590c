//! What a person sees of a run: progress while it goes, tables at its end.

mod progress;
mod table;

pub use progress::Progress;
pub use table::Table;
