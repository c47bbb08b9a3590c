//! The child process: started, ended, and what it said.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::frame::Channel;
use crate::error::{Error, Result};
use crate::plugins::LoadOptions;

/// At least so long may starting and loading take, whatever the limit of a call.
pub(super) const LOADING: Duration = Duration::from_secs(60);
/// For a process that has closed its end, and for the rest of what it said.
const LEAVE: Duration = Duration::from_secs(2);
/// What of its output is kept.
const MAX_LINES: usize = 10;
const MAX_LINE: u64 = 1000;

/// The argument that makes this program a plugin's process.
pub(crate) const ARGUMENT: &str = "plugin-host";

/// The program that the processes run: this one, unless the options name another.
pub(super) fn program(options: &LoadOptions) -> Result<PathBuf> {
    if let Some(program) = &options.plugin_host {
        return Ok(program.clone());
    }
    // The link holds on to the very file, even if it is replaced while this program runs.
    let this = Path::new("/proc/self/exe");
    match this.exists() {
        true => Ok(this.to_owned()),
        false => std::env::current_exe().map_err(|e| {
            Error::plugin(format!("this program does not find itself, to start it for a plugin: {e}"))
                .help("leave out `isolation`")
        }),
    }
}

/// A running process.
pub(super) struct Process {
    pub channel: Channel,
    child: Child,
    /// It was waited for, so its number may be another's.
    done: bool,
    output: Output,
}

/// How a process ended, as in "its process …", and the last lines that it wrote.
#[derive(Default)]
pub(super) struct Ended {
    pub how: String,
    pub said: String,
}

impl Process {
    pub(super) fn start(program: &Path) -> std::io::Result<Process> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = spawn(command)?;
        match Output::of(child.stderr.take()) {
            Ok(output) => Ok(Process { channel: Channel::new(ours), child, done: false, output }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(e)
            }
        }
    }

    /// Ends the process and what it has started. `closed`: it has closed its end, so most likely it is ending.
    pub(super) fn end(mut self, closed: bool) -> Ended {
        let until = Instant::now() + if closed { LEAVE } else { Duration::ZERO };
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let by_itself = self.has_ended();
        let how = match self.kill() {
            Some(status) if by_itself => how(status),
            _ if closed => "closed its connection in the middle of a call".to_owned(),
            _ => "was ended".to_owned(),
        };
        Ended { how, said: self.output.said() }
    }

    /// Whether it has ended. It is not waited for, so that its number stays its own.
    fn has_ended(&self) -> bool {
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: a plain structure of numbers, for which all zeros are a value.
        let mut about: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: a plain system call with a structure that lives through it, and that it fills as for a child.
        unsafe { libc::waitid(libc::P_PID, self.child.id(), &mut about, options) == 0 && about.si_pid() != 0 }
    }

    /// Nothing of it is left afterwards, and no zombie. Its status, the first time.
    fn kill(&mut self) -> Option<ExitStatus> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // SAFETY: a plain system call. The group is the child's own: it was made with it, and the number is not
            // given to another as long as the child is not waited for, which is done below and only once.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.child.kill();
        let status = self.child.wait().ok();
        // The thread that reads its output closes the file.
        let _ = self.output.closed.recv_timeout(LEAVE);
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn how(status: ExitStatus) -> String {
    let name = |signal| match signal {
        libc::SIGABRT => " (abort)",
        libc::SIGSEGV => " (segmentation fault)",
        libc::SIGBUS => " (bus error)",
        libc::SIGILL => " (illegal instruction)",
        libc::SIGFPE => " (arithmetic)",
        libc::SIGKILL => " (kill)",
        _ => "",
    };
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}{}", name(signal)),
        (_, Some(code)) => format!("ended with code {code} in the middle of a call"),
        _ => "ended".to_owned(),
    }
}

type Request = (Command, SyncSender<std::io::Result<Child>>);

/// Starts a process from a thread that lives as long as this program does: the kernel ends the process with the thread
/// that started it (see [`super::confine::with_parent`]), and callers' threads come and go.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Option<Mutex<Sender<Request>>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        let thread = std::thread::Builder::new().name("plugin-processes".to_owned()).spawn(move || {
            for (mut command, reply) in requests {
                let _ = reply.send(command.spawn());
            }
        });
        thread.is_ok().then(|| Mutex::new(sender))
    });
    let (reply, answer) = sync_channel(1);
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    let spawner = spawner.as_ref().ok_or_else(gone)?;
    spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// The last lines of a process's output, read by a thread of its own so that it never waits.
struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    closed: Receiver<()>,
}

impl Output {
    fn of(stream: Option<impl Read + Send + 'static>) -> std::io::Result<Output> {
        let (lines, closed) = (Arc::new(Mutex::new(VecDeque::new())), channel::<()>());
        let kept: Arc<Mutex<VecDeque<String>>> = lines.clone();
        std::thread::Builder::new().name("plugin-output".to_owned()).spawn(move || {
            // Dropped at the end, which tells that all is read.
            let _open = closed.0;
            let mut stream = BufReader::new(
                stream.map(|s| Box::new(s) as Box<dyn Read>).unwrap_or_else(|| Box::new(std::io::empty())),
            );
            let mut line = Vec::new();
            while stream.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if text.is_empty() {
                    continue;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(text);
                if kept.len() > MAX_LINES {
                    kept.pop_front();
                }
            }
        })?;
        Ok(Output { lines, closed: closed.1 })
    }

    fn said(&self) -> String {
        let _ = self.closed.recv_timeout(LEAVE);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }
}
