//! A run as a process of its own: started, waited for, ended.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::error::{Error, Result};

/// A run's process that has ended.
pub(super) struct Ended {
    /// As in [`start`].
    pub number: usize,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub seconds: f64,
    /// The most memory that it had, in MiB; `None` where the system does not say.
    pub peak_mib: Option<u64>,
}

/// A run's process.
pub(super) struct Process {
    pub id: u32,
}

/// Starts a command whose output goes to `log`, whole lines of both kinds in their order. Its end is told to `ended`,
/// under `number`. It ends when this process does, however that happens.
pub(super) fn start(mut command: Command, log: &Path, number: usize, ended: Sender<Ended>) -> Result<Process> {
    let failed = |e: std::io::Error| Error::io("write", log, &e);
    let file = File::create(log).map_err(failed)?;
    let also = file.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(file).stderr(also);
    #[cfg(target_os = "linux")]
    bind(&mut command);
    let started = Instant::now();
    let child = command
        .spawn()
        .map_err(|e| Error::new(crate::Kind::Io, format!("cannot start a run: {e}")).file(command.get_program()))?;
    let id = child.id();
    std::thread::spawn(move || {
        let (code, signal, peak_mib) = wait(child);
        let seconds = started.elapsed().as_secs_f64();
        // Nobody listens once the sweep has given up.
        let _ = ended.send(Ended { number, code, signal, seconds, peak_mib });
    });
    Ok(Process { id })
}

impl Process {
    /// Asks it to end: a run is whole again whenever it is started next.
    pub(super) fn end(&self) {
        #[cfg(target_os = "linux")]
        if let Ok(id) = i32::try_from(self.id) {
            // SAFETY: a plain system call. The number is the child's until its thread has waited for it, and then at
            // worst no process's: it was not given to another within the moment between that and its report.
            unsafe { libc::kill(id, libc::SIGTERM) };
        }
    }
}

/// The child leads a group of its own, so that Ctrl-C reaches this process alone, and dies with it.
#[cfg(target_os = "linux")]
fn bind(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    let parent = std::process::id();
    let in_child = move || {
        // SAFETY: plain system calls, allowed between fork and exec.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::signal(libc::SIGTERM, libc::SIG_DFL);
            if libc::getppid() as u32 != parent {
                libc::_exit(1);
            }
        }
        Ok(())
    };
    // SAFETY: the closure calls nothing that is not allowed between fork and exec.
    unsafe { command.pre_exec(in_child) };
}

/// Exit code, signal and peak memory.
#[cfg(target_os = "linux")]
fn wait(child: Child) -> (Option<i32>, Option<i32>, Option<u64>) {
    let Ok(id) = i32::try_from(child.id()) else { return (None, None, None) };
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is valid: it holds numbers only.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: a plain system call on our own child, which nobody else waits for; both pointers live through it.
        let found = unsafe { libc::wait4(id, &mut status, 0, &mut usage) };
        if found == id {
            break;
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return (None, None, None);
        }
    }
    let peak = u64::try_from(usage.ru_maxrss).ok().map(|kib| kib.div_ceil(1024));
    match libc::WIFEXITED(status) {
        true => (Some(libc::WEXITSTATUS(status)), None, peak),
        false => (None, Some(libc::WTERMSIG(status)), peak),
    }
}

#[cfg(not(target_os = "linux"))]
fn wait(mut child: Child) -> (Option<i32>, Option<i32>, Option<u64>) {
    (child.wait().ok().and_then(|status| status.code()), None, None)
}
