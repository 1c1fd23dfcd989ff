//! What others may know while the agent runs: metrics, health. Cheap to clone, read from any thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::Moment;

/// A token file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct FileLabels {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) volume: String,
    pub(super) path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Metrics and health of a projector.
#[derive(Clone)]
pub struct Monitor {
    registry: Arc<Registry>,
    board: Arc<Board>,
    refreshes: Counter,
    failures: Family<ReasonLabel, Counter>,
    exchanges: Counter,
    exchange_failures: Family<ReasonLabel, Counter>,
    watch_restarts: Family<ResourceLabel, Counter>,
    writes: Family<ResultLabel, Counter>,
    refused: Family<ByLabel, Counter>,
    reviews: Family<ResultLabel, Counter>,
    key_set_failures: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLabel {
    by: &'static str,
}

/// Volumes and tokens need someone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}: {why}", if *.count > 1 { format!("{count} alarms; ") } else { String::new() })]
pub struct Alarms {
    /// How many there are.
    pub count: usize,
    /// What the first one is about.
    pub what: String,
    /// And why it was raised.
    pub why: String,
}

#[derive(Debug)]
struct Board {
    clock: Arc<dyn Clock>,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    expiries: BTreeMap<FileLabels, OffsetDateTime>,
    alarms: BTreeMap<String, String>,
    pods: usize,
    keys_seen: Option<OffsetDateTime>,
}

impl Monitor {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let board = Arc::new(Board { clock, facts: Mutex::default() });
        let mut registry = Registry::with_prefix("tokensmith_agent");
        let refreshes = Counter::default();
        let failures = Family::default();
        let (exchanges, exchange_failures) = (Counter::default(), Family::default());
        let watch_restarts = Family::default();
        let writes = Family::default();
        registry.register("token_refreshes", "Tokens that the API server issued", refreshes.clone());
        registry.register("token_refresh_failures", "Token requests that failed", failures.clone());
        registry.register("token_exchanges", "Tokens that the token endpoint issued", exchanges.clone());
        registry.register(
            "token_exchange_failures",
            "Token exchanges that failed",
            exchange_failures.clone(),
        );
        registry.register("watch_restarts", "Watches that had to be opened again", watch_restarts.clone());
        registry.register("volume_writes", "Volumes that were to be written", writes.clone());
        let (refused, reviews, key_set_failures) = (Family::default(), Family::default(), Counter::default());
        registry.register("tokens_refused", "Tokens found dead before they expired, by how", refused.clone());
        registry.register("token_reviews", "Tokens that the API server was asked about", reviews.clone());
        registry.register(
            "key_set_failures",
            "Requests for the issuer's key set that failed",
            key_set_failures.clone(),
        );
        registry.register_collector(Box::new(board.clone()));
        Monitor {
            registry: Arc::new(registry),
            board,
            refreshes,
            failures,
            exchanges,
            exchange_failures,
            watch_restarts,
            writes,
            refused,
            reviews,
            key_set_failures,
        }
    }

    /// All metrics in the text format of OpenMetrics (`application/openmetrics-text; version=1.0.0`).
    pub fn metrics(&self) -> String {
        let mut out = String::new();
        // Writing to a string fails only if a metric's own encoding does.
        match prometheus_client::encoding::text::encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(_) => String::from("# EOF\n"),
        }
    }

    /// For `/healthz`.
    ///
    /// # Errors
    /// There are alarms.
    pub fn health(&self) -> Result<(), Alarms> {
        let facts = self.board.facts();
        match facts.alarms.first_key_value() {
            None => Ok(()),
            Some((what, why)) => {
                Err(Alarms { count: facts.alarms.len(), what: what.clone(), why: why.clone() })
            }
        }
    }

    /// Every alarm: what it is about, and why.
    pub fn alarms(&self) -> Vec<(String, String)> {
        self.board.facts().alarms.clone().into_iter().collect()
    }

    pub(super) fn granted(&self, exchanged: bool) {
        let counter = if exchanged { &self.exchanges } else { &self.refreshes };
        counter.inc();
    }

    pub(super) fn failed(&self, exchanged: bool, reason: String) {
        let failures = if exchanged { &self.exchange_failures } else { &self.failures };
        failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn watch_restarted(&self, resource: &'static str) {
        self.watch_restarts.get_or_create(&ResourceLabel { resource }).inc();
    }

    pub(super) fn wrote(&self, result: &'static str) {
        self.writes.get_or_create(&ResultLabel { result }).inc();
    }

    pub(super) fn refused(&self, by: &'static str) {
        self.refused.get_or_create(&ByLabel { by }).inc();
    }

    pub(super) fn reviewed(&self, result: &'static str) {
        self.reviews.get_or_create(&ResultLabel { result }).inc();
    }

    pub(super) fn keys_failed(&self) {
        self.key_set_failures.inc();
    }

    pub(super) fn keys_seen(&self, at: OffsetDateTime) {
        self.board.facts().keys_seen = Some(at);
    }

    pub(super) fn expires(&self, file: FileLabels, at: OffsetDateTime) {
        self.board.facts().expiries.insert(file, at);
    }

    /// A pod's files are not kept any more.
    pub(super) fn forget(&self, files: impl Iterator<Item = FileLabels>) {
        let mut facts = self.board.facts();
        for file in files {
            facts.expiries.remove(&file);
        }
    }

    pub(super) fn alarm(&self, what: String, why: Option<String>) {
        let mut facts = self.board.facts();
        match why {
            Some(why) => facts.alarms.insert(what, why),
            None => facts.alarms.remove(&what),
        };
    }

    pub(super) fn pods(&self, pods: usize) {
        self.board.facts().pods = pods;
    }
}

impl Board {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let facts = self.facts();
        let gauges = [
            ("alarms", "Volumes and tokens that need someone", facts.alarms.len()),
            ("pods", "Pods whose volumes are kept", facts.pods),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let now = self.clock.now();
        let kind = ConstGauge::new(0.0f64).metric_type();
        if let Some(at) = facts.keys_seen {
            let name = ("key_set_age", "Time since the issuer's key set was last seen");
            let metric = encoder.encode_descriptor(name.0, name.1, Some(&Unit::Seconds), kind)?;
            ConstGauge::new(now.since(at).as_seconds_f64()).encode(metric)?;
        }
        let mut family = encoder.encode_descriptor(
            "token_expiry",
            "Time until the token in a file expires; negative: since it has",
            Some(&Unit::Seconds),
            kind,
        )?;
        for (file, at) in &facts.expiries {
            ConstGauge::new(at.since(now).as_seconds_f64()).encode(family.encode_family(file)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("board", &self.board).finish_non_exhaustive()
    }
}
