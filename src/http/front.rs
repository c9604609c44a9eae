//! What the listeners share besides the nouns: limits, counters, request ids, the last readiness probe.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limit::{Limits, Meter};
use super::quarantine::Agreements;
use super::status::Probe;
use super::{PLAIN, ROUTES, Route};
use crate::telemetry::Metrics;

/// Cheap to clone.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    clients: Meter,
    public: Meter,
    metrics: Metrics,
    probe: Probe,
    gap: Agreements,
    orders: Agreements,
    routes: HashMap<&'static str, Vec<&'static Route>>,
    ids: RandomState,
    counter: AtomicU64,
    hash_tiles: bool,
}

impl Front {
    /// A front with nothing in flight.
    pub fn new(limits: Limits) -> Self {
        Self::publishing(limits, true)
    }

    /// A front that shows anybody the hash tiles of institutions' journals, or nobody.
    pub fn publishing(limits: Limits, hash_tiles: bool) -> Self {
        let mut routes: HashMap<&str, Vec<&Route>> = HashMap::new();
        for route in ROUTES {
            routes.entry(route.path).or_default().push(route);
        }
        Self(Arc::new(Inner {
            clients: Meter::new(limits.clone()),
            public: Meter::new(limits),
            metrics: Metrics::default(),
            probe: Probe::default(),
            gap: Agreements::default(),
            orders: Agreements::default(),
            routes,
            ids: RandomState::new(),
            counter: AtomicU64::new(0),
            hash_tiles,
        }))
    }

    /// Requests of certificates.
    pub fn clients(&self) -> &Meter {
        &self.0.clients
    }

    /// Requests to the public listener: a budget of its own, so that neither starves the other.
    pub fn public(&self) -> &Meter {
        &self.0.public
    }

    /// Whether the public listener has hash tiles of journals.
    pub fn hash_tiles(&self) -> bool {
        self.0.hash_tiles
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The readiness probe.
    pub fn probe(&self) -> &Probe {
        &self.0.probe
    }

    /// Agreements to record a gap, until the second one or a restart.
    pub fn gap(&self) -> &Agreements {
        &self.0.gap
    }

    /// Agreements to orders about journals, until the second one or a restart.
    pub fn orders(&self) -> &Agreements {
        &self.0.orders
    }

    /// The routes of the table at this path.
    pub(super) fn routes(&self, path: &str) -> &[&'static Route] {
        self.0.routes.get(path).map_or(&[], Vec::as_slice)
    }

    /// The path as a label of the metrics, if it is one of ours.
    pub(super) fn known(&self, path: &str) -> Option<&'static str> {
        let listed = self.routes(path).first().map(|route| route.path);
        listed.or_else(|| PLAIN.iter().copied().find(|plain| *plain == path))
    }

    /// A request id, 16 hex digits: distinct, not guessable, no more.
    pub(super) fn request_id(&self) -> String {
        format!("{:016x}", self.0.ids.hash_one(self.0.counter.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Default for Front {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}
