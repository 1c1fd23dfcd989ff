//! What a delete makes of an object, as a pure function (apiserver `registry/rest/delete.go`,
//! `registry/generic/registry/store.go`, `pkg/registry/core/{namespace,pod}`).

use std::collections::HashSet;

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokensmith_objects::Object;
use tokensmith_objects::schema::Kind;

use super::options::{DeleteOptions, Propagation};
use tokensmith_core::moment::{LAST, Moment};
use tokensmith_objects::object::timestamp as object_timestamp;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The next step of an object that somebody deletes.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// It is being deleted as it was told to before.
    Keep,
    /// It stays for a while, and shows that it is being deleted.
    Mark(Object),
    /// It goes.
    Remove,
    /// It goes, and shows that it is being deleted before.
    MarkAndRemove(Object),
}

/// Decides what a delete that the preconditions let through does to `old`.
pub(super) fn step(kind: &Kind, old: &Object, options: &DeleteOptions, now: OffsetDateTime) -> Step {
    if is(kind, "Namespace")
        && let Some(step) = namespace(old, options, now)
    {
        return step;
    }
    let mut object = old.clone();
    let graceful = match is(kind, "Pod") {
        true => match pod(&mut object, options, now) {
            Grace::Pending => return Step::Keep,
            Grace::Over => None,
            Grace::Left(seconds) => Some(seconds),
        },
        false => None,
    };
    let finalizers = finalizers(old, options.propagation());
    let changed = finalizers.is_some();
    if let Some(finalizers) = finalizers {
        set_finalizers(&mut object, finalizers);
    }
    let pending = object.finalizers().next().is_some();
    match graceful {
        Some(seconds) if pending || seconds > 0 => Step::Mark(object),
        Some(_) => Step::MarkAndRemove(object),
        None if pending => {
            mark(&mut object, now);
            Step::Mark(object)
        }
        None if changed => Step::MarkAndRemove(object),
        None => Step::Remove,
    }
}

fn is(kind: &Kind, name: &str) -> bool {
    kind.group.is_empty() && kind.kind == name
}

/// How long a pod may still take.
enum Grace {
    /// It needs none.
    Over,
    /// So many seconds, written into it.
    Left(i64),
    /// It is stopping already, and not asked to be faster.
    Pending,
}

fn pod(pod: &mut Object, options: &DeleteOptions, now: OffsetDateTime) -> Grace {
    let asked = options.grace_period_seconds();
    let number = |path: &[&str]| pod.at(path).and_then(Value::as_i64);
    if let Some(end) = pod.deletion_timestamp() {
        let left = match number(&["metadata", "deletionGracePeriodSeconds"]) {
            None | Some(0) => return Grace::Over,
            Some(left) => left.max(1),
        };
        // A deletion that is under way can only become shorter.
        return match asked {
            Some(asked) if asked < left => {
                // An end that was cut to the calendar's does not tell when it began.
                let cut = end.plus(Duration::SECOND) == LAST;
                let begun = if cut { now } else { end.minus(Duration::seconds(left)) };
                set_end(pod, begun.plus(Duration::seconds(asked)), asked);
                Grace::Left(asked)
            }
            _ => Grace::Pending,
        };
    }
    // A pod that no node runs, or that has ended, needs no time to stop.
    let ended = matches!(pod.str_at(&["status", "phase"]), "Failed" | "Succeeded");
    let idle = ended || pod.str_at(&["spec", "nodeName"]).is_empty();
    let own = number(&["spec", "terminationGracePeriodSeconds"]);
    let seconds = match asked.or(own).unwrap_or(0) {
        _ if idle => 0,
        seconds if seconds < 0 => 1,
        seconds => seconds,
    };
    next_generation(pod);
    set_end(pod, now.plus(Duration::seconds(seconds)), seconds);
    Grace::Left(seconds)
}

/// A namespace waits until its content is gone; then it is an object like others.
fn namespace(old: &Object, options: &DeleteOptions, now: OffsetDateTime) -> Option<Step> {
    if old.deletion_timestamp().is_some() {
        let held = old.at(&["spec", "finalizers"]).and_then(Value::as_array).is_some_and(|f| !f.is_empty());
        return held.then_some(Step::Keep);
    }
    let mut object = old.clone();
    object.set(&["metadata", "deletionTimestamp"], object_timestamp(now));
    object.set(&["status", "phase"], "Terminating");
    let policy = match options.cascades_in_old_words() {
        // Here alone the old words mean more than the new default.
        true => Some(Propagation::Foreground),
        false => options.propagation(),
    };
    if let Some(finalizers) = finalizers(old, policy) {
        set_finalizers(&mut object, finalizers);
    }
    Some(Step::Mark(object))
}

/// The finalizers that the collector's policies leave, where they change any. What was asked for comes first, then
/// what the object itself says.
fn finalizers(old: &Object, policy: Option<Propagation>) -> Option<Vec<String>> {
    let before: Vec<String> = old.finalizers().map(str::to_owned).collect();
    let own = before.iter().find_map(|f| match f.as_str() {
        FOREGROUND => Some(Propagation::Foreground),
        ORPHAN => Some(Propagation::Orphan),
        _ => None,
    });
    let mut after: Vec<String> =
        before.iter().filter(|f| *f != FOREGROUND && *f != ORPHAN).cloned().collect();
    match policy.or(own) {
        Some(Propagation::Foreground) => after.push(FOREGROUND.into()),
        Some(Propagation::Orphan) => after.push(ORPHAN.into()),
        Some(Propagation::Background) | None => {}
    }
    let kept: HashSet<&String> = after.iter().collect();
    let same = before.len() == after.len() && before.iter().all(|f| kept.contains(f));
    (!same).then_some(after)
}

fn set_finalizers(object: &mut Object, finalizers: Vec<String>) {
    match finalizers.is_empty() {
        true => drop(object.remove(&["metadata", "finalizers"])),
        false => object.set(&["metadata", "finalizers"], finalizers),
    }
}

/// Shows that an object without a time to stop waits for its finalizers.
fn mark(object: &mut Object, now: OffsetDateTime) {
    match object.deletion_timestamp() {
        None => {
            next_generation(object);
            set_end(object, now, 0);
        }
        Some(end) if end > now => set_end(object, now, 0),
        Some(_) => object.set(&["metadata", "deletionGracePeriodSeconds"], 0),
    }
}

fn set_end(object: &mut Object, end: OffsetDateTime, seconds: i64) {
    object.set(&["metadata", "deletionTimestamp"], object_timestamp(end));
    object.set(&["metadata", "deletionGracePeriodSeconds"], seconds);
}

/// What controllers of the object have to do has changed.
fn next_generation(object: &mut Object) {
    if let Some(now) = object.at(&["metadata", "generation"]).and_then(Value::as_i64).filter(|g| *g > 0) {
        object.set(&["metadata", "generation"], now.saturating_add(1));
    }
}
