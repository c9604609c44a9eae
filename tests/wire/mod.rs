//! A client that keeps its connection and sees every byte.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::Credential;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How a client greets.
pub struct Greeting<'a> {
    pub root: &'a [u8],
    pub credential: Option<&'a Credential>,
    pub alpn: &'a [u8],
}

pub async fn handshake(
    address: SocketAddr,
    greeting: &Greeting<'_>,
) -> Result<TlsStream<TcpStream>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(greeting.root)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match greeting.credential {
        None => builder.with_no_client_auth(),
        Some(c) => {
            let chain = CertificateDer::pem_slice_iter(&c.chain).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&c.key)?)?
        }
    };
    config.alpn_protocols = vec![greeting.alpn.to_vec()];
    let stream = TcpStream::connect(address).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, stream).await?)
}

/// A kept connection.
pub enum Wire {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Wire {
    /// Over TLS, with a credential, HTTP/1.1.
    pub async fn connect(
        address: SocketAddr,
        root: &[u8],
        credential: Option<&Credential>,
    ) -> Result<Self, Failure> {
        Self::greet(address, &Greeting { root, credential, alpn: b"http/1.1" }).await
    }

    pub async fn greet(address: SocketAddr, greeting: &Greeting<'_>) -> Result<Self, Failure> {
        let io = TokioIo::new(handshake(address, greeting).await?);
        if greeting.alpn == b"h2" {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Self::H2(sender));
        }
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self::H1(sender))
    }

    /// Without TLS.
    pub async fn plain(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::H1(sender)
    }

    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Bytes>, Failure> {
        let answer = match self {
            Self::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::H2(sender) => sender.send_request(request).await?,
        };
        let (parts, body) = answer.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    pub async fn get(&mut self, path: &str) -> Result<Response<Bytes>, Failure> {
        self.ask("GET", path, "", Body::empty()).await
    }

    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: Body,
    ) -> Result<Response<Bytes>, Failure> {
        let uri =
            if matches!(self, Self::H2(_)) { format!("https://localhost{path}") } else { path.to_owned() };
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
        self.send(request.body(body)?).await
    }
}

/// The problem's `type` without its common beginning, after checking that it is a whole document.
pub fn problem(answer: &Response<Bytes>) -> String {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let json: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(json["status"], answer.status().as_u16());
    assert_eq!(json["request_id"], answer.headers()["x-request-id"].to_str().unwrap());
    for member in ["title", "detail", "action"] {
        assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {json}");
    }
    json["type"].as_str().unwrap().strip_prefix("https://pechat.example/problems/").unwrap().to_owned()
}
