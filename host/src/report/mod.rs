//! What a person sees of a run: progress while it goes, tables at its end.

pub mod live;
mod progress;
mod table;
mod tensorboard;

pub use progress::Progress;
pub use table::Table;
pub use tensorboard::EventWriter;
