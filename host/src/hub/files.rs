//! Which files of a repository a model needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::Part;
use crate::error::{Error, Result};

pub(super) const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER: &str = "adapter_model.safetensors";
/// What else a model's folder may hold and is read by something.
const SMALL: [&str; 11] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    INDEX,
];
const TEMPLATES: &str = "additional_chat_templates/";

const MAX_WEIGHTS: u64 = 1 << 40;
const MAX_SMALL: u64 = 1 << 28;

/// A commit and its files with their sizes, where the hub tells them.
pub(super) struct Listing {
    pub commit: String,
    files: BTreeMap<String, Option<u64>>,
}

impl Listing {
    /// Reads the hub's answer about a revision.
    pub(super) fn parse(answer: &[u8], host: &str) -> Result<Listing> {
        let broken = |what: &str| {
            Error::input(format!("the answer of {host} {what}"))
                .help("check HF_ENDPOINT: expected is a Hugging Face hub or a mirror of it")
        };
        let answer: Value = serde_json::from_slice(answer).map_err(|_| broken("is not JSON"))?;
        let commit = answer.get("sha").and_then(Value::as_str).filter(|sha| is_commit(sha));
        let commit = commit.ok_or_else(|| broken("names no commit in 'sha'"))?.to_owned();
        let siblings = answer.get("siblings").and_then(Value::as_array);
        let siblings = siblings.ok_or_else(|| broken("has no list of files in 'siblings'"))?;
        let mut files = BTreeMap::new();
        for sibling in siblings {
            let name = sibling.get("rfilename").and_then(Value::as_str);
            let name = name.ok_or_else(|| broken("has a file without a name in 'siblings'"))?;
            if !is_inside(name) {
                return Err(broken(&format!("names the file {name:?}, which would lie outside the model's folder")));
            }
            files.insert(name.to_owned(), sibling.get("size").and_then(Value::as_u64));
        }
        Ok(Listing { commit, files })
    }

    /// Everything but the weights, which may name more: an index is among it.
    pub(super) fn small(&self, part: Part) -> Result<Vec<String>> {
        let has = |name: &str| self.files.contains_key(name);
        let names: Vec<String> = match part {
            Part::Adapter if !has(ADAPTER_CONFIG) => {
                let error = Error::input(format!("no adapter: the repository has no {ADAPTER_CONFIG}"));
                return Err(match has(CONFIG) {
                    true => error.help("it holds a whole model; name it with --model"),
                    false => error.help("expected is a PEFT adapter"),
                });
            }
            Part::Adapter => vec![ADAPTER_CONFIG.to_owned()],
            Part::Model if !has(CONFIG) => {
                let error = Error::input(format!("no {CONFIG}, so no model in the form of transformers"));
                let gguf = self.files.keys().any(|name| name.ends_with(".gguf"));
                return Err(match (has(ADAPTER_CONFIG), gguf) {
                    (true, _) => error.help("it is an adapter; name it with --adapter, and its base with --model"),
                    (_, true) => error.help("GGUF files are not read; name the repository they were made from"),
                    _ => error.help("expected are config.json, safetensors weights and tokenizer.json"),
                });
            }
            Part::Model => {
                let wanted = |name: &&String| {
                    let template = name.strip_prefix(TEMPLATES).is_some_and(|rest| !rest.contains('/'));
                    let index = name.as_str() == INDEX && has(SINGLE);
                    name.as_str() == CONFIG
                        || (SMALL.contains(&name.as_str()) && !index)
                        || (template && name.ends_with(".jinja"))
                };
                self.files.keys().filter(wanted).cloned().collect()
            }
        };
        Ok(names)
    }

    /// The weights. Reads the index, if there is one, from `folder`.
    pub(super) fn weights(&self, part: Part, folder: &Path) -> Result<Vec<String>> {
        let has = |name: &str| self.files.contains_key(name);
        let without = |what: &str| {
            let error = Error::input(format!("no {what}"));
            let pickled = |name: &String| [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| name.ends_with(end));
            match self.files.keys().find(|name| pickled(name)) {
                Some(name) => error.help(format!(
                    "the repository has {name}, which can run code when it is read and is never fetched; its \
                     discussions may offer a safetensors version: name it with @refs/pr/N"
                )),
                None => error.help("only safetensors weights are read"),
            }
        };
        match part {
            Part::Adapter if has(ADAPTER) => Ok(vec![ADAPTER.to_owned()]),
            Part::Adapter => Err(without(ADAPTER)),
            Part::Model if has(SINGLE) => Ok(vec![SINGLE.to_owned()]),
            Part::Model if has(INDEX) => {
                let shards = shards(&folder.join(INDEX))?;
                match shards.iter().find(|shard| !has(shard)) {
                    Some(shard) => Err(Error::input(format!("{INDEX} names {shard}, which the repository has not"))),
                    None => Ok(shards),
                }
            }
            Part::Model => Err(without(&format!("{SINGLE} and no {INDEX}"))),
        }
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.files.get(name).copied().flatten()
    }
}

/// The first file that a folder needs to be a model or an adapter and has not; `None` if nothing is missing. Tokenizer
/// and template are not asked for: whoever needs them says so, and not every use does.
pub(super) fn missing(folder: &Path, part: Part) -> Option<String> {
    let lacks = |name: &str| !folder.join(name).is_file();
    let first = |names: &[&str]| names.iter().find(|name| lacks(name)).map(|name| (*name).to_owned());
    match part {
        Part::Adapter => first(&[ADAPTER_CONFIG, ADAPTER]),
        Part::Model if lacks(CONFIG) => Some(CONFIG.to_owned()),
        Part::Model if !lacks(SINGLE) => None,
        Part::Model if lacks(INDEX) => Some(SINGLE.to_owned()),
        Part::Model => match shards(&folder.join(INDEX)) {
            Ok(shards) => shards.into_iter().find(|shard| lacks(shard)),
            // The reader of the model says what is wrong with it.
            Err(_) => None,
        },
    }
}

/// The files that an index names.
fn shards(index: &Path) -> Result<Vec<String>> {
    let text = std::fs::read(index).map_err(|e| Error::io("read", index, &e))?;
    let wrong = |what: String| Error::input(what).file(index);
    let json: Value =
        serde_json::from_slice(&text).map_err(|e| wrong(format!("not valid JSON: {e}")).line(e.line()))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("field 'weight_map' is missing or not an object".to_owned()))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let plain = |f: &&str| is_inside(f) && is_portable(f) && !f.contains('/') && f.ends_with(".safetensors");
        let file = file.as_str().filter(plain).ok_or_else(|| {
            wrong(format!("the file of tensor '{tensor}' is {file}, expected the name of a safetensors file"))
        })?;
        names.insert(file.to_owned());
    }
    Ok(names.into_iter().collect())
}

/// Refuses sizes that no such file has.
pub(super) fn check_size(name: &str, size: u64) -> Result<()> {
    let limit = if name.ends_with(".safetensors") { MAX_WEIGHTS } else { MAX_SMALL };
    if size <= limit {
        return Ok(());
    }
    Err(Error::input(format!(
        "the hub says that this file has {size} bytes, more than the {limit} that such a file may have"
    ))
    .help("the server is broken or hostile; check HF_ENDPOINT"))
}

/// An etag as it is as a file name: without quotes and the mark of weak ones. `None` if it can be no file name.
pub(super) fn plain_etag(etag: &str) -> Option<&str> {
    let etag = etag.trim().trim_start_matches("W/").trim_matches('"');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!etag.is_empty() && etag.len() <= 128 && !etag.starts_with('.') && etag.chars().all(plain)).then_some(etag)
}

pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// Whether a relative path stays where it starts, on every system.
fn is_inside(name: &str) -> bool {
    !name.contains(['\\', '\0']) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Whether every system can have a file of this name.
fn is_portable(name: &str) -> bool {
    !name.chars().any(|c| c.is_control() || r#":*?"<>|"#.contains(c))
}

#[cfg(test)]
mod tests {
    use super::{Listing, Part, check_size, missing, plain_etag};

    const SHA: &str = "2439f60ef33a0d46d85da5001d52aeda5b00ce9f";

    fn listing(names: &[&str]) -> Listing {
        let siblings: Vec<_> = names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let answer = serde_json::json!({"sha": SHA, "siblings": siblings}).to_string();
        Listing::parse(answer.as_bytes(), "hub").unwrap()
    }

    #[test]
    fn only_what_is_needed_is_chosen() {
        let all = listing(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
            "additional_chat_templates/tools.jinja",
            "additional_chat_templates/deep/x.jinja",
            "onnx/model.onnx",
            "onnx/config.json",
            "original/consolidated.00.pth",
            "adapter_config.json",
            "adapter_model.safetensors",
            "adapter_model.bin",
        ]);
        let here = std::path::Path::new(".");
        assert_eq!(
            all.small(Part::Model).unwrap(),
            [
                "additional_chat_templates/tools.jinja",
                "chat_template.jinja",
                "config.json",
                "tokenizer.json",
                "tokenizer_config.json"
            ]
        );
        assert_eq!(all.weights(Part::Model, here).unwrap(), ["model.safetensors"]);
        assert_eq!(all.small(Part::Adapter).unwrap(), ["adapter_config.json"]);
        assert_eq!(all.weights(Part::Adapter, here).unwrap(), ["adapter_model.safetensors"]);
    }

    #[test]
    fn shards_come_from_the_index_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let index = |map: &str| {
            std::fs::write(folder.path().join("model.safetensors.index.json"), format!("{{\"weight_map\": {map}}}"))
                .unwrap();
        };
        let sharded = listing(&["config.json", "model.safetensors.index.json", "a.safetensors", "b.safetensors"]);
        assert_eq!(sharded.small(Part::Model).unwrap(), ["config.json", "model.safetensors.index.json"]);
        index(r#"{"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}"#);
        assert_eq!(sharded.weights(Part::Model, folder.path()).unwrap(), ["a.safetensors", "b.safetensors"]);
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        std::fs::write(folder.path().join("a.safetensors"), "").unwrap();
        assert_eq!(missing(folder.path(), Part::Model).as_deref(), Some("b.safetensors"));
        for name in ["c.safetensors", "../../b.safetensors", "/b.safetensors", "a\\\\b.safetensors", "b.bin", ""] {
            index(&format!(r#"{{"x": "{name}"}}"#));
            assert!(sharded.weights(Part::Model, folder.path()).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_model_says_what_it_is() {
        let cases: [(&[&str], Part, &str); 6] = [
            (&["adapter_config.json"], Part::Model, "--adapter"),
            (&["a.gguf"], Part::Model, "GGUF"),
            (&["README.md"], Part::Model, "config.json"),
            (&["config.json", "pytorch_model.bin"], Part::Model, "refs/pr/N"),
            (&["config.json"], Part::Adapter, "--model"),
            (&["adapter_config.json", "adapter_model.bin"], Part::Adapter, "adapter_model.bin"),
        ];
        for (names, part, expected) in cases {
            let listing = listing(names);
            let result = listing.small(part).and_then(|_| listing.weights(part, std::path::Path::new(".")));
            let error = result.expect_err(expected).to_string();
            assert!(error.contains(expected), "{names:?}: {error}");
        }
    }

    #[test]
    fn hostile_answers_are_refused() {
        let file = |name: &str| format!(r#"{{"sha": "{SHA}", "siblings": [{{"rfilename": "{name}"}}]}}"#);
        let cases = [
            ("<html>".to_owned(), "not JSON"),
            ("{}".to_owned(), "no commit"),
            (r#"{"sha": "../../../x", "siblings": []}"#.to_owned(), "no commit"),
            (format!(r#"{{"sha": "{SHA}"}}"#), "no list of files"),
            (format!(r#"{{"sha": "{SHA}", "siblings": [{{}}]}}"#), "without a name"),
            (file("../config.json"), "outside"),
            (file("a/../../config.json"), "outside"),
            (file("/etc/passwd"), "outside"),
            (file("..\\\\config.json"), "outside"),
            (file("a//b"), "outside"),
        ];
        for (answer, expected) in cases {
            let error = Listing::parse(answer.as_bytes(), "hub.example").err().expect(&answer).to_string();
            assert!(error.contains(expected) && error.contains("hub.example"), "{answer}: {error}");
        }
        assert!(check_size("config.json", 1 << 29).is_err());
        assert!(check_size("model.safetensors", 1 << 39).is_ok());
        assert!(check_size("model.safetensors", u64::MAX).is_err());
        let etags = [
            ("\"abc\"", Some("abc")),
            ("W/\"a-1\"", Some("a-1")),
            ("abc", Some("abc")),
            ("\"../x\"", None),
            ("\"a/b\"", None),
            ("\"\"", None),
            ("\".x\"", None),
        ];
        for (etag, expected) in etags {
            assert_eq!(plain_etag(etag), expected, "{etag}");
        }
    }
}
