//! The bytes of one file: continued where an earlier attempt stopped, and checked before they get their name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::cache::failed;
use super::checksum::Checksum;
use super::client::{Client, Patience, Reply, Trouble, cut};
use super::files::plain_etag;
use super::url::Url;
use crate::error::{Error, Kind, Result};

/// Bytes after which trouble counts as new trouble.
const PROGRESS: u64 = 1 << 20;
const BUFFER: usize = 1 << 18;

/// A file on the hub.
#[derive(Clone)]
pub(super) struct Remote {
    pub url: Url,
    /// A plain one, see [`plain_etag`].
    pub etag: String,
    pub size: u64,
}

/// Fetches a file by way of `part` to `blob`. What `part` holds already is kept, if the server can continue. `done`
/// hears how many bytes of the file are there.
pub(super) fn download(
    client: &Client,
    remote: &Remote,
    part: &Path,
    blob: &Path,
    done: &mut dyn FnMut(u64),
    tell: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let mut part = Part::open(part, remote).map_err(Trouble::Final)?;
    let mut inherited = part.length > 0;
    loop {
        bytes(client, remote, &mut part, done, tell)?;
        match part.sum().finish() {
            Ok(()) => break,
            Err(why) => {
                part.restart().map_err(Trouble::Final)?;
                if !inherited {
                    part.remove();
                    return Err(Trouble::Final(
                        Error::new(Kind::Io, format!("the bytes that arrived are wrong: {why}; they were removed"))
                            .help("try again; if it happens again, a proxy or a mirror (HF_ENDPOINT) changes the file"),
                    ));
                }
                tell(&format!("what was left of an earlier download is wrong ({why}); starting anew"));
                inherited = false;
            }
        }
    }
    part.publish(blob).map_err(Trouble::Final)
}

/// Attempts until every byte is there.
fn bytes(
    client: &Client,
    remote: &Remote,
    part: &mut Part,
    done: &mut dyn FnMut(u64),
    tell: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let mut patience = Patience::default();
    done(part.length);
    while part.length < remote.size {
        let before = part.length;
        let trouble = match attempt(client, remote, part, done) {
            Ok(()) => return Ok(()),
            Err(Trouble::WrongRange) if before > 0 => {
                part.restart().map_err(Trouble::Final)?;
                Trouble::Passing {
                    what: "does not continue the file; starting anew".to_owned(),
                    host: remote.url.host(),
                    wait: Some(std::time::Duration::ZERO),
                    connected: true,
                }
            }
            Err(trouble) => trouble,
        };
        if part.length >= before.saturating_add(PROGRESS) {
            patience.renew();
        }
        patience.wait(trouble, tell)?;
    }
    Ok(())
}

fn attempt(client: &Client, remote: &Remote, part: &mut Part, done: &mut dyn FnMut(u64)) -> Result<(), Trouble> {
    let reply = client.get(&remote.url, part.length)?;
    if reply.linked_etag.as_deref().and_then(plain_etag).is_some_and(|etag| etag != remote.etag) {
        part.remove();
        return Err(Trouble::Changed);
    }
    let host = reply.host.clone();
    let wrong = |what: String| Trouble::Final(Error::new(Kind::Io, format!("{host} {what}")).help("try again later"));
    if reply.header("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity")) {
        return Err(wrong("sends the file compressed, which was not asked for".to_owned()));
    }
    match reply.status.as_u16() {
        200 => {
            // The whole file, whatever was asked for.
            part.restart_if_begun().map_err(Trouble::Final)?;
            let announced = reply.header("content-length").and_then(|n| n.parse::<u64>().ok());
            if let Some(n) = announced.filter(|n| *n != remote.size) {
                return Err(wrong(format!("announces {n} bytes, the hub says {}", remote.size)));
            }
        }
        206 if content_range(&reply) == Some((part.length, remote.size)) => {}
        206 => return Err(Trouble::WrongRange),
        status => return Err(wrong(format!("answers with status {status}, expected the file"))),
    }
    let mut reader = reply.reader();
    let mut buffer = vec![0; BUFFER];
    while part.length < remote.size {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Err(cut(&host, &io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(cut(&host, &e)),
        };
        if read as u64 > remote.size - part.length {
            part.remove();
            return Err(wrong(format!("sends more than the {} bytes that the hub says", remote.size)));
        }
        part.write(&buffer[..read]).map_err(Trouble::Final)?;
        done(part.length);
    }
    Ok(())
}

/// First byte and size of `Content-Range: bytes FIRST-LAST/SIZE`.
fn content_range(reply: &Reply) -> Option<(u64, u64)> {
    let (range, size) = reply.header("content-range")?.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, size.trim().parse().ok()?))
}

/// The beginning of a file, with its checksum so far.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    etag: String,
    size: u64,
    sum: Checksum,
}

impl Part {
    /// Opens what is there, or begins anew.
    fn open(path: &Path, remote: &Remote) -> Result<Part> {
        let io = |e: io::Error| failed("open", path, &e);
        // Not for appending: without working locks another process may write the same bytes to the same places.
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open().map_err(io)?;
        let (etag, size) = (remote.etag.clone(), remote.size);
        let sum = Checksum::new(&etag, size);
        let mut part = Part { path: path.to_owned(), file, length: 0, etag, size, sum };
        if part.file.metadata().map_err(io)?.len() > size {
            part.restart()?;
        }
        let mut buffer = vec![0; BUFFER];
        while part.length < size {
            let room = usize::try_from(size - part.length).map_or(BUFFER, |left| left.min(BUFFER));
            match part.file.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(read) => {
                    part.sum.update(&buffer[..read]);
                    part.length += read as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io(e)),
            }
        }
        Ok(part)
    }

    /// Another file under the same name, so that nobody's finished blob is cut.
    fn restart(&mut self) -> Result<()> {
        self.remove();
        let created = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&self.path);
        self.file = created.map_err(|e| failed("create", &self.path, &e))?;
        self.length = 0;
        self.sum = Checksum::new(&self.etag, self.size);
        Ok(())
    }

    fn restart_if_begun(&mut self) -> Result<()> {
        if self.length > 0 { self.restart() } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        if let Err(e) = written {
            // What did fit stays, and whole: the next attempt reads it back.
            return Err(failed("write", &self.path, &e));
        }
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The sum of everything; a new one takes its place.
    fn sum(&mut self) -> Checksum {
        std::mem::replace(&mut self.sum, Checksum::new(&self.etag, self.size))
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Gives the finished part its name.
    fn publish(mut self, blob: &Path) -> Result<()> {
        let synced = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.sync_all());
        synced.map_err(|e| failed("write", &self.path, &e))?;
        match fs::rename(&self.path, blob) {
            // Without working locks another process may have been quicker.
            Err(e) if e.kind() == io::ErrorKind::NotFound && blob.is_file() => Ok(()),
            renamed => renamed.map_err(|e| failed("write", blob, &e)),
        }
    }
}
