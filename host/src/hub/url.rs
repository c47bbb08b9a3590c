//! Addresses: as much of them as following a redirect takes.

use std::fmt;

use ureq::http::Uri;

/// An address with `http` or `https` and a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url(Uri);

impl Url {
    pub(super) fn parse(text: &str) -> Option<Url> {
        let uri: Uri = text.parse().ok()?;
        let host = uri.host().is_some_and(|h| !h.is_empty());
        (matches!(uri.scheme_str(), Some("http" | "https")) && host).then_some(Url(uri))
    }

    /// The address below this one; `parts` become its path, with every '/' in a part that is no separator escaped.
    pub(super) fn below(&self, path: &str) -> Option<Url> {
        Url::parse(&format!("{}{path}", self.to_string().trim_end_matches('/')))
    }

    /// Where a `Location` header found here leads.
    pub(super) fn join(&self, location: &str) -> Option<Url> {
        let (scheme, authority) = (self.0.scheme_str()?, self.0.authority()?);
        let location = location.split('#').next().unwrap_or_default();
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        if location.starts_with('/') {
            return Url::parse(&format!("{scheme}://{authority}{location}"));
        }
        if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            return Url::parse(location);
        }
        let folder = self.0.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        Url::parse(&format!("{scheme}://{authority}{folder}/{location}"))
    }

    /// Scheme, host and port: what may see a secret that another part of it was given.
    fn origin(&self) -> (bool, String, u16) {
        let secure = self.is_secure();
        let port = self.0.port_u16().unwrap_or(if secure { 443 } else { 80 });
        (secure, self.0.host().unwrap_or_default().to_ascii_lowercase(), port)
    }

    pub(super) fn same_origin(&self, other: &Url) -> bool {
        self.origin() == other.origin()
    }

    pub(super) fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Host and, if given, port. No path and no query: signed addresses are secrets.
    pub(super) fn host(&self) -> String {
        let host = self.0.host().unwrap_or_default();
        self.0.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // A host alone gets a '/' from the library.
        let bare = self.0.path_and_query().is_none_or(|p| p.as_str() == "/");
        f.write_str(if bare { text.trim_end_matches('/') } else { &text })
    }
}

/// `text` as a part of a path; with `slashes` '/' stays.
pub(super) fn escape(text: &str, slashes: bool) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b'/' if slashes => escaped.push('/'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{Url, escape};

    #[test]
    fn redirects_lead_where_browsers_go() {
        let here = Url::parse("https://hub.co:8443/a/b?q=1").unwrap();
        let cases = [
            ("https://cdn.co/x?s=1#f", Some("https://cdn.co/x?s=1")),
            ("//cdn.co/x", Some("https://cdn.co/x")),
            ("/api/y", Some("https://hub.co:8443/api/y")),
            ("c", Some("https://hub.co:8443/a/c")),
            ("c?u=http://d", Some("https://hub.co:8443/a/c?u=http://d")),
            ("file:///etc/passwd", None),
            ("ftp://cdn.co/x", None),
        ];
        for (location, expected) in cases {
            assert_eq!(here.join(location).map(|u| u.to_string()).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let cases = [
            ("https://hub.co/a", "https://HUB.co:443/b", true),
            ("http://hub.co", "http://hub.co:80", true),
            ("https://hub.co", "http://hub.co", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:2", false),
            ("https://hub.co", "https://hub.co.evil.org", false),
            ("https://hub.co", "https://hub.co@evil.org", false),
        ];
        for (a, b, same) in cases {
            assert_eq!(Url::parse(a).unwrap().same_origin(&Url::parse(b).unwrap()), same, "{a} {b}");
        }
    }

    #[test]
    fn escaped_parts() {
        assert_eq!(escape("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(escape("a/b ü?", true), "a/b%20%C3%BC%3F");
    }
}
