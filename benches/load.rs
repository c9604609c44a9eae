//! A load generator: keep-alive HTTP/1.1 connections over mutual TLS, closed loop.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// A client identity against one server.
#[derive(Clone)]
pub struct Peer {
    address: String,
    tls: tokio_rustls::TlsConnector,
}

impl Peer {
    /// `url` is `https://HOST:PORT`; the three files are PEM.
    pub fn new(url: &str, ca: &str, cert: &str, key: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(ca).expect("CA file") {
            roots.add(root.expect("CA certificate")).expect("usable CA");
        }
        let chain =
            CertificateDer::pem_file_iter(cert).expect("certificate file").map(|c| c.expect("certificate"));
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.collect(), PrivateKeyDer::from_pem_file(key).expect("key file"))
        .expect("client identity");
        let address = url.strip_prefix("https://").expect("an https URL").trim_end_matches('/').to_owned();
        Self { address, tls: Arc::new(config).into() }
    }

    /// One keep-alive connection.
    pub async fn connect(&self) -> Connection {
        let tcp = tokio::net::TcpStream::connect(&self.address).await.expect("connect");
        tcp.set_nodelay(true).expect("nodelay");
        let host = self.address.rsplit_once(':').expect("host:port").0.to_owned();
        let name = ServerName::try_from(host).expect("server name");
        let stream = self.tls.connect(name, tcp).await.expect("TLS handshake");
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP handshake");
        tokio::spawn(connection);
        Connection { host: self.address.clone(), sender }
    }
}

/// A connection that sends one request at a time.
pub struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Posts `body`; the answer's status and bytes.
    pub async fn post(&mut self, path: &str, media_type: &str, body: Bytes) -> (u16, Bytes) {
        let request = hyper::Request::post(path)
            .header("host", &self.host)
            .header("content-type", media_type)
            .body(Full::new(body))
            .expect("request");
        self.sender.ready().await.expect("open connection");
        let answer = self.sender.send_request(request).await.expect("answer");
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.expect("body").to_bytes())
    }
}

/// What a closed loop measured.
pub struct Measured {
    /// Wall time.
    pub elapsed: Duration,
    /// One latency a request, sorted.
    pub latencies: Vec<Duration>,
}

impl Measured {
    /// The latency below which `share` (0 to 1) of the requests stayed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies[((last as f64) * share).round() as usize]
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs `connections` closed loops for `duration`; `step` performs one request on its connection.
pub async fn closed_loop<F, Fut>(peer: &Peer, connections: usize, duration: Duration, step: F) -> Measured
where
    F: Fn(Connection, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Connection> + Send,
{
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(peer.connect().await);
    }
    let begin = Instant::now();
    let loops: Vec<_> = open
        .into_iter()
        .enumerate()
        .map(|(n, mut connection)| {
            let step = step.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut round = (n as u64) << 32;
                while begin.elapsed() < duration {
                    let start = Instant::now();
                    connection = step(connection, round).await;
                    latencies.push(start.elapsed());
                    round += 1;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for one in loops {
        latencies.extend(one.await.expect("load task"));
    }
    latencies.sort_unstable();
    Measured { elapsed: begin.elapsed(), latencies }
}

/// User and system time that process `pid` has used.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("process stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    Duration::from_millis(ticks * 10)
}

/// Median microseconds of a 4 KiB write and fdatasync into a file that was written out before.
pub fn fsync_p50_us(dir: &std::path::Path) -> u128 {
    use std::os::unix::fs::FileExt;
    let path = dir.join("fsync-baseline");
    std::fs::write(&path, vec![0; 4096 * 200]).expect("baseline file");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("baseline file");
    file.sync_all().expect("sync");
    let mut times: Vec<_> = (0..200)
        .map(|n| {
            let start = Instant::now();
            file.write_all_at(&[1; 4096], n * 4096).expect("write");
            file.sync_data().expect("fdatasync");
            start.elapsed().as_micros()
        })
        .collect();
    std::fs::remove_file(path).expect("remove baseline file");
    times.sort_unstable();
    times[times.len() / 2]
}
