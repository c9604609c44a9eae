//! Whether a connection keeps the header deadline and is not left idle for ever.
//!
//! HTTP/1's own header timer also runs while a connection is idle between two requests, so it can
//! only be as short as the idle time. Here the time runs from the first byte of a request's header.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A header that began to arrive must be complete after this.
pub const HEADER: Duration = Duration::from_secs(5);
/// A connection without a request is closed after this.
pub const IDLE: Duration = Duration::from_secs(75);

/// What the stream, the service and the watch of one connection know together.
pub struct Pace {
    opened: Instant,
    /// Milliseconds after `opened` at which an unfinished header began; 0: none is unfinished.
    header_since: AtomicU64,
    in_flight: AtomicU32,
    /// HTTP/2 reads frames at any time and has its own keep-alive; there only the first request counts.
    every_header: bool,
}

impl Pace {
    /// The first header is awaited from now on.
    pub fn new(every_header: bool) -> Arc<Self> {
        let header_since = AtomicU64::new(1);
        Arc::new(Self { opened: Instant::now(), header_since, in_flight: AtomicU32::new(0), every_header })
    }

    /// A header is complete; the guard lives until its answer is made.
    pub fn request(self: &Arc<Self>) -> InFlight {
        self.header_since.store(0, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    fn read(&self) {
        if self.every_header
            && self.in_flight.load(Ordering::Relaxed) == 0
            && self.header_since.load(Ordering::Relaxed) == 0
        {
            self.header_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Whether a header has been coming for longer than [`HEADER`].
    pub fn broken(&self) -> bool {
        let since = self.header_since.load(Ordering::Relaxed);
        since != 0 && self.now().saturating_sub(since) > HEADER.as_millis() as u64
    }
}

/// One request being answered on the connection.
pub struct InFlight(Arc<Pace>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells its [`Pace`] of every byte that arrives.
pub struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    /// Reports the reads of `stream` to `pace`.
    pub fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pace.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
