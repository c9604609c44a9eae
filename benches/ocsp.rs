//! OCSP answers signed ahead, over kept plain connections; the load generator shares the machine.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::Bench;
use crate::appliance::run;

/// Kept connections, each from a loopback address of its own: the limits are per address.
const CONNECTIONS: u8 = 16;
/// Requests sent ahead on each connection.
const AHEAD: usize = 8;
/// Answers a second that are promised on two cores (issue 4).
const TARGET: f64 = 20_000.0;

impl Bench {
    /// GET with base64 in the path, then POST: answers a second, and what the bare token could sign.
    pub async fn ocsp(&self, long: Duration) {
        let der = self.request();
        let text = <base64ct::Base64 as base64ct::Encoding>::encode_string(&der);
        let escaped = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let get = format!("GET /ocsp/{escaped} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let head = format!(
            "POST /ocsp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
            der.len()
        );
        let post = [head.as_bytes(), &der].concat();
        for (name, request) in [("ocsp-get", get), ("ocsp-post", post)] {
            let rate = self.answers(Arc::new(request), long).await;
            self.print(name, rate, "answers/s", TARGET);
            println!(
                "bench {name}: {:.1} times the bare C_Sign rate of {:.0}/s",
                rate / self.bare_sign,
                self.bare_sign
            );
        }
    }

    /// A request without a nonce for the registry service's certificate, made by openssl.
    fn request(&self) -> Vec<u8> {
        let path = |name: &str| self.appliance.path(name);
        let ca = format!("{}/ca/ca-production.cer", self.appliance.env("PECHAT_PUBLIC_URL"));
        run(Command::new("curl").args(["-sSf", "-o"]).arg(path("ca.der")).arg(ca));
        let mut pem = Command::new("openssl");
        run(pem.args(["x509", "-inform", "DER", "-in"]).arg(path("ca.der")).arg("-out").arg(path("ca.pem")));
        let mut ask = Command::new("openssl");
        ask.args(["ocsp", "-no_nonce", "-issuer"]).arg(path("ca.pem"));
        run(ask.args(["-cert", self.appliance.env("PECHAT_CERT"), "-reqout"]).arg(path("request.der")));
        std::fs::read(path("request.der")).expect("a request")
    }

    async fn answers(&self, request: Arc<Vec<u8>>, long: Duration) -> f64 {
        let url = self.appliance.env("PECHAT_PUBLIC_URL");
        let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        let count = Arc::new(AtomicU64::new(0));
        let begin = Instant::now();
        let mut loads = Vec::new();
        for number in 0..CONNECTIONS {
            let (request, count) = (request.clone(), count.clone());
            loads.push(tokio::spawn(async move {
                let mut stream = connect(address, number).await;
                let length = first(&mut stream, &request).await;
                let (ahead, mut answers) = (request.repeat(AHEAD), vec![0; length * AHEAD]);
                while begin.elapsed() < long {
                    stream.write_all(&ahead).await.expect("sent");
                    stream.read_exact(&mut answers).await.expect("answers");
                    for answer in answers.chunks(length) {
                        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
                    }
                    count.fetch_add(AHEAD as u64, Ordering::Relaxed);
                }
            }));
        }
        for load in loads {
            load.await.expect("a load");
        }
        count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
    }
}

async fn connect(address: SocketAddr, number: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 2 + number], 0).into()).expect("a loopback address");
    let stream = socket.connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Length of an answer, head and body: the same for each that follows.
async fn first(stream: &mut TcpStream, request: &[u8]) -> usize {
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    loop {
        stream.read_buf(&mut answer).await.expect("an answer");
        let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let total = end + 4 + length.parse::<usize>().expect("a number");
        if answer.len() == total {
            assert!(length != "5", "an answer, not a refusal");
            return total;
        }
    }
}
