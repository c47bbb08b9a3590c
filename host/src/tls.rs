//! Secure connections: what is trusted, and which errors are about that.

use std::path::Path;

use ureq::tls::{PemItem, RootCerts};

use crate::error::{Error, Result};

/// The certificates of a PEM file, which are trusted in place of the built-in ones.
pub(crate) fn certificates(file: &Path) -> Result<RootCerts> {
    let pem = std::fs::read(file).map_err(|e| Error::io("read", file, &e).context("reading SSL_CERT_FILE"))?;
    let wrong = |what: String| Error::config(what).file(file).help("SSL_CERT_FILE must be certificates as PEM text");
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(format!("not PEM: {e}")))? {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(wrong("there is no certificate in it".to_owned())),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}

/// Whether a failed connection failed as a secure one.
pub(crate) fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.downcast_ref::<ureq::Error>().is_some_and(|e| matches!(e, ureq::Error::Rustls(_) | ureq::Error::Tls(_)))
            || inner.to_string().contains("certificate")
            || error.kind() == std::io::ErrorKind::InvalidData
    })
}
