//! Requests to the server, with patience.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};
use ureq::tls::TlsConfig;

use super::super::Reply;
use super::answer::{Kept, NoAnswer, parse, plain};
use super::limiter::Limiter;
use crate::config::EndpointSlot;
use crate::data::strict_json;
use crate::error::{Error, Kind, Result};
use crate::tls::{certificates, is_tls};

const MAX_ANSWER: u64 = 16 << 20;
/// A shorter key may be a word of an answer.
const MIN_SECRET: usize = 8;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    key: Option<Key>,
    retries: usize,
    limiter: Limiter,
    warn: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A secret. It has no `Debug`, and whatever a server says is cleaned of it.
struct Key {
    secret: String,
    variable: String,
}

/// Why an attempt came to nothing.
enum Trouble {
    /// It may go better in a while; the server may say when.
    Passing(String, Option<Duration>),
    /// The server will not answer this one request.
    Refused(String),
    Final(Error),
}

impl Client {
    pub(super) fn new(slot: &EndpointSlot, warn: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Client> {
        let key = slot.api_key_env.as_deref().map(key).transpose()?;
        let secure = slot.endpoint.starts_with("https://");
        if key.is_some() && !secure && !is_local(&slot.endpoint) {
            warn(&format!("the key for {} goes over the network as it is: the address is not https", slot.endpoint));
        }
        let mut tls = TlsConfig::builder();
        if let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
            tls = tls.root_certs(certificates(&PathBuf::from(file))?);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The key goes nowhere else.
            .max_redirects(0)
            .user_agent(concat!("creamery/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(Duration::from_secs_f64(slot.timeout_seconds)))
            .tls_config(tls.build())
            .build();
        Ok(Client {
            agent: config.new_agent(),
            endpoint: slot.endpoint.clone(),
            key,
            retries: slot.retries,
            limiter: Limiter::new(slot.requests_per_minute),
            warn,
        })
    }

    /// The answer, or why the server does not answer this request. `kept` says whether answers are kept.
    ///
    /// # Errors
    /// A server that cannot be reached, or that will not answer any request.
    pub(super) fn ask(&self, body: &Value, kept: bool, stop: &AtomicBool) -> Result<Reply<Kept>> {
        let body = body.to_string();
        let mut failed = 0;
        loop {
            self.limiter.wait();
            let (what, asked) = match self.attempt(&body) {
                Ok(answer) => return Ok(Ok(answer)),
                Err(Trouble::Refused(reason)) => return Ok(Err(reason)),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing(what, asked)) => (what, asked),
            };
            let too_long = asked.filter(|wait| *wait > LONGEST_ASKED);
            if failed == self.retries || too_long.is_some() || stop.load(Ordering::Relaxed) {
                let asks = too_long.map_or_else(String::new, |w| format!(" and asks to wait {} s", w.as_secs()));
                let error = Error::new(Kind::Io, format!("{} {what}{asks}", self.endpoint));
                return Err(error.help(match kept {
                    true => {
                        "check that the server runs and that the address is right; what it has answered is kept, and \
                         the same command asks only for the rest"
                    }
                    false => "check that the server runs and that the address is right",
                }));
            }
            let wait = asked.unwrap_or_else(|| LONGEST_WAIT.min(FIRST_WAIT * 2u32.pow(failed.min(16) as u32)));
            failed += 1;
            (self.warn)(&format!("{} {what}; trying again in {:.1} s", self.endpoint, wait.as_secs_f64()));
            std::thread::sleep(wait);
        }
    }

    /// An answer that this server should not give.
    pub(super) fn unusable(&self, what: &str) -> Error {
        Error::run(format!("{} {}", self.endpoint, self.clean(what)))
            .help("expected is an OpenAI-compatible server, and its address up to /v1")
    }

    fn attempt(&self, body: &str) -> Result<Kept, Trouble> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("{}/chat/completions", self.endpoint))
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.secret));
        }
        let request = request
            .body(body)
            .map_err(|_| Trouble::Final(Error::config(format!("no request to {} can be made", self.endpoint))))?;
        let answer = self.agent.run(request).map_err(|e| self.trouble(e))?;
        let (head, body) = answer.into_parts();
        let mut bytes = Vec::new();
        let mut reader = body.into_with_config().limit(u64::MAX).reader().take(MAX_ANSWER + 1);
        let read = reader.read_to_end(&mut bytes);
        let status = head.status;
        match status.as_u16() {
            200..=299 => {}
            408 | 429 | 500..=599 => {
                let what = format!("answers with status {}{}", status.as_u16(), self.said(&bytes));
                return Err(Trouble::Passing(what, asked_wait(&head.headers)));
            }
            code => return Err(self.refusal(code, &bytes)),
        }
        read.map_err(|e| Trouble::Passing(format!("cut the connection ({e})"), None))?;
        if bytes.len() as u64 > MAX_ANSWER {
            return Err(Trouble::Refused(format!("the server's answer has more than {} MiB", MAX_ANSWER >> 20)));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| Trouble::Final(self.unusable("gives an answer that is no text")))?;
        let kept = parse(&text, |text| self.clean_of_key(text)).map_err(|none| match none {
            NoAnswer::Failed(said) => {
                let what = format!("answers with an error: {}", self.clean(&said));
                Trouble::Passing(what, asked_wait(&head.headers))
            }
            NoAnswer::Wrong(what) => Trouble::Final(self.unusable(&what)),
        })?;
        Ok(match &self.key {
            Some(key) if key.secret.len() >= MIN_SECRET => kept.map(|text| self.clean_of_key(text)),
            _ => kept,
        })
    }

    fn refusal(&self, code: u16, bytes: &[u8]) -> Trouble {
        let said = self.said(bytes);
        let error = |what: &str| Error::config(format!("{} {what} (status {code}{said})", self.endpoint));
        Trouble::Final(match code {
            // Too long for the context, say: other requests may be answered.
            400 | 413 | 422 => {
                return Trouble::Refused(format!("the server refuses the request (status {code}{said})"));
            }
            401 | 403 => error("does not let you in").help(match &self.key {
                Some(key) => format!("check the key in {}", key.variable),
                None => "name the environment variable of a key: api-key-env = \"NAME\"".to_owned(),
            }),
            404 => error("has no such address or model")
                .help("check endpoint (up to /v1) and served-model; many servers list theirs at /v1/models"),
            300..=399 => error("sends to another address").help("give that address as the endpoint"),
            _ => error("refuses the request").help("is it an OpenAI-compatible server?"),
        })
    }

    /// What the server says about an error, if it says something.
    fn said(&self, bytes: &[u8]) -> String {
        let value = std::str::from_utf8(bytes).ok().and_then(|text| strict_json::parse(text).ok());
        let message = value.as_ref().and_then(|v| {
            let error = v.get("error").unwrap_or(v);
            error.get("message").unwrap_or(error).as_str()
        });
        message.map_or_else(String::new, |message| format!(": {}", self.clean(message)))
    }

    /// Foreign text, to be shown.
    fn clean(&self, text: &str) -> String {
        plain(&self.clean_of_key(text))
    }

    /// A server may repeat the key.
    fn clean_of_key(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(&key.secret, "…"),
            None => text.to_owned(),
        }
    }

    fn trouble(&self, error: ureq::Error) -> Trouble {
        use ureq::Error as E;
        let passing = |what: String| Trouble::Passing(what, None);
        let insecure = |what: &str| {
            Trouble::Final(
                Error::new(Kind::Io, format!("no secure connection to {}: {what}", self.endpoint))
                    .help("behind a proxy that opens connections, set SSL_CERT_FILE to its certificates (PEM)"),
            )
        };
        match error {
            E::HostNotFound => passing("has no address: the name is wrong or the network is down".to_owned()),
            E::ConnectionFailed => passing("does not accept the connection".to_owned()),
            E::Timeout(_) => passing("does not answer within timeout-seconds".to_owned()),
            E::Io(e) if is_tls(&e) => insecure(&e.to_string()),
            E::Io(e) => passing(format!("cannot be reached or cut the connection ({e})")),
            E::Tls(what) => insecure(what),
            E::Rustls(e) => insecure(&e.to_string()),
            E::Pem(e) => insecure(&e.to_string()),
            E::Protocol(e) => passing(format!("does not speak HTTP ({e})")),
            e => Trouble::Final(self.unusable(&format!("gives an answer that cannot be used ({e})"))),
        }
    }
}

/// Whether the address is on this machine.
fn is_local(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or("", |(host, _)| host),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The key in an environment variable. Errors do not show it.
fn key(variable: &str) -> Result<Key> {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Err(Error::config(format!("the environment variable {variable}, named by api-key-env, is not set")));
    };
    let secret = value.to_string_lossy().trim().to_owned();
    if secret.is_empty() || !secret.chars().all(|c| c.is_ascii_graphic()) {
        let message = format!("the key in the environment variable {variable} has characters that no key has");
        return Err(Error::config(message).help("copy the key again"));
    }
    Ok(Key { secret, variable: variable.to_owned() })
}

/// `Retry-After` in seconds.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
