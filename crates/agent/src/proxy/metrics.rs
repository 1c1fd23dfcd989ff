//! What the proxy counts. Labels have few values, none of which a client chooses but the audiences that are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_listen::Stats;

use crate::source::TokenStatus;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Served {
    mode: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenResult {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Audience {
    audience: String,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters of one proxy.
pub struct Metrics {
    registry: Registry,
    /// Found without a lock: there are as many as classes.
    served: [Counter; 5],
    tokens: Family<TokenResult, Counter>,
    refused: Family<Reason, Counter>,
    rejected: Family<Reason, Counter>,
    upstream_errors: Family<Reason, Counter>,
    connections: Gauge,
    displaced: Counter,
    listening: Arc<Stats>,
    tunnels: Gauge,
    expiry: Family<Audience, Gauge<i64, AtomicI64>>,
    refreshes: Family<Audience, Counter<u64, AtomicU64>>,
    failures: Family<Audience, Counter<u64, AtomicU64>>,
}

impl Metrics {
    /// All at zero; `mode` is `token`, `forward` or `reverse`; `more` adds others' counters.
    pub(super) fn new(mode: &'static str, more: impl FnOnce(&mut Registry)) -> Self {
        let requests: Family<Served, Counter> = Family::default();
        let served = CLASSES.map(|code| requests.get_or_create(&Served { mode, code }).clone());
        let mut m = Metrics {
            registry: Registry::default(),
            served,
            tokens: Family::default(),
            refused: Family::default(),
            rejected: Family::default(),
            upstream_errors: Family::default(),
            connections: Gauge::default(),
            displaced: Counter::default(),
            listening: Arc::default(),
            tunnels: Gauge::default(),
            expiry: Family::default(),
            refreshes: Family::default(),
            failures: Family::default(),
        };
        let r = &mut m.registry;
        r.register("tokensmith_proxy_requests", "Requests answered, by class of status", requests);
        r.register("tokensmith_proxy_token_answers", "Answers of the token endpoint", m.tokens.clone());
        r.register("tokensmith_proxy_refused", "Requests of browsers and strangers", m.refused.clone());
        r.register("tokensmith_proxy_rejected", "Requests without a valid token", m.rejected.clone());
        r.register(
            "tokensmith_proxy_upstream_errors",
            "Requests that the upstream did not answer",
            m.upstream_errors.clone(),
        );
        r.register("tokensmith_proxy_connections", "Open connections of clients", m.connections.clone());
        r.register(
            "tokensmith_proxy_connections_displaced",
            "Silent and idle connections that were closed for the sake of newcomers",
            m.displaced.clone(),
        );
        r.register("tokensmith_proxy_tunnels", "Open tunnels", m.tunnels.clone());
        r.register(
            "tokensmith_proxy_token_expiry_seconds",
            "Seconds until a held token expires, by audience",
            m.expiry.clone(),
        );
        r.register("tokensmith_proxy_token_refreshes", "Tokens that came, by audience", m.refreshes.clone());
        r.register(
            "tokensmith_proxy_token_failures",
            "Tries to get a token that failed, by audience",
            m.failures.clone(),
        );
        more(r);
        m
    }

    pub(super) fn served(&self, code: StatusCode) {
        let class = (code.as_u16() / 100).clamp(1, 5) - 1;
        self.served[usize::from(class)].inc();
    }

    /// `served`, `refused` or `unavailable`.
    pub(super) fn token(&self, result: &'static str) {
        self.tokens.get_or_create(&TokenResult { result }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn upstream_error(&self, reason: &'static str) {
        self.upstream_errors.get_or_create(&Reason { reason }).inc();
    }

    /// What the listeners count.
    pub(super) fn listening(&self) -> Arc<Stats> {
        self.listening.clone()
    }

    /// One more is open, until what is returned is dropped.
    pub(super) fn tunnel(&self) -> Open {
        Open::new(&self.tunnels)
    }

    /// The exposition text (OpenMetrics 1.0).
    pub(super) fn render(&self, tokens: &[TokenStatus], now: OffsetDateTime) -> String {
        self.connections.set(self.listening.open().try_into().unwrap_or(i64::MAX));
        self.displaced.inner().store(self.listening.displaced(), Ordering::Relaxed);
        self.expiry.clear();
        self.refreshes.clear();
        self.failures.clear();
        for token in tokens {
            let labels = Audience { audience: token.audience.clone().unwrap_or_default() };
            if let Some(end) = token.expires_at {
                self.expiry.get_or_create(&labels).set(end.since(now).whole_seconds());
            }
            let count = |family: &Family<Audience, Counter<u64, AtomicU64>>, n| {
                family.get_or_create(&labels).inner().store(n, Ordering::Relaxed);
            };
            count(&self.refreshes, token.refreshes);
            count(&self.failures, token.failures);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// Something that is counted while it lives.
pub(super) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Open(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
