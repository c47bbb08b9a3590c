//! How answers are read from responses: [`creamery_plugin::answer`], with the program's errors.

pub use creamery_plugin::answer::Extractor;

use crate::error::{Error, Result};

/// `exact`, `number`, `choice` or `regex:PATTERN`.
pub fn extractor(text: &str) -> Result<Extractor> {
    Extractor::parse(text).map_err(|e| Error::config(e.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_extractor_is_an_error() {
        assert!(extractor("regex:(").unwrap_err().message().contains("pattern"));
        assert!(extractor("letters").unwrap_err().message().contains("letters"));
        assert_eq!(extractor("number").unwrap().extract("Answer: 5.0"), Some("5".to_owned()));
    }
}
