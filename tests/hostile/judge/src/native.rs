//! What only native code can do to the process that it runs in.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::process::Command;
use std::sync::{Mutex, OnceLock, mpsc};

/// Does what `mode` says, if it is one of these. Some of them come back.
pub fn misbehave(mode: &str) -> bool {
    match mode {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        "segfault" => segfault(),
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(1000)),
        "print" => {
            for i in 0..10_000 {
                println!("line {i}: {}", "x".repeat(100));
                eprintln!("line {i}");
            }
        }
        "thread" => {
            let sum = std::thread::spawn(|| (0..1000u64).sum::<u64>()).join();
            assert_eq!(sum.ok(), Some(499_500));
        }
        "write-everywhere" => {
            for number in 3..32 {
                write(number, &[0xff; 64]);
            }
        }
        // A message with a length that no machine has.
        "lie" => write(3, &[100, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        // An answer whose list is longer than the answer.
        "lie-within" => {
            let content = [1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
            write(3, &[&[100, content.len() as u8, 0, 0, 0, 0, 0, 0, 0][..], &content].concat());
        }
        "close-everything" => (0..32).for_each(|number| {
            // SAFETY: none of these is used again but by the host, which must bear it.
            drop(unsafe { File::from_raw_fd(number) });
        }),
        _ => return false,
    }
    true
}

pub fn segfault() {
    // SAFETY: it is not: the process is to end by it.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

/// Tries to get at what does not belong to a plugin; says what it got.
pub fn reach_out() -> Vec<String> {
    let mut got = Vec::new();
    let mut tried = |what: &str, result: Result<(), String>| {
        got.push(match result {
            Ok(()) => format!("{what}: yes"),
            Err(why) => format!("{what}: no ({why})"),
        })
    };
    let text = |e: std::io::Error| e.to_string();
    tried("read a file", std::fs::read("/etc/passwd").map(drop).map_err(text));
    tried("list a folder", std::fs::read_dir("/").map(drop).map_err(text));
    let file = std::env::temp_dir().join("hostile-judge-was-here");
    tried("write a file", File::create(file).map(drop).map_err(text));
    tried("remove a file", std::fs::remove_file("/etc/hostile-judge").map_err(text));
    tried("open a socket", std::net::TcpListener::bind("127.0.0.1:0").map(drop).map_err(text));
    tried("send a packet", std::net::UdpSocket::bind("127.0.0.1:0").map(drop).map_err(text));
    tried("start a program", Command::new("/bin/true").status().map(drop).map_err(text));
    let variables: Vec<_> = std::env::vars_os().collect();
    tried("see the environment", if variables.is_empty() { Err("empty".to_owned()) } else { Ok(()) });
    let arguments = std::env::args().count();
    tried("see the arguments", if arguments <= 2 { Err(format!("{arguments}")) } else { Ok(()) });
    got
}

/// [`reach_out`], by a thread that was there before its process had given up its rights.
pub fn reach_out_early() -> Vec<String> {
    let (answer, found) = mpsc::channel();
    let asked = EARLY.get().and_then(|early| early.lock().ok()?.send(answer).ok());
    asked.map_or_else(|| vec!["no thread was started".to_owned()], |()| found.recv().unwrap_or_default())
}

type Questions = Mutex<mpsc::Sender<mpsc::Sender<Vec<String>>>>;

static EARLY: OnceLock<Questions> = OnceLock::new();

/// The system calls it while it loads this library, before the host gets to see it.
#[cfg(target_os = "linux")]
#[used]
// SAFETY: the section holds pointers to functions of this kind.
#[unsafe(link_section = ".init_array")]
static INITIALIZER: extern "C" fn() = start_early;

#[cfg(target_os = "linux")]
extern "C" fn start_early() {
    let (sender, questions) = mpsc::channel::<mpsc::Sender<Vec<String>>>();
    let answering = move || questions.into_iter().for_each(|answer| drop(answer.send(reach_out())));
    if std::thread::Builder::new().spawn(answering).is_ok() {
        let _ = EARLY.set(Mutex::new(sender));
    }
}

fn write(number: i32, bytes: &[u8]) {
    // SAFETY: whoever owns the file must bear that it is written to; it is not closed.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
    let _ = file.write_all(bytes);
}
