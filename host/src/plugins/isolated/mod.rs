//! Native plugins in processes of their own (`isolation = "process"`, Linux): a child per plugin, which is this program
//! again as `creamery plugin-host`. It loads the library and answers calls over a socket; its answers are checked as
//! those of any plugin are.
//!
//! The child has no environment, no files but the socket and its error output, rights to nothing (see [`confine`]), and
//! limits of memory. A call that takes too long, a crash or a broken message ends the process, which fails this one
//! call; the next call starts a new one, as often as the limits allow. So what a component's trap is to the run, a native plugin's crash is here.

mod child;
mod confine;
mod frame;
mod process;
mod wire;

use std::path::Path;
use std::time::Instant;

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, Level, NumbersView, ObjectiveBatch, ObjectiveValue,
    RankContext, Ranking, Records, Scores, Sources, Step,
};

use self::frame::{Channel, Trouble, message};
use self::process::Process;
use self::wire::{Broken, Reader, Wire, put_list, put_numbers, records};
use super::{
    Failure, Kind, Limits, LoadOptions, PluginInfo, Raw, RawJudge, RawRanker, RawRegularizer, configure_error, log,
};
use crate::error::{Error, Result};

pub use child::main as host_main;

/// The tags of messages: what is asked for, and what comes back.
mod tag {
    pub const LOAD: u8 = 0;
    pub const STEP: u8 = 1;
    pub const REPORT: u8 = 2;
    pub const RANK: u8 = 3;
    pub const RANK_SOURCES: u8 = 4;
    pub const LABEL: u8 = 5;
    pub const OBJECTIVE: u8 = 6;
    pub const COLUMNS: u8 = 7;
    pub const OBJECTIVE_COLUMNS: u8 = 8;
    pub const RANK_NUMBERS: u8 = 9;

    /// The function's result.
    pub const DONE: u8 = 100;
    /// A [`super::Refusal`].
    pub const FAILED: u8 = 101;
    /// A message for the user: a level and a text.
    pub const LOG: u8 = 102;
}

/// Messages for the user in one call; those of a flood are dropped.
const MAX_MESSAGES: usize = 1000;

/// What a process is to load.
struct Load {
    /// The process that it belongs to.
    parent: u32,
    path: String,
    digest: String,
    kind: String,
    params: String,
    memory_bytes: u64,
}

/// Why something failed, in the process.
struct Refusal {
    message: String,
    help: Option<String>,
}

records! {
    Load { parent: u32, path: String, digest: String, kind: String, params: String, memory_bytes: u64 }
    Refusal { message: String, help: Option<String> }
}

/// Starts a process for the library of `info`, whose descriptor has been checked, and configures the plugin there.
/// `path` is where its bytes are held.
pub(super) fn load(path: &Path, info: &PluginInfo, options: &LoadOptions) -> Result<Raw> {
    let path = std::path::absolute(path).map_err(|e| Error::io("find the folder of", path, &e))?;
    let Some(path) = path.to_str() else {
        return Err(Error::plugin("the path of a plugin in a process of its own must be UTF-8 text")
            .help("rename the file, or leave out `isolation`"));
    };
    let load = Load {
        parent: std::process::id(),
        path: path.to_owned(),
        digest: info.digest.clone(),
        kind: info.descriptor.kind.name().to_owned(),
        params: info.params.to_string(),
        memory_bytes: options.limits.memory_bytes as u64,
    };
    let mut isolated = Isolated {
        load,
        program: process::program(options)?,
        limits: options.limits.clone(),
        running: None,
        restarts: 0,
    };
    let missing = log::loading(info, options, || isolated.start()).map_err(|failure| match failure.timed_out {
        true => Error::run(format!("{}: {}", info.title(), failure.message)),
        false => configure_error(info, failure),
    })?;
    if !missing.is_empty() {
        let what = missing.join("; ");
        let warning = format!("its process is less confined than it could be, since this machine lacks {what}");
        log::host(options, info.name(), Level::Warn, &warning);
    }
    Ok(match info.descriptor.kind {
        Kind::Judge => Raw::Judge(Box::new(isolated)),
        Kind::Ranker => Raw::Ranker(Box::new(isolated)),
        Kind::Regularizer => Raw::Regularizer(Box::new(isolated)),
    })
}

/// A plugin in a process of its own; after a failure there is none until the next call.
struct Isolated {
    load: Load,
    program: std::path::PathBuf,
    limits: Limits,
    running: Option<Process>,
    /// How often a process was started in the place of another.
    restarts: u64,
}

impl Isolated {
    /// Starts the process and lets it load the plugin. What this machine lacks to confine it comes back.
    fn start(&mut self) -> Result<Vec<String>, Failure> {
        self.running = None;
        let process = Process::start(&self.program).map_err(|e| Failure {
            message: format!("its process cannot be started: {e}"),
            help: Some("leave out `isolation`, or make room for another process".to_owned()),
            timed_out: false,
        })?;
        self.running = Some(process);
        let most = self.limits.deadline.max(process::LOADING);
        let end = Instant::now() + most;
        let load = message(tag::LOAD, |out| self.load.put(out));
        let mut started = self.exchange(&load, end);
        if let Err(failure) = &mut started
            && failure.timed_out
        {
            failure.message = format!("it took longer than {most:?} to be loaded, so its process was ended");
        }
        if started.is_err() {
            // It has said why, and is ending.
            self.running = None;
        }
        started
    }

    /// Calls a function: `put` writes its arguments.
    fn call<T: Wire>(&mut self, function: u8, put: impl FnOnce(&mut Vec<u8>)) -> Result<T, Failure> {
        if self.running.is_none() {
            let most = self.limits.restarts;
            if self.restarts == most {
                return Err(Failure {
                    message: format!("its process has ended {} times and is not started again", most + 1),
                    help: Some("raise `limits.restarts`, or tell the plugin's author".to_owned()),
                    timed_out: false,
                });
            }
            self.restarts += 1;
            self.start()?;
        }
        let end = Instant::now() + self.limits.deadline;
        self.exchange(&message(function, put), end)
    }

    /// Sends a request and takes its answer. A process that does not answer as it should is ended.
    fn exchange<T: Wire>(&mut self, request: &[u8], end: Instant) -> Result<T, Failure> {
        let Some(process) = &mut self.running else { return Err(broken("there is no process".to_owned())) };
        let trouble = match answer(&mut process.channel, request, self.limits.output_bytes as u64, end) {
            Ok(answer) => {
                return answer.map_err(|Refusal { message, help }| {
                    let message = log::tamed(&message);
                    Failure { message, help, timed_out: false }
                });
            }
            Err(trouble) => trouble,
        };
        let ended = self.running.take().map(|process| process.end(trouble == Trouble::Closed)).unwrap_or_default();
        Err(self.failure(trouble, ended))
    }

    fn failure(&self, trouble: Trouble, ended: process::Ended) -> Failure {
        let process::Ended { how, said } = ended;
        // Beside the message, which may be kept in an artifact: what it said may differ from run to run.
        let with_said = |help: String| match said.is_empty() {
            true => help,
            false => format!("{help}; its last output:\n{said}"),
        };
        let limits = &self.limits;
        match trouble {
            Trouble::Late => Failure {
                message: format!(
                    "it ran longer than its deadline of {:?} for one call, so it was ended",
                    limits.deadline
                ),
                help: Some(with_said("raise `limits.deadline-seconds`; if it never ends, the plugin loops".to_owned())),
                timed_out: true,
            },
            Trouble::TooLong(_) => Failure {
                message: format!("it returned more than {} bytes in one call", limits.output_bytes),
                help: Some("raise `limits.output-mib`".to_owned()),
                timed_out: false,
            },
            Trouble::Closed if said.contains("memory allocation of") => Failure {
                message: format!("it ran out of its {} bytes of memory, and its process {how}", limits.memory_bytes),
                help: Some(with_said("raise `limits.memory-mib`".to_owned())),
                timed_out: false,
            },
            Trouble::Closed => Failure {
                message: format!("its process {how}"),
                help: Some(with_said("this is a mistake of the plugin, for its author to mend".to_owned())),
                timed_out: false,
            },
            Trouble::Broken(what) => Failure { help: Some(with_said(MISTAKE.to_owned())), ..broken(what) },
        }
    }
}

/// What comes back for a request: a value, or why there is none. Messages for the user are passed on.
fn answer<T: Wire>(
    channel: &mut Channel,
    request: &[u8],
    limit: u64,
    end: Instant,
) -> Result<Result<T, Refusal>, Trouble> {
    channel.send(request, Some(end))?;
    let mut messages = 0;
    loop {
        match channel.receive(limit, Some(end))? {
            (tag::LOG, reader) => {
                let line = reader.whole::<Line>().map_err(Trouble::Broken)?;
                messages += 1;
                if messages <= MAX_MESSAGES {
                    log::forward(Level::from_code(line.level), &line.text);
                }
            }
            (tag::DONE, reader) => return reader.whole().map(Ok).map_err(Trouble::Broken),
            (tag::FAILED, reader) => return reader.whole().map(Err).map_err(Trouble::Broken),
            (other, _) => return Err(Trouble::Broken(format!("a message of kind {other} is unknown"))),
        }
    }
}

/// Reads bytes as the messages of a process, and each as every kind of answer. For fuzz targets: these are the raw bytes
/// that a hostile process can hand over.
#[doc(hidden)]
pub fn read_messages(bytes: &[u8]) {
    use std::io::Write;
    let Ok((ours, mut theirs)) = std::os::unix::net::UnixStream::pair() else { return };
    // What does not fit into the socket would wait for a reader.
    let _ = theirs.set_nonblocking(true);
    let _ = theirs.write(bytes);
    drop(theirs);
    let mut channel = Channel::new(ours);
    while let Ok((_, Reader(content))) = channel.receive(1 << 20, None) {
        let _ = Reader(content).whole::<Step>();
        let _ = Reader(content).whole::<JudgeReport>();
        let _ = Reader(content).whole::<Ranking>();
        let _ = Reader(content).whole::<Option<Ranking>>();
        let _ = Reader(content).whole::<Labels>();
        let _ = Reader(content).whole::<ObjectiveValue>();
        let _ = Reader(content).whole::<Vec<Column>>();
        let _ = Reader(content).whole::<Vec<String>>();
        let _ = Reader(content).whole::<Line>();
        let _ = Reader(content).whole::<Refusal>();
    }
}

const MISTAKE: &str = "the plugin wrote into what its process sends; that is for its author to mend";

fn broken(what: String) -> Failure {
    let message = format!("its process sent something that is no answer: {what}");
    Failure { message, help: Some(MISTAKE.to_owned()), timed_out: false }
}

/// A message for the user.
struct Line {
    level: u32,
    text: String,
}

records! {
    Line { level: u32, text: String }
}

impl RawJudge for Isolated {
    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure> {
        self.call(tag::STEP, |out| {
            context.put(out);
            groups.put(out);
            put_list(answers, out);
        })
    }

    fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, Failure> {
        self.call(tag::REPORT, |out| {
            context.put(out);
            groups.put(out);
            put_list(answers, out);
        })
    }
}

impl RawRanker for Isolated {
    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure> {
        self.call(tag::RANK, |out| {
            context.put(out);
            groups.put(out);
            scores.put(out);
        })
    }

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, Failure> {
        self.call(tag::RANK_SOURCES, |out| {
            context.put(out);
            groups.put(out);
            scores.put(out);
            sources.put(out);
        })
    }

    fn takes_numbers(&self) -> bool {
        true
    }

    fn rank_numbers(&mut self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, Failure> {
        self.call(tag::RANK_NUMBERS, |out| {
            context.put(out);
            put_numbers(numbers, out);
        })
    }
}

impl RawRegularizer for Isolated {
    fn label(&mut self, records: &Records) -> Result<Labels, Failure> {
        self.call(tag::LABEL, |out| records.put(out))
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure> {
        self.call(tag::OBJECTIVE, |out| batch.put(out))
    }

    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>, Failure> {
        self.call(tag::COLUMNS, |out| {
            records.put(out);
            labels.put(out);
        })
    }

    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, Failure> {
        self.call(tag::OBJECTIVE_COLUMNS, |out| {
            batch.put(out);
            put_list(columns, out);
        })
    }
}
