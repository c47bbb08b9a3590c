//! From a plugin's parameters, a JSON object, to its own type.

use serde::de::DeserializeOwned;

use crate::types::PluginError;

/// Reads the parameters. An empty text stands for no parameters. The error says what is wrong with which
/// parameter, as far as serde knows it; derive with `deny_unknown_fields` to refuse misspelt names.
pub fn parse<T: DeserializeOwned>(params: &str) -> Result<T, PluginError> {
    let json = if params.trim().is_empty() { "{}" } else { params };
    serde_json::from_str(json).map_err(|e| PluginError::new(format!("the parameters do not fit: {e}")))
}

/// An error about one parameter: what was found, what is expected.
pub fn out_of_range(name: &str, found: impl std::fmt::Display, expected: &str) -> PluginError {
    PluginError::new(format!("parameter '{name}' is {found}, but must be {expected}"))
}
