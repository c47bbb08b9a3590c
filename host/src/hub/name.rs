//! Names of models on the hub.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};

const PREFIX: &str = "hf:";
/// The longest part of a repository's name, as on the hub.
const MAX_PART: usize = 96;

/// `hf:owner/name@revision`; the oldest repositories have no owner, and without a revision it is `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    repo: String,
    revision: String,
}

impl HubName {
    /// `None` if the path is not meant as a name on the hub. A folder that is really called so can be given as
    /// `./hf:…`.
    pub fn of_path(path: &Path) -> Option<Result<HubName>> {
        path.to_str().and_then(HubName::of)
    }

    /// The same of text.
    pub fn of(text: &str) -> Option<Result<HubName>> {
        text.strip_prefix(PREFIX).map(|name| HubName::parse(text, name))
    }

    fn parse(text: &str, name: &str) -> Result<HubName> {
        let wrong = |why: String| {
            Error::config(format!("{text:?} is not the name of a model on the hub: {why}"))
                .help("expected hf:owner/name or hf:owner/name@revision, like hf:HuggingFaceTB/SmolLM2-135M@main")
        };
        let (repo, revision) = match name.split_once('@') {
            Some((repo, revision)) => (repo, revision),
            None => (name, "main"),
        };
        if repo.starts_with("//") {
            return Err(wrong("no slashes belong behind 'hf:'".into()));
        }
        if repo.split('/').count() > 2 {
            return Err(wrong("there is more than one '/' in it".into()));
        }
        for part in repo.split('/') {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if part.is_empty() {
                return Err(wrong("a part of it is empty".into()));
            }
            if let Some(c) = part.chars().find(|c| !plain(*c)) {
                return Err(wrong(format!("{c:?} is not a letter, a digit, '-', '_' or '.'")));
            }
            if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) || part.ends_with(".git") {
                return Err(wrong(format!("{part:?} begins or ends with '-' or '.', or ends with '.git'")));
            }
            if part.contains("--") || part.contains("..") {
                return Err(wrong(format!("{part:?} has '--' or '..' in it")));
            }
            if part.len() > MAX_PART {
                return Err(wrong(format!("a part of it is longer than {MAX_PART} characters")));
            }
        }
        if !is_revision(revision) {
            return Err(wrong(format!("{revision:?} cannot be a branch, a tag or a commit")));
        }
        Ok(HubName { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    /// `owner/name`.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// A branch, a tag or a commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The same repository at another revision.
    pub fn at(&self, revision: &str) -> HubName {
        HubName { repo: self.repo.clone(), revision: revision.to_owned() }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}@{}", self.repo, self.revision)
    }
}

/// What git allows as a name, which is safe as a path as well: no part is empty, begins with '.' or climbs up.
fn is_revision(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !r#"\:~^?*[<>"|"#.contains(c);
    let part = |p: &str| !p.is_empty() && !p.starts_with('.') && !p.ends_with('.') && !p.ends_with(".lock");
    text.len() <= 250 && text.chars().all(plain) && !text.contains("..") && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::HubName;

    #[test]
    fn names() {
        let cases = [
            ("hf:owner/name", "owner/name", "main"),
            ("hf:gpt2", "gpt2", "main"),
            ("hf:o/n-1.5_b@v1.0", "o/n-1.5_b", "v1.0"),
            ("hf:o/n@refs/pr/1", "o/n", "refs/pr/1"),
            ("hf:o/n@2439f60ef33a0d46d85da5001d52aeda5b00ce9f", "o/n", "2439f60ef33a0d46d85da5001d52aeda5b00ce9f"),
        ];
        for (text, repo, revision) in cases {
            let name = HubName::of(text).expect(text).expect(text);
            assert_eq!((name.repo(), name.revision()), (repo, revision), "{text}");
            assert_eq!(HubName::of(&name.to_string()).unwrap().unwrap(), name, "{text}");
        }
    }

    #[test]
    fn wrong_names_say_why() {
        let long = format!("hf:o/{}", "n".repeat(97));
        let cases = [
            ("hf:", "empty"),
            ("hf:/n", "empty"),
            ("hf:o/", "empty"),
            ("hf:o/n/file", "more than one '/'"),
            ("hf://o/n", "no slashes"),
            ("hf:o/n n", "' '"),
            ("hf:../n", "begins or ends"),
            ("hf:o/a..b", "'..'"),
            ("hf:o/a--b", "'--'"),
            ("hf:o/n.git", "'.git'"),
            ("hf:o\\n", "'\\\\'"),
            ("hf:o/n@", "cannot be a branch"),
            ("hf:o/n@../../x", "cannot be a branch"),
            ("hf:o/n@a//b", "cannot be a branch"),
            ("hf:o/n@/a", "cannot be a branch"),
            ("hf:o/n@a b", "cannot be a branch"),
            (&long, "longer than 96"),
        ];
        for (text, why) in cases {
            let error = HubName::of(text).expect(text).expect_err(text).to_string();
            assert!(error.contains(why) && error.contains("help:"), "{text}: {error}");
        }
        for text in ["model", "./hf:o/n", "/a/hf:b", "hf/o", ""] {
            assert!(HubName::of(text).is_none(), "{text}");
        }
    }
}
