//! Messages over a socket: a tag, a length, and so many bytes. The length is held against a limit first, and memory
//! grows with the bytes that come, not with those that are announced.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::wire::Reader;

/// A tag and the length.
const HEAD: usize = 1 + 8;
/// Read at once, and kept between messages.
const CHUNK: usize = 64 << 10;
/// An answer that comes so soon is not slept for: to be woken takes as long as the whole exchange.
const WATCHED: Duration = Duration::from_micros(25);

/// One end of the connection. Without an end in time it waits for ever.
pub(super) struct Channel {
    stream: UnixStream,
    /// What has come: `filled` bytes, of which the first `taken` are a message that was handed out.
    buffer: Vec<u8>,
    filled: usize,
    taken: usize,
}

/// Why no message came, or none could be sent.
#[derive(Debug, PartialEq)]
pub(super) enum Trouble {
    /// The other end is closed.
    Closed,
    Late,
    /// A message of so many bytes is too long.
    TooLong(u64),
    /// What came cannot be read.
    Broken(String),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Trouble::Late,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::NotConnected => {
                Trouble::Closed
            }
            _ => Trouble::Broken(e.to_string()),
        }
    }
}

/// A message with its content.
pub(super) fn message(tag: u8, content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&[0; HEAD - 1]);
    content(&mut bytes);
    let length = (bytes.len() - HEAD) as u64;
    bytes[1..HEAD].copy_from_slice(&length.to_le_bytes());
    bytes
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Channel { stream, buffer: Vec::new(), filled: 0, taken: 0 }
    }

    /// Sends a whole [`message`] in the time until `end`.
    pub(super) fn send(&mut self, mut message: &[u8], end: Option<Instant>) -> Result<(), Trouble> {
        while !message.is_empty() {
            if let Some(end) = end {
                self.stream.set_write_timeout(Some(left(end)?))?;
            }
            match self.stream.write(message) {
                Ok(0) => return Err(Trouble::Closed),
                Ok(sent) => message = &message[sent..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// The next message, of at most `limit` bytes, in the time until `end`.
    pub(super) fn receive(&mut self, limit: u64, end: Option<Instant>) -> Result<(u8, Reader<'_>), Trouble> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.buffer.len() > 16 * CHUNK && self.filled <= CHUNK {
            self.buffer.truncate(CHUNK);
            self.buffer.shrink_to_fit();
        }
        self.fill(HEAD, end)?;
        let tag = self.buffer[0];
        let mut length = [0; 8];
        length.copy_from_slice(&self.buffer[1..HEAD]);
        let length = u64::from_le_bytes(length);
        let whole = usize::try_from(length).ok().filter(|_| length <= limit).and_then(|l| l.checked_add(HEAD));
        let whole = whole.ok_or(Trouble::TooLong(length))?;
        self.fill(whole, end)?;
        self.taken = whole;
        Ok((tag, Reader(&self.buffer[HEAD..whole])))
    }

    /// Reads what comes within [`WATCHED`], if anything does. Others may have the core in the meantime.
    fn watched(&mut self) -> Result<bool, Trouble> {
        let start = Instant::now();
        self.stream.set_nonblocking(true)?;
        let read = loop {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < WATCHED => std::thread::yield_now(),
                read => break read,
            }
        };
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => Err(Trouble::Closed),
            Ok(count) => {
                self.filled += count;
                Ok(true)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads until `wanted` bytes are there.
    fn fill(&mut self, wanted: usize, end: Option<Instant>) -> Result<(), Trouble> {
        let mut watch = end.is_some();
        while self.filled < wanted {
            if self.buffer.len() < self.filled + CHUNK {
                self.buffer.resize((2 * self.filled).max(self.filled + CHUNK), 0);
            }
            if let Some(end) = end {
                if std::mem::take(&mut watch) && self.filled == 0 && self.watched()? {
                    continue;
                }
                self.stream.set_read_timeout(Some(left(end)?))?;
            }
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(Trouble::Closed),
                Ok(count) => self.filled += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// The time until `end`, which is not over.
fn left(end: Instant) -> Result<Duration, Trouble> {
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Trouble::Late),
        // The shortest that a socket knows, and the longest that cannot overflow.
        left => Ok(left.clamp(Duration::from_micros(10), Duration::from_secs(1 << 20))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Wire;
    use super::*;

    #[test]
    fn messages_come_whole_and_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Channel::new(ours), Channel::new(theirs));
        let long = "long ".repeat(1 << 20);
        let sent = [message(1, |out| 7u32.put(out)), message(2, |out| long.put(out)), message(3, |_| {})];
        let sender = std::thread::spawn(move || sent.iter().for_each(|m| theirs.send(m, None).unwrap()));
        let (tag, reader) = ours.receive(4, None).unwrap();
        assert_eq!((tag, reader.whole::<u32>()), (1, Ok(7)));
        let (tag, reader) = ours.receive(6 << 20, None).unwrap();
        assert_eq!((tag, reader.whole::<String>()), (2, Ok("long ".repeat(1 << 20))));
        assert_eq!(ours.receive(0, None).map(|(tag, reader)| (tag, reader.0.len())), Ok((3, 0)));
        sender.join().unwrap();
        assert_eq!(ours.receive(0, None).err(), Some(Trouble::Closed));
    }

    #[test]
    fn what_is_too_long_or_too_late() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ours = Channel::new(ours);
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        assert_eq!(ours.receive(100, soon()).err(), Some(Trouble::Late));
        theirs.write_all(&[1, 9, 9]).unwrap();
        assert_eq!(ours.receive(100, soon()).err(), Some(Trouble::Late), "half a head");
        theirs.write_all(&[9, 9, 9, 9, 9, 9]).unwrap();
        assert_eq!(ours.receive(100, soon()).err(), Some(Trouble::TooLong(0x0909_0909_0909_0909)));
        assert!(ours.buffer.len() <= 2 * CHUNK, "nothing is allocated for it");
        // Nobody reads: a long message cannot be sent.
        let endless = message(1, |out| out.resize(64 << 20, 0));
        assert_eq!(ours.send(&endless, soon()).err(), Some(Trouble::Late));
        drop(theirs);
        assert_eq!(ours.send(&endless, None).err(), Some(Trouble::Closed));
    }
}
