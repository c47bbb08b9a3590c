//! Requests to the hub and to where it redirects.
//!
//! Redirects are followed here and not by the library, since the token may go to the hub alone: what the hub redirects
//! to (a CDN, a storage) has addresses that carry their own signature.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request, StatusCode};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::settings::{Settings, Token};
use super::url::Url;
use crate::error::{Error, Kind, Result};
use crate::tls::{certificates, is_tls};

const MAX_REDIRECTS: usize = 10;
/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 6;
/// The same when nobody listens: a wrong address or no network, which waiting rarely mends.
const ATTEMPTS_TO_CONNECT: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// The longest that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

pub(super) struct Client<'s> {
    settings: &'s Settings,
    agent: Agent,
}

/// An answer with a status that is no error: 2xx, or of a HEAD request 3xx that leads to where a large file is stored.
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The `X-Linked-Etag` of the hub, if one of the answers on the way here had one.
    pub linked_etag: Option<String>,
    /// Who answered, and whether it is who the token is for.
    pub host: String,
    pub by_hub: bool,
    body: Body,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better in a while; `wait` is what the server asks for.
    Passing { what: String, host: String, wait: Option<Duration>, connected: bool },
    /// The hub or the storage says no.
    Refused { status: u16, code: String, message: String, host: String, by_hub: bool },
    /// 416: the part that is here is not a part of the file.
    WrongRange,
    /// The file has another etag than a moment ago.
    Changed,
    /// Nothing that another attempt would change.
    Final(Error),
}

impl<'s> Client<'s> {
    pub(super) fn new(settings: &'s Settings) -> Result<Client<'s>> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &settings.certificates {
            tls = tls.root_certs(certificates(file)?);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("creamery/", env!("CARGO_PKG_VERSION")))
            // Sizes and checksums are of the file itself.
            .accept_encoding("identity")
            .timeout_connect(Some(settings.answer_timeout))
            .timeout_resolve(Some(settings.answer_timeout))
            .tls_config(tls.build())
            .build();
        Ok(Client { settings, agent: config.new_agent() })
    }

    /// Asks about a file, without the file. A redirect to where a large file is stored is the answer; others (the
    /// repository has a new name, a mirror points at the hub) are followed.
    pub(super) fn head(&self, url: &Url) -> Result<Reply, Trouble> {
        self.request(&Method::HEAD, url, 0)
    }

    /// Asks for a file from byte `from` on.
    pub(super) fn get(&self, url: &Url, from: u64) -> Result<Reply, Trouble> {
        self.request(&Method::GET, url, from)
    }

    fn request(&self, method: &Method, url: &Url, from: u64) -> Result<Reply, Trouble> {
        let mut url = url.clone();
        let mut linked_etag = None;
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.ask(method, &url, from)?;
            let status = reply.status;
            let header = |name: &str| reply.headers.get(name).and_then(|v| v.to_str().ok());
            if let Some(etag) = header("x-linked-etag") {
                linked_etag = Some(etag.to_owned());
            }
            if !(status.is_redirection() && reply.headers.contains_key("location")) {
                return match status.as_u16() {
                    200..300 => Ok(Reply { linked_etag, ..reply }),
                    416 => Err(Trouble::WrongRange),
                    408 | 429 | 500..=599 => Err(Trouble::Passing {
                        what: format!("answers with status {status}"),
                        host: url.host(),
                        wait: asked_wait(&reply.headers),
                        connected: true,
                    }),
                    _ => Err(refusal(reply)),
                };
            }
            let target = header("location").and_then(|location| url.join(location)).ok_or_else(|| {
                Trouble::Final(unusable(&url.host(), "redirects to an address that is none".to_owned()))
            })?;
            if url.is_secure() && !target.is_secure() {
                let what = format!("redirects from https to http, to {}", target.host());
                return Err(Trouble::Final(unusable(&url.host(), what)));
            }
            if method == Method::HEAD && linked_etag.is_some() && !target.same_origin(&url) {
                // The hub has said everything; who stores the file knows neither commit nor checksum.
                return Ok(Reply { linked_etag, ..reply });
            }
            url = target;
        }
        Err(Trouble::Final(unusable(&url.host(), format!("redirects more than {MAX_REDIRECTS} times"))))
    }

    /// One request, without following.
    fn ask(&self, method: &Method, url: &Url, from: u64) -> Result<Reply, Trouble> {
        let mut request = Request::builder().method(method).uri(url.uri());
        if let Some(Token { secret, .. }) = &self.settings.token
            && url.same_origin(&self.settings.endpoint)
        {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let request = request
            .body(())
            .map_err(|e| Trouble::Final(Error::config(format!("no request to {} can be made: {e}", url.host()))))?;
        let timeout = if method == Method::HEAD { self.settings.answer_timeout } else { self.settings.read_timeout };
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(self.settings.read_timeout))
            .build();
        let reply = self.agent.run(request).map_err(|e| self.trouble(e, url))?;
        let (head, body) = reply.into_parts();
        let by_hub = url.same_origin(&self.settings.endpoint);
        Ok(Reply { status: head.status, headers: head.headers, linked_etag: None, host: url.host(), by_hub, body })
    }

    /// A request that may take several attempts; `again` tells what happens in between. Waits ever longer, or as long
    /// as the server asks for.
    pub(super) fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Trouble>,
        again: &mut dyn FnMut(&str),
    ) -> Result<T, Trouble> {
        let mut patience = Patience::default();
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(trouble) => patience.wait(trouble, again)?,
            }
        }
    }

    fn trouble(&self, error: ureq::Error, url: &Url) -> Trouble {
        use ureq::Error as E;
        let passing = |what: String, connected: bool| {
            let host = url.host();
            Trouble::Passing { what, host, wait: None, connected }
        };
        match error {
            E::HostNotFound => passing("has no address: the name is wrong or the network is down".to_owned(), false),
            E::ConnectionFailed => passing("does not accept the connection".to_owned(), false),
            E::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                passing(format!("does not answer within {} s", self.settings.answer_timeout.as_secs()), false)
            }
            E::Timeout(_) => passing("stopped answering".to_owned(), true),
            E::Io(e) if is_tls(&e) => Trouble::Final(tls(url, &e.to_string(), self.settings)),
            E::Io(e) => {
                use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
                let cut = matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
                match cut {
                    true => passing(format!("cut the connection ({e})"), true),
                    false => passing(format!("cannot be reached ({e})"), false),
                }
            }
            E::Tls(what) => Trouble::Final(tls(url, what, self.settings)),
            E::Rustls(e) => Trouble::Final(tls(url, &e.to_string(), self.settings)),
            E::Pem(e) => Trouble::Final(tls(url, &e.to_string(), self.settings)),
            E::Protocol(e) => passing(format!("does not speak HTTP ({e})"), true),
            E::ConnectProxyFailed(e) => Trouble::Final(proxy(url, &e)),
            E::InvalidProxyUrl => Trouble::Final(proxy(url, "its address is none")),
            e => Trouble::Final(unusable(&url.host(), format!("gives an answer that cannot be used ({e})"))),
        }
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The whole answer, if it is at most `limit` bytes.
    pub(super) fn bytes(self, limit: u64) -> Result<Vec<u8>, Trouble> {
        let (host, mut bytes) = (self.host.clone(), Vec::new());
        let mut reader = self.reader().take(limit + 1);
        reader.read_to_end(&mut bytes).map_err(|e| cut(&host, &e))?;
        match bytes.len() as u64 > limit {
            true => Err(Trouble::Final(unusable(&host, format!("gives an answer of more than {limit} bytes")))),
            false => Ok(bytes),
        }
    }

    pub(super) fn reader(self) -> impl Read {
        // What is read from it is counted there.
        self.body.into_with_config().limit(u64::MAX).reader()
    }
}

/// A connection that broke while a body was read.
pub(super) fn cut(host: &str, error: &std::io::Error) -> Trouble {
    Trouble::Passing {
        what: format!("cut the connection ({error})"),
        host: host.to_owned(),
        wait: None,
        connected: true,
    }
}

/// How often and how long to wait still.
#[derive(Default)]
pub(super) struct Patience {
    failed: u32,
}

impl Patience {
    /// Something came: the next trouble is a new one.
    pub(super) fn renew(&mut self) {
        self.failed = 0;
    }

    /// Waits, if the trouble may pass and has not lasted too long; else gives it back.
    pub(super) fn wait(&mut self, trouble: Trouble, tell: &mut dyn FnMut(&str)) -> Result<(), Trouble> {
        let Trouble::Passing { what, host, wait, connected } = &trouble else { return Err(trouble) };
        self.failed += 1;
        let attempts = if *connected { ATTEMPTS } else { ATTEMPTS_TO_CONNECT };
        if self.failed >= attempts || wait.is_some_and(|asked| asked > LONGEST_ASKED) {
            return Err(trouble);
        }
        let wait = wait.unwrap_or_else(|| LONGEST_WAIT.min(FIRST_WAIT * 2u32.pow(self.failed - 1)));
        tell(&format!("{host} {what}; trying again in {:.1} s", wait.as_secs_f64()));
        std::thread::sleep(wait);
        Ok(())
    }
}

impl Trouble {
    /// The error of this trouble with `subject`: a repository or a file in it.
    pub(super) fn about(self, subject: &str, repo: &str, settings: &Settings) -> Error {
        match self {
            Trouble::Final(error) if error.path().is_some() => error.context(format!("fetching {subject}")),
            Trouble::Final(error) => error.file(subject),
            Trouble::WrongRange => {
                unusable(&settings.endpoint.host(), "has no such part of the file".to_owned()).file(subject)
            }
            Trouble::Changed => {
                Error::new(Kind::Io, format!("the file changes on {} while it is fetched", settings.endpoint.host()))
                    .file(subject)
                    .help("try again")
            }
            Trouble::Passing { what, host, wait, connected } => {
                let asked = wait.filter(|w| *w > LONGEST_ASKED);
                let asks = asked.map_or_else(String::new, |w| format!(" and asks to wait {} s", w.as_secs()));
                let error = Error::new(Kind::Io, format!("{host} {what}{asks}")).file(subject);
                error.help(match (connected, asked) {
                    (_, Some(_)) => "try again then; with a token (HF_TOKEN) the hub allows more requests",
                    (true, _) => "try again later; what has arrived is kept, and the same command continues there",
                    (false, _) => {
                        "check the network, HF_ENDPOINT and HTTPS_PROXY; with HF_HUB_OFFLINE=1 only the cache is used"
                    }
                })
            }
            Trouble::Refused { status, code, message, host, by_hub } => {
                let said = if message.is_empty() { String::new() } else { format!(": {message}") };
                let error =
                    |what: &str| Error::input(format!("{what} (status {status} of {host}{said})")).file(subject);
                let page = format!("{}/{repo}", settings.endpoint);
                let token = match &settings.token {
                    None => "set HF_TOKEN to a token of yours".to_owned(),
                    Some(token) => format!("check that the token in {} may read it", token.from),
                };
                match (status, code.as_str()) {
                    _ if !by_hub => error("the storage that the hub names does not give the file")
                        .help("try again: the hub's addresses are valid for a short time only"),
                    (_, "GatedRepo") | (403, _) => error("you have no access to this repository")
                        .help(format!("accept its conditions at {page}, and {token}")),
                    (_, "RevisionNotFound") => error("the repository has no such revision")
                        .help(format!("its branches, tags and commits are listed at {page}/tree/main")),
                    (_, "EntryNotFound") => error("the repository has no such file at this revision"),
                    (401, _) => error("the hub does not show this repository: there is none, or it is private")
                        .help(format!("check the name at {page}; if it is private or gated, {token}")),
                    (404, _) => error("there is no such repository or revision")
                        .help(format!("check the name at {page}; if it is private, {token}")),
                    _ => error("the hub refuses the request")
                        .help(format!("is {} a Hugging Face hub?", settings.endpoint)),
                }
            }
        }
    }

    /// The hub could not be asked, or would not say: then the cache may help, as for Python.
    pub(super) fn leaves_the_cache(&self) -> bool {
        match self {
            Trouble::Passing { .. } => true,
            Trouble::Refused { status, code, .. } => matches!(status, 401 | 403) && code != "RevisionNotFound",
            // No secure connection, no proxy.
            Trouble::Final(error) => error.kind() == Kind::Io,
            Trouble::WrongRange | Trouble::Changed => false,
        }
    }
}

fn refusal(reply: Reply) -> Trouble {
    // Foreign text, to be shown on a terminal.
    let text = |name: &str| -> String {
        reply.header(name).unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect()
    };
    Trouble::Refused {
        status: reply.status.as_u16(),
        code: text("x-error-code"),
        message: text("x-error-message"),
        host: reply.host.clone(),
        by_hub: reply.by_hub,
    }
}

/// `Retry-After` in seconds, or the `t` of the hub's own `RateLimit` header.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let limit = || text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="));
    text("retry-after").or_else(limit)?.trim().parse().ok().map(Duration::from_secs)
}

fn unusable(host: &str, what: String) -> Error {
    Error::new(Kind::Io, format!("{host} {what}"))
        .help("check HF_ENDPOINT: expected is a Hugging Face hub or a mirror of it")
}

fn tls(url: &Url, what: &str, settings: &Settings) -> Error {
    let help = match &settings.certificates {
        Some(file) => format!("do the certificates in SSL_CERT_FILE ({}) belong to this host?", file.display()),
        None => "behind a proxy that opens connections, set SSL_CERT_FILE to its certificates (PEM)".to_owned(),
    };
    Error::new(Kind::Io, format!("no secure connection to {}: {what}", url.host())).help(help)
}

fn proxy(url: &Url, what: &str) -> Error {
    Error::new(Kind::Io, format!("the proxy does not lead to {}: {what}", url.host()))
        .help("check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY")
}
