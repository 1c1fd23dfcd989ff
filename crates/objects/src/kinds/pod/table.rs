//! A pod's row (`pkg/printers/internalversion/printers.go`, `printPod`).

use std::cell::LazyCell;

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokensmith_api::moment;

use crate::Object;
use crate::kinds::Cells;
use crate::table::{ago, or_none};

/// Its containers are looked through once, for the columns that are about them.
pub(super) fn cells(pod: &Object, now: OffsetDateTime) -> Cells<'_> {
    let seen = LazyCell::new(|| Seen::of(pod));
    Box::new(move |column| cell(pod, column, &seen, now))
}

fn cell(
    pod: &Object,
    column: &str,
    seen: &LazyCell<Seen, impl FnOnce() -> Seen>,
    now: OffsetDateTime,
) -> Option<Value> {
    let cell = match column {
        "Ready" => format!("{}/{}", seen.ready, seen.containers).into(),
        "Status" => seen.reason.as_str().into(),
        "Restarts" => {
            let Restarts { count, last } = seen.restarts;
            match last.filter(|_| count != 0) {
                Some(last) => format!("{count} ({} ago)", ago(now, last)).into(),
                None => count.to_string().into(),
            }
        }
        "IP" => {
            let first = pod.at(&["status", "podIPs"]).and_then(|ips| ips[0]["ip"].as_str());
            or_none(first.unwrap_or_else(|| pod.str_at(&["status", "podIP"])))
        }
        "Node" => or_none(pod.str_at(&["spec", "nodeName"])),
        "Nominated Node" => or_none(pod.str_at(&["status", "nominatedNodeName"])),
        "Readiness Gates" => {
            let gates = list(pod, &["spec", "readinessGates"]);
            let open =
                gates.iter().filter(|gate| condition(pod, &gate["conditionType"]) == Some("True")).count();
            match gates.len() {
                0 => "<none>".into(),
                all => format!("{open}/{all}").into(),
            }
        }
        _ => return None,
    };
    Some(cell)
}

/// A pod that has ended is a row that is complete.
pub(super) fn conditions(pod: &Object) -> Option<Value> {
    let phase = pod.str_at(&["status", "phase"]);
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": phase, "message": message}]))
}

fn list<'a>(pod: &'a Object, path: &[&str]) -> &'a [Value] {
    pod.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A condition's status.
fn condition<'a>(pod: &'a Object, kind: &Value) -> Option<&'a str> {
    let found = list(pod, &["status", "conditions"]).iter().find(|condition| condition["type"] == *kind);
    found.and_then(|condition| condition["status"].as_str())
}

/// What a pod's containers come to.
struct Seen {
    containers: usize,
    ready: usize,
    reason: String,
    restarts: Restarts,
}

#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<OffsetDateTime>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count = self.count.saturating_add(status["restartCount"].as_i64().unwrap_or(0));
        let ended = status["lastState"]["terminated"]["finishedAt"].as_str();
        self.last = self.last.max(ended.and_then(|ended| moment::parse(ended).ok()));
    }
}

impl Seen {
    fn of(pod: &Object) -> Self {
        let phase = pod.str_at(&["status", "phase"]);
        let gated = |condition: &Value| {
            condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
        };
        let reason = match pod.str_at(&["status", "reason"]) {
            _ if list(pod, &["status", "conditions"]).iter().any(gated) => "SchedulingGated",
            "" => phase,
            reason => reason,
        };
        let restartable: std::collections::HashSet<&str> = list(pod, &["spec", "initContainers"])
            .iter()
            .filter(|container| container["restartPolicy"] == "Always")
            .filter_map(|container| container["name"].as_str())
            .collect();
        let containers = list(pod, &["spec", "containers"]).len().saturating_add(restartable.len());
        let mut seen = Seen { containers, ready: 0, reason: reason.into(), restarts: Restarts::default() };
        let (initializing, lasting) = seen.initialize(pod, &restartable);
        if !initializing || condition(pod, &"Initialized".into()) == Some("True") {
            seen.restarts = lasting;
            seen.run(pod);
        }
        if pod.deletion_timestamp().is_some() {
            if pod.str_at(&["status", "reason"]) == "NodeLost" {
                seen.reason = "Unknown".into();
            } else if !matches!(phase, "Failed" | "Succeeded") {
                seen.reason = "Terminating".into();
            }
        }
        seen
    }

    /// The containers that come first, up to one that is not done; whether there is one, and the restarts of those that last.
    fn initialize(
        &mut self,
        pod: &Object,
        restartable: &std::collections::HashSet<&str>,
    ) -> (bool, Restarts) {
        let mut lasting = Restarts::default();
        let all = list(pod, &["spec", "initContainers"]).len();
        for (index, status) in list(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            let lasts = status["name"].as_str().is_some_and(|name| restartable.contains(name));
            self.restarts.add(status);
            if lasts {
                lasting.add(status);
            }
            let (ended, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]["reason"]);
            let code = ended["exitCode"].as_i64().unwrap_or(0);
            if !ended.is_null() && code == 0 {
                continue;
            }
            if lasts && status["started"] == true {
                self.ready = self.ready.saturating_add(usize::from(status["ready"] == true));
                continue;
            }
            self.reason = match (ended.is_null(), waiting.as_str().unwrap_or("")) {
                (false, _) => format!("Init:{}", ending(ended)),
                (true, "" | "PodInitializing") => format!("Init:{index}/{all}"),
                (true, reason) => format!("Init:{reason}"),
            };
            return (true, lasting);
        }
        (false, lasting)
    }

    /// The containers that do the work.
    fn run(&mut self, pod: &Object) {
        let (mut running, mut failed) = (false, String::new());
        for status in list(pod, &["status", "containerStatuses"]).iter().rev() {
            self.restarts.add(status);
            let (ended, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]["reason"]);
            match waiting.as_str().unwrap_or("") {
                "" if !ended.is_null() => {
                    self.reason = ending(ended);
                    if ended["exitCode"].as_i64().unwrap_or(0) != 0 {
                        failed.clone_from(&self.reason);
                    }
                }
                "" if status["ready"] == true && status["state"]["running"].is_object() => {
                    running = true;
                    self.ready = self.ready.saturating_add(1);
                }
                "" => {}
                reason => self.reason = reason.into(),
            }
        }
        // Some may have ended while others go on.
        if self.reason == "Completed" {
            if running && condition(pod, &"Ready".into()) == Some("True") {
                self.reason = "Running".into();
            } else if !failed.is_empty() {
                self.reason = failed;
            } else if running {
                self.reason = "NotReady".into();
            }
        }
    }
}

/// How a container ended.
fn ending(ended: &Value) -> String {
    match (ended["reason"].as_str().unwrap_or(""), ended["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}
