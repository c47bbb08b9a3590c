//! `creamery sweep run`: starts the runs of a shard, side by side as far as cores and memory go, and keeps account.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::json;

use super::child::{self, Ended, Process};
use super::interrupt;
use super::memory;
use super::plan::{Plan, PlannedRun};
use super::record::{Place, RunRecord, now};
use super::schedule::Queue;
use super::{EXIT_PERMANENT, EXIT_TEMPORARY, Shard, State};
use crate::config::{RunConfig, SweepConfig};
use crate::error::{Error, Kind, Result};
use crate::plugins::lock::{self, Lock};
use crate::report::Progress;
use crate::store::write_atomic;

/// How the runs are run.
pub struct Options {
    pub shard: Shard,
    /// Runs at once. Default: as many as there are cores, while memory lasts.
    pub jobs: Option<usize>,
    /// After a failure further runs are started.
    pub keep_going: bool,
    /// Plugins must be what `creamery.lock` beside the config says.
    pub locked: bool,
    /// The program itself.
    pub program: PathBuf,
}

/// What became of the runs.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// All of the shard.
    pub runs: usize,
    /// Done just now.
    pub done: usize,
    /// Done before, here or by another process.
    pub skipped: usize,
    pub failed: Vec<Failure>,
    /// The program was asked to end.
    pub interrupted: bool,
    pub seconds: f64,
    pub jobs: usize,
}

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub name: String,
    pub exit_code: Option<i32>,
    pub error: String,
    pub log: PathBuf,
}

impl Failure {
    /// No further try will do better: the configuration (2), the data (3), a plugin (4), or what training makes of them
    /// (5), which comes out the same each time.
    pub fn is_permanent(&self) -> bool {
        self.exit_code.is_some_and(|code| (2..=5).contains(&code))
    }
}

impl Outcome {
    pub fn left(&self) -> usize {
        self.runs - self.done - self.skipped - self.failed.len()
    }

    /// The program's exit code: 0, [`EXIT_PERMANENT`] or [`EXIT_TEMPORARY`].
    pub fn exit_code(&self) -> u8 {
        match (self.failed.is_empty(), self.interrupted) {
            (true, false) => 0,
            (false, false) if self.failed.iter().all(Failure::is_permanent) => EXIT_PERMANENT,
            _ => EXIT_TEMPORARY,
        }
    }

    pub fn json(&self) -> serde_json::Value {
        let failed = self.failed.iter().map(|failure| {
            json!({
                "name": failure.name, "exit-code": failure.exit_code, "permanent": failure.is_permanent(),
                "error": failure.error, "log": failure.log.to_string_lossy(),
            })
        });
        json!({
            "runs": self.runs, "done": self.done, "skipped": self.skipped, "left": self.left(),
            "failed": failed.collect::<Vec<_>>(), "interrupted": self.interrupted, "seconds": self.seconds,
            "jobs": self.jobs,
        })
    }
}

/// How often is looked whether the program should end, or another process has let go of a run.
const LOOK: Duration = Duration::from_millis(200);

/// Runs what is not done yet.
///
/// # Errors
/// What is wrong with the sweep before anything has started. A run that fails is none: see [`Outcome`].
pub fn run(sweep: &SweepConfig, options: &Options, progress: &mut Progress) -> Result<Outcome> {
    if options.locked && Lock::read(&sweep.file)?.is_none() {
        return Err(lock::missing(&sweep.file));
    }
    let plan = Plan::make(sweep, options.shard, progress)?;
    let place = Place { out: sweep.out.clone() };
    place.describe(sweep)?;
    let waiting: Vec<usize> = (0..plan.runs.len()).filter(|run| !is_done(&place, &plan.runs[*run])).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.unwrap_or(cores).clamp(1, waiting.len().max(1));
    let (tell, hear) = mpsc::channel();
    let outcome =
        Outcome { runs: plan.runs.len(), skipped: plan.runs.len() - waiting.len(), jobs, ..Outcome::default() };
    let runner = Runner {
        sweep,
        options,
        plan: &plan,
        place: &place,
        progress,
        queue: Queue::new(&plan, waiting),
        working: Vec::new(),
        elsewhere: Vec::new(),
        threads: (cores / jobs).max(1),
        peak: estimated_peak(sweep),
        measured: false,
        began: Instant::now(),
        began_at: now(),
        ending: false,
        tell,
        outcome,
    };
    interrupt::watch();
    runner.run(&hear)
}

struct Runner<'r> {
    sweep: &'r SweepConfig,
    options: &'r Options,
    plan: &'r Plan,
    place: &'r Place,
    progress: &'r mut Progress,
    queue: Queue<'r>,
    working: Vec<Working>,
    /// Runs that another process has.
    elsewhere: Vec<usize>,
    /// Of each run.
    threads: usize,
    /// Bytes that a run may need: the most of those that are done, or an estimate.
    peak: u64,
    measured: bool,
    began: Instant,
    began_at: f64,
    ending: bool,
    tell: Sender<Ended>,
    outcome: Outcome,
}

/// A run at work.
struct Working {
    run: usize,
    process: Process,
    record: RunRecord,
    _taken: File,
}

impl Runner<'_> {
    fn run(mut self, hear: &Receiver<Ended>) -> Result<Outcome> {
        let result = self.work(hear);
        if result.is_err() {
            self.working.iter().for_each(|working| working.process.end());
        }
        self.outcome.seconds = self.began.elapsed().as_secs_f64();
        result.map(|()| self.outcome)
    }

    fn work(&mut self, hear: &Receiver<Ended>) -> Result<()> {
        loop {
            if interrupt::asked() && !self.ending {
                self.ending = true;
                self.outcome.interrupted = true;
                self.progress.line("asked to end: the runs are ended; the same command goes on from here");
                self.working.iter().for_each(|working| working.process.end());
            }
            self.look_elsewhere()?;
            while self.may_start() && self.start_next()? {}
            let nothing_left = self.queue.len() == 0 && self.elsewhere.is_empty();
            if self.working.is_empty() && (nothing_left || self.stops()) {
                return Ok(());
            }
            match hear.recv_timeout(LOOK) {
                Ok(ended) => self.ended(ended)?,
                Err(RecvTimeoutError::Timeout) => {}
                // We hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// No further run is started.
    fn stops(&self) -> bool {
        self.ending || (!self.options.keep_going && !self.outcome.failed.is_empty())
    }

    fn may_start(&self) -> bool {
        !self.stops() && self.queue.len() > 0 && self.working.len() < self.outcome.jobs && self.has_memory()
    }

    /// Whether there is memory for one more, besides what the others may still take. One run may always start.
    fn has_memory(&self) -> bool {
        let Some(available) = memory::available().filter(|_| !self.working.is_empty()) else { return true };
        let growth = |working: &Working| self.peak.saturating_sub(memory::resident(working.process.id));
        available >= self.peak + self.working.iter().map(growth).sum::<u64>()
    }

    /// False if there was none to start.
    fn start_next(&mut self) -> Result<bool> {
        let Some(run) = self.queue.next() else { return Ok(false) };
        let planned = &self.plan.runs[run];
        let Some(taken) = self.place.take(&planned.name)? else {
            self.queue.ended(run, false);
            self.progress.line(&format!("{}: another process has it", planned.name));
            self.elsewhere.push(run);
            return Ok(true);
        };
        // Another process may have done it just now.
        if self.settled(run) {
            return Ok(true);
        }
        self.start(run, planned, taken)?;
        Ok(true)
    }

    /// Counts a run that another process has ended since this one began; false if it is to be run.
    fn settled(&mut self, run: usize) -> bool {
        let planned = &self.plan.runs[run];
        let record = self.place.read(&planned.name);
        if is_done(self.place, planned) {
            self.queue.ended(run, true);
            self.outcome.skipped += 1;
            return true;
        }
        if record.state == State::Failed && record.started >= self.began_at {
            self.queue.ended(run, false);
            self.fail(planned, &record);
            return true;
        }
        false
    }

    fn start(&mut self, run: usize, planned: &PlannedRun, taken: File) -> Result<()> {
        let folder = self.place.run(&planned.name);
        fs::create_dir_all(&folder).map_err(|e| Error::io("create the folder", &folder, &e))?;
        let config = folder.join("run.toml");
        let resolved = self.sweep.config_of(planned.run);
        write_atomic(&config, resolved.to_toml()?)?;
        self.lock(&config, &resolved)?;
        let mut command = Command::new(&self.options.program);
        command.arg("run").arg(&config).args(["--threads", &self.threads.to_string()]);
        if self.options.locked {
            command.arg("--locked");
        }
        let log = self.place.log(&planned.name);
        let process = child::start(command, &log, run, self.tell.clone())?;
        let record = RunRecord {
            state: State::Running,
            fingerprint: planned.fingerprint.clone(),
            started: now(),
            process: Some(process.id),
            ..RunRecord::default()
        };
        self.place.write(&planned.name, &record)?;
        self.working.push(Working { run, process, record, _taken: taken });
        self.say(&planned.name, "started");
        Ok(())
    }

    /// What the lock beside the sweep says of this run's plugins, beside the run's own config.
    fn lock(&self, config: &Path, resolved: &RunConfig) -> Result<()> {
        let parts = resolved.plugins().into_iter().map(|(part, ..)| part).collect();
        Lock::copy(&self.sweep.file, config, &parts)
    }

    fn ended(&mut self, ended: Ended) -> Result<()> {
        let Some(at) = self.working.iter().position(|working| working.run == ended.number) else { return Ok(()) };
        let Working { run, mut record, _taken, .. } = self.working.remove(at);
        let planned = &self.plan.runs[run];
        let done = ended.code == Some(0);
        record.seconds = ended.seconds;
        record.exit_code = ended.code;
        record.peak_mib = ended.peak_mib;
        record.process = None;
        record.state = match (done, self.ending) {
            (true, _) => State::Done,
            (false, true) => State::Interrupted,
            (false, false) => State::Failed,
        };
        if record.state == State::Failed {
            record.error = Some(error_of(&self.place.log(&planned.name), &ended));
        }
        self.place.write(&planned.name, &record)?;
        self.queue.ended(run, done);
        match record.state {
            State::Done => {
                if let Some(peak) = ended.peak_mib {
                    // The first measurement takes the estimate's place.
                    self.peak = if self.measured { self.peak.max(peak << 20) } else { peak << 20 };
                    self.measured = true;
                }
                self.outcome.done += 1;
                let peak = ended.peak_mib.map_or_else(String::new, |mib| format!(", at most {mib} MiB"));
                self.say(&planned.name, &format!("done in {:.1} s{peak}", ended.seconds));
            }
            State::Failed => self.fail(planned, &record),
            _ => {}
        }
        Ok(())
    }

    fn fail(&mut self, planned: &PlannedRun, record: &RunRecord) {
        let error = record.error.clone().unwrap_or_default();
        let log = self.place.log(&planned.name);
        self.say(&planned.name, &format!("failed: {}", error.lines().next().unwrap_or_default()));
        self.outcome.failed.push(Failure { name: planned.name.clone(), exit_code: record.exit_code, error, log });
    }

    /// Takes over runs that other processes have let go of without doing them.
    fn look_elsewhere(&mut self) -> Result<()> {
        if self.stops() {
            return Ok(());
        }
        for run in std::mem::take(&mut self.elsewhere) {
            match self.place.take(&self.plan.runs[run].name)? {
                None => self.elsewhere.push(run),
                Some(_) => self.queue.put_back(run),
            }
        }
        Ok(())
    }

    fn say(&mut self, name: &str, what: &str) {
        let outcome = &self.outcome;
        let ended = outcome.done + outcome.skipped + outcome.failed.len();
        self.progress.line(&format!("[{ended}/{}] {name}: {what}", outcome.runs));
    }
}

/// Whether a run was done with just this config, data, plugins and program, and its results are there.
fn is_done(place: &Place, planned: &PlannedRun) -> bool {
    let record = place.read(&planned.name);
    let results = || place.run(&planned.name).join("summary.json").is_file();
    record.state == State::Done && record.fingerprint == planned.fingerprint && results()
}

/// Before any run is measured: weights, gradients, moments and a few more models, of files with two bytes a number.
fn estimated_peak(sweep: &SweepConfig) -> u64 {
    let weights = |folder: &Path| -> u64 {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let weights = files.filter(|file| file.file_name().to_string_lossy().ends_with(".safetensors"));
        weights.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    };
    let largest = sweep.arms.first().map_or(0, |arm| weights(&arm.config.model.path));
    (512 << 20) + largest.saturating_mul(14)
}

/// The last error in a run's log, or how the process ended.
fn error_of(log: &Path, ended: &Ended) -> String {
    let said = tail(log).unwrap_or_default();
    let from = said.rfind("\nerror: ").map(|at| at + 1).or_else(|| said.starts_with("error: ").then_some(0));
    if let Some(from) = from {
        let mut lines = said[from..].lines();
        let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
        let rest = lines.take_while(|line| line.starts_with("  "));
        return std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n");
    }
    match (ended.code, ended.signal) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(9)) => "it was killed (signal 9), perhaps for lack of memory".to_owned(),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended in a way that the system does not tell".to_owned(),
    }
}

fn tail(log: &Path) -> std::io::Result<String> {
    const MOST: u64 = 64 << 10;
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Outcome {
    /// What the program ends with, unless all is done.
    pub fn error(&self) -> Option<Error> {
        let code = self.exit_code();
        if code == 0 {
            return None;
        }
        let (failed, runs, left) = (self.failed.len(), self.runs, self.left());
        let mut text = match (failed, self.interrupted) {
            (0, _) => format!("ended when asked to, with {left} of {runs} runs left"),
            _ => format!("{failed} of {runs} runs failed, {left} have not run"),
        };
        for failure in &self.failed {
            let error = failure.error.replace('\n', "\n    ");
            text += &format!("\n  {}: {error}\n    log: {}", failure.name, failure.log.display());
        }
        let help = match code {
            EXIT_PERMANENT => "mend the config, the data or the plugin; the same command then runs what is not done",
            _ => "the same command goes on from here",
        };
        Some(Error::new(Kind::Run, text).help(help).with_exit_code(code))
    }
}
