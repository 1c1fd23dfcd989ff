//! Which ports of nodes services have. They are known from the services that are stored, and from those that are being written.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokensmith_core::random;
use tokensmith_core::view::Snapshot;

/// Ports that somebody has; nothing until somebody asks for the first time.
#[derive(Clone, Default)]
pub(crate) struct NodePorts(Arc<Mutex<Option<HashSet<u16>>>>);

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

/// What one write takes. Whatever it has taken is given back, unless the write is done.
pub(crate) struct Taking {
    ports: NodePorts,
    range: RangeInclusive<u16>,
    taken: Vec<u16>,
    /// Whether it only looks: then others do not see what it takes.
    dry: bool,
}

impl NodePorts {
    pub(crate) fn begin(&self, range: &RangeInclusive<u16>, dry: bool, snapshot: &Snapshot) -> Taking {
        // No port is taken before the set is there, so every one that is stored is in the snapshot.
        self.with(|ports| {
            ports.get_or_insert_with(|| stored(snapshot));
        });
        Taking { ports: self.clone(), range: range.clone(), taken: Vec::new(), dry }
    }

    /// Gives ports back.
    pub(crate) fn release(&self, ports: impl IntoIterator<Item = u16>) {
        self.with(|held| {
            if let Some(held) = held {
                ports.into_iter().for_each(|port| {
                    held.remove(&port);
                });
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<HashSet<u16>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Taking {
    /// Takes this one.
    pub(crate) fn take(&mut self, port: i64) -> Result<(), PortError> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let port = u16::try_from(port).ok().filter(|port| self.range.contains(port));
        let port = port.ok_or(PortError::Outside(first, last))?;
        if self.insert(port) { Ok(()) } else { Err(PortError::Taken) }
    }

    /// Takes any: first of those beyond a band at the beginning, which upstream leaves to whoever names a port.
    pub(crate) fn any(&mut self) -> Result<u16, PortError> {
        let (first, size) = (u64::from(*self.range.start()), self.range.len() as u64);
        let band = (size / 32).clamp(16, 128);
        let band = if band >= size { 0 } else { band };
        let (upper, start) = (size - band, random::below(size - band));
        let all = (0..upper).map(|step| band + (start + step) % upper).chain(0..band);
        for port in all.filter_map(|offset| u16::try_from(first + offset).ok()) {
            if self.insert(port) {
                return Ok(port);
            }
        }
        Err(PortError::Full)
    }

    /// Keeps what was taken: it is written.
    pub(crate) fn done(&mut self) {
        self.taken.clear();
    }

    fn insert(&mut self, port: u16) -> bool {
        let dry = self.dry;
        let free = !self.taken.contains(&port)
            && self.ports.with(|held| {
                held.as_mut().is_some_and(|held| match dry {
                    true => !held.contains(&port),
                    false => held.insert(port),
                })
            });
        if free {
            self.taken.push(port);
        }
        free
    }
}

impl Drop for Taking {
    /// Also where whoever has asked goes away in between.
    fn drop(&mut self) {
        if !self.dry {
            self.ports.release(std::mem::take(&mut self.taken));
        }
    }
}

fn stored(snapshot: &Snapshot) -> HashSet<u16> {
    let services = snapshot.list("", "services", "");
    services.filter_map(|(_, service)| service.value(&["spec"])).flat_map(|spec| of(&spec)).collect()
}

/// The ports of nodes that a service's spec names, and the one for its health.
pub(crate) fn of(spec: &Value) -> Vec<u16> {
    let ports = spec["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]);
    let all = ports.chain([&spec["healthCheckNodePort"]]).filter_map(Value::as_u64);
    all.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_comes_back() {
        let (ports, snapshot) = (NodePorts::default(), Snapshot::default());
        let range = 30_000..=30_003;
        let mut one = ports.begin(&range, false, &snapshot);
        assert_eq!(one.take(30_001), Ok(()));
        assert_eq!(one.take(80), Err(PortError::Outside(30_000, 30_003)));
        let mut other = ports.begin(&range, false, &snapshot);
        assert_eq!(other.take(30_001), Err(PortError::Taken));
        let rest: HashSet<_> = (0..3).map(|_| other.any().unwrap()).collect();
        assert_eq!((rest.len(), other.any()), (3, Err(PortError::Full)));
        other.done();
        drop(one);
        let mut dry = ports.begin(&range, true, &snapshot);
        assert_eq!((dry.any(), dry.any()), (Ok(30_001), Err(PortError::Full)));
        drop(dry);
        drop(other);
        let mut last = ports.begin(&range, false, &snapshot);
        assert_eq!((last.any(), last.any()), (Ok(30_001), Err(PortError::Full)));
        ports.release([30_000]);
        assert_eq!(last.any(), Ok(30_000));
    }
}
