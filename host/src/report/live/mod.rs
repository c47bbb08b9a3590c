//! A run's own account of what it does, for whoever watches: `progress.json` in the run folder.
//!
//! The stages only change a record in memory. A thread writes it, a few times a second at most and never synced, so
//! that neither a slow disk nor a reader holds up the run; each writing replaces the file as a whole. It is part of no
//! result and of nothing that is hashed. That it cannot be written is a warning, once.

mod process;
mod record;
mod working;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use process::{Life, Process};
pub use record::{Curve, FILE, Record, RunState, SampleRecord, StageRecord, StageState};
use working::Working;
pub(crate) use working::now;

use crate::store::remove_abandoned;

/// Between two writings.
const EVERY: Duration = Duration::from_millis(400);
/// A sign of life where nothing else changes.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Takes the one warning that a run gives.
type Warn = Box<dyn FnOnce(&str) + Send>;

/// The record of one run.
pub(super) struct Live {
    shared: Arc<Shared>,
    folder: PathBuf,
    warn: Option<Warn>,
    writer: Option<JoinHandle<()>>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    working: Working,
    changed: bool,
    ended: bool,
}

impl Live {
    /// Writes at once where the folder is there already, so that an earlier run's record is not taken for this one's;
    /// else when the first stage has come to something, which makes the folder.
    pub(super) fn new(
        folder: &Path,
        name: &str,
        seed: u64,
        plan: Vec<String>,
        warn: impl FnOnce(&str) + Send + 'static,
    ) -> Live {
        let state = State { working: Working::new(name, seed, plan), changed: true, ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let mut live = Live { shared, folder: folder.to_owned(), warn: Some(Box::new(warn)), writer: None };
        if folder.is_dir() {
            live.write();
        }
        live
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// A stage begins. It may yet find that it cannot, and then nothing was written.
    pub(super) fn start(&mut self, label: &str) {
        self.shared.change(|working| working.start(label));
    }

    /// Something was done.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Working)) {
        self.shared.change(change);
        self.write();
    }

    pub(super) fn wants_sample(&self) -> bool {
        self.shared.lock().working.wants_sample()
    }

    /// The run is over. The last writing is done when this returns.
    pub(super) fn end(mut self, error: Option<String>) {
        self.close(error);
    }

    fn close(&mut self, error: Option<String>) {
        {
            let mut state = self.shared.lock();
            if state.ended {
                return;
            }
            state.working.end(error);
            state.ended = true;
        }
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been shown; it harms nothing else.
            let _ = writer.join();
        }
    }

    /// Starts the writer, if it does not write yet.
    fn write(&mut self) {
        let Some(warn) = self.warn.take() else { return };
        let (shared, folder) = (self.shared.clone(), self.folder.clone());
        // Without a thread there is nothing to watch, which is no reason to stop.
        self.writer =
            std::thread::Builder::new().name("progress".into()).spawn(move || shared.write(&folder, warn)).ok();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close(Some("the run was broken off".to_owned()));
    }
}

impl Shared {
    pub(super) fn warning(&self, text: &str) {
        self.change(|working| working.warning(text));
    }

    fn change(&self, change: impl FnOnce(&mut Working)) {
        let mut state = self.lock();
        change(&mut state.working);
        if !std::mem::replace(&mut state.changed, true) {
            self.wake.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, folder: &Path, warn: Box<dyn FnOnce(&str) + Send>) {
        let mut warn = Some(warn);
        remove_abandoned(folder, &stem());
        let mut state = self.lock();
        loop {
            let (bytes, ended) = (state.working.encode(), state.ended);
            state.changed = false;
            drop(state);
            if let Err(e) = replace(folder, &bytes)
                && let Some(warn) = warn.take()
            {
                let file = folder.join(FILE);
                warn(&format!(
                    "{}: cannot write the file: {e}; `creamery watch` will not see this run, which goes on",
                    file.display()
                ));
            }
            if ended {
                return;
            }
            let wait = |state, time, wanted: fn(&mut State) -> bool| {
                self.wake.wait_timeout_while(state, time, |s| !wanted(s)).unwrap_or_else(PoisonError::into_inner).0
            };
            state = wait(self.lock(), EVERY, |s| s.ended);
            state = wait(state, HEARTBEAT, |s| s.changed || s.ended);
        }
    }
}

/// Of the temporaries.
fn stem() -> String {
    format!(".{FILE}.")
}

/// Replaces the file as a whole, without a sync: after a power cut there may be none, or an empty one.
fn replace(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!("{}{}.tmp", stem(), std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        let _ = file.try_lock(); // says that the temporary is not abandoned
        file.write_all(bytes)?;
        fs::rename(&temporary, folder.join(FILE))
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn read(folder: &Path) -> Record {
        serde_json::from_slice(&fs::read(folder.join(FILE)).unwrap()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_last_state_is_written_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("runs/out");
        let live = || Live::new(&out, "run", 7, vec!["sft".into()], |m| panic!("{m}"));
        // Nothing was done: no folder either.
        live().end(Some("no model".into()));
        assert!(!out.exists());

        let mut run = live();
        run.start("sft");
        assert!(!out.exists());
        run.change(|w| w.update(1, 2, "steps"));
        run.shared().warning("careful");
        run.change(|w| w.finish(false, 0.5));
        run.end(None);
        let found = read(&out);
        assert_eq!((found.state, found.name.as_str(), found.seed, found.warned), (RunState::Finished, "run", 7, 1));
        assert_eq!(found.stages[0].state, StageState::Done);
        assert_eq!(found.process, Process::this());

        // A killed writer's temporary goes. The earlier record does not outlive a run that fails before its first stage.
        fs::write(out.join(".progress.json.1.tmp"), "{").unwrap();
        live().end(Some("no model".into()));
        assert_eq!(read(&out).error.as_deref(), Some("no model"));
        assert_eq!(names(&out), [FILE]);
        // One that is dropped was broken off.
        drop(live());
        assert_eq!(read(&out).state, RunState::Failed);
    }

    #[test]
    fn what_cannot_be_written_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("file");
        fs::write(&out, "in the way").unwrap();
        let (sender, warnings) = channel();
        let mut live = Live::new(&out, "run", 0, Vec::new(), move |m| sender.send(m.to_owned()).unwrap());
        live.start("sample");
        live.change(|w| w.finish(false, 0.5));
        live.end(None);
        let warnings: Vec<String> = warnings.iter().collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("progress.json") && warnings[0].contains("goes on"), "{warnings:?}");
        assert_eq!(fs::read_to_string(&out).unwrap(), "in the way");
    }
}
