//! The lines of a text file, one at a time, with a cap on their length.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// No line of a data file may be longer: a binary file or a file without line ends is refused early, not read whole.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// Reads a file line by line: a byte order mark at the start and carriage returns at line ends are taken off.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    line: usize,
    cap: usize,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Self> {
        Self::with_cap(path, MAX_LINE_BYTES)
    }

    fn with_cap(path: &Path, cap: usize) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Error::input("this is a folder; a JSONL file was expected").file(path));
        }
        let reader = BufReader::with_capacity(1 << 16, file);
        let (path, hasher) = (path.to_owned(), blake3::Hasher::new());
        Ok(Lines { path, reader, buffer: Vec::new(), hasher, line: 0, cap })
    }

    /// The next line's number (from 1) and text without its line end; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<(usize, &str)>> {
        self.buffer.clear();
        let limit = self.cap as u64 + 2;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer);
        if read.map_err(|e| Error::io("read", &self.path, &e))? == 0 {
            return Ok(None);
        }
        self.hasher.update(&self.buffer);
        self.line += 1;
        let mut text = self.buffer.as_slice();
        text = text.strip_suffix(b"\n").unwrap_or(text);
        text = text.strip_suffix(b"\r").unwrap_or(text);
        let wrong = |message: String| Error::input(message).file(&self.path).line(self.line);
        if text.len() > self.cap {
            return Err(wrong(format!("the line is longer than {} bytes", self.cap))
                .help("a JSONL file holds one JSON object per line; is this file of another format?"));
        }
        if self.line == 1 {
            if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
                return Err(wrong("the file is UTF-16; UTF-8 was expected".into()).help("convert it to UTF-8"));
            }
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if let Some(at) = text.iter().position(|&b| b == 0) {
            return Err(wrong(format!("a NUL byte at column {}; text was expected", at + 1))
                .help("the file is binary or was damaged; write it again"));
        }
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Some((self.line, text))),
            Err(e) => {
                Err(wrong(format!("not valid UTF-8 at column {}", e.valid_up_to() + 1))
                    .help("convert the file to UTF-8"))
            }
        }
    }

    /// BLAKE3 of the bytes read so far, in hex: after the last line, of the whole file. A pipe can be read only once,
    /// and a file may change, so what was parsed is known by this alone.
    pub fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_the_cap_is_refused_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "12345678\r\n12345678\n123456789\n").unwrap();
        let mut lines = Lines::with_cap(&path, 8).unwrap();
        assert_eq!(lines.next_line().unwrap(), Some((1, "12345678")));
        assert_eq!(lines.next_line().unwrap(), Some((2, "12345678")));
        let error = lines.next_line().unwrap_err();
        assert_eq!(error.line_number(), Some(3));
        assert!(error.message().contains("longer than 8 bytes"), "{error}");
    }

    #[test]
    fn a_last_line_without_a_line_end_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "a\n\nb").unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut seen = Vec::new();
        while let Some((n, text)) = lines.next_line().unwrap() {
            seen.push((n, text.to_owned()));
        }
        assert_eq!(seen, [(1, "a".into()), (2, String::new()), (3, "b".to_owned())]);
        assert_eq!(lines.digest(), blake3::hash(b"a\n\nb").to_hex().to_string());
    }
}
