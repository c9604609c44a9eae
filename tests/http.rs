//! The listeners over real TLS on loopback.

mod pki;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use pechat::http::limit::Limits;
use pechat::http::listen::{Door, Peer, listen};
use pechat::http::tls::Tls;
use pki::{Dates, Pki};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::{Greeting, Wire, handshake};

/// A listener of its own; ends when dropped.
struct Listening {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn start(door: Door, router: Router, limits: Limits) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move { listen(listener, door, router, &limits, stopped).await });
    Listening { address, stop, task }
}

fn mutual(pki: &Pki) -> Door {
    let server = pki.server();
    Door::Mutual(Tls::new(&server.chain, &server.key, &pki.root()).unwrap())
}

async fn who(Extension(peer): Extension<Peer>) -> String {
    peer.fingerprint.map(|f| f.to_string()).unwrap_or_default()
}

fn echo() -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/slow", post(|| async { tokio::time::sleep(Duration::from_millis(300)).await }))
}

#[tokio::test]
async fn a_peer_without_a_certificate_of_ours_is_refused_in_the_handshake() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let expired = pki.client("expired", Dates::Past);
    let stranger = foreign.client("stranger", Dates::Good);
    let server = pki.server();
    for (what, credential) in
        [("none", None), ("expired", Some(&expired)), ("foreign", Some(&stranger)), ("a server's", Some(&server))]
    {
        let answer = match Wire::connect(listening.address, &pki.root(), credential).await {
            Ok(mut wire) => wire.get("/who").await,
            Err(refused) => Err(refused),
        };
        assert!(answer.is_err(), "{what} was let in");
    }
}

#[tokio::test]
async fn the_exact_certificate_reaches_the_handler_over_both_protocols() {
    let pki = Pki::new();
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let client = pki.client("service", Dates::Good);
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let root = pki.root();
        let greeting = Greeting { root: &root, credential: Some(&client), alpn };
        let mut wire = Wire::greet(listening.address, &greeting).await.unwrap();
        for _ in 0..3 {
            let answer = wire.get("/who").await.unwrap();
            assert_eq!(answer.body(), client.fingerprint.to_string().as_bytes());
            assert_eq!(answer.headers()["content-length"], "64");
        }
    }
}

#[tokio::test]
async fn a_client_may_leave_out_the_issuing_certificate_when_it_is_an_anchor() {
    let pki = Pki::new();
    let mut client = pki.client("service", Dates::Good);
    let end = String::from_utf8(client.chain.clone()).unwrap().find("-----END").unwrap();
    let issuing = client.chain.split_off(end + "-----END CERTIFICATE-----\n".len());
    let server = pki.server();
    let anchors = [pki.root(), issuing].concat();
    let door = Door::Mutual(Tls::new(&server.chain, &server.key, &anchors).unwrap());
    let listening = start(door, echo(), Limits::default()).await;
    let mut wire = Wire::connect(listening.address, &pki.root(), Some(&client)).await.unwrap();
    assert_eq!(wire.get("/who").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_header_that_never_ends_closes_the_connection() {
    let pki = Pki::new();
    let tls = start(mutual(&pki), echo(), Limits::default()).await;
    let plain = start(Door::Plain, echo(), Limits::default()).await;
    let client = pki.client("service", Dates::Good);
    let root = pki.root();
    let silent = TcpStream::connect(tls.address).await.unwrap();
    let no_header = TcpStream::connect(plain.address).await.unwrap();
    let mut half = TcpStream::connect(plain.address).await.unwrap();
    half.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let mut second = TcpStream::connect(plain.address).await.unwrap();
    second.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut half_tls = handshake(tls.address, &Greeting { root: &root, credential: Some(&client), alpn: b"http/1.1" })
        .await
        .unwrap();
    half_tls.write_all(b"GET /who HTTP/1.1\r\n").await.unwrap();
    let no_preface =
        handshake(tls.address, &Greeting { root: &root, credential: Some(&client), alpn: b"h2" }).await.unwrap();
    let ends = tokio::join!(
        closed(silent),
        closed(no_header),
        closed(half),
        closed(half_tls),
        closed(no_preface),
        async {
            second.read_exact(&mut [0; 15]).await.unwrap();
            second.write_all(b"GET /who HT").await.unwrap();
            closed(second).await;
        }
    );
    let ((), (), (), (), (), ()) = ends;
}

/// Resolves when the peer has closed; hangs (and with it the test) if it never does.
async fn closed(mut stream: impl AsyncReadExt + Unpin) {
    while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
}

#[tokio::test]
async fn a_long_header_is_refused() {
    let plain = start(Door::Plain, echo(), Limits::default()).await;
    let mut stream = TcpStream::connect(plain.address).await.unwrap();
    let head = format!("GET /who HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_closed_and_the_next_one_served() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let plain = start(Door::Plain, echo(), limits).await;
    let mut first = Wire::plain(plain.address).await;
    assert_eq!(first.get("/who").await.unwrap().status(), 200);
    assert!(Wire::plain(plain.address).await.get("/who").await.is_err());
    drop(first);
    while Wire::plain(plain.address).await.get("/who").await.is_err() {}
}

#[tokio::test]
async fn what_is_being_answered_at_the_end_is_still_answered() {
    let pki = Pki::new();
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let client = pki.client("service", Dates::Good);
    let mut wire = Wire::connect(listening.address, &pki.root(), Some(&client)).await.unwrap();
    let mut idle = Wire::connect(listening.address, &pki.root(), Some(&client)).await.unwrap();
    assert_eq!(idle.get("/who").await.unwrap().status(), 200);
    let asked = tokio::spawn(async move { wire.ask("POST", "/slow", "", "".into()).await.map(|a| a.status()) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    listening.stop.send(true).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), 200);
    listening.task.await.unwrap();
    assert!(idle.get("/who").await.is_err());
    assert!(TcpStream::connect(listening.address).await.is_err());
}
