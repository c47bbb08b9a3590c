//! What an author of plugins needs besides the host: what is known of a plugin without running it, whether it keeps
//! the contract, what its calls cost, and a folder to start from. All of it goes through the loader that runs use.

mod inspect;

pub use inspect::{Parameter, Report, parameters};
