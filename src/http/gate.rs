//! What every request passes: identity, limits, the route table, deadline; and what every answer carries.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limit::Place;
use super::listen::Peer;
use super::problem::Problem;
use super::{App, Caller, Front, Route, version};
use crate::access::Action;
use crate::digest::Digest;

/// An answer must be there after this.
pub const DEADLINE: Duration = Duration::from_secs(30);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest text of a foreign refusal taken over into a problem document, bytes.
const FOREIGN_TEXT: usize = 4096;

/// The gate of the mTLS listener.
pub async fn authenticated(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let visit = Visit::begin(&app.front, &request);
    let answer = match admit(&app, &mut request) {
        Ok((place, finish_anyway)) => {
            let mut answer = within(DEADLINE, request, next, finish_anyway).await;
            place.describe(answer.headers_mut());
            answer
        }
        Err(refusal) => refusal,
    };
    visit.end(answer).await
}

/// The gate of the public listener: no identity, a budget for each address.
pub async fn anonymous(State(app): State<App>, request: Request, next: Next) -> Response {
    let visit = Visit::begin(&app.front, &request);
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip().to_canonical().to_string());
    let answer =
        match app.front.public().enter(Digest::of(address.unwrap_or_default().as_bytes()), Instant::now()) {
            Ok(_place) => within(DEADLINE, request, next, false).await,
            // Clients of OCSP read nothing but an OCSPResponse with status 200.
            Err(_) if request.uri().path().starts_with(super::ocsp::PATH) => super::ocsp::later(),
            Err(problem) => problem.into_response(),
        };
    visit.end(answer).await
}

/// The gate of the enrolment listener: a budget for each address; what is begun is finished.
pub async fn enrolling(State(app): State<App>, request: Request, next: Next) -> Response {
    let visit = Visit::begin(&app.front, &request);
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip().to_canonical().to_string());
    let budget = Digest::of(address.unwrap_or_default().as_bytes());
    let answer = match app.front.public().enter(budget, Instant::now()) {
        Ok(_place) => within(DEADLINE, request, next, true).await,
        Err(problem) => problem.into_response(),
    };
    visit.end(answer).await
}

/// The gate of the metrics listener.
pub async fn unmetered(State(app): State<App>, request: Request, next: Next) -> Response {
    let visit = Visit::begin(&app.front, &request);
    let answer = within(DEADLINE, request, next, false).await;
    visit.end(answer).await
}

/// A place for the request of an identified caller whose role the route table lets in; and whether
/// the work must be finished even if the caller leaves. What the table does not list is never run.
#[allow(clippy::result_large_err)] // made and used at once
fn admit(app: &App, request: &mut Request) -> Result<(Place, bool), Response> {
    let peer = request.extensions().get::<Peer>().copied();
    let now = app.clock.permit().ok().map(|permit| permit.reading.utc.0.div_euclid(1_000_000));
    let caller = Caller::identify(peer.as_ref(), &app.directory, now);
    // Strangers share one budget.
    let budget = caller.as_ref().map(|c| c.0.fingerprint).unwrap_or_default();
    let place = app.front.clients().enter(budget, Instant::now()).map_err(Problem::into_response)?;
    let caller = caller.map_err(Problem::into_response)?;
    let route = listed(&app.front, request)?;
    if !route.lets_in(caller.0.role) {
        return Err(caller.forbidden(route.any_of).into_response());
    }
    refuse_in_quarantine(app, route)?;
    request.extensions_mut().insert(caller);
    // Tokens and seals may be left at any point; everything else that changes something may not.
    let finish_anyway = route.method != "GET" && !matches!(route.any_of, [Action::Stamp] | [Action::Seal]);
    Ok((place, finish_anyway))
}

/// In quarantine only reads go on. Seals come as far as the journal, which refuses new ones but still gives
/// the receipts of those it has.
#[allow(clippy::result_large_err)] // made and used at once
fn refuse_in_quarantine(app: &App, route: &Route) -> Result<(), Response> {
    if route.method == "GET" || matches!(route.any_of, [Action::Seal] | [Action::SettleJournals]) {
        return Ok(());
    }
    app.journals.quarantine().map_or(Ok(()), |why| {
        let detail = format!("the journals are in quarantine: {}", why.reason());
        Err(Problem::quarantined(detail).into_response())
    })
}

/// The route of the table, or a 404 or 405 answer.
#[allow(clippy::result_large_err)] // made and used at once
fn listed(front: &Front, request: &Request) -> Result<&'static Route, Response> {
    let methods =
        request.extensions().get::<MatchedPath>().map_or(&[][..], |path| front.routes(path.as_str()));
    if methods.is_empty() {
        return Err(Problem::no_route(request.uri().path()).into_response());
    }
    // HEAD is asked like GET.
    let method = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    methods.iter().copied().find(|route| route.method == method).ok_or_else(|| wrong_method(request, methods))
}

fn wrong_method(request: &Request, methods: &[&Route]) -> Response {
    let allowed = methods.iter().map(|route| route.method).collect::<Vec<_>>().join(", ");
    let detail = format!("{} takes {allowed}, not {}", request.uri().path(), request.method());
    let mut answer =
        Problem::new(405, "wrong-method", detail, "Use a method of the Allow header.").into_response();
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

async fn within(deadline: Duration, request: Request, next: Next, finish_anyway: bool) -> Response {
    let uri = request.uri().clone();
    let work = guarded(request, next);
    let outcome = if finish_anyway {
        let task = tokio::spawn(work);
        tokio::time::timeout(deadline, async {
            task.await.unwrap_or_else(|_| Problem::internal().into_response())
        })
        .await
    } else {
        tokio::time::timeout(deadline, work).await
    };
    outcome.unwrap_or_else(|_| {
        let (path, seconds) = (uri.path(), deadline.as_secs());
        let detail = format!("{path} was not answered within {seconds} s; it may still take effect");
        const ACTION: &str = "Ask again with the same request ids, or read what became of it.";
        Problem::new(504, "deadline", detail, ACTION).into_response()
    })
}

/// Runs the handler; a panic becomes a 500 and nobody else notices.
async fn guarded(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let mut answer = pin!(next.run(request));
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => {
            tracing::error!(path = uri.path(), panic = text_of(&*panic), "a handler panicked");
            Poll::Ready(Problem::internal().into_response())
        }
    })
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("")
}

/// One request from its arrival to its answer.
struct Visit {
    front: Front,
    id: String,
    began: Instant,
    /// The route's path; one word for everything unknown, so that strangers cannot grow the metrics.
    route: &'static str,
}

impl Visit {
    fn begin(front: &Front, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().and_then(|path| front.known(path.as_str()));
        let route = route.unwrap_or("none");
        Self { front: front.clone(), id: front.request_id(), began: Instant::now(), route }
    }

    async fn end(self, answer: Response) -> Response {
        let mut answer = self.explained(answer).await;
        let headers = answer.headers_mut();
        version::stamp(headers);
        if let Ok(id) = HeaderValue::try_from(&self.id) {
            headers.insert(X_REQUEST_ID, id);
        }
        self.front.metrics().request(self.route, answer.status().as_u16(), self.began.elapsed());
        answer
    }

    /// The answer itself, or, for a refusal, its problem document with the request id.
    async fn explained(&self, answer: Response) -> Response {
        let status = answer.status().as_u16();
        if status < 400 || answer.extensions().get::<Explained>().is_some() {
            return answer;
        }
        let (mut parts, body) = answer.into_parts();
        let problem = match parts.extensions.remove::<Problem>() {
            Some(problem) => problem,
            None => foreign(status, body).await,
        };
        if status >= 500 {
            tracing::warn!(request_id = %self.id, status, kind = problem.kind, detail = %problem.detail, "request failed");
        } else {
            tracing::debug!(request_id = %self.id, status, kind = problem.kind, detail = %problem.detail, "request refused");
        }
        let answer = problem.respond(Some(&self.id));
        // Allow and Retry-After were set beside the problem.
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
        parts.headers.extend(answer.headers().clone());
        parts.status = answer.status();
        Response::from_parts(parts, answer.into_body())
    }
}

/// Marks an answer of status 400 or more that says itself what is wrong.
#[derive(Clone, Copy)]
pub struct Explained;

/// A refusal made by an extractor that knows nothing of problem documents.
async fn foreign(status: u16, body: Body) -> Problem {
    let text = axum::body::to_bytes(body, FOREIGN_TEXT).await.unwrap_or_default();
    let detail = String::from_utf8_lossy(&text).into_owned();
    let mut problem = match status {
        413 => Problem::too_large(super::body::JSON_CAP),
        415 => Problem { kind: "unsupported-media-type", ..Problem::malformed(detail) },
        500.. => Problem::internal(),
        _ => Problem::malformed(detail),
    };
    problem.status = status;
    problem
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tokio::sync::Notify;
    use tower_service::Service;

    use super::*;

    fn asked(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_a_500_and_the_next_request_is_served() {
        async fn panics() {
            panic!("never tell the caller")
        }
        let layer = from_fn(|request, next| within(DEADLINE, request, next, false));
        let mut router =
            Router::new().route("/panics", get(panics)).route("/works", get(|| async {})).layer(layer);
        let answer = router.call(asked("/panics")).await.unwrap();
        let problem = answer.extensions().get::<Problem>().cloned();
        assert_eq!((answer.status().as_u16(), problem), (500, Some(Problem::internal())));
        assert_eq!(router.call(asked("/works")).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn an_act_is_finished_though_the_caller_leaves() {
        let (go_on, done) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (entered, waits, sets) = (Arc::new(Notify::new()), go_on.clone(), done.clone());
        let begun = entered.clone();
        let act = async move || {
            begun.notify_one();
            waits.notified().await;
            sets.store(true, Ordering::SeqCst);
        };
        let layer = from_fn(|request, next| within(DEADLINE, request, next, true));
        let mut router = Router::new().route("/act", get(act)).layer(layer);
        tokio::select! {
            _ = router.call(asked("/act")) => unreachable!("it waits"),
            () = entered.notified() => {}
        }
        go_on.notify_one();
        while !done.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_504() {
        let layer = from_fn(|request, next| within(Duration::ZERO, request, next, false));
        let mut router = Router::new().route("/", get(std::future::pending::<()>)).layer(layer);
        assert_eq!(router.call(asked("/")).await.unwrap().status(), 504);
    }

    #[tokio::test]
    async fn a_refusal_of_an_extractor_becomes_a_problem_with_its_status() {
        let problem = foreign(422, Body::from("missing field `x`")).await;
        assert_eq!((problem.status, problem.kind), (422, "malformed-request"));
        assert_eq!(problem.detail, "missing field `x`");
        assert_eq!(foreign(500, Body::from("secret")).await, Problem::internal());
    }
}
