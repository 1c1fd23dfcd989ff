//! Which ports of nodes services may have. Those that they have are known from the view; here are those alone that a write has
//! chosen and whose service the view may not show yet.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokensmith_core::clock::Clock;
use tokensmith_core::random;
use tokensmith_core::view::View;

/// So long a port waits for its service when whoever has asked for it went away: whether it was written is then seen in the
/// view. As an address does.
const PATIENCE: Duration = Duration::from_secs(super::PATIENCE.unsigned_abs());

/// Chooses ports, one writer at a time. Each sees the services that are there at that moment, and what others have chosen.
#[derive(Clone)]
pub(crate) struct NodePorts {
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    /// The ports in flight, and until when by the monotonic clock: for ever, while their write is under way.
    flight: Arc<Mutex<HashMap<u16, Duration>>>,
}

/// Why a port cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    #[error("range is full")]
    Full,
    #[error("provided port is not in the valid range. The range of valid ports is {0}-{1}")]
    Outside(u16, u16),
    #[error("provided port is already allocated")]
    Taken,
}

/// The first port that is shown to who only looks.
const DUMMY: u16 = 32_769;

/// What one write takes. Until it [ends](Taking::end) nobody else gets it, and for a while after it was dropped.
pub(crate) struct Taking {
    ports: NodePorts,
    range: RangeInclusive<u16>,
    taken: HashSet<u16>,
    /// Whether it only looks: then others do not see what it takes.
    dry: bool,
}

impl NodePorts {
    pub(crate) fn new(view: Arc<View>, clock: Arc<dyn Clock>) -> Self {
        NodePorts { view, clock, flight: Arc::default() }
    }

    pub(super) fn begin(&self, range: &RangeInclusive<u16>, dry: bool) -> Taking {
        Taking { ports: self.clone(), range: range.clone(), taken: HashSet::new(), dry }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<u16, Duration>) -> T) -> T {
        act(&mut self.flight.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Taking {
    /// Takes this one.
    pub(super) fn take(&mut self, port: i64) -> Result<(), PortError> {
        let (first, last) = (*self.range.start(), *self.range.end());
        // Who only looks is not asked whether it lies in the range.
        let port = u16::try_from(port).ok().filter(|port| self.dry || self.range.contains(port));
        let port = port.ok_or(PortError::Outside(first, last))?;
        self.first_free([port]).map(drop).ok_or(PortError::Taken)
    }

    /// Takes any: first of those beyond a band at the beginning, which upstream leaves to whoever names a port.
    pub(super) fn any(&mut self) -> Result<u16, PortError> {
        if self.dry {
            // As upstream: a number that stands for one.
            let port = self.taken.iter().max().map_or(DUMMY, |last| last.saturating_add(1));
            self.taken.insert(port);
            return Ok(port);
        }
        let (first, size) = (u64::from(*self.range.start()), self.range.len() as u64);
        let band = (size / 32).clamp(16, 128);
        let band = if band >= size { 0 } else { band };
        let (upper, start) = (size - band, random::below(size - band));
        let all = (0..upper).map(|step| band + (start + step) % upper).chain(0..band);
        let all = all.filter_map(|offset| u16::try_from(first + offset).ok());
        self.first_free(all).ok_or(PortError::Full)
    }

    /// It is clear what has become of the write: either the view shows the service, or nothing was written.
    pub(super) fn end(mut self) {
        let taken = std::mem::take(&mut self.taken);
        if !self.dry {
            self.ports.with(|flight| flight.retain(|port, _| !taken.contains(port)));
        }
    }

    fn first_free(&mut self, ports: impl IntoIterator<Item = u16>) -> Option<u16> {
        let (now, taken) = (self.ports.clock.monotonic(), &self.taken);
        let free = self.ports.with(|flight| {
            flight.retain(|_, until| *until > now);
            // Taken under the lock: what has left the flight before is in it.
            let snapshot = self.ports.view.snapshot();
            let is_free = |port: &u16| {
                !snapshot.has_node_port(*port) && !flight.contains_key(port) && !taken.contains(port)
            };
            let free = ports.into_iter().find(is_free)?;
            if !self.dry {
                flight.insert(free, Duration::MAX);
            }
            Some(free)
        })?;
        self.taken.insert(free);
        Some(free)
    }
}

impl Drop for Taking {
    /// Whoever has asked went away in between, or does not know what was written.
    fn drop(&mut self) {
        if self.dry || self.taken.is_empty() {
            return;
        }
        let until = self.ports.clock.monotonic().saturating_add(PATIENCE);
        self.ports.with(|flight| flight.extend(self.taken.drain().map(|port| (port, until))));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;
    use tokensmith_core::clock::ManualClock;
    use tokensmith_core::view::{Snapshot, object_key};
    use tokensmith_objects::{Object, Stored};

    use super::*;

    const RANGE: RangeInclusive<u16> = 30_000..=30_003;

    fn world(ports: &[u16]) -> (Arc<ManualClock>, NodePorts) {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let mut snapshot = Snapshot::default();
        let ports: Vec<Value> = ports.iter().map(|port| json!({ "nodePort": port })).collect();
        let service = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": ports}});
        let service = Stored::from(&Object::from_value(service).unwrap());
        snapshot.apply(&object_key("", "services", "n", "s"), Some(Arc::new(service)), 1);
        let ports = NodePorts::new(Arc::new(View::new(snapshot)), clock.clone());
        (clock, ports)
    }

    #[test]
    fn a_port_is_given_once_and_comes_back() {
        let (_, ports) = world(&[30_003]);
        let mut one = ports.begin(&RANGE, false);
        assert_eq!(one.take(30_001), Ok(()));
        assert_eq!(one.take(80), Err(PortError::Outside(30_000, 30_003)));
        let mut other = ports.begin(&RANGE, false);
        assert_eq!((other.take(30_001), other.take(30_003)), (Err(PortError::Taken), Err(PortError::Taken)));
        let rest: HashSet<_> = (0..2).map(|_| other.any().unwrap()).collect();
        assert_eq!((rest.len(), other.any()), (2, Err(PortError::Full)));
        one.end();
        let mut dry = ports.begin(&RANGE, true);
        assert_eq!((dry.any(), dry.any()), (Ok(32_769), Ok(32_770)));
        assert_eq!((dry.take(30_003), dry.take(40_000)), (Err(PortError::Taken), Ok(())));
        let mut last = ports.begin(&RANGE, false);
        assert_eq!((last.any(), last.any()), (Ok(30_001), Err(PortError::Full)));
        other.end();
        assert!(last.any().is_ok());
    }

    #[test]
    fn a_port_whose_write_went_away_waits() {
        let (clock, ports) = world(&[]);
        let mut gone = ports.begin(&RANGE, false);
        gone.take(30_001).unwrap();
        clock.advance(PATIENCE * 2);
        let mut other = ports.begin(&RANGE, false);
        assert_eq!(other.take(30_001), Err(PortError::Taken), "its write is under way");
        drop(gone);
        clock.advance(PATIENCE / 2);
        assert_eq!(other.take(30_001), Err(PortError::Taken), "it may be on its way to the store");
        clock.advance(PATIENCE);
        assert_eq!(other.take(30_001), Ok(()));
    }
}
