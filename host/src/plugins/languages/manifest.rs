//! `plugin.toml`.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::MANIFEST;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    C,
    Python,
    JavaScript,
}

impl Language {
    pub(super) fn name(self) -> &'static str {
        match self {
            Language::C => "C",
            Language::Python => "Python",
            Language::JavaScript => "JavaScript",
        }
    }
}

/// What the author says about the plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub kind: PluginKind,
    pub name: String,
    pub version: String,
    pub language: Language,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    license: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    requires: Vec<String>,
    #[serde(skip)]
    params: Value,
}

#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PluginKind {
    Judge,
    Ranker,
    Regularizer,
}

const SCHEMA: &str = "params.schema.json";

impl Manifest {
    /// Reads plugin.toml and params.schema.json of the folder.
    pub(super) fn read(folder: &Path) -> Result<Manifest> {
        let file = folder.join(MANIFEST);
        let text = fs::read_to_string(&file).map_err(|e| Error::io("read", &file, &e))?;
        let mut manifest: Manifest = toml::from_str(&text).map_err(|e| {
            let error = Error::plugin(format!("not a valid {MANIFEST}: {}", e.message())).file(&file).help(
                "it has: kind = \"judge\", \"ranker\" or \"regularizer\"; name; version; language = \"c\", \"python\" or \
                 \"javascript\"; and if you like summary, authors, license, repository, features, requires",
            );
            match e.span() {
                Some(span) => error.line(text[..span.start].lines().count().max(1)),
                None => error,
            }
        })?;
        if manifest.name.is_empty()
            || !manifest.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            return Err(Error::plugin(format!("the plugin's name is {:?}", manifest.name))
                .file(&file)
                .help("a plugin's name consists of letters, digits, '-' and '_'"));
        }
        if let Err(e) = semver::Version::parse(&manifest.version) {
            return Err(Error::plugin(format!("the plugin's version is {:?}: {e}", manifest.version))
                .file(&file)
                .help("write it as MAJOR.MINOR.PATCH, as Cargo does: \"1.0.0\""));
        }
        let schema = folder.join(SCHEMA);
        let text = fs::read_to_string(&schema).map_err(|e| Error::io("read", &schema, &e))?;
        manifest.params = serde_json::from_str(&text)
            .map_err(|e| Error::plugin(format!("not valid JSON: {e}")).file(&schema).line(e.line()))?;
        Ok(manifest)
    }

    /// The descriptor's JSON.
    pub(super) fn descriptor(&self) -> Vec<u8> {
        let descriptor = json!({
            "kind": self.kind, "name": self.name, "version": self.version, "abi": creamery_plugin::ABI,
            "api": creamery_plugin::API_VERSION, "panic": "unwind", "summary": self.summary,
            "authors": self.authors.join(":"), "license": self.license, "repository": self.repository,
            "features": self.features, "requires": self.requires, "params": self.params,
        });
        descriptor.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let good = "kind = \"ranker\"\nname = \"x\"\nversion = \"1.0.0\"\nlanguage = \"c\"\n";
        let cases = [
            ("kind = 3", "{}", "not a valid plugin.toml"),
            ("kind = \"ranker\"\nname = \"x\"\nversion = \"1\"\nlanguage = \"cobol\"", "{}", "unknown variant `cobol`"),
            (&good.replace("\"x\"", "\"a b\""), "{}", "the plugin's name is \"a b\""),
            (&good.replace("1.0.0", "1.0"), "{}", "the plugin's version is \"1.0\""),
            (&format!("{good}sumary = \"\""), "{}", "unknown field `sumary`"),
            (good, "{", "not valid JSON"),
        ];
        for (manifest, schema, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(MANIFEST), manifest).unwrap();
            fs::write(folder.path().join(SCHEMA), schema).unwrap();
            let error = Manifest::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{manifest}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), good).unwrap();
        fs::write(folder.path().join(SCHEMA), r#"{"type": "object"}"#).unwrap();
        let found: Value = serde_json::from_slice(&Manifest::read(folder.path()).unwrap().descriptor()).unwrap();
        assert_eq!((&found["kind"], &found["params"]["type"]), (&json!("ranker"), &json!("object")));
    }
}
