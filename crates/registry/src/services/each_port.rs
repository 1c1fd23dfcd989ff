//! Which port of nodes each port of a service gets (`initNodePorts`, `updateNodePorts`, `allocHealthCheckNodePort`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokensmith_objects::kinds::service::Needs;
use tokensmith_objects::{FieldError, Findings, Object};

use super::ports::{PortError, Taking};
use super::{Allocation, Error, Kind, Registry, invalid};

impl Registry {
    pub(super) fn node_ports(
        &self,
        kind: &Kind,
        object: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
        allocation: &mut Allocation,
    ) -> Result<(), Error> {
        let needs = Needs::of(object);
        let (fit, all, checked) = (needs.node_ports_fit(), needs.node_ports(), needs.health_check());
        // Also what is refused in between is given back.
        let taking = self.services.begin(&self.config.services.node_ports, dry_run);
        let taking = allocation.ports.insert(taking);
        if fit {
            let name = object.name().to_owned();
            let ports = object.0.get_mut("spec").and_then(|spec| spec.get_mut("ports"));
            let ports = ports.and_then(Value::as_array_mut).map_or(&mut [][..], Vec::as_mut_slice);
            let found = match old {
                None => each_new_port(ports, taking, all)?,
                Some(old) => each_changed_port(ports, taking, old, all)?,
            };
            invalid(kind, &name, found)?;
        }
        // One that was asked for its health before keeps its port.
        if checked && !old.is_some_and(|old| Needs::of(old).health_check()) {
            let port = object.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64).unwrap_or(0);
            let (taken, asked) = match port {
                0 => (taking.any().map(|port| object.set(&["spec", "healthCheckNodePort"], port)), "a"),
                port => (taking.take(port), "requested"),
            };
            taken.map_err(|e| {
                Error::internal(format!("failed to allocate {asked} HealthCheck NodePort {port}: {e}"), e)
            })?;
        }
        Ok(())
    }
}

/// Of a new service: one that it names, or that others of its ports of the same number have, or any.
fn each_new_port(ports: &mut [Value], taking: &mut Taking, all: bool) -> Result<Findings, Error> {
    let named: Vec<(i64, i64)> =
        ports.iter().map(|port| (number(port, "port"), number(port, "nodePort"))).collect();
    let wanted: HashMap<i64, i64> = named.iter().rev().filter(|(_, node)| *node != 0).copied().collect();
    let mut given = HashMap::new();
    for (index, port) in ports.iter_mut().enumerate() {
        let (own, node) = named[index];
        if node == 0 && !all {
            continue;
        }
        let asked = if node == 0 { wanted.get(&own).copied().unwrap_or(0) } else { node };
        let node = match (given.get(&own).copied(), node) {
            (Some(same), asked) if asked == 0 || asked == same => same,
            _ if asked == 0 => any(taking)?,
            _ => match taking.take(asked) {
                Ok(()) => asked,
                Err(e) => return Ok(refused(index, asked, &e)),
            },
        };
        port["nodePort"] = node.into();
        given.entry(own).or_insert(node);
    }
    Ok(Findings::default())
}

/// Of a service that changes: one that it has, or names, be it for several protocols, or any.
fn each_changed_port(
    ports: &mut [Value],
    taking: &mut Taking,
    old: &Object,
    all: bool,
) -> Result<Findings, Error> {
    let had = old.at(&["spec", "ports"]).and_then(Value::as_array).into_iter().flatten();
    let mut own: HashSet<i64> = had.map(|port| number(port, "nodePort")).collect();
    let mut seen = HashSet::new();
    for (index, port) in ports.iter_mut().enumerate() {
        let node = match number(port, "nodePort") {
            0 if !all => continue,
            0 => any(taking)?,
            asked => {
                if own.insert(asked)
                    && let Err(e) = taking.take(asked)
                {
                    return Ok(refused(index, asked, &e));
                }
                asked
            }
        };
        port["nodePort"] = node.into();
        let protocol = port["protocol"].as_str().unwrap_or_default().to_owned();
        let text = format!("duplicate nodePort: {{{protocol} {node}}}");
        if !seen.insert((protocol, node)) {
            return Err(Error::Unclassified(text));
        }
    }
    Ok(Findings::default())
}

fn any(taking: &mut Taking) -> Result<i64, Error> {
    let text = "failed to allocate a nodePort";
    taking.any().map(i64::from).map_err(|e| Error::internal(format!("{text}: {e}"), e))
}

fn refused(index: usize, port: i64, why: &PortError) -> Findings {
    vec![FieldError::invalid(format!("spec.ports[{index}].nodePort"), &port.into(), why.to_string())].into()
}

fn number(port: &Value, field: &str) -> i64 {
    port[field].as_i64().unwrap_or(0)
}
