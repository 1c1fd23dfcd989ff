//! Metrics under Kubernetes' names where they mean the same (`pkg/serviceaccount/metrics.go`,
//! `apiserver/pkg/endpoints/filters/metrics.go`). Every label has a bound: a client must not be able to grow memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use time::OffsetDateTime;
use tokensmith_core::access::{Notes, WarnAfter};
use tokensmith_core::clock::Jumps;
use tokensmith_core::keys::KeySet;
use tokensmith_core::ledger::Counts;
use tokensmith_core::{Moment, Supervisor};
use tokensmith_listen::Stats;

use crate::audit;

/// A label for one of few outcomes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    /// `success`, `failure`, `error`; `allowed`, `denied`, `no-opinion`.
    pub result: &'static str,
}

/// Labels of a token request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Requested {
    /// The account's namespace; `other` beyond the first thousand.
    pub namespace: String,
    /// `api`: the API server's alone; `other`: none of them; `mixed`; `default`: not said; `unknown`: not read.
    pub audience_class: &'static str,
    /// `success`, or the class of the refusal.
    pub result: &'static str,
}

/// Labels of what was asked of the token endpoint.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Exchanged {
    /// The grant: `token-exchange`, `client-credentials`, `jwt-bearer`; `unknown`.
    pub grant: &'static str,
    /// The rule of the policy that decided; empty where none did, `other` beyond the first thousand.
    pub rule: String,
    /// `issued`, or the error's code (RFC 6749 §5.2).
    pub result: &'static str,
}

/// Labels of an API request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Served {
    /// The HTTP method.
    pub verb: &'static str,
    /// A served resource, or empty.
    pub resource: String,
    /// A served subresource, or empty.
    pub subresource: String,
    /// The HTTP status.
    pub code: u16,
}

/// Labels of an answer of a cloud's security token service.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StsAnswered {
    /// `aws`, `azure`, `gcp`.
    pub cloud: &'static str,
    /// The HTTP status.
    pub code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabels {
    kid: String,
    algorithm: &'static str,
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TaskLabel {
    task: &'static str,
}

type Seconds = Family<ResultLabel, Histogram, fn() -> Histogram>;

/// As many names of a sort get a label of their own.
const NAMES: usize = 1000;

/// What is counted.
pub struct Metrics {
    registry: Registry,
    legacy: Counter,
    stale: Counter,
    valid: Counter,
    legacy_manual: Counter,
    legacy_auto: Counter,
    attempts: Family<ResultLabel, Gauge<u64, AtomicU64>>,
    authentication: Seconds,
    authorizations: Family<ResultLabel, Counter>,
    authorization: Seconds,
    requests: Family<Served, Counter>,
    token_requests: Family<Requested, Counter>,
    exchanges: Family<Exchanged, Counter>,
    exchange_policy_refused: Gauge,
    signing: Histogram,
    reviewing: Histogram,
    keys: Family<PhaseLabel, Gauge>,
    key_age: Family<KeyLabels, Gauge>,
    revocations: Gauge,
    ledger_written: Counter,
    ledger_dropped: Counter,
    audit_written: Counter,
    audit_dropped: Counter,
    audit_errors: Counter,
    clock_jumps: Family<DirectionLabel, Counter>,
    task_panics: Family<TaskLabel, Counter>,
    task_restarts: Family<TaskLabel, Counter>,
    request_panics: Counter,
    sts: Family<StsAnswered, Counter>,
    connections: Gauge,
    displaced: Counter,
    refused: Counter,
    given_up: Counter,
    listening: Arc<Stats>,
    namespaces: ArcSwap<HashSet<String>>,
    rules: ArcSwap<HashSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let fine = || Histogram::new(exponential_buckets(0.000_05, 2.0, 15));
        let mut m = Metrics {
            registry: Registry::default(),
            legacy: Counter::default(),
            stale: Counter::default(),
            valid: Counter::default(),
            legacy_manual: Counter::default(),
            legacy_auto: Counter::default(),
            attempts: Family::default(),
            authentication: Family::new_with_constructor(buckets),
            authorizations: Family::default(),
            authorization: Family::new_with_constructor(buckets),
            requests: Family::default(),
            token_requests: Family::default(),
            exchanges: Family::default(),
            exchange_policy_refused: Gauge::default(),
            signing: fine(),
            reviewing: fine(),
            keys: Family::default(),
            key_age: Family::default(),
            revocations: Gauge::default(),
            ledger_written: Counter::default(),
            ledger_dropped: Counter::default(),
            audit_written: Counter::default(),
            audit_dropped: Counter::default(),
            audit_errors: Counter::default(),
            clock_jumps: Family::default(),
            task_panics: Family::default(),
            task_restarts: Family::default(),
            request_panics: Counter::default(),
            sts: Family::default(),
            connections: Gauge::default(),
            displaced: Counter::default(),
            refused: Counter::default(),
            given_up: Counter::default(),
            listening: Arc::default(),
            namespaces: ArcSwap::default(),
            rules: ArcSwap::default(),
        };
        let r = &mut m.registry;
        // The library adds `_total` to counters.
        r.register(
            "serviceaccount_legacy_tokens",
            "Tokens without an audience that were used",
            m.legacy.clone(),
        );
        r.register("serviceaccount_stale_tokens", "Extended tokens used after warnafter", m.stale.clone());
        r.register("serviceaccount_valid_tokens", "Extended tokens used before warnafter", m.valid.clone());
        r.register(
            "serviceaccount_legacy_manual_token_uses",
            "Uses of Secret tokens made by people",
            m.legacy_manual.clone(),
        );
        r.register(
            "serviceaccount_legacy_auto_token_uses",
            "Uses of Secret tokens made by controllers",
            m.legacy_auto.clone(),
        );
        // Kubernetes' name lacks the `_total` that counters of this exposition format must have.
        r.register("authentication_attempts", "Authenticated attempts", m.attempts.clone());
        r.register(
            "authentication_duration_seconds",
            "Authentication duration in seconds",
            m.authentication.clone(),
        );
        r.register("authorization_attempts", "Authorization attempts", m.authorizations.clone());
        r.register(
            "authorization_duration_seconds",
            "Authorization duration in seconds",
            m.authorization.clone(),
        );
        r.register("apiserver_request", "API requests", m.requests.clone());
        r.register("serviceaccount_token_requests", "TokenRequests", m.token_requests.clone());
        r.register("tokensmith_exchanges", "Requests to the token endpoint", m.exchanges.clone());
        r.register(
            "tokensmith_exchange_policy_refused",
            "Whether the exchange policy's file was refused when it was last read: 1, the policy of before is in force",
            m.exchange_policy_refused.clone(),
        );
        r.register(
            "tokensmith_token_request_duration_seconds",
            "From a decoded TokenRequest to its signed token",
            m.signing.clone(),
        );
        r.register(
            "tokensmith_token_review_duration_seconds",
            "From a decoded TokenReview to its status",
            m.reviewing.clone(),
        );
        r.register("tokensmith_signing_keys", "Keys by phase", m.keys.clone());
        r.register(
            "tokensmith_signing_key_phase_age_seconds",
            "How long a key has been in its phase",
            m.key_age.clone(),
        );
        r.register("tokensmith_revocations", "Revocations in force", m.revocations.clone());
        r.register(
            "tokensmith_ledger_records_written",
            "Issue records brought to disk",
            m.ledger_written.clone(),
        );
        r.register(
            "tokensmith_ledger_records_dropped",
            "Issue records lost since the disk could not be written",
            m.ledger_dropped.clone(),
        );
        r.register("tokensmith_audit_lines_written", "Audit lines written", m.audit_written.clone());
        r.register(
            "tokensmith_audit_lines_dropped",
            "Audit lines lost since the log could not be written as fast as they came",
            m.audit_dropped.clone(),
        );
        r.register(
            "tokensmith_audit_write_errors",
            "Failed writes of the audit log, each tried again",
            m.audit_errors.clone(),
        );
        r.register(
            "tokensmith_clock_jumps",
            "How often the wall clock was set, or went ahead while the machine slept",
            m.clock_jumps.clone(),
        );
        r.register("tokensmith_task_panics", "Panics of tasks that run on", m.task_panics.clone());
        r.register("tokensmith_task_restarts", "How often they were begun again", m.task_restarts.clone());
        r.register("tokensmith_request_panics", "Requests that ended in a panic", m.request_panics.clone());
        r.register("tokensmith_sts_requests", "Answers of the clouds' services (--sts)", m.sts.clone());
        r.register("tokensmith_connections", "Open connections", m.connections.clone());
        r.register(
            "tokensmith_connections_displaced",
            "Silent and idle connections that were closed for the sake of newcomers",
            m.displaced.clone(),
        );
        r.register(
            "tokensmith_connections_refused",
            "Connections of addresses that had all they may have, and used it",
            m.refused.clone(),
        );
        r.register(
            "tokensmith_answers_given_up",
            "Answers that were given up because nobody read them",
            m.given_up.clone(),
        );
        m
    }

    /// A request was authenticated (`success`), had bad credentials (`error`) or none where some are needed
    /// (`failure`).
    pub fn authenticated(&self, result: &'static str, took: Duration) {
        self.attempts.get_or_create(&ResultLabel { result }).inc();
        self.authentication.get_or_create(&ResultLabel { result }).observe(took.as_secs_f64());
    }

    /// A request was authorized or not.
    pub fn authorized(&self, result: &'static str, took: Duration) {
        self.authorizations.get_or_create(&ResultLabel { result }).inc();
        self.authorization.get_or_create(&ResultLabel { result }).observe(took.as_secs_f64());
    }

    /// A token was used.
    pub fn used(&self, notes: &Notes) {
        if notes.audience_less {
            self.legacy.inc();
        }
        match &notes.warn_after {
            Some(WarnAfter::Stale { .. }) => drop(self.stale.inc()),
            Some(WarnAfter::Valid) => drop(self.valid.inc()),
            None => {}
        }
        match &notes.legacy_secret {
            Some(secret) if secret.auto_generated => drop(self.legacy_auto.inc()),
            Some(_) => drop(self.legacy_manual.inc()),
            None => {}
        }
    }

    /// A request was answered.
    pub fn served(&self, served: Served) {
        self.requests.get_or_create(&served).inc();
    }

    /// A cloud's service has answered.
    pub fn sts_answered(&self, answered: StsAnswered) {
        self.sts.get_or_create(&answered).inc();
    }

    /// A TokenRequest was answered.
    pub fn token_requested(&self, namespace: &str, audience_class: &'static str, result: &'static str) {
        let namespace = bounded(&self.namespaces, namespace);
        self.token_requests.get_or_create(&Requested { namespace, audience_class, result }).inc();
    }

    /// The token endpoint has answered. Rules are the operator's, and as many as a file has; files change.
    pub fn exchanged(&self, grant: &'static str, rule: &str, result: &'static str) {
        let rule = if rule.is_empty() { String::new() } else { bounded(&self.rules, rule) };
        self.exchanges.get_or_create(&Exchanged { grant, rule, result }).inc();
    }

    /// Whether the exchange policy's file was refused when it was last read.
    pub fn exchange_policy(&self, refused: bool) {
        self.exchange_policy_refused.set(i64::from(refused));
    }

    /// A token was signed.
    pub fn signed(&self, took: Duration) {
        self.signing.observe(took.as_secs_f64());
    }

    /// A token was reviewed.
    pub fn reviewed(&self, took: Duration) {
        self.reviewing.observe(took.as_secs_f64());
    }

    /// The ledger counts for itself.
    pub fn ledger(&self, revocations: usize, counts: Counts) {
        self.revocations.set(revocations as i64);
        self.ledger_written.inner().store(counts.written, Ordering::Relaxed);
        self.ledger_dropped.inner().store(counts.dropped, Ordering::Relaxed);
    }

    /// So does the audit log.
    pub fn audit(&self, counts: audit::Counts) {
        self.audit_written.inner().store(counts.written, Ordering::Relaxed);
        self.audit_dropped.inner().store(counts.dropped, Ordering::Relaxed);
        self.audit_errors.inner().store(counts.errors, Ordering::Relaxed);
    }

    /// The clock's watch counts for itself.
    pub fn clock_jumps(&self, jumps: Jumps) {
        for (direction, count) in [("back", jumps.back), ("forwards", jumps.forwards)] {
            let counter = self.clock_jumps.get_or_create(&DirectionLabel { direction });
            counter.inner().store(count, Ordering::Relaxed);
        }
    }

    /// So does who watches the tasks.
    pub fn tasks(&self, supervisor: &Supervisor) {
        for (task, counts) in supervisor.counts() {
            let set = |family: &Family<TaskLabel, Counter>, count| {
                family.get_or_create(&TaskLabel { task }).inner().store(count, Ordering::Relaxed);
            };
            set(&self.task_panics, counts.panics);
            set(&self.task_restarts, counts.restarts);
        }
    }

    /// A request ended in a panic.
    pub fn panicked(&self) {
        self.request_panics.inc();
    }

    /// What the listeners count.
    pub fn listening(&self) -> Arc<Stats> {
        self.listening.clone()
    }

    /// The exposition text (OpenMetrics 1.0).
    pub fn render(&self, keys: &KeySet, now: OffsetDateTime) -> String {
        self.connections.set(self.listening.open().try_into().unwrap_or(i64::MAX));
        self.displaced.inner().store(self.listening.displaced(), Ordering::Relaxed);
        self.refused.inner().store(self.listening.refused(), Ordering::Relaxed);
        self.given_up.inner().store(self.listening.given_up(), Ordering::Relaxed);
        self.keys.clear();
        self.key_age.clear();
        for phase in ["active", "prepared", "retired", "revoked", "listed"] {
            let count = keys.infos().iter().filter(|k| k.phase == phase).count();
            self.keys.get_or_create(&PhaseLabel { phase }).set(count as i64);
        }
        for key in keys.infos() {
            let Some(since) = key.since else { continue };
            let labels =
                KeyLabels { kid: key.id.clone(), algorithm: key.algorithm.as_str(), phase: key.phase };
            self.key_age.get_or_create(&labels).set(now.since(since).whole_seconds());
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// A name's own label, or `other` once there are too many. Reading takes no lock.
fn bounded(names: &ArcSwap<HashSet<String>>, name: &str) -> String {
    let full = |known: &HashSet<String>| known.len() >= NAMES;
    let known = names.load();
    if known.contains(name) {
        return name.to_owned();
    }
    if full(&known) {
        return "other".into();
    }
    names.rcu(|known| {
        let mut more = HashSet::clone(known);
        if !full(&more) {
            more.insert(name.to_owned());
        }
        more
    });
    name.to_owned()
}
