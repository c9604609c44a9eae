//! One mTLS connection pool to the appliance; errors keep the server's own words.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use super::settings::Settings;

/// Longest answer read: a journal's export may be large, everything else is far below.
const ANSWER_LIMIT: u64 = 4 << 30;
/// A download must be finished after this.
const DOWNLOAD: Duration = Duration::from_secs(3600);

/// Keep-alive connections to one appliance. Cheap to clone, usable from several threads.
#[derive(Clone)]
pub struct Connection {
    agent: ureq::Agent,
    base: String,
}

/// An answer of whatever status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type` as sent.
    pub content_type: String,
    /// `Retry-After`, when given in seconds.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why a request gave nothing usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A PEM file is missing or not what it should be.
    #[error("{path}: {reason}")]
    Credentials {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection, or it broke; asking again may help.
    #[error("no answer from {url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// In words.
        reason: String,
    },
    /// TLS said no; asking again will not help.
    #[error("TLS with {url} failed: {reason}")]
    Tls {
        /// What was asked.
        url: String,
        /// In words, with the likely cause.
        reason: String,
    },
    /// The server answered with a problem document or another unexpected status.
    #[error("{url} answered {status}: {detail}{}", with_action(.action))]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// The problem's `detail`, or the beginning of the body.
        detail: String,
        /// The problem's `action`, may be empty.
        action: String,
        /// When the server says that asking again makes sense.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the interface promises.
    #[error("{url} gave an answer that cannot be understood: {reason}")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn with_action(action: &str) -> String {
    if action.is_empty() { String::new() } else { format!("\n  next: {action}") }
}

impl RequestError {
    /// Whether the same request may succeed later: lost connections, overload, a server that starts.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// The server's own wish.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Connection {
    /// Reads the PEM files; connects at the first request. Only `settings.ca` is trusted.
    pub fn open(settings: &Settings) -> Result<Connection, RequestError> {
        let chain = certificates(&settings.cert)?;
        let key = private_key(&settings.key)?;
        Self::build(&settings.url, &settings.ca, Some(ClientCert::new_with_certs(&chain, key)))
    }

    /// A connection without a client certificate, as a stranger would make it.
    pub fn anonymous(url: &str, ca: &Path) -> Result<Connection, RequestError> {
        Self::build(url, ca, None)
    }

    /// A connection without TLS, for what anybody may ask of the plain listener.
    pub fn plain(url: &str) -> Connection {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Connection { agent, base: url.trim_end_matches('/').to_owned() }
    }

    fn build(url: &str, ca: &Path, client: Option<ClientCert>) -> Result<Connection, RequestError> {
        let roots = certificates(ca)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(client)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("pechat-client/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Ok(Connection { agent, base: url.trim_end_matches('/').to_owned() })
    }

    /// GET of `path` (beginning with `/`).
    pub fn get(&self, path: &str) -> Result<Reply, RequestError> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).call();
        read(url, answer)
    }

    /// GET of `path` into `out`, of any length; gives the bytes written. Takes at most an hour.
    pub fn download(&self, path: &str, out: &mut impl std::io::Write) -> Result<u64, RequestError> {
        let url = format!("{}{path}", self.base);
        let asked = self.agent.get(&url).config().timeout_global(Some(DOWNLOAD)).build().call();
        let mut answer = asked.map_err(|e| failure(&url, e))?;
        if !answer.status().is_success() {
            return Err(read(url.clone(), Ok(answer))?.refusal(&url));
        }
        let copied = std::io::copy(&mut answer.body_mut().as_reader(), out);
        copied.map_err(|e| RequestError::Unreachable {
            url,
            reason: format!("while its answer was stored: {e}"),
        })
    }

    /// POST of `body` to `path`.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Reply, RequestError> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.post(&url).header("content-type", content_type).send(body);
        read(url, answer)
    }

    /// POST of JSON; anything but a 2xx becomes [`RequestError::Refused`]. Gives the parsed answer.
    pub fn post_json<T: for<'a> Deserialize<'a>>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, RequestError> {
        let url = format!("{}{path}", self.base);
        self.post(path, "application/json", body.to_string().as_bytes())?.success(&url)?.json(&url)
    }
}

impl Reply {
    /// The reply if its status is 2xx, else the problem it carries.
    pub fn success(self, url: &str) -> Result<Reply, RequestError> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.refusal(url)) }
    }

    /// The body as JSON of the expected form.
    pub fn json<T: for<'a> Deserialize<'a>>(&self, url: &str) -> Result<T, RequestError> {
        serde_json::from_slice(&self.body)
            .map_err(|e| RequestError::Unexpected { url: url.to_owned(), reason: e.to_string() })
    }

    /// This reply as the error it is; `detail` and `action` of an RFC 9457 document when there is one.
    pub fn refusal(&self, url: &str) -> RequestError {
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            detail: String,
            #[serde(default)]
            action: String,
        }
        let document = serde_json::from_slice(&self.body).unwrap_or_else(|_| Document {
            detail: String::from_utf8_lossy(&self.body).chars().take(300).collect(),
            action: String::new(),
        });
        RequestError::Refused {
            url: url.to_owned(),
            status: self.status,
            detail: document.detail,
            action: document.action,
            retry_after: self.retry_after,
        }
    }
}

fn read(
    url: String,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Reply, RequestError> {
    let mut answer = answer.map_err(|e| failure(&url, e))?;
    let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let content_type = header("content-type").unwrap_or_default();
    let retry_after = header("retry-after").and_then(|v| v.parse().ok()).map(Duration::from_secs);
    let status = answer.status().as_u16();
    let body =
        answer.body_mut().with_config().limit(ANSWER_LIMIT).read_to_vec().map_err(|e| failure(&url, e))?;
    Ok(Reply { status, content_type, retry_after, body })
}

/// rustls errors may arrive bare or inside an I/O error, depending on when the peer spoke.
fn failure(url: &str, error: ureq::Error) -> RequestError {
    let url = url.to_owned();
    match error {
        ureq::Error::Rustls(e) => RequestError::Tls { url, reason: tls_words(&e) },
        ureq::Error::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => RequestError::Tls { url, reason: tls_words(tls) },
            None => RequestError::Unreachable { url, reason: e.to_string() },
        },
        ureq::Error::BadUri(reason) => RequestError::Unexpected { url, reason },
        ureq::Error::Tls(reason) => RequestError::Tls { url, reason: reason.to_owned() },
        other => RequestError::Unreachable { url, reason: other.to_string() },
    }
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::AlertDescription as A;
    let cause = match error {
        rustls::Error::AlertReceived(A::CertificateRequired | A::HandshakeFailure) => {
            "the server wants a client certificate and got none"
        }
        rustls::Error::AlertReceived(A::UnknownCA) => {
            "the server does not know the issuer of our certificate; send the chain, leaf first"
        }
        rustls::Error::AlertReceived(A::CertificateExpired) => "our certificate has expired",
        rustls::Error::AlertReceived(A::CertificateRevoked) => "our certificate is revoked",
        rustls::Error::AlertReceived(A::AccessDenied | A::BadCertificate | A::CertificateUnknown) => {
            "the server does not accept our certificate"
        }
        rustls::Error::InvalidCertificate(_) => {
            "the server's certificate does not stand under our CA for this host name"
        }
        _ => "no secure connection",
    };
    format!("{cause} ({error})")
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, RequestError> {
    let pem = read_pem(path)?;
    let found: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(c)) => Some(c),
            _ => None,
        })
        .collect();
    if found.is_empty() { Err(credentials(path, "holds no PEM certificate")) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, RequestError> {
    PrivateKey::from_pem(&read_pem(path)?).map_err(|_| credentials(path, "holds no PEM private key"))
}

fn read_pem(path: &Path) -> Result<Vec<u8>, RequestError> {
    std::fs::read(path).map_err(|e| credentials(path, &e.to_string()))
}

fn credentials(path: &Path, reason: &str) -> RequestError {
    RequestError::Credentials { path: path.display().to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            content_type: String::new(),
            retry_after: Some(Duration::from_secs(3)),
            body: body.into(),
        }
    }

    #[test]
    fn problem_document_is_shown_with_detail_and_action() {
        let error = reply(409, r#"{"detail":"request id ab already seals","action":"use a new id"}"#)
            .success("https://h/v1")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "https://h/v1 answered 409: request id ab already seals\n  next: use a new id"
        );
        assert!(!error.may_pass());
    }

    #[test]
    fn answer_that_is_no_problem_document_is_quoted() {
        let error = reply(503, "<html>busy").refusal("u");
        assert_eq!(error.to_string(), "u answered 503: <html>busy");
        assert!(error.may_pass());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn tls_refusal_is_not_tried_again_and_a_lost_connection_is() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let inside = std::io::Error::new(std::io::ErrorKind::InvalidData, alert);
        let refused = failure("u", ureq::Error::Io(inside));
        assert!(refused.to_string().contains("wants a client certificate"), "{refused}");
        assert!(!refused.may_pass());
        let lost = failure("u", ureq::Error::Io(std::io::ErrorKind::ConnectionRefused.into()));
        assert!(lost.may_pass());
    }
}
