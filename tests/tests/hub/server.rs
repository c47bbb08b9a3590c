//! A hub on loopback, with a storage of its own on another port, as the real one has; it fails as told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What happens to a request, once.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The body ends after so many bytes, and with it the connection.
    Cut(usize),
    /// The body stops after so many bytes; the connection stays open until [`Hub::release`].
    Stall(usize),
    /// The whole file whatever was asked for.
    IgnoreRange,
    /// A part that was not asked for.
    OtherRange,
    /// One byte is another.
    Wrong,
    /// A `Content-Length` of one's own.
    Length(&'static str),
    /// A status with these headers and no file.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// Headers in place of the true ones.
    Headers(&'static [(&'static str, &'static str)]),
    /// Not HTTP at all.
    Garbage,
    /// The body in pieces, without a length.
    Chunked,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub storage: bool,
    pub token: Option<String>,
    pub range: Option<String>,
}

#[derive(Default)]
struct State {
    commit: String,
    /// Names in the listing that are no files.
    listed: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    /// By the end of the path, with `HEAD` or `GET` before it.
    faults: Vec<(String, VecDeque<Fault>)>,
    seen: Vec<Seen>,
    /// The only one that the hub answers to.
    token: Option<String>,
    released: bool,
}

pub struct Hub {
    state: Arc<(Mutex<State>, Condvar)>,
    pub address: SocketAddr,
}

impl Hub {
    /// Serves these files as the repository `test/tiny`, branch `main`.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Hub {
        let state = State { commit: COMMIT.to_owned(), files, ..State::default() };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let storage = listen(&state, None);
        let address = listen(&state, Some(storage));
        Hub { state, address }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    /// The next requests whose method and path end like this meet these faults, one each.
    pub fn fault(&self, request: &str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.push((request.to_owned(), faults.into_iter().collect()));
    }

    /// Faults that nothing has met.
    pub fn faults_left(&self) -> usize {
        self.lock().faults.iter().map(|(_, faults)| faults.len()).sum()
    }

    /// What was asked since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    /// Only requests with this token are answered.
    pub fn require(&self, token: &str) {
        self.lock().token = Some(token.to_owned());
    }

    /// The branch moves to another commit, where this file is another.
    pub fn commit(&self, commit: &str, file: &str, bytes: &[u8]) {
        let mut state = self.lock();
        state.commit = commit.to_owned();
        state.files.insert(file.to_owned(), bytes.to_vec());
    }

    /// A name in the listing that is no file.
    pub fn list(&self, name: &str) {
        self.lock().listed.push(name.to_owned());
    }

    /// Waits until somebody has asked for this.
    pub fn wait_for(&self, what: impl Fn(&Seen) -> bool) {
        let waiting = |state: &mut State| !state.seen.iter().any(&what);
        let limit = Duration::from_secs(60);
        let (_state, waited) = self.state.1.wait_timeout_while(self.lock(), limit, waiting).unwrap();
        assert!(!waited.timed_out(), "nobody asked");
    }

    /// Lets stalled answers go on.
    pub fn release(&self) {
        self.lock().released = true;
        self.state.1.notify_all();
    }
}

/// The etag that the hub gives these bytes: SHA-256 of those in large storage, git's name of others.
pub fn etag(name: &str, bytes: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if is_large(name) {
        return hex(digest(&SHA256, bytes).as_ref());
    }
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    hex(context.finish().as_ref())
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

fn listen(state: &Arc<(Mutex<State>, Condvar)>, storage: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().unwrap();
    let state = state.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = state.clone();
            // A client that goes away is no failure of the server.
            std::thread::spawn(move || serve(stream, &state, storage).ok());
        }
    });
    address
}

/// One request a connection. `storage` is where large files are; `None` is the storage itself.
fn serve(mut stream: TcpStream, state: &(Mutex<State>, Condvar), storage: Option<SocketAddr>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = Vec::new();
    reader.read_until(b'\n', &mut first)?;
    let Ok(first) = String::from_utf8(first) else {
        // Somebody wants TLS.
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let range = headers.get("range").cloned();
    let token = headers.get("authorization").cloned();
    let (fault, answer) = {
        let (state, changed) = state;
        let mut state = state.lock().unwrap();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let request = format!("{method} {path}");
        let fault = state.faults.iter_mut().find(|(r, faults)| {
            let (verb, end) = r.split_once(' ').expect("a method and the end of a path");
            request.starts_with(verb) && path.ends_with(end) && !faults.is_empty()
        });
        let fault = fault.and_then(|(_, faults)| faults.pop_front());
        let answer = match storage {
            Some(storage) => hub(&state, &path, token.as_deref(), storage),
            None => stored(&state, &path),
        };
        let seen = Seen { method: method.clone(), path, storage: storage.is_none(), token, range: range.clone() };
        state.seen.push(seen);
        changed.notify_all();
        (fault, answer)
    };
    reply(&mut stream, state, answer, &method, range.as_deref(), fault)
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn error(status: u16, code: &str) -> Answer {
    let headers = vec![("X-Error-Code", code.to_owned()), ("X-Error-Message", format!("{code}, says the test"))];
    Answer { status, headers, body: Vec::new() }
}

fn hub(state: &State, path: &str, token: Option<&str>, storage: SocketAddr) -> Answer {
    if state.token.as_ref().is_some_and(|wanted| token != Some(&format!("Bearer {wanted}"))) {
        return error(401, "GatedRepo");
    }
    let known = |revision: &str| revision == "main" || revision == state.commit;
    if let Some(rest) = path.strip_prefix("/api/models/test/tiny/revision/") {
        if !known(rest) {
            return error(404, "RevisionNotFound");
        }
        let names = state.files.keys().chain(&state.listed);
        let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({"id": "test/tiny", "sha": state.commit, "siblings": siblings}).to_string();
        return Answer { status: 200, headers: vec![("Content-Type", "application/json".into())], body: body.into() };
    }
    // The listing that newer versions of the Python library ask for.
    if let Some(rest) = path.strip_prefix("/api/models/test/tiny/tree/") {
        if !known(rest) {
            return error(404, "RevisionNotFound");
        }
        let entry = |(name, bytes): (&String, &Vec<u8>)| {
            let mut entry =
                serde_json::json!({"type": "file", "path": name, "size": bytes.len(), "oid": etag(".", bytes)});
            if is_large(name) {
                entry["lfs"] = serde_json::json!({"oid": etag(name, bytes), "size": bytes.len(), "pointerSize": 132});
            }
            entry
        };
        let body = serde_json::Value::from_iter(state.files.iter().map(entry)).to_string();
        return Answer { status: 200, headers: vec![("Content-Type", "application/json".into())], body: body.into() };
    }
    let Some((revision, name)) = path.strip_prefix("/test/tiny/resolve/").and_then(|rest| rest.split_once('/')) else {
        return error(401, "RepoNotFound");
    };
    let Some(bytes) = state.files.get(name).filter(|_| known(revision)) else { return error(404, "EntryNotFound") };
    let etag = etag(name, bytes);
    let mut headers = vec![("X-Repo-Commit", state.commit.clone())];
    if is_large(name) {
        headers.push(("Location", format!("http://{storage}/blobs/{etag}/{name}?signature=secret")));
        headers.push(("X-Linked-Etag", format!("\"{etag}\"")));
        headers.push(("X-Linked-Size", bytes.len().to_string()));
        return Answer { status: 302, headers, body: b"Found".to_vec() };
    }
    headers.push(("ETag", format!("\"{etag}\"")));
    Answer { status: 200, headers, body: bytes.clone() }
}

fn stored(state: &State, path: &str) -> Answer {
    let name = path.rsplit('/').next().unwrap_or_default();
    match state.files.get(name) {
        // A storage has etags of its own.
        Some(bytes) => Answer { status: 200, headers: vec![("ETag", "\"stored\"".into())], body: bytes.clone() },
        None => error(404, ""),
    }
}

fn reply(
    stream: &mut TcpStream,
    state: &(Mutex<State>, Condvar),
    mut answer: Answer,
    method: &str,
    range: Option<&str>,
    fault: Option<Fault>,
) -> std::io::Result<()> {
    let all = answer.body.len();
    let begin = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    if let (200, Some(begin)) = (answer.status, begin)
        && !matches!(fault, Some(Fault::IgnoreRange))
    {
        if begin >= all {
            answer =
                Answer { status: 416, headers: vec![("Content-Range", format!("bytes */{all}"))], body: Vec::new() };
        } else {
            answer.status = 206;
            let first = if matches!(fault, Some(Fault::OtherRange)) { begin / 2 } else { begin };
            answer.headers.push(("Content-Range", format!("bytes {first}-{}/{all}", all - 1)));
            answer.body.drain(..first);
        }
    }
    let mut length = answer.body.len().to_string();
    let mut end = answer.body.len();
    let mut stall = false;
    match &fault {
        Some(Fault::Garbage) => return stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        Some(Fault::Cut(n)) => end = end.min(*n),
        Some(Fault::Stall(n)) => (end, stall) = (end.min(*n), true),
        Some(Fault::Wrong) if all > 0 => answer.body[all / 2] ^= 1,
        Some(Fault::Length(n)) => length = (*n).to_owned(),
        Some(Fault::Status(status, headers)) => {
            let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            answer = Answer { status: *status, headers, body: Vec::new() };
            (length, end) = ("0".to_owned(), 0);
        }
        Some(Fault::Headers(others)) => {
            for (name, value) in others.iter() {
                answer.headers.retain(|(n, _)| n != name);
                answer.headers.push((name, (*value).to_owned()));
            }
        }
        _ => {}
    }
    let chunked = matches!(fault, Some(Fault::Chunked));
    let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", answer.status);
    match chunked {
        true => head.push_str("Transfer-Encoding: chunked\r\n"),
        false => head.push_str(&format!("Content-Length: {length}\r\n")),
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if method != "HEAD" {
        let body = &answer.body[..end];
        if chunked {
            for chunk in body.chunks(1000) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        } else {
            stream.write_all(body)?;
        }
    }
    stream.flush()?;
    if stall {
        let mut guard = state.0.lock().unwrap();
        while !guard.released {
            guard = state.1.wait(guard).unwrap();
        }
        return Ok(());
    }
    // The client closes first, so that no byte on its way is lost to a reset.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.read(&mut [0; 64]).map(|_| ())
}
