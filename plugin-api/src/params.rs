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
    PluginError::new(format!("parameter '{name}' is {}, but must be {expected}", short(found.to_string())))
}

/// A number for a message: one of many digits in scientific form, like 1e300.
pub fn shown(number: f64) -> String {
    short(number.to_string())
}

fn short(found: String) -> String {
    match found.parse::<f64>() {
        Ok(number) if found.len() > 20 => format!("{number:e}"),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_written_short() {
        let shown = |x: f64| super::shown(x);
        assert_eq!([shown(1e300), shown(-2.5e-30), shown(0.1), shown(-1.0)], ["1e300", "-2.5e-30", "0.1", "-1"]);
        let error = out_of_range("eta", 1e300, "below 1");
        assert_eq!(error.message, "parameter 'eta' is 1e300, but must be below 1");
        let text = out_of_range("form", "a text of more than twenty characters", "short");
        assert!(text.message.contains("more than twenty"), "{text}");
    }
}
