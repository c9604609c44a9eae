//! Clients that are slow, idle or odd: each loses its own connection, nobody else notices.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::wire::{Greeting, handshake};
use crate::world::World;

/// Only so that a connection that is never closed does not hang the test.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn all(world: &World) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    world.check("slow and silent clients are closed, and others are served meanwhile", |w| {
        runtime.block_on(slow(w));
    });
    world.check("idle connections do not stop a stamp", |w| runtime.block_on(idle(w)));
    world.check("who waits for 100-continue gets it, or the refusal before he sends", |w| {
        runtime.block_on(expecting(w));
    });
    world.check("what is not HTTP is refused or closed", |w| runtime.block_on(odd(w)));
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn tls(world: &World) -> Tls {
    let (root, credential) = (world.root(), world.registry().credential());
    let greeting = Greeting { root: &root, credential: Some(&credential), alpn: b"http/1.1" };
    handshake(world.api(), &greeting).await.unwrap()
}

async fn tcp(world: &World) -> TcpStream {
    TcpStream::connect(world.public()).await.unwrap()
}

/// Everything until the other side closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    // A reset closes, too.
    let closed = timeout(PATIENCE, async {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut part).await {
            all.extend(&part[..count]);
        }
    });
    closed.await.expect("the connection is closed");
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends `start`, then a byte now and then until the connection ends; what was answered.
async fn trickled(stream: impl AsyncRead + AsyncWrite + Unpin, start: &str) -> String {
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        let _ = write.write_all(start.as_bytes()).await;
        while write.write_all(b"a").await.is_ok() && write.flush().await.is_ok() {
            sleep(Duration::from_millis(300)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        said = rest(&mut read) => said,
        () = writing => unreachable!("it waits for the end"),
    }
}

const HEAD: &str = "POST /tsa HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/timestamp-query\r\n";

async fn slow(world: &World) {
    let body = format!("{HEAD}content-length: 4000\r\n\r\n");
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\nfff\r\n");
    let mut silent = TcpStream::connect(world.api()).await.unwrap();
    let mut silent_after_tls = tls(world).await;
    let (header, plain_header, slow_handshake, slow_body, slow_chunk, no_hello, no_request) = tokio::join!(
        trickled(tls(world).await, "GET /v1/checkpoint HTTP/1.1\r\nhost: localhost\r\nx-slow: "),
        trickled(tcp(world).await, "GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: "),
        // The start of a TLS record that never becomes whole.
        trickled(TcpStream::connect(world.api()).await.unwrap(), "\u{16}\u{3}\u{1}\u{2}"),
        trickled(tls(world).await, &body),
        trickled(tls(world).await, &chunked),
        rest(&mut silent),
        rest(&mut silent_after_tls),
    );
    for (what, said) in [("a header", header), ("a plain header", plain_header)] {
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{what}: {said}");
    }
    for (what, said) in [("a body", slow_body), ("a chunk", slow_chunk)] {
        assert!(
            said.starts_with("HTTP/1.1 408") && said.contains("/problems/body-too-slow"),
            "{what}: {said}"
        );
    }
    assert_eq!((no_hello.as_str(), no_request.as_str()), ("", ""));
    assert!(!slow_handshake.contains("HTTP"), "{slow_handshake}");
    world.works();
}

async fn idle(world: &World) {
    let (mut secured, mut bare, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..200 {
        secured.push(tls(world).await);
        bare.push(TcpStream::connect(world.api()).await.unwrap());
        plain.push(tcp(world).await);
    }
    world.works();
    assert_eq!(world.plain("/livez").status, 200);
    drop((secured, bare, plain));
}

async fn answer_to(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    let mut part = vec![0; 8192];
    let count =
        timeout(PATIENCE, stream.read(&mut part)).await.expect("an answer").expect("an answer, not a reset");
    String::from_utf8_lossy(&part[..count]).into_owned()
}

async fn expecting(world: &World) {
    let mut stream = tls(world).await;
    let head = format!("{HEAD}expect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n");
    let said = answer_to(&mut stream, head.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{said}");
    stream.write_all(b"junk").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.contains("application/timestamp-reply"), "{said}");
    let mut stream = tls(world).await;
    let head = format!("{HEAD}expect: 100-continue\r\ncontent-length: 4097\r\n\r\n");
    let said = answer_to(&mut stream, head.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("/problems/body-too-large"), "{said}");
}

async fn odd(world: &World) {
    let long = "a".repeat(20_000);
    let (long_header, long_path) =
        (format!("GET /livez HTTP/1.1\r\nx: {long}\r\n\r\n"), format!("GET /{long} HTTP/1.1\r\n\r\n"));
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\n{many}\r\n");
    let refused = [
        ("a header without a colon", "GET /livez HTTP/1.1\r\nnonsense\r\n\r\n", "400"),
        ("an unknown version", "GET /livez HTTP/7.3\r\n\r\n", "400"),
        ("no request line", "\u{0}\u{1}\u{2}\r\n\r\n", "400"),
        ("two lengths", "POST /livez HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "400"),
        ("a negative length", "POST /livez HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "400"),
        ("a length of 2^64", "POST /livez HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n", "400"),
        ("another coding", "POST /livez HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", "400"),
        ("a header of 20 KB", &long_header, "431"),
        ("a path of 20 KB", &long_path, "431"),
        ("200 headers", &many, "431"),
    ];
    for (what, request, status) in refused {
        let mut stream = tcp(world).await;
        let said = answer_to(&mut stream, request.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {said:.200}");
        assert!(rest(&mut stream).await.is_empty(), "{what}: the connection goes on");
    }
    // A body that ends before its length says so is no query.
    let mut stream = tls(world).await;
    stream.write_all(format!("{HEAD}content-length: 100\r\n\r\njunk").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said}");
    // Garbage instead of a handshake.
    let mut stream = TcpStream::connect(world.api()).await.unwrap();
    let _ = stream.write_all(&[0xff; 300]).await;
    let said = rest(&mut stream).await;
    assert!(!said.contains("HTTP"), "{said}");
}
