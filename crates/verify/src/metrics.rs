//! What is counted. Every label has a bound: a client must not be able to grow memory.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// From the configuration.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Issuer {
    issuer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Fetches {
    issuer: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReviewResult {
    result: &'static str,
}

/// A verifier's counters.
#[derive(Default)]
pub(super) struct Metrics {
    /// Of the hot path: no look-up by label.
    pub(super) remembered: Counter,
    pub(super) checked: Counter,
    refused: Family<Reason, Counter>,
    fetches: Family<Fetches, Counter>,
    fetched_at: Family<Issuer, Gauge>,
    reviews: Family<ReviewResult, Counter>,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("tokensmith_verify");
        registry.register(
            "remembered",
            "Tokens that were good and had been checked before",
            self.remembered.clone(),
        );
        registry.register("checked", "Tokens that were good, signature and all", self.checked.clone());
        registry.register("refused", "Requests that were not let in", self.refused.clone());
        registry.register("key_fetches", "Attempts to fetch an issuer's keys", self.fetches.clone());
        registry.register(
            "keys_fetched_timestamp_seconds",
            "When an issuer's keys were last fetched",
            self.fetched_at.clone(),
        );
        registry.register("reviews", "Questions to the API server", self.reviews.clone());
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// `at` in Unix seconds, if it succeeded.
    pub(super) fn fetched(&self, issuer: &str, at: Option<i64>) {
        let result = if at.is_some() { "success" } else { "failure" };
        self.fetches.get_or_create(&Fetches { issuer: issuer.into(), result }).inc();
        if let Some(at) = at {
            self.fetched_at.get_or_create(&Issuer { issuer: issuer.into() }).set(at);
        }
    }

    pub(super) fn reviewed(&self, result: &'static str) {
        self.reviews.get_or_create(&ReviewResult { result }).inc();
    }
}
