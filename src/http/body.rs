//! Request bodies: read to the end under a cap and a deadline, parsed strictly.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, Version};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::problem::Problem;

/// The whole body must be here after this.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Cap of JSON bodies, bytes.
pub const JSON_CAP: usize = 256 * 1024;
/// What is read and thrown away of a body that is too long, so that the refusal is still read by a
/// peer that is busy sending; beyond it the connection is simply closed.
const SWALLOW: usize = 4 * 1024 * 1024;

/// The body, at most `cap` bytes; 413, 408 or 400 otherwise.
pub async fn read(request: Request, cap: usize) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let announced = announced(&parts.headers);
    // Clients of HTTP/2 (curl 7.88) lose an answer to a body that they were not yet done with.
    let waits = parts.headers.contains_key(EXPECT) && parts.version < Version::HTTP_2;
    if announced > cap as u64 && waits {
        return Err(Problem::too_large(cap));
    }
    tokio::time::timeout(DEADLINE, collect(body, cap)).await.unwrap_or_else(|_| Err(late()))
}

/// A request's body on its way through a handler; what is left unread comes back.
pub(super) struct Lent {
    /// `None` once it has ended.
    body: Option<Incoming>,
    back: Arc<Mutex<Option<Incoming>>>,
}

/// Where a [`Lent`] body comes back to.
pub(super) struct Lender(Arc<Mutex<Option<Incoming>>>);

/// The body for a handler, and what it leaves.
pub(super) fn lend(body: Incoming) -> (Body, Lender) {
    let back = Arc::default();
    let body = Some(body).filter(|body| !body.is_end_stream());
    let lent = Lent { body, back: Arc::clone(&back) };
    (Body::new(lent), Lender(back))
}

impl Lender {
    /// Reads and throws away what the handler left. A peer that is busy sending would lose an answer
    /// that comes before it is done: the connection or the stream is then reset under it.
    pub(super) async fn swallow(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return };
        let all = async {
            let mut length = 0;
            while let Some(Ok(frame)) = body.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
                if length > SWALLOW {
                    return;
                }
            }
        };
        // Whoever is slower than that loses the answer.
        let _ = tokio::time::timeout(DEADLINE, all).await;
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

fn announced(headers: &HeaderMap) -> u64 {
    headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0)
}

async fn collect(mut body: Body, cap: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > SWALLOW {
            return Err(Problem::too_large(cap));
        } else if length > cap {
            (first, rest) = (Bytes::new(), BytesMut::new());
        } else if first.is_empty() {
            first = data;
        } else {
            // Small bodies arrive in one frame and are never copied.
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    match length {
        _ if length > cap => Err(Problem::too_large(cap)),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.freeze()),
    }
}

fn late() -> Problem {
    let detail = format!("the body had not arrived after {} s", DEADLINE.as_secs());
    Problem::new(408, "body-too-slow", detail, "Send the body at once, or less of it.")
}

/// The media type without parameters, as sent; empty when there is none.
pub fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim()
}

/// 415 unless the body is announced as `wanted`.
pub fn must_be(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = media_type(headers);
    if given.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(Problem::media_type(wanted, given)) }
}

/// A struct that is read from a JSON object only: serde would also take its fields as an array.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Named(PhantomData))
    }
}

/// A JSON object of at most [`JSON_CAP`] bytes; every refusal is a problem document.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        must_be(request.headers(), "application/json")?;
        let body = read(request, JSON_CAP).await?;
        serde_json::from_slice(&body)
            .map(|Object(content)| Json(content))
            .map_err(|e| Problem::malformed(format!("the body is not ours: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Vec<u8>, kind: &str) -> Request {
        Request::builder().header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn a_body_at_the_cap_is_read_and_one_byte_more_is_413() {
        assert_eq!(read(request(vec![7; 9], "a/b"), 9).await.unwrap(), vec![7; 9]);
        assert_eq!(read(request(vec![7; 10], "a/b"), 9).await.unwrap_err(), Problem::too_large(9));
    }

    #[tokio::test]
    async fn json_of_another_type_or_form_is_refused() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Named {
            number: u32,
        }
        let json = |kind: &str, text: &str| Json::<Named>::from_request(request(text.into(), kind), &());
        let status = |r: Result<Json<Named>, Problem>| r.map(|j| j.0.number).map_err(|p| p.status);
        let good = "{\"number\":7}";
        assert_eq!(status(json("Application/JSON; charset=utf-8", good).await), Ok(7));
        assert_eq!(status(json("text/plain", good).await), Err(415));
        for other in ["seven", "7", "[7]", "{\"number\":7}}", "{\"number\":7,\"number\":7}", "{}"] {
            assert_eq!(status(json("application/json", other).await), Err(400), "{other}");
        }
    }
}
