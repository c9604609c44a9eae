//! Mutual TLS: who may open a connection at all. The only file that names rustls.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::digest::Digest;

/// Why the listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text does not hold what it should.
    #[error("{what} is not readable PEM: {source}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// No trust anchor was given, or one is not a certificate.
    #[error("the trust anchors for client certificates do not serve: {0}")]
    Anchors(String),
    /// Certificate and key do not fit or are not usable.
    #[error("the server's certificate and key do not serve: {0}")]
    Identity(#[from] rustls::Error),
}

/// What the mTLS listener needs: TLS 1.3 and 1.2, a client certificate demanded in the handshake.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// `chain` (leaf first) and `key` are PEM texts; `anchors` PEM of the root and, so that clients may
    /// leave them out, its issuing CAs.
    pub fn new(chain: &[u8], key: &[u8], anchors: &[u8]) -> Result<Self, TlsError> {
        let pem = |what| move |source| TlsError::Pem { what, source };
        let chain = certificates(chain).map_err(pem("the server's certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(pem("the server's key"))?;
        let anchors = certificates(anchors).map_err(pem("the list of trust anchors"))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config(chain, key, anchors, true)?))))
    }

    /// The same for who has no client certificate yet: one that is shown must be valid, none is taken, too.
    pub fn welcoming(chain: &[u8], key: &[u8], anchors: &[u8]) -> Result<Self, TlsError> {
        let pem = |what| move |source| TlsError::Pem { what, source };
        let chain = certificates(chain).map_err(pem("the server's certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(pem("the server's key"))?;
        let anchors = certificates(anchors).map_err(pem("the list of trust anchors"))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config(chain, key, anchors, false)?))))
    }

    /// The handshake; whoever has no valid certificate of ours does not get past it. A refusal hands the
    /// connection back: the alert that says why is on its way to the peer.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, (std::io::Error, TcpStream)> {
        self.0.accept(stream).into_fallible().await
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    anchors: Vec<CertificateDer<'static>>,
    demanded: bool,
) -> Result<ServerConfig, TlsError> {
    let unfit = |e: &dyn std::fmt::Display| TlsError::Anchors(e.to_string());
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor).map_err(|e| unfit(&e))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = if demanded { verifier } else { verifier.allow_unauthenticated() };
    let verifier = verifier.build().map_err(|e| unfit(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    // A resumed session would skip the check of the client's certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// SHA-256 of the client's certificate, and whether HTTP/2 was agreed.
pub(super) fn agreed(stream: &TlsStream<TcpStream>) -> (Option<Digest>, bool) {
    let session = stream.get_ref().1;
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    (leaf.map(|der| Digest::of(der)), session.alpn_protocol() == Some(b"h2"))
}
