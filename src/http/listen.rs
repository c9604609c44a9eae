//! The accept loop of every listener: caps, deadlines, one task a connection, drain at the end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::EXPECT;
use axum::http::{Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service;

use super::body;
use super::limit::Limits;
use super::pace::{self, Pace, Paced};
use super::tls::{self, Tls};
use crate::digest::Digest;

/// A TLS handshake must be finished after this.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A refused peer has this long to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is read and thrown away of a refused peer's first request, bytes.
const UNHEARD: u64 = 64 * 1024;
/// Requests being answered at the end have this long.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest request header, bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// HTTP/2 requests of one connection at the same time.
const STREAMS: u32 = 100;

/// Who is at the other end; in every request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Where from.
    pub address: SocketAddr,
    /// SHA-256 of the client certificate the handshake proved; `None` on plain listeners.
    pub fingerprint: Option<Digest>,
}

/// How a listener greets.
#[derive(Clone)]
pub enum Door {
    /// Without TLS (public and metrics listeners).
    Plain,
    /// With a client certificate.
    Mutual(Tls),
}

/// Serves `router` until `stop` becomes true (or its sender is gone), then drains for at most 10 s.
pub async fn listen(
    listener: TcpListener,
    door: Door,
    router: Router,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) {
    let cap = limits.connections.max(1);
    let places = Arc::new(Semaphore::new(cap as usize));
    let crowd = Crowd { each: limits.connections_per_address, open: Arc::default() };
    let host = Host { door, router, builders: Builders::new(), stop: stop.clone() };
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => admit(&host, &places, &crowd, stream, address),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors: the next try would fail as well.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, places.acquire_many(cap)).await.is_err() {
        tracing::warn!("connections were still open after the drain deadline");
    }
}

/// Starts a connection's task, or closes at once beyond the caps: waiting in a queue helps nobody.
fn admit(host: &Host, places: &Arc<Semaphore>, crowd: &Crowd, stream: TcpStream, address: SocketAddr) {
    let Ok(place) = places.clone().try_acquire_owned() else {
        return tracing::warn!(%address, "connection refused: the listener is full");
    };
    let Some(seat) = crowd.enter(address.ip()) else {
        return tracing::warn!(%address, "connection refused: too many from this address");
    };
    let host = host.clone();
    tokio::spawn(async move {
        let _held: (OwnedSemaphorePermit, Seat) = (place, seat);
        host.greet(stream, address).await;
    });
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Host {
    door: Door,
    router: Router,
    builders: Builders,
    stop: watch::Receiver<bool>,
}

impl Host {
    async fn greet(self, stream: TcpStream, address: SocketAddr) {
        // Answers are small and written whole; waiting for more only adds delay.
        let _ = stream.set_nodelay(true);
        match self.door.clone() {
            Door::Plain => self.converse(stream, Peer { address, fingerprint: None }, false).await,
            Door::Mutual(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let (fingerprint, h2) = tls::agreed(&stream);
                    self.converse(stream, Peer { address, fingerprint }, h2).await;
                }
                Ok(Err((error, stream))) => {
                    tracing::info!(%address, %error, "handshake refused");
                    let _ = tokio::time::timeout(FAREWELL, part(stream)).await;
                }
                Err(_) => tracing::info!(%address, "handshake too slow"),
            },
        }
    }

    async fn converse<S>(mut self, stream: S, peer: Peer, h2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Pace::new(!h2);
        let io = TokioIo::new(Paced::new(stream, pace.clone()));
        let (router, of_requests) = (self.router, pace.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let in_flight = of_requests.request();
            // Who waits for leave to send does not get it by a refusal.
            let waits = request.headers().contains_key(EXPECT) && request.version() < Version::HTTP_2;
            let (parts, body) = request.into_parts();
            let (body, lender) = body::lend(body);
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(peer);
            let answer = router.clone().call(request);
            async move {
                let _held = in_flight;
                let answer = answer.await.unwrap_or_else(|never| match never {});
                if !waits && answer.status() != StatusCode::REQUEST_TIMEOUT {
                    lender.swallow().await;
                }
                Result::<_, Infallible>::Ok(answer)
            }
        });
        let builder = if h2 { &self.builders.h2 } else { &self.builders.h1 };
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut draining = false;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    return if let Err(error) = ended { tracing::debug!(address = %peer.address, %error, "connection ended") };
                }
                _ = self.stop.wait_for(|stop| *stop), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => if pace.broken() {
                    return tracing::info!(address = %peer.address, "request header too slow, connection closed");
                }
            }
        }
    }
}

/// Closing over unread bytes resets a connection. In TLS 1.3 a peer sends its request before it learns of
/// the refusal, and over HTTP/2 curl then reports the reset instead of "certificate required".
async fn part(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream.take(UNHEARD), &mut tokio::io::sink()).await;
    }
}

/// Timers are set on both: without one hyper's deadlines do not run.
#[derive(Clone)]
struct Builders {
    h1: auto::Builder<TokioExecutor>,
    h2: auto::Builder<TokioExecutor>,
}

impl Builders {
    fn new() -> Self {
        let mut h1 = auto::Builder::new(TokioExecutor::new()).http1_only();
        // Head and body in one write: apart they are two TLS records and two system calls an answer.
        h1.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(pace::IDLE)
            .max_buf_size(HEADER_BYTES)
            .writev(false);
        let mut h2 = auto::Builder::new(TokioExecutor::new()).http2_only();
        h2.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_BYTES as u32)
            .keep_alive_interval(pace::HEADER)
            .keep_alive_timeout(pace::HEADER);
        Self { h1, h2 }
    }
}

/// Open connections by address.
struct Crowd {
    each: u32,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Crowd {
    fn enter(&self, address: IpAddr) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Seat { address, open: self.open.clone() })
    }
}

struct Seat {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}
