//! What the environment says, in the words of `huggingface_hub`:
//!
//! | variable | meaning |
//! |---|---|
//! | `HF_HUB_CACHE`, or the older `HUGGINGFACE_HUB_CACHE` | the cache; else `hub` in `HF_HOME` |
//! | `HF_HOME` | else `huggingface` in `XDG_CACHE_HOME`, else `~/.cache/huggingface` |
//! | `HF_TOKEN`, or the older `HUGGING_FACE_HUB_TOKEN` | the token; else the file `HF_TOKEN_PATH`, else `token` in `HF_HOME` |
//! | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | send no token |
//! | `HF_ENDPOINT` | the hub's address, default `https://huggingface.co` |
//! | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | open no connection |
//! | `HF_HUB_ETAG_TIMEOUT`, `HF_HUB_DOWNLOAD_TIMEOUT` | seconds without an answer, default 10 |
//! | `HF_HUB_DISABLE_SYMLINKS` | files in place of links |
//! | `SSL_CERT_FILE` | certificates to trust in place of the built-in ones |
//!
//! Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. A variable that is empty is not set.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::url::Url;
use crate::error::{Error, Result};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const DEFAULT_TIMEOUT: u64 = 10;

pub(super) struct Settings {
    pub cache: PathBuf,
    pub endpoint: Url,
    pub token: Option<Token>,
    pub offline: bool,
    /// For an answer that tells about a file or a repository.
    pub answer_timeout: Duration,
    /// Between two pieces of a file.
    pub read_timeout: Duration,
    pub symlinks: bool,
    /// PEM certificates.
    pub certificates: Option<PathBuf>,
}

/// A secret, and where it is from. Never shown.
pub(super) struct Token {
    pub secret: String,
    /// For errors: "HF_TOKEN", "the file …".
    pub from: String,
}

impl Settings {
    pub(super) fn from_environment() -> Result<Settings> {
        Settings::from_variables(&|name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings> {
        let text = |name: &str| variable(name).filter(|v| !v.is_empty());
        let path = |name: &str| text(name).map(|v| expand(&v, &text));
        let is_true = |name: &str| {
            text(name).is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str()))
        };
        let home = match (path("HF_HOME"), path("XDG_CACHE_HOME"), std::env::home_dir()) {
            (Some(home), _, _) => home,
            (_, Some(caches), _) => caches.join("huggingface"),
            (_, _, Some(user)) => user.join(".cache/huggingface"),
            _ => {
                return Err(Error::config("there is no home folder, so no place for the hub's cache")
                    .help("set HF_HOME or HF_HUB_CACHE to a folder"));
            }
        };
        let seconds = |name: &str| match text(name).map(|v| (v.trim().parse::<u64>(), v)) {
            None | Some((Ok(0), _)) => Ok(Duration::from_secs(DEFAULT_TIMEOUT)),
            Some((Ok(n), _)) => Ok(Duration::from_secs(n)),
            Some((Err(_), v)) => Err(Error::config(format!("{name} is {v:?}, expected a whole number of seconds"))
                .help(format!("unset {name} for {DEFAULT_TIMEOUT}"))),
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let endpoint = Url::parse(endpoint.trim_end_matches('/')).ok_or_else(|| {
            Error::config(format!("HF_ENDPOINT is {endpoint:?}, expected an address like {DEFAULT_ENDPOINT}"))
                .help("unset HF_ENDPOINT for the hub itself")
        })?;
        // An empty value of the newer variable leaves the word to the older one.
        let offline = match text("HF_HUB_OFFLINE") {
            Some(_) => is_true("HF_HUB_OFFLINE"),
            None => is_true("TRANSFORMERS_OFFLINE"),
        };
        Ok(Settings {
            cache: path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub")),
            endpoint,
            token: match is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
                true => None,
                false => token(&text, path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token")))?,
            },
            offline,
            answer_timeout: seconds("HF_HUB_ETAG_TIMEOUT")?,
            read_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT")?,
            symlinks: !is_true("HF_HUB_DISABLE_SYMLINKS"),
            certificates: path("SSL_CERT_FILE"),
        })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map_or_else(|| "no token".to_owned(), |t| format!("token from {}", t.from));
        let offline = if self.offline { ", offline" } else { "" };
        write!(f, "{}, cache {}, {token}{offline}", self.endpoint, self.cache.display())
    }
}

fn token(text: &dyn Fn(&str) -> Option<String>, file: PathBuf) -> Result<Option<Token>> {
    let of_variable =
        |name: &str| text(name).filter(|v| !v.trim().is_empty()).map(|secret| (secret, name.to_owned(), None));
    let found = match of_variable("HF_TOKEN").or_else(|| of_variable("HUGGING_FACE_HUB_TOKEN")) {
        Some(found) => Some(found),
        None => match std::fs::read_to_string(&file) {
            Ok(secret) => Some((secret, format!("the file {}", file.display()), Some(file))),
            // No login is no error; nor is a home folder that others own.
            Err(_) => None,
        },
    };
    let Some((secret, from, file)) = found else { return Ok(None) };
    let secret: String = secret.trim().chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    // It becomes a header. The error must not show it.
    if !secret.chars().all(|c| c.is_ascii_graphic()) {
        let error = Error::config(format!("the token in {from} has characters that no token has"))
            .help("log in again, or copy the token again from https://huggingface.co/settings/tokens");
        return Err(file.into_iter().fold(error, Error::file));
    }
    Ok((!secret.is_empty()).then_some(Token { secret, from }))
}

/// A leading `~` and `$NAME`, `${NAME}` as a shell would; what is not set stays as it is written.
fn expand(path: &str, text: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let mut done = String::new();
    let mut rest = path;
    while let Some(start) = rest.find('$') {
        done.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let (name, length) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        match text(name) {
            Some(value) => done.push_str(&value),
            None => done.push_str(&rest[start..start + 1 + length]),
        }
        rest = &after[length..];
    }
    done.push_str(rest);
    match (done.strip_prefix('~'), std::env::home_dir()) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with(['/', '\\']) => home.join(rest.trim_start_matches(['/', '\\'])),
        _ => Path::new(&done).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::error::Result;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_variables(&|name| {
            // Without this the tests would see the token of whoever runs them.
            let nowhere = ("HF_TOKEN_PATH", "/nonexistent/token");
            let found = variables.iter().chain([&nowhere]).find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_is_where_python_looks() {
        let home = std::env::home_dir().unwrap();
        let default = home.join(".cache/huggingface/hub").display().to_string();
        let tilde = home.join("c").display().to_string();
        let cases: [(&[(&str, &str)], &str); 8] = [
            (&[], &default),
            (&[("HF_HUB_CACHE", "/a"), ("HUGGINGFACE_HUB_CACHE", "/b"), ("HF_HOME", "/c")], "/a"),
            (&[("HUGGINGFACE_HUB_CACHE", "/b"), ("HF_HOME", "/c")], "/b"),
            (&[("HF_HOME", "/c"), ("XDG_CACHE_HOME", "/d")], "/c/hub"),
            (&[("XDG_CACHE_HOME", "/d")], "/d/huggingface/hub"),
            (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/c")], "/c/hub"),
            (&[("HF_HUB_CACHE", "~/c")], &tilde),
            (
                &[("HF_HUB_CACHE", "$BIG/x${SUB}/$NONE-${NONE}"), ("BIG", "/disk"), ("SUB", "1")],
                "/disk/x1/$NONE-${NONE}",
            ),
        ];
        for (variables, expected) in cases {
            assert_eq!(settings(variables).unwrap().cache.display().to_string(), expected, "{variables:?}");
        }
    }

    #[test]
    fn offline_is_read_as_python_reads_it() {
        let cases: [(&[(&str, &str)], bool); 8] = [
            (&[], false),
            (&[("HF_HUB_OFFLINE", "1")], true),
            (&[("HF_HUB_OFFLINE", "Yes")], true),
            (&[("HF_HUB_OFFLINE", "on")], true),
            (&[("HF_HUB_OFFLINE", "0")], false),
            (&[("TRANSFORMERS_OFFLINE", "true")], true),
            (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], false),
            (&[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "1")], true),
        ];
        for (variables, expected) in cases {
            assert_eq!(settings(variables).unwrap().offline, expected, "{variables:?}");
        }
    }

    #[test]
    fn the_token_is_found_cleaned_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "hf_file\n").unwrap();
        let file = file.to_str().unwrap();
        let home = folder.path().to_str().unwrap();
        /// Variables, and the token they give.
        type Case<'c> = (&'c [(&'c str, &'c str)], Option<&'c str>);
        let cases: [Case; 7] = [
            (&[], None),
            (&[("HF_TOKEN", " hf_a\n"), ("HF_TOKEN_PATH", file)], Some("hf_a")),
            (&[("HF_TOKEN", " "), ("HF_TOKEN_PATH", file)], Some("hf_file")),
            (&[("HUGGING_FACE_HUB_TOKEN", "hf_old")], Some("hf_old")),
            (&[("HF_TOKEN_PATH", file)], Some("hf_file")),
            (&[("HF_TOKEN_PATH", ""), ("HF_HOME", home)], Some("hf_file")),
            (&[("HF_TOKEN", "hf_a"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None),
        ];
        for (variables, expected) in cases {
            let token = settings(variables).unwrap().token;
            assert_eq!(token.as_ref().map(|t| t.secret.as_str()), expected, "{variables:?}");
        }
        let shown = settings(&[("HF_TOKEN", "hf_a"), ("HF_HOME", "/c"), ("HF_HUB_OFFLINE", "1")]).unwrap().to_string();
        assert_eq!(shown, "https://huggingface.co, cache /c/hub, token from HF_TOKEN, offline");
        let error = settings(&[("HF_TOKEN", "hf_ä b")]).err().expect("no header can hold it").to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("hf_ä"), "{error}");
    }

    #[test]
    fn wrong_values_name_the_variable() {
        let cases = [
            ("HF_ENDPOINT", "huggingface.co"),
            ("HF_ENDPOINT", "ftp://huggingface.co"),
            ("HF_ENDPOINT", "https://"),
            ("HF_HUB_ETAG_TIMEOUT", "soon"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "-1"),
        ];
        for (name, value) in cases {
            let error = settings(&[(name, value)]).err().expect(value).to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        assert_eq!(
            settings(&[("HF_ENDPOINT", "http://mirror:8080/hf/")]).unwrap().endpoint.to_string(),
            "http://mirror:8080/hf"
        );
    }
}
