//! What is looked after while nobody asks: files that somebody has removed, and sets that were replaced.

use std::time::Duration;

use tokensmith_core::Moment;
use tokensmith_objects::LocalPath;

use crate::pod::PodPlan;
use crate::projector::ids::{PodId, PodName, Task};
use crate::projector::job::blocking;
use crate::projector::volume::Pod;
use crate::projector::{Done, Projector};

/// So often files are looked for (a folder that was removed is written again), and old generations swept.
pub(in crate::projector) const LOOK: Duration = Duration::from_secs(60);
/// A set that was replaced is removed about this long afterwards, but never while its grace lasts.
pub(super) const SWEEP: Duration = Duration::from_secs(6);

impl Projector {
    /// Has what was replaced removed once its readers have had their time.
    pub(super) fn sweep_later(&mut self, wait: Duration) {
        if !std::mem::replace(&mut self.writing.sweeping, true) {
            self.agenda.put(self.now().plus(wait.max(SWEEP)), Task::Sweep);
        }
    }

    pub(in crate::projector) fn sweep(&mut self) {
        let files = self.ports.files.clone();
        self.under_way.work.push(blocking(move || Done::Swept(files.sweep())));
    }

    pub(in crate::projector) fn swept(&mut self, more: Option<Duration>) {
        self.writing.sweeping = false;
        if let Some(wait) = more {
            self.sweep_later(wait);
        }
    }

    /// Looks for the files of all volumes, since someone may have removed them.
    pub(in crate::projector) fn look_at_files(&mut self) {
        let now = self.now();
        self.agenda.put(now.plus(LOOK), Task::Look);
        if std::mem::replace(&mut self.writing.looking, true) {
            return;
        }
        let idle = |pod: &&Pod| self.writing.pods.get(&pod.name).is_none_or(|work| !work.busy);
        let mut all = Vec::new();
        for (id, pod) in self.roster.iter().filter(|(_, pod)| idle(pod)) {
            let volumes =
                pod.volumes.iter().enumerate().filter_map(|(v, volume)| Some((v, volume.to_look_for()?)));
            all.extend(volumes.map(|(v, files)| (id, v, pod.name.clone(), pod.plan.clone(), files)));
        }
        let files = self.ports.files.clone();
        self.under_way.work.push(blocking(move || {
            let there = |name: &PodName, plan: &PodPlan, v: usize, paths: &[LocalPath]| {
                plan.volumes.get(v).is_none_or(|volume| files.present(name, &volume.name, paths))
            };
            let lost = all.into_iter().filter(|(_, v, name, plan, paths)| !there(name, plan, *v, paths));
            Done::Looked(lost.map(|(id, v, ..)| (id, v)).collect())
        }));
    }

    pub(in crate::projector) fn looked(&mut self, lost: Vec<(PodId, usize)>) {
        self.writing.looking = false;
        for (id, index) in lost {
            let Some(pod) = self.roster.get_mut(id) else { continue };
            let (name, plan) = (pod.name.clone(), pod.plan.clone());
            let (Some(volume), Some(plan)) = (pod.volumes.get_mut(index), plan.volumes.get(index)) else {
                continue;
            };
            let (namespace, pod_name) = (&name.namespace, &name.name);
            // It may be that the look fell into the moment of a write: then the write finds nothing to do.
            tracing::debug!(
                namespace,
                pod = pod_name,
                volume = plan.name,
                "files are missing: written again"
            );
            volume.dirty = true;
            pod.state_dirty = true;
            pod.shown.expire();
            self.queue_disk_work(&name);
        }
    }
}
