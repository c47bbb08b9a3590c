//! A disk that fails, for a program that is started with this library in LD_PRELOAD; `rustc` makes it, see `faults.rs`.
//!
//! DISK_FAULT is one of
//! `slow:MICROSECONDS`   every change of the disk takes so much longer
//! `full:BYTES`          after so many bytes there is no space for more
//! `read-only:CHANGES`   after so many changes the file system is read-only
//!
//! Only what Rust's standard library calls on Linux is here.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
    fn lseek64(fd: c_int, offset: i64, whence: c_int) -> i64;
}

const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;
const ENOSPC: c_int = 28;
const EROFS: c_int = 30;
const O_ACCMODE: c_int = 3;
const O_CREAT: c_int = 0o100;
const SEEK_CUR: c_int = 1;

enum Fault {
    None,
    Slow(u64),
    Full(u64),
    ReadOnly(u64),
}

fn fault() -> &'static Fault {
    static FAULT: OnceLock<Fault> = OnceLock::new();
    FAULT.get_or_init(|| {
        let text = std::env::var("DISK_FAULT").unwrap_or_default();
        let (kind, number) = text.split_once(':').unwrap_or_default();
        match (kind, number.parse()) {
            ("slow", Ok(n)) => Fault::Slow(n),
            ("full", Ok(n)) => Fault::Full(n),
            ("read-only", Ok(n)) => Fault::ReadOnly(n),
            _ => Fault::None,
        }
    })
}

/// A change of so many bytes is about to happen. The error that it meets, 0 if none.
fn change(bytes: u64) -> c_int {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    match fault() {
        Fault::None => 0,
        Fault::Slow(microseconds) => {
            std::thread::sleep(std::time::Duration::from_micros(*microseconds));
            0
        }
        Fault::Full(most) if WRITTEN.fetch_add(bytes, Relaxed) + bytes > *most => ENOSPC,
        Fault::ReadOnly(most) if CHANGES.fetch_add(1, Relaxed) >= *most => EROFS,
        _ => 0,
    }
}

fn refused(error: c_int) -> isize {
    // SAFETY: glibc gives this thread's errno.
    unsafe { *__errno_location() = error };
    -1
}

/// Pipes and terminals are no disk, and cannot be sought in.
fn on_disk(fd: c_int) -> bool {
    // SAFETY: a system call on a number.
    fd > 2 && unsafe { lseek64(fd, 0, SEEK_CUR) } >= 0
}

/// Defines a function that stands before the C library's of the same name.
macro_rules! before {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty, if $condition:expr, $bytes:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            type Real = unsafe extern "C" fn($($type),*) -> $result;
            static REAL: OnceLock<usize> = OnceLock::new();
            let name = concat!(stringify!($name), "\0");
            // SAFETY: `name` ends in 0.
            let real = *REAL.get_or_init(|| unsafe { dlsym(RTLD_NEXT, name.as_ptr().cast()) } as usize);
            if $condition {
                let error = change($bytes as u64);
                if error != 0 {
                    return refused(error) as $result;
                }
            }
            // SAFETY: the C library's function of this name has this type.
            let real: Real = unsafe { std::mem::transmute(real) };
            // SAFETY: the arguments are the caller's.
            unsafe { real($($arg),*) }
        }
    )*};
}

before! {
    fn write(fd: c_int, data: *const c_void, count: usize) -> isize, if on_disk(fd), count;
    fn writev(fd: c_int, parts: *const c_void, count: c_int) -> isize, if on_disk(fd), 4096;
    fn copy_file_range(from: c_int, at: *mut i64, to: c_int, to_at: *mut i64, count: usize, flags: c_uint) -> isize,
        if on_disk(to), 4096;
    fn sendfile64(to: c_int, from: c_int, at: *mut i64, count: usize) -> isize, if on_disk(to), 4096;
    fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int, if flags & (O_ACCMODE | O_CREAT) != 0, 0;
    fn mkdir(path: *const c_char, mode: c_uint) -> c_int, if true, 4096;
    fn rename(from: *const c_char, to: *const c_char) -> c_int, if true, 0;
    fn unlink(path: *const c_char) -> c_int, if true, 0;
    fn rmdir(path: *const c_char) -> c_int, if true, 0;
    fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int, if true, 0;
    fn fsync(fd: c_int) -> c_int, if true, 0;
}
