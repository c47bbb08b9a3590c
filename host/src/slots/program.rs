//! A verifier behind a slot: a process that reads a JSON line for each query and writes one, in order.
//!
//! ```text
//! {"id": 1, "messages": [{"role": "user", "content": "…"}], "count": 1, "max_new_tokens": 64, "temperature": 0.0, "top_p": 1.0}
//! {"text": "7"}      or {"texts": ["7", "8"]}, one for each of `count`, or {"error": "why there is no answer"}
//! ```
//!
//! It starts with a stage's first query, in the config file's folder, and ends with the stage: then its input is
//! closed, and it is killed if it does not end by itself. It may repeat the query's `id`, which is checked.
//!
//! Its scores are kept by its arguments and the contents of the files that are known; see [`contents`](super::contents).

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use creamery_plugin::{Finish, Generated};
use serde_json::{Value, json};

use super::{Backend, Capabilities, Draws, GenerateAsk, Reply};
use crate::config::ProgramSlot;
use crate::data::strict_json;
use crate::error::{Error, Result};

/// A line of an answer.
const MAX_LINE: u64 = 16 << 20;
/// All answers to one call.
const MAX_ANSWERS: usize = 256 << 20;
/// What of the error output is kept.
const MAX_NOTES: usize = 10;
const MAX_NOTE: u64 = 1000;
/// For a program that was told to end.
const LEAVE: Duration = Duration::from_secs(5);

pub(super) struct Program {
    argv: Vec<String>,
    folder: PathBuf,
    deadline: Duration,
    /// Environment variables that it does not get.
    secrets: Vec<String>,
    running: Option<Running>,
}

impl Program {
    pub(super) fn new(slot: &ProgramSlot, secrets: &[String]) -> Program {
        let deadline = Duration::from_secs_f64(slot.deadline_seconds);
        let (argv, folder) = (slot.program.clone(), slot.folder.clone());
        Program { argv, folder, deadline, secrets: secrets.to_vec(), running: None }
    }

    /// The command, for messages.
    pub(super) fn name(&self) -> String {
        let line = self.argv.join(" ");
        match line.char_indices().nth(100) {
            Some((end, _)) => format!("'{}…'", &line[..end]),
            None => format!("'{line}'"),
        }
    }

    fn start(&self) -> Result<Running> {
        let (first, arguments) =
            self.argv.split_first().ok_or_else(|| Error::config("there is no program to start"))?;
        // A path starts at the folder, a name is looked up as in a shell.
        let path = if first.contains(['/', '\\']) { self.folder.join(first) } else { PathBuf::from(first) };
        let mut command = Command::new(path);
        command.args(arguments).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in &self.secrets {
            command.env_remove(variable);
        }
        // What it starts itself is killed with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|e| {
            Error::run(format!("the program {} cannot be started: {e}", self.name()))
                .file(&self.folder)
                .help("check that it is installed; paths start at the config file's folder")
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::run("a program was started without its pipes"));
        };
        let (input, lines) = (channel(), sync_channel(4));
        std::thread::spawn(move || write_lines(stdin, &input.1));
        std::thread::spawn(move || {
            let mut output = BufReader::new(stdout);
            while let Some(line) = read_line(&mut output, MAX_LINE) {
                if lines.0.send(line).is_err() {
                    return;
                }
            }
        });
        let (notes, closed) = (Arc::new(Mutex::new(VecDeque::new())), channel::<()>());
        let kept = notes.clone();
        std::thread::spawn(move || {
            // Dropped at the end, which tells that all is read.
            let _open = closed.0;
            keep_notes(&mut BufReader::new(stderr), &kept);
        });
        Ok(Running { child, input: Some(input.0), lines: lines.1, notes, notes_closed: closed.1, asked: 0 })
    }

    /// `left` is how many bytes it may still answer.
    fn ask(&mut self, ask: &GenerateAsk, left: &mut usize) -> Result<Reply<Vec<Generated>>> {
        if self.running.is_none() {
            self.running = Some(self.start()?);
        }
        let Some(running) = &mut self.running else { return Err(Error::run("the program was not started")) };
        running.asked += 1;
        let id = running.asked;
        let line = json!({
            "id": id, "messages": ask.messages, "count": ask.count, "max_new_tokens": ask.max_new_tokens,
            "temperature": ask.temperature, "top_p": ask.top_p,
        });
        let answer = running.ask(format!("{line}\n"), self.deadline);
        let read = answer.and_then(|bytes| parse(&bytes, id, ask.count as usize, left));
        read.map_err(|what| self.failed(&what, id))
    }

    /// The error of a program that did wrong; it is ended.
    fn failed(&mut self, what: &str, line: u64) -> Error {
        let notes = self.running.take().map(|running| running.kill_and_tell()).unwrap_or_default();
        let said = if notes.is_empty() { String::new() } else { format!("\nits last error output:\n{notes}") };
        Error::run(format!("the program {} {what}, at line {line} of its input{said}", self.name()))
    }
}

impl Backend for Program {
    fn capabilities(&self) -> Capabilities {
        Capabilities { response_logps: false, text_logps: false, choose: false, generate: true }
    }

    fn generate(&mut self, asks: &[GenerateAsk], _: &Draws) -> Result<Vec<Reply<Vec<Generated>>>> {
        let mut left = MAX_ANSWERS;
        asks.iter().map(|ask| self.ask(ask, &mut left)).collect()
    }

    fn finish(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let asked = running.asked;
        let end = running.leave();
        self.running = Some(running);
        match end {
            Ok(()) => {
                // Dropping it kills what is left of it.
                self.running = None;
                Ok(())
            }
            Err(what) => Err(self.failed(&what, asked)),
        }
    }
}

/// A line of the program's output, without its end.
enum Line {
    Text(Vec<u8>),
    TooLong,
}

struct Running {
    child: Child,
    /// `None` when its input is closed.
    input: Option<Sender<String>>,
    lines: Receiver<Line>,
    notes: Arc<Mutex<VecDeque<String>>>,
    notes_closed: Receiver<()>,
    asked: u64,
}

impl Running {
    fn ask(&mut self, line: String, deadline: Duration) -> Result<Vec<u8>, String> {
        if let Some(input) = &self.input {
            // A program that reads no more has ended, or will miss the deadline.
            let _ = input.send(line);
        }
        match self.lines.recv_timeout(deadline) {
            Ok(Line::Text(line)) => Ok(line),
            Ok(Line::TooLong) => Err(format!("wrote a line of more than {} MiB", MAX_LINE >> 20)),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("did not answer within {} s (deadline-seconds)", deadline.as_secs_f64()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(match self.status() {
                Some(status) => format!("ended ({status}) without an answer"),
                None => "closed its output without an answer".to_owned(),
            }),
        }
    }

    /// Closes its input and lets it end.
    fn leave(&mut self) -> Result<(), String> {
        self.input = None;
        match self.lines.recv_timeout(LEAVE) {
            Ok(_) => Err("wrote more lines than it was asked for".to_owned()),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => match self.status() {
                Some(status) if !status.success() => Err(format!("ended badly ({status}) after its last answer")),
                _ => Ok(()),
            },
        }
    }

    /// Its exit status, if it ends by itself.
    fn status(&mut self) -> Option<ExitStatus> {
        let patience = Instant::now() + LEAVE;
        while Instant::now() < patience {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => return None,
            }
        }
        None
    }

    /// Kills it with what it started itself.
    fn kill(&mut self) {
        if !kill_group(&self.child) {
            let _ = self.child.kill();
        }
    }

    fn kill_and_tell(mut self) -> String {
        self.kill();
        // What it started itself may hold the pipe open.
        let _ = self.notes_closed.recv_timeout(Duration::from_millis(500));
        let notes = self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        notes.iter().map(|note| format!("  {note}")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.input = None;
        self.kill();
        let _ = self.child.wait();
    }
}

/// Whether the process group of a child was there and was killed.
#[cfg(unix)]
fn kill_group(child: &Child) -> bool {
    let mut command = Command::new("kill");
    command.args(["-KILL", "--", &format!("-{}", child.id())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(not(unix))]
fn kill_group(_: &Child) -> bool {
    false
}

fn write_lines(mut input: ChildStdin, lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        if input.write_all(line.as_bytes()).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

/// The next line, `None` at the end.
fn read_line(output: &mut impl BufRead, limit: u64) -> Option<Line> {
    let mut line = Vec::new();
    output.take(limit + 1).read_until(b'\n', &mut line).ok()?;
    match line.last() {
        None => None,
        Some(b'\n') => {
            line.pop();
            Some(Line::Text(line))
        }
        Some(_) if line.len() as u64 > limit => Some(Line::TooLong),
        Some(_) => Some(Line::Text(line)),
    }
}

/// Keeps the last lines of the error output, to be shown on a terminal.
fn keep_notes(errors: &mut impl BufRead, kept: &Mutex<VecDeque<String>>) {
    while let Some(line) = read_line(errors, MAX_NOTE) {
        let bytes = match line {
            Line::Text(bytes) => bytes,
            Line::TooLong => b"(a long line)".to_vec(),
        };
        let text: String = String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect();
        let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() == MAX_NOTES {
            kept.pop_front();
        }
        kept.push_back(text);
    }
}

/// The texts of an answer; the outer error is what is wrong with it. Their size is taken from `left`.
fn parse(bytes: &[u8], id: u64, count: usize, left: &mut usize) -> Result<Reply<Vec<Generated>>, String> {
    let shown = || {
        let start: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(80).collect();
        format!("wrote {start:?}")
    };
    let wrong = |expected: &str| format!("{}, expected {expected}", shown());
    let line = "{\"text\": \"…\"}, {\"texts\": […]} or {\"error\": \"…\"}";
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("UTF-8"))?;
    let Ok(Value::Object(fields)) = strict_json::parse(text) else { return Err(wrong(line)) };
    if let Some(given) = fields.get("id")
        && given.as_u64() != Some(id)
    {
        return Err(wrong(&format!("the answer with id {id}")));
    }
    let generated = |text: &str| Generated { text: text.to_owned(), finish: Finish::Stop };
    let size = |text: &str| text.len().saturating_add(size_of::<Generated>());
    let mut take = |bytes: usize| match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(format!("answers one call of the judge with more than {} MiB", MAX_ANSWERS >> 20)),
    };
    match (fields.get("text"), fields.get("texts"), fields.get("error")) {
        // A verifier has one verdict, however often it is asked.
        (Some(Value::String(text)), None, None) => {
            take(size(text).saturating_mul(count))?;
            Ok(Ok(vec![generated(text); count]))
        }
        (None, Some(Value::Array(texts)), None) => {
            let texts: Option<Vec<_>> = texts.iter().map(|text| text.as_str().map(generated)).collect();
            match texts {
                Some(texts) if texts.len() == count => {
                    take(texts.iter().map(|generated| size(&generated.text)).sum())?;
                    Ok(Ok(texts))
                }
                _ => Err(wrong(&format!("{count} texts"))),
            }
        }
        (None, None, Some(Value::String(reason))) => Ok(Err(reason.chars().take(500).collect())),
        _ => Err(wrong(line)),
    }
}
