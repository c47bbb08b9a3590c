//! The output of a training: a folder that has its final name only when it is whole.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::partial;
use crate::error::{Error, Kind, Result};
use crate::report::EventWriter;
use crate::store::{FolderLock, publish_folder, remove_folder, write_atomic};
use crate::train::StepMetrics;

const RECORD: &str = "train.json";
const METRICS: &str = "metrics.jsonl";
const REFERENCE: &str = "reference.json";

pub(super) struct Output {
    out: PathBuf,
    folder: PathBuf,
    lock: FolderLock,
    /// There was nothing before this call.
    fresh: bool,
}

impl Output {
    /// Takes the place of the output, or gives `None` if it is there already, made from the same things.
    pub(super) fn open(out: &Path, identity: &Value, resume: bool) -> Result<Option<Output>> {
        let out = std::path::absolute(out).map_err(|e| Error::io("use", out, &e).with_kind(Kind::Io))?;
        // `out/.` and `out/` are `out`.
        let out: PathBuf = out.components().collect();
        if out.file_name().is_none() {
            return Err(Error::config("--out needs a folder with a name").file(&out));
        }
        match fs::read_dir(&out) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return match made_from(&out) {
                        Some(made) if made == *identity => Ok(None),
                        Some(_) => Err(Error::config("the folder holds the result of another training")
                            .file(&out)
                            .help("choose another --out, or remove the folder")),
                        None => Err(Error::config("the folder is not empty")
                            .file(&out)
                            .help("choose another --out: nothing is written over")),
                    };
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("use as --out", &out, &e).with_kind(Kind::Io)),
        }
        let folder = partial(&out);
        // First of all: what is in the folder of a training that goes on is not unfinished, and not ours to judge.
        let Some(lock) = FolderLock::take(&folder)? else {
            return Err(Error::new(Kind::Io, "another program is training here")
                .file(&folder)
                .help("wait until it is done, or choose another --out"));
        };
        let entries = fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, &e).with_kind(Kind::Io))?;
        let fresh = entries.into_iter().flatten().all(|entry| entry.file_name() == FolderLock::NAME);
        if !fresh && !resume {
            lock.release(&folder)?;
            return Err(Error::config("an unfinished training of this output is there")
                .file(&folder)
                .help("add --resume to go on with it, or remove the folder to start anew"));
        }
        Ok(Some(Output { out, folder, lock, fresh }))
    }

    /// Where everything is written until it is whole.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn log(&self) -> Result<Log> {
        let path = self.folder.join(METRICS);
        let file = File::create(&path).map_err(|e| Error::io("write", &path, &e).with_kind(Kind::Io))?;
        let events = EventWriter::create(&self.folder.join("tensorboard"))?;
        Ok(Log { file: BufWriter::new(file), path, events })
    }

    pub(super) fn record(&self, record: &Value) -> Result<()> {
        write_atomic(self.folder.join(RECORD), format!("{record:#}\n"))
    }

    /// Gives the folder its name.
    pub(super) fn finish(self) -> Result<()> {
        let _ = fs::remove_file(self.folder.join(REFERENCE));
        self.lock.release(&self.folder)?;
        publish_folder(&self.folder, &self.out)
    }

    /// After a failure: a folder that this call made is kept only for its checkpoints, one of an earlier call is left
    /// alone. Is anything kept?
    pub(super) fn abandon(self) -> bool {
        if !self.fresh {
            return true;
        }
        let checkpoint = |name: &str| name.starts_with("checkpoint-");
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let kept = entries.into_iter().any(|entry| checkpoint(&entry.file_name().to_string_lossy()));
        if !kept {
            let _ = remove_folder(&self.folder);
        }
        kept
    }
}

/// What the result in a folder was made from, if it is one.
fn made_from(folder: &Path) -> Option<Value> {
    let text = fs::read_to_string(folder.join(RECORD)).ok()?;
    let record: Value = serde_json::from_str(&text).ok()?;
    record.get("identity").cloned()
}

/// The metrics of each step, to a file and to TensorBoard, while training goes.
pub(super) struct Log {
    file: BufWriter<File>,
    path: PathBuf,
    events: EventWriter,
}

impl Log {
    pub(super) fn write(&mut self, step: &StepMetrics) -> Result<()> {
        let mut row = Map::new();
        row.insert("step".into(), json!(step.step));
        row.extend(step.values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        let line = format!("{}\n", Value::Object(row));
        (self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush()))
            .map_err(|e| Error::io("write", &self.path, &e).with_kind(Kind::Io))?;
        let tags: Vec<String> = step.values.iter().map(|(name, _)| format!("train/{name}")).collect();
        self.events.scalars(step.step, tags.iter().map(String::as_str).zip(step.values.iter().map(|(_, x)| *x)))
    }
}
