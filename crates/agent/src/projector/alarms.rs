//! Alarms: a volume that should be there by now, a token that should have been replaced, or is dead.

use tokensmith_core::Moment;
use tokensmith_objects::object::timestamp;

use super::Projector;
use super::ids::{PodId, Task};

impl Projector {
    /// Puts the next look for an alarm on the agenda, unless there is an earlier one.
    pub(super) fn plan_alarm(&mut self, id: PodId, volume: usize) {
        let now = self.now();
        let Some(v) = self.roster.get_mut(id).and_then(|pod| pod.volumes.get_mut(volume)) else { return };
        let Some(at) = v.alarm_check(now) else { return };
        if v.look_at.is_none_or(|planned| planned > at || planned <= now) {
            v.look_at = Some(at);
            self.agenda.put(at, Task::Alarm(id, volume));
        }
    }

    /// Raises and clears a volume's alarms.
    pub(super) fn look_for_alarm(&mut self, id: PodId, index: usize) {
        let (now, monotonic) = (self.now(), self.ports.clock.monotonic());
        let Some(kept) = self.roster.get_mut(id) else { return };
        let (name, plan) = (kept.name.clone(), kept.plan.clone());
        let (Some(v), Some(plan)) = (kept.volumes.get_mut(index), plan.volumes.get(index)) else { return };
        if v.look_at.is_some_and(|at| at <= now) {
            v.look_at = None;
        }
        let mut changed = false;
        let (namespace, pod, volume) = (&name.namespace, &name.name, &plan.name);
        let whole = v.alarming(now);
        if whole != v.alarm {
            v.alarm = whole;
            changed = true;
            let what = format!("{name}/{volume}");
            let cause = v.failure.as_ref().map(|f| f.message.clone()).filter(|_| whole);
            match &cause {
                Some(cause) => tracing::error!(namespace, pod, volume, cause, "a volume is missing"),
                None => tracing::info!(namespace, pod, volume, "the volume is there"),
            }
            self.ports.monitor.alarm(what, cause);
        }
        let volume_failure = v.failure.clone();
        for token in &mut v.tokens {
            let alarming = token.alarming(now, monotonic);
            if alarming == token.alarm {
                continue;
            }
            token.alarm = alarming;
            changed = true;
            let path = token.source.path.to_string();
            let what = format!("{name}/{volume}/{path}");
            if !alarming {
                tracing::info!(namespace, pod, volume, path, "the token is fresh");
                self.ports.monitor.alarm(what, None);
                continue;
            }
            let cause = token.renewal.failure().or(volume_failure.as_ref());
            let silence = match token.is_exchanged() {
                true => "there is no answer yet, or no newer token to exchange",
                false => "there was no answer yet",
            };
            let cause = cause.map_or(silence, |f| &f.message);
            if let Some(refused) = token.refusal() {
                let why = format!("the token is refused, {}: {cause}", refused.why);
                tracing::error!(namespace, pod, volume, path, cause = why, "the token is dead");
                self.ports.monitor.alarm(what, Some(why));
                continue;
            }
            let seconds_left = token.on_disk.as_ref().map_or(0, |g| g.expires_at.since(now).whole_seconds());
            tracing::error!(
                namespace,
                pod,
                volume,
                path,
                seconds_left,
                cause,
                "the token is about to expire, or has"
            );
            let expires_at = token.on_disk.as_ref().map(|g| timestamp(g.expires_at)).unwrap_or_default();
            self.ports.monitor.alarm(what, Some(format!("the token expires at {expires_at}: {cause}")));
        }
        if changed {
            kept.state_dirty = true;
            self.queue_disk_work(&name);
        }
        self.plan_alarm(id, index);
    }
}
