//! A load generator: keep-alive HTTP/1.1 connections, or streams of HTTP/2 ones, over mutual TLS; as many
//! requests as the answers allow (closed loop), or so many a second whatever the answers take (open loop).
//! HTTP/1.1 is spoken by hand: the load shares its processors with the service that is measured.

use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A client identity against one server.
#[derive(Clone)]
pub struct Peer {
    address: String,
    tls: TlsConnector,
    h2: TlsConnector,
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
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.collect(), PrivateKeyDer::from_pem_file(key).expect("key file"))
        .expect("client identity");
        let address = url.strip_prefix("https://").expect("an https URL").trim_end_matches('/').to_owned();
        let tls = Arc::new(config.clone()).into();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { address, tls, h2: Arc::new(config).into() }
    }

    /// `count` keep-alive connections of HTTP/1.1.
    pub async fn connections(&self, count: usize) -> Vec<Connection> {
        let mut open = Vec::new();
        for _ in 0..count {
            let line = Line { stream: self.greet(&self.tls).await, sent: Vec::new(), got: Vec::new() };
            open.push(Connection { address: self.address.clone(), sender: Sender::Http1(line) });
        }
        open
    }

    /// `count` connections of HTTP/2, each used by `streams` loops at once.
    pub async fn streams(&self, count: usize, streams: usize) -> Vec<Connection> {
        let mut open = Vec::new();
        for _ in 0..count {
            let stream = TokioIo::new(self.greet(&self.h2).await);
            let handshake = http2::handshake(TokioExecutor::new(), stream);
            let (sender, connection) = handshake.await.expect("HTTP handshake");
            tokio::spawn(connection);
            open.extend((0..streams).map(|_| Connection {
                address: self.address.clone(),
                sender: Sender::Http2(sender.clone()),
            }));
        }
        open
    }

    async fn greet(&self, tls: &TlsConnector) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(&self.address).await.expect("connect");
        tcp.set_nodelay(true).expect("nodelay");
        let host = self.address.rsplit_once(':').expect("host:port").0.to_owned();
        let name = ServerName::try_from(host).expect("server name");
        tls.connect(name, tcp).await.expect("TLS handshake")
    }
}

enum Sender {
    Http1(Line),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection, or a stream of one, that sends one request at a time.
pub struct Connection {
    address: String,
    sender: Sender,
}

impl Connection {
    /// Posts `body`; the answer's status and bytes.
    pub async fn post(&mut self, path: &str, media_type: &str, body: Bytes) -> (u16, Bytes) {
        match &mut self.sender {
            Sender::Http1(line) => line.post(&self.address, path, media_type, &body).await,
            Sender::Http2(sender) => {
                let request = hyper::Request::post(format!("https://{}{path}", self.address))
                    .header("content-type", media_type)
                    .body(Full::new(body))
                    .expect("request");
                sender.ready().await.expect("open connection");
                let answer = sender.send_request(request).await.expect("answer");
                let status = answer.status().as_u16();
                (status, answer.into_body().collect().await.expect("body").to_bytes())
            }
        }
    }
}

/// A connection of HTTP/1.1 (RFC 9112) to a server whose answers have a Content-Length.
struct Line {
    stream: TlsStream<TcpStream>,
    sent: Vec<u8>,
    got: Vec<u8>,
}

impl Line {
    async fn post(&mut self, host: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, Bytes) {
        self.sent.clear();
        let length = body.len();
        write!(
            self.sent,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
        )
        .expect("request");
        self.sent.extend_from_slice(body);
        self.stream.write_all(&self.sent).await.expect("open connection");
        self.stream.flush().await.expect("open connection");
        self.got.clear();
        let head = loop {
            self.read().await;
            if let Some(end) = self.got.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.got[..head]).expect("header").to_ascii_lowercase();
        let status = text.get(9..12).and_then(|digits| digits.parse().ok()).expect("status");
        let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let end = head + length.and_then(|digits| digits.parse::<usize>().ok()).expect("Content-Length");
        while self.got.len() < end {
            self.read().await;
        }
        (status, Bytes::copy_from_slice(&self.got[head..end]))
    }

    async fn read(&mut self) {
        self.got.reserve(8192);
        assert_ne!(self.stream.read_buf(&mut self.got).await.expect("answer"), 0, "closed before its answer");
    }
}

/// What a load measured.
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

/// Runs one loop a connection for `duration`; `step` performs one request on it. With `rate` the loops
/// together send so many a second, each latency counted from when its request was due or could first be sent:
/// a late answer makes the next request late too. Without, each answer is followed by the next request.
pub async fn load<F, Fut>(open: Vec<Connection>, rate: Option<f64>, duration: Duration, step: F) -> Measured
where
    F: Fn(Connection, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Connection> + Send,
{
    let begin = Instant::now();
    let pause = rate.map(|rate| Duration::from_secs_f64(open.len() as f64 / rate));
    let stagger = pause.unwrap_or_default() / open.len() as u32;
    let loops: Vec<_> = (0u32..)
        .zip(open)
        .map(|(n, mut connection)| {
            let step = step.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut round = u64::from(n) << 32;
                let mut due = begin + stagger * n;
                while begin.elapsed() < duration {
                    let start = match pause {
                        Some(pause) => turn(&mut due, pause).await,
                        None => Instant::now(),
                    };
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

/// Waits until `due` and moves it on; from when the latency counts. A loop that was free in time is not charged
/// for the timer's millisecond.
async fn turn(due: &mut Instant, pause: Duration) -> Instant {
    let this = *due;
    *due += pause;
    if Instant::now() >= this {
        return this;
    }
    tokio::time::sleep_until(this.into()).await;
    Instant::now()
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
