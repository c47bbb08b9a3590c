//! `creamery watch` in a real pseudo-terminal: it shows the run, and gives the terminal back however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use creamery_tests::creamery;

use crate::watch::{PATIENCE, World};

/// Says to the test below that it is the inner one.
const INNER: &str = "CREAMERY_TEST_PANIC";

/// A terminal of 80 × 24 with a program in it.
struct Terminal {
    keyboard: Option<File>,
    line: File,
    before: Settings,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// The other side is closed, as when a connection breaks off.
    hung_up: Arc<AtomicBool>,
}

/// Those that decide what keys do and how output looks.
#[derive(Debug, PartialEq)]
struct Settings(u32, u32, u32, u32, Vec<u8>);

impl Terminal {
    fn with(command: Command) -> Terminal {
        Terminal::of(command, true)
    }

    /// `own`: the program is told when the terminal goes, as that of its session.
    fn of(mut command: Command, own: bool) -> Terminal {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let no_name = std::ptr::null_mut();
        // SAFETY: both descriptors are written, the size is read; name and settings may be null.
        let opened = unsafe { libc::openpty(&mut master, &mut slave, no_name, std::ptr::null(), &size) };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the descriptors were just opened, and nobody else has them.
        let (master, line) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        // SAFETY: the master is open. The program must not hold it, or closing it here would hang up nobody.
        unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let before = settings(&line);
        let end = || line.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        // SAFETY: both are system calls that may be made between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::setsid() >= 0 && (!own || libc::ioctl(0, libc::TIOCSCTTY, 0) >= 0) {
                true => Ok(()),
                false => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().unwrap();
        drop(command); // and its ends of the line
        let shown = Arc::new(Mutex::new(Vec::new()));
        let hung_up = Arc::new(AtomicBool::new(false));
        let (mut screen, to, stop) = (master.try_clone().unwrap(), shown.clone(), hung_up.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !stop.load(Ordering::SeqCst) {
                let mut ready = libc::pollfd { fd: screen.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one open descriptor.
                if unsafe { libc::poll(&mut ready, 1, 50) } > 0 {
                    let Ok(n @ 1..) = screen.read(&mut bytes) else { return };
                    to.lock().unwrap().extend(&bytes[..n]);
                }
            }
        });
        Terminal { keyboard: Some(master), line, before, child, shown, hung_up }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until what was shown after the first `from` bytes has the words.
    fn shows(&mut self, from: usize, words: &str) {
        let start = Instant::now();
        while !self.text().get(from..).is_some_and(|text| text.contains(words)) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{ended:?}, no '{words}' in {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the size is read.
        assert_eq!(unsafe { libc::ioctl(self.line.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("it does not end: {:?}", self.text());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The other screen was used and left, the cursor is shown, and keys do what they did.
    fn is_given_back(&self) -> String {
        assert_eq!(settings(&self.line), self.before);
        // What it wrote may not have been read yet.
        let start = Instant::now();
        let left = "\x1b[?1049l";
        while !self.text().contains(left) {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = self.text();
        assert_eq!(text.matches("\x1b[?1049h").count(), 1, "{text:?}");
        let (_, after) = text.split_once(left).unwrap();
        assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "{text:?}");
        assert!(!after.contains("Stages"), "{after:?}");
        after.to_owned()
    }
}

fn settings(line: &File) -> Settings {
    // SAFETY: a termios of zeros is one; it is written.
    let mut t: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::tcgetattr(line.as_raw_fd(), &mut t) }, 0);
    Settings(t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag, t.c_cc.to_vec())
}

fn watching(world: &World) -> Terminal {
    let mut terminal = Terminal::with(creamery!("watch", world.path("out")));
    terminal.shows(0, "Stages");
    terminal.shows(0, "running");
    assert_ne!(settings(&terminal.line), terminal.before, "keys come as they are typed");
    terminal
}

#[test]
fn the_terminal_is_given_back_at_every_end() {
    let (world, mut run) = World::held();
    for keys in ["q", "\x1b", "\x03"] {
        let mut terminal = watching(&world);
        terminal.press(keys);
        assert_eq!(terminal.wait().code(), Some(0), "{keys:?}");
        terminal.is_given_back();
    }
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        let mut terminal = watching(&world);
        terminal.signal(signal);
        assert_eq!(terminal.wait().signal(), Some(signal));
        terminal.is_given_back();
    }

    // It lives through a new size and all keys, and sees the run's end.
    let mut terminal = watching(&world);
    terminal.press("\t\t\x1b[A\x1b[B\x1b[C\x1b[D\r\r?");
    terminal.shows(0, "Help");
    terminal.resize(10, 40);
    terminal.press("x");
    let seen = terminal.text().len();
    terminal.press("\t");
    // Only what changes is drawn, so the pane's title may come in parts; no other pane has a sample.
    terminal.shows(seen, "count ");
    terminal.resize(24, 80);
    std::fs::write(world.path("go"), "").unwrap();
    assert!(run.wait().unwrap().success());
    terminal.shows(0, "finished");
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.is_given_back();

    // The connection breaks off: nobody is left to show anything to.
    for own in [true, false] {
        let mut terminal = Terminal::of(creamery!("watch", world.path("out")), own);
        terminal.shows(0, "finished");
        terminal.hung_up.store(true, Ordering::SeqCst);
        terminal.keyboard = None;
        assert_eq!(terminal.wait().signal(), Some(libc::SIGHUP), "own: {own}");
    }
}

#[test]
fn the_terminal_is_given_back_on_a_panic_and_on_an_error() {
    if let Ok(end) = std::env::var(INNER) {
        let ended: creamery::Result<()> = creamery::watch::screen::on_screen(|_| match end.as_str() {
            "panic" => panic!("as asked"),
            _ => Err(creamery::Error::run("as asked")),
        });
        ended.unwrap();
    }
    for end in ["panic", "error"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "terminal::the_terminal_is_given_back_on_a_panic_and_on_an_error";
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INNER, end);
        let mut terminal = Terminal::with(command);
        assert_eq!(terminal.wait().code(), Some(101));
        let after = terminal.is_given_back();
        assert!(after.contains("as asked"), "{after:?}");
    }
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_plain_text() {
    let (world, mut run) = World::held();
    let mut shell = Command::new("sh");
    shell.args(["-c", "TERM=dumb exec \"$0\" watch \"$1\""]).arg(creamery!().get_program()).arg(world.path("out"));
    let mut terminal = Terminal::with(shell);
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.shows_at_end("held, seed 5: running");
    run.kill().unwrap();
    run.wait().unwrap();
}

impl Terminal {
    /// As [`Terminal::shows`], of a program that has ended.
    fn shows_at_end(&self, words: &str) {
        let start = Instant::now();
        while !self.text().contains(words) {
            assert!(start.elapsed() < PATIENCE, "no '{words}' in {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!self.text().contains('\x1b'), "{:?}", self.text());
    }
}
