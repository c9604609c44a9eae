//! How much one client, and all together, may ask for at a time. Beyond it requests are refused at
//! once, never queued without bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::problem::Problem;
use crate::digest::Digest;

/// Limits of the listeners; generous, so that only a run-away client meets them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a second one client may make on average.
    pub requests_per_second: u32,
    /// Requests one client may make at once after a pause.
    pub burst: u32,
    /// Requests of one client being answered at the same time.
    pub in_flight_per_client: u32,
    /// Requests being answered at the same time, all clients together.
    pub in_flight: u32,
    /// Open connections of one listener.
    pub connections: u32,
    /// Open connections of one listener from one address.
    pub connections_per_address: u32,
    /// Tokens being made at the same time; clients share them evenly.
    pub tokens_at_once: u32,
    /// Queries of one client that may wait for their turn.
    pub tokens_waiting_per_client: u32,
    /// Longest such wait, milliseconds.
    pub tokens_wait_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 20_000,
            burst: 40_000,
            in_flight_per_client: 1_024,
            in_flight: 4_096,
            connections: 2_048,
            connections_per_address: 1_024,
            tokens_at_once: 32,
            tokens_waiting_per_client: 1_024,
            tokens_wait_ms: 200,
        }
    }
}

/// Counts what is being answered. Cheap to clone.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    limits: Limits,
    in_flight: AtomicU32,
    clients: Mutex<HashMap<Digest, Arc<Client>>>,
}

struct Client {
    in_flight: AtomicU32,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// Requests left, with the fraction grown since the last one.
    left: f64,
    at: Instant,
}

/// One admitted request; gives its place back when dropped.
pub struct Place {
    meter: Arc<Inner>,
    client: Arc<Client>,
    left: u32,
}

impl Meter {
    /// A meter where nothing is in flight.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner { limits, in_flight: AtomicU32::new(0), clients: Mutex::default() }))
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Requests being answered now.
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// A place for one request of `client`, or 503 (all together) or 429 (this client).
    pub fn enter(&self, client: Digest, now: Instant) -> Result<Place, Problem> {
        let limits = &self.0.limits;
        let client = self.client(client, now);
        let left = client.take(limits, now)?;
        // Place first, then compare: the drop gives both counts back on every refusal below.
        let place = Place { meter: self.0.clone(), client, left };
        let ours = place.client.in_flight.fetch_add(1, Ordering::Relaxed);
        let all = place.meter.in_flight.fetch_add(1, Ordering::Relaxed);
        if all >= limits.in_flight {
            return Err(overloaded(limits.in_flight));
        }
        if ours >= limits.in_flight_per_client {
            return Err(too_many(limits.in_flight_per_client));
        }
        Ok(place)
    }

    fn client(&self, fingerprint: Digest, now: Instant) -> Arc<Client> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() > 10_000 {
            // Who asks for nothing needs no bucket; certificates come and go for years.
            clients.retain(|_, c| Arc::strong_count(c) > 1);
        }
        let fresh = || Bucket { left: f64::from(self.0.limits.burst), at: now };
        let client = || Client { in_flight: AtomicU32::new(0), bucket: Mutex::new(fresh()) };
        clients.entry(fingerprint).or_insert_with(|| Arc::new(client())).clone()
    }
}

impl Client {
    /// Takes one request from the bucket; how many are left.
    fn take(&self, limits: &Limits, now: Instant) -> Result<u32, Problem> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let grown =
            now.saturating_duration_since(bucket.at).as_secs_f64() * f64::from(limits.requests_per_second);
        bucket.left = (bucket.left + grown).min(f64::from(limits.burst));
        bucket.at = bucket.at.max(now);
        if bucket.left < 1.0 {
            return Err(too_fast(limits));
        }
        bucket.left -= 1.0;
        Ok(bucket.left as u32)
    }
}

impl Place {
    /// `RateLimit`: what the client has left, and after how many seconds it is full again.
    pub fn describe(&self, headers: &mut HeaderMap) {
        const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
        let limits = &self.meter.limits;
        let missing = limits.burst.saturating_sub(self.left);
        let refill = missing.div_ceil(limits.requests_per_second.max(1));
        if let Ok(value) = HeaderValue::try_from(format!("\"client\";r={};t={refill}", self.left)) {
            headers.insert(RATE_LIMIT, value);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.client.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.meter.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded(limit: u32) -> Problem {
    let detail = format!("{limit} requests are being answered already");
    Problem::new(503, "overloaded", detail, "Ask again after Retry-After seconds.").retry_after(1)
}

fn too_many(limit: u32) -> Problem {
    let detail = format!("{limit} requests of this certificate are being answered already");
    Problem::new(429, "too-many-at-once", detail, "Wait for answers before asking more.").retry_after(1)
}

fn too_fast(limits: &Limits) -> Problem {
    let detail = format!("this certificate asked more than {} times a second", limits.requests_per_second);
    Problem::new(429, "too-fast", detail, "Ask again after Retry-After seconds, and more slowly.")
        .retry_after(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn meter(limits: Limits) -> (Meter, Instant, Digest, Digest) {
        (Meter::new(limits), Instant::now(), Digest::of(b"one"), Digest::of(b"two"))
    }

    #[test]
    fn a_client_that_asks_too_fast_is_refused_and_others_are_not() {
        let (meter, now, one, two) = meter(Limits { requests_per_second: 1, burst: 2, ..Limits::default() });
        drop(meter.enter(one, now).unwrap());
        drop(meter.enter(one, now).unwrap());
        let refused = meter.enter(one, now).err().unwrap();
        assert_eq!((refused.status, refused.kind, refused.retry_after), (429, "too-fast", Some(1)));
        meter.enter(two, now).unwrap();
        meter.enter(one, now + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_client_with_too_many_open_requests_is_refused_until_one_ends() {
        let (meter, now, one, two) = meter(Limits { in_flight_per_client: 1, ..Limits::default() });
        let first = meter.enter(one, now).unwrap();
        assert_eq!(meter.enter(one, now).err().unwrap().kind, "too-many-at-once");
        meter.enter(two, now).unwrap();
        drop(first);
        meter.enter(one, now).unwrap();
        assert_eq!(meter.in_flight(), 0);
    }

    #[test]
    fn a_full_service_refuses_everybody_with_503() {
        let (meter, now, one, two) = meter(Limits { in_flight: 1, ..Limits::default() });
        let _first = meter.enter(one, now).unwrap();
        let refused = meter.enter(two, now).err().unwrap();
        assert_eq!((refused.status, refused.kind, refused.retry_after), (503, "overloaded", Some(1)));
    }

    #[test]
    fn unknown_keys_in_the_configuration_are_refused() {
        assert!(toml::from_str::<Limits>("bursts = 3").is_err());
        assert_eq!(toml::from_str::<Limits>("burst = 3").unwrap().burst, 3);
    }
}
