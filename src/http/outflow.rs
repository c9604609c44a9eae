//! A journal's export as a body of known length.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::journal::JournalError;
use crate::journal::outflow::Outflow;

/// The answer; a part that fails ends the connection early, which every client can tell from its length.
pub fn answer(export: Outflow) -> Response {
    let left = export.length;
    ([(CONTENT_TYPE, "application/octet-stream")], Body::new(Parts { export, left })).into_response()
}

struct Parts {
    export: Outflow,
    left: u64,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = JournalError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, JournalError>>> {
        self.export.parts.poll_recv(cx).map(|part| {
            part.map(|part| {
                let part = part.inspect_err(|error| tracing::error!(%error, "an export ended early"))?;
                self.left = self.left.saturating_sub(part.len() as u64);
                Ok(Frame::data(part.into()))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
