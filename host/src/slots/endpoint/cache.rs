//! Answers on disk: `STORE/answers/AB/ABCD….json`, named by endpoint, request and draw, written whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Kept;
use crate::data::files::read_whole;
use crate::error::{Error, Result};
use crate::store::{canonical_json, write_atomic};

/// No answer that was taken is larger.
const MAX_FILE: u64 = 256 << 20;

pub(super) struct Cache {
    folder: PathBuf,
    endpoint: String,
    warn: Arc<dyn Fn(&str) + Send + Sync>,
}

#[derive(Serialize, Deserialize)]
struct File {
    endpoint: String,
    request: Value,
    #[serde(default)]
    draw: Value,
    answer: Kept,
}

impl Cache {
    pub(super) fn new(folder: PathBuf, endpoint: &str, warn: Arc<dyn Fn(&str) + Send + Sync>) -> Cache {
        Cache { folder, endpoint: endpoint.to_owned(), warn }
    }

    /// What was answered before. A file that is damaged counts as none, with a warning.
    pub(super) fn get(&self, request: &Value, draw: &Value) -> Option<Kept> {
        let path = self.path(request, draw);
        if !path.exists() {
            return None;
        }
        match self.read(&path, request, draw) {
            Ok(kept) => Some(kept),
            Err(e) => {
                (self.warn)(&format!("an answer that was kept cannot be used and is asked for again: {e}"));
                None
            }
        }
    }

    fn read(&self, path: &Path, request: &Value, draw: &Value) -> Result<Kept> {
        let broken = |what: String| Error::input(what).file(path);
        let file: File = serde_json::from_slice(&read_whole(path, MAX_FILE)?).map_err(|e| broken(e.to_string()))?;
        if file.endpoint != self.endpoint || file.request != *request || file.draw != *draw {
            return Err(broken("it is the answer to something else".to_owned()));
        }
        Ok(file.answer)
    }

    pub(super) fn put(&self, request: &Value, draw: &Value, answer: &Kept) -> Result<()> {
        let (endpoint, request_, draw_) = (self.endpoint.clone(), request.clone(), draw.clone());
        let file = File { endpoint, request: request_, draw: draw_, answer: answer.clone() };
        let text = serde_json::to_string(&file)
            .map_err(|e| Error::run(format!("an answer cannot be written as JSON: {e}")))?;
        write_atomic(self.path(request, draw), format!("{text}\n"))
    }

    fn path(&self, request: &Value, draw: &Value) -> PathBuf {
        let name = canonical_json(&json!({"endpoint": self.endpoint, "request": request, "draw": draw}));
        let name = blake3::hash(name.as_bytes()).to_hex().to_string();
        self.folder.join(&name[..2]).join(format!("{name}.json"))
    }
}
