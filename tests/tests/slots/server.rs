//! A server on loopback that answers as its script says.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What happens to one request.
#[derive(Clone)]
pub enum Act {
    /// A good answer: "Score: N", where N depends on the prompt alone.
    Good,
    /// A status, headers and a body.
    Status(u16, &'static str, String),
    /// The connection is cut before an answer.
    Cut,
    /// No answer, for longer than anybody waits.
    Silence,
    /// The server ends: no answer, and nobody listens any more.
    Die,
}

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    /// What happens when the script is over.
    always: Option<Act>,
    requests: Vec<Value>,
    keys: Vec<Option<String>>,
    dead: bool,
}

pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn new(script: Vec<Act>) -> Server {
        Server::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// One at a given address.
    pub fn at(address: SocketAddr, script: Vec<Act>) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { script: script.into(), ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().unwrap().dead {
                    return;
                }
                let state = shared.clone();
                std::thread::spawn(move || {
                    if let Ok(false) = serve(stream, &state) {
                        // Wakes the listener, so that it ends.
                        TcpStream::connect(address).ok();
                    }
                });
            }
        });
        Server { address, state }
    }

    pub fn always(self, act: Act) -> Server {
        self.state.lock().unwrap().always = Some(act);
        self
    }

    /// What was asked since the last call.
    pub fn requests(&self) -> Vec<Value> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    pub fn keys(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.state.lock().unwrap().keys)
    }
}

/// Whether the server goes on.
fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(true);
        }
        assert!(first.starts_with("POST /v1/chat/completions "), "{first}");
        let (mut length, mut key) = (0, None);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => key = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request: Value = serde_json::from_slice(&body).unwrap();
        let act = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            state.keys.push(key);
            let next = state.script.pop_front();
            next.or_else(|| state.always.clone()).unwrap_or(Act::Good)
        };
        let (status, headers, body) = match act {
            Act::Good => (200, "", good(&request).to_string()),
            Act::Status(status, headers, body) => (status, headers, body),
            Act::Cut => return Ok(true),
            Act::Die => {
                state.lock().unwrap().dead = true;
                return Ok(false);
            }
            Act::Silence => {
                std::thread::sleep(Duration::from_secs(60));
                return Ok(true);
            }
        };
        write!(stream, "HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())?;
        stream.flush()?;
    }
}

/// The score that is given for a prompt.
pub fn score(prompt: &str) -> u32 {
    prompt.bytes().fold(0u32, |sum, b| (sum * 31 + u32::from(b)) % 65_521) % 6
}

fn good(request: &Value) -> Value {
    let prompt = request["messages"][0]["content"].as_str().unwrap();
    completion(&format!("Score: {}", score(prompt)))
}

pub fn completion(text: &str) -> Value {
    json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}
