//! The native form of the contract, on abi_stable. Only this module and the host's native loader know it.
//!
//! Rules of version 1: no type here changes. New functions come as new methods with a default, and as new
//! fields of [`PluginModule`] behind its last prefix field.

pub mod call;
mod decode;
mod layout;
mod module;
pub mod objects;
pub mod types;

pub use abi_stable::library::LibHeader;
pub use layout::layout;
pub use module::{Exported, LogSink, PluginModule, PluginModuleRef, header};

/// The exported symbol of a plugin is this, followed by the plugin's name.
pub const SYMBOL_PREFIX: &str = "creamery_plugin_1_";
