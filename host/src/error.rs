//! One error type for everything a user can cause.
//!
//! An error says what was found, what was expected and what to do, and names the file, line, field or
//! plugin it is about. Its [`Kind`] decides the exit code of the program.

use std::fmt;
use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words a user needs to mend it.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    file: Option<PathBuf>,
    line: Option<usize>,
    help: Option<String>,
    context: Vec<String>,
    exit_code: Option<u8>,
}

/// The class of an error. The exit code of the program is [`Kind::exit_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or the configuration is wrong: nothing was started.
    Config,
    /// A data file, checkpoint, tokenizer or chat template cannot be used as it is.
    Input,
    /// A plugin could not be loaded, broke the contract, or failed.
    Plugin,
    /// The run cannot go on: a numerical failure, all groups dropped, a broken invariant of training.
    Run,
    /// The operating system refused: disk full, no permission, out of memory.
    Io,
}

impl Kind {
    /// 2 for a wrong command line or configuration, 3 input, 4 plugin, 5 run, 6 the operating system.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Config => 2,
            Kind::Input => 3,
            Kind::Plugin => 4,
            Kind::Run => 5,
            Kind::Io => 6,
        }
    }
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let inner = Inner {
            kind,
            message: message.into(),
            file: None,
            line: None,
            help: None,
            context: Vec::new(),
            exit_code: None,
        };
        Error { inner: Box::new(inner) }
    }

    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    pub fn plugin(message: impl Into<String>) -> Self {
        Self::new(Kind::Plugin, message)
    }

    pub fn run(message: impl Into<String>) -> Self {
        Self::new(Kind::Run, message)
    }

    /// A failed call to the operating system on `path`; `doing` completes "cannot …": "read", "write".
    pub fn io(doing: &str, path: impl AsRef<Path>, source: &std::io::Error) -> Self {
        use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, StorageFull};
        let kind = if matches!(source.kind(), NotFound | NotADirectory) { Kind::Input } else { Kind::Io };
        // "read" the file, but "create the folder".
        let what = if doing.contains(' ') { "" } else { " the file" };
        let error = Self::new(kind, format!("cannot {doing}{what}: {source}")).file(path);
        match source.kind() {
            NotADirectory => error.help("a file stands where a folder is expected"),
            NotFound => error.help("check the path; in a config file, relative paths start at its folder"),
            PermissionDenied => error.help("check the permissions of the file and of its folder"),
            StorageFull => error.help("free some space; the same command continues where it stopped"),
            _ => error,
        }
    }

    /// The file this is about. The first one named wins: it is the closest to the cause.
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.inner.file.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// The line (from 1) within the file.
    pub fn line(mut self, line: usize) -> Self {
        self.inner.line.get_or_insert(line);
        self
    }

    /// The row this is about. An error within another file, say a template that refuses the row, keeps that place and
    /// names the row beside it.
    pub fn row(self, path: impl AsRef<Path>, line: usize) -> Self {
        if self.inner.file.is_none() {
            return self.file(path).line(line);
        }
        self.context(format!("working on the row at {}:{line}", path.as_ref().display()))
    }

    /// What the user can do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.inner.help.get_or_insert_with(|| help.into());
        self
    }

    /// What was being done, from the outside: "judging round 2 with plugin 'rubric'".
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.inner.context.push(context.into());
        self
    }

    /// The same error of another class.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// The same error with another exit code than its kind's, for a command that documents it.
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.inner.exit_code = Some(code);
        self
    }

    /// What the program ends with.
    pub fn exit_code(&self) -> u8 {
        self.inner.exit_code.unwrap_or(self.inner.kind.exit_code())
    }

    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The message alone, without place, context or help.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The file that this is about.
    pub fn path(&self) -> Option<&Path> {
        self.inner.file.as_deref()
    }

    pub fn help_text(&self) -> Option<&str> {
        self.inner.help.as_deref()
    }

    pub fn line_number(&self) -> Option<usize> {
        self.inner.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, file, line, help, context, .. } = &*self.inner;
        match (file, line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(message)?;
        for outer in context {
            write!(f, "\n  while {outer}")?;
        }
        if let Some(help) = help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    /// An error of the tensor library that no check of ours caught before.
    fn from(e: candle_core::Error) -> Self {
        Error::run(format!("tensor operation failed: {e}"))
    }
}
