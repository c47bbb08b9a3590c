//! What a plugin's process may do: compute. It gives up its rights itself, for good, before any code of the plugin runs.
//!
//! * Limits of memory (address space), of the size of files it writes (none), and no memory dumps after a crash.
//! * Landlock: until the library is loaded only the system's libraries and the library's own folder can be read, after
//!   that nothing; no connection, no signal to another process.
//! * Seccomp: only the calls that computing, threads, time and writing to open files need. No new process, no socket, no
//!   file opened for writing, and once the library is loaded none at all. What is not allowed fails; it does not kill.
//!
//! An old kernel may lack the last two: the caller is told, and warns.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::error::{Error, Result};

/// Where the system's libraries lie, and what names them.
const LIBRARIES: &[&str] = &["/lib", "/lib32", "/lib64", "/usr", "/nix/store", "/gnu/store", "/etc/ld.so.cache"];

/// Closes all files but the three standard ones.
pub(super) fn close_files() {
    // SAFETY: a plain system call. Nothing here has opened a file yet, so nobody misses one.
    if unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) } == 0 {
        return;
    }
    // Linux before 5.9.
    let numbers = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(numbers).collect();
    for file in open.into_iter().filter(|file| *file > 2) {
        // SAFETY: as above.
        unsafe { libc::close(file) };
    }
}

/// Input is empty from here on, and output goes where errors go.
pub(super) fn redirect() -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let nothing = File::open("/dev/null")?;
    for (from, to) in [(nothing.as_raw_fd(), libc::STDIN_FILENO), (libc::STDERR_FILENO, libc::STDOUT_FILENO)] {
        // SAFETY: a plain system call on open files; the standard ones have no owner in Rust.
        if unsafe { libc::dup2(from, to) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ends this process when its parent ends, however that happens.
pub(super) fn with_parent(parent: u32) {
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            // It is gone already.
            libc::_exit(1);
        }
    }
}

/// The confinement under which the library of `path` is loaded: its memory may grow by so many bytes. What this machine
/// lacks comes back.
pub(super) fn before_loading(path: &Path, memory_bytes: u64) -> Result<Vec<String>> {
    let failed = |e: std::io::Error| cannot("limit its memory", &e);
    let now = address_space().map_err(failed)?;
    for (resource, limit) in
        [(libc::RLIMIT_AS, now.saturating_add(memory_bytes)), (libc::RLIMIT_CORE, 0), (libc::RLIMIT_FSIZE, 0)]
    {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a plain system call with a structure that lives through it.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            return Err(failed(std::io::Error::last_os_error()));
        }
    }
    let folder = path.parent().unwrap_or(path);
    let mut missing = Vec::new();
    missing.extend(landlock(LIBRARIES.iter().map(Path::new).chain([folder]))?);
    missing.extend(seccomp(allowed()?)?);
    // Its flags cannot be seen. Where it is not there, a C library falls back to the older one, whose flags can.
    let not_there = SeccompAction::Errno(libc::ENOSYS as u32);
    seccomp(filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), SeccompAction::Allow, not_there)?)?;
    Ok(missing)
}

/// Afterwards no file can be opened, by no thread that the library's initializers may have started either.
pub(super) fn after_loading() -> Result<()> {
    landlock(std::iter::empty())?;
    let calls = FILES.iter().chain(OPEN).map(|call| (*call, Vec::new())).collect();
    enforced(seccompiler::apply_filter_all_threads(&filter(calls, SeccompAction::Allow, REFUSED)?))?;
    Ok(())
}

const REFUSED: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);

/// Bytes of address space that this process has.
fn address_space() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    // SAFETY: a plain call.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let pages = text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok());
    pages.map(|pages| pages * page).ok_or_else(|| std::io::Error::other("/proc/self/statm cannot be read"))
}

/// Only files below `readable` can be read from here on; nothing else of files, network and signals is left.
fn landlock<'a>(readable: impl Iterator<Item = &'a Path>) -> Result<Option<String>> {
    // The newest that the crate knows; the kernel takes what it knows of it.
    let abi = ABI::V6;
    let confined = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.add_rules(path_beneath_rules(readable, AccessFs::from_read(abi))))
        .and_then(|rules| rules.restrict_self());
    let confined = confined.map_err(|e| cannot("give up its rights to files", &e))?;
    Ok((confined.ruleset == RulesetStatus::NotEnforced)
        .then(|| "Landlock (Linux 5.13): until it is loaded it can read your files".to_owned()))
}

fn seccomp(program: BpfProgram) -> Result<Option<String>> {
    enforced(seccompiler::apply_filter(&program))
}

fn enforced(applied: std::result::Result<(), seccompiler::Error>) -> Result<Option<String>> {
    use seccompiler::Error as E;
    match applied {
        Ok(()) => Ok(None),
        Err(E::Prctl(e) | E::Seccomp(e)) if e.raw_os_error() == Some(libc::EINVAL) => {
            Ok(Some("seccomp filters: it can start processes and open connections".to_owned()))
        }
        Err(e) => Err(cannot("give up its rights to system calls", &e)),
    }
}

fn filter(calls: BTreeMap<i64, Vec<SeccompRule>>, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram> {
    let failed = |e: seccompiler::BackendError| cannot("write a filter of system calls", &e);
    let arch = std::env::consts::ARCH.try_into().map_err(failed)?;
    SeccompFilter::new(calls, others, these, arch).and_then(TryInto::try_into).map_err(failed)
}

/// What a process that computes needs. File names may be looked up and opened for reading until the library is loaded.
fn allowed() -> Result<BpfProgram> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().chain(FILES).map(|call| (*call, Vec::new())).collect();
    let open_for_more = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
    let this = std::process::id() as u64;
    let rules: &[(i64, u8, SeccompCmpOp, u64)] = &[
        (libc::SYS_openat, 2, SeccompCmpOp::MaskedEq(open_for_more), libc::O_RDONLY as u64),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1, SeccompCmpOp::MaskedEq(open_for_more), libc::O_RDONLY as u64),
        // A thread, not a process.
        (libc::SYS_clone, 0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), libc::CLONE_THREAD as u64),
        // To itself.
        (libc::SYS_tgkill, 0, SeccompCmpOp::Eq, this),
        // To ask, not to change.
        (libc::SYS_prlimit64, 2, SeccompCmpOp::Eq, 0),
        (libc::SYS_prctl, 0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64),
        (libc::SYS_prctl, 0, SeccompCmpOp::Eq, libc::PR_SET_SECCOMP as u64),
        (libc::SYS_prctl, 0, SeccompCmpOp::Eq, libc::PR_SET_NO_NEW_PRIVS as u64),
    ];
    let failed = |e: seccompiler::BackendError| cannot("write a filter of system calls", &e);
    for (call, argument, operator, value) in rules {
        let condition = SeccompCondition::new(*argument, SeccompCmpArgLen::Qword, operator.clone(), *value);
        let rule = condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(failed)?;
        calls.entry(*call).or_default().push(rule);
    }
    filter(calls, REFUSED, SeccompAction::Allow)
}

/// Memory, threads, time, its own signals, files that are open, and giving up more rights.
const CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_ppoll,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// Allowed under a condition.
const OPEN: &[i64] = &[
    libc::SYS_openat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
];

/// Names of files.
const FILES: &[i64] = &[
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

fn cannot(doing: &str, why: &dyn std::fmt::Display) -> Error {
    Error::plugin(format!("its process cannot {doing}: {why}"))
        .help("leave out `isolation` if you trust the plugin with all your rights")
}
