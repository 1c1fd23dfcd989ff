//! What a delete makes of an object, as a pure function (apiserver `registry/rest/delete.go`,
//! `registry/generic/registry/store.go`, `pkg/registry/core/{namespace,pod}`).

use std::collections::HashSet;

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, strategy};

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
    if kind.rules().holds_others()
        && let Some(step) = close(kind, old, options, now)
    {
        return step;
    }
    let mut object = old.clone();
    let asked = options.grace_period_seconds();
    let graceful = match kind.rules().grace(old, asked).map(|full| grace(&mut object, asked, full, now)) {
        Some(Grace::Pending) => return Step::Keep,
        Some(Grace::Left(seconds)) => Some(seconds),
        Some(Grace::Over) | None => None,
    };
    let finalizers = finalizers(old, options.propagation(), kind.rules().orphans());
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

/// How long an object may still take to stop.
enum Grace {
    /// It needs none.
    Over,
    /// So many seconds, written into it.
    Left(i64),
    /// It is stopping already, and not asked to be faster.
    Pending,
}

/// `full`: the time that an object gets whose deletion begins now.
fn grace(object: &mut Object, asked: Option<i64>, full: i64, now: OffsetDateTime) -> Grace {
    let Some(end) = object.deletion_timestamp() else {
        next_generation(object);
        set_end(object, now.plus(Duration::seconds(full)), full);
        return Grace::Left(full);
    };
    let left = match object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64) {
        None | Some(0) => return Grace::Over,
        Some(left) => left.max(1),
    };
    // A deletion that is under way can only become shorter.
    match asked {
        Some(asked) if asked < left => {
            // An end that was cut to the calendar's does not tell when it began.
            let cut = end.plus(Duration::SECOND) == LAST;
            let begun = if cut { now } else { end.minus(Duration::seconds(left)) };
            set_end(object, begun.plus(Duration::seconds(asked)), asked);
            Grace::Left(asked)
        }
        _ => Grace::Pending,
    }
}

/// What holds others waits until its content is gone; then it is an object like others.
fn close(kind: &Kind, old: &Object, options: &DeleteOptions, now: OffsetDateTime) -> Option<Step> {
    if old.deletion_timestamp().is_some() {
        return strategy::held(kind, old).then_some(Step::Keep);
    }
    let mut object = old.clone();
    object.set(&["metadata", "deletionTimestamp"], object_timestamp(now));
    kind.rules().close(&mut object);
    let policy = match options.cascades_in_old_words() {
        // Here alone the old words mean more than the new default.
        true => Some(Propagation::Foreground),
        false => options.propagation(),
    };
    if let Some(finalizers) = finalizers(old, policy, false) {
        set_finalizers(&mut object, finalizers);
    }
    Some(Step::Mark(object))
}

/// The finalizers that the collector's policies leave, where they change any. What was asked for comes first, then
/// what the object itself says, then what is usual for its kind: some `orphan` what they own.
fn finalizers(old: &Object, policy: Option<Propagation>, orphan: bool) -> Option<Vec<String>> {
    let before: Vec<String> = old.finalizers().map(str::to_owned).collect();
    let own = before.iter().find_map(|f| match f.as_str() {
        FOREGROUND => Some(Propagation::Foreground),
        ORPHAN => Some(Propagation::Orphan),
        _ => None,
    });
    let mut after: Vec<String> =
        before.iter().filter(|f| *f != FOREGROUND && *f != ORPHAN).cloned().collect();
    match policy.or(own).or(orphan.then_some(Propagation::Orphan)) {
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
