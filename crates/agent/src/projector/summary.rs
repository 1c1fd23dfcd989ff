//! What there is on disk at a moment, for people.

use std::cmp::Ordering;

use time::OffsetDateTime;

use super::Projector;
use super::ids::PodName;
use super::volume::OnDisk;

/// A volume that is on disk, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSummary {
    /// Whose it is.
    pub pod: PodName,
    /// Its name.
    pub volume: String,
    /// How many files this run has written or found to be right; `None` where it had no reason to look.
    pub files: Option<usize>,
    /// How many of its files are tokens.
    pub tokens: usize,
    /// When the first of them is to be replaced.
    pub refresh_at: Option<OffsetDateTime>,
}

impl Projector {
    /// All volumes that are on disk, in the order of their names.
    pub fn summary(&self) -> Vec<VolumeSummary> {
        let mut all = Vec::new();
        for (_, pod) in self.roster.iter() {
            for (plan, volume) in pod.plan.volumes.iter().zip(&pod.volumes) {
                let OnDisk::Whole { files } = &volume.on_disk else { continue };
                let due = volume.tokens.iter().filter_map(|t| t.on_disk.as_ref().map(|grant| grant.due));
                all.push(VolumeSummary {
                    pod: (*pod.name).clone(),
                    volume: plan.name.clone(),
                    files: (!files.is_empty()).then_some(files.len()),
                    tokens: volume.tokens.len(),
                    refresh_at: due.min(),
                });
            }
        }
        all.sort_by(|a, b| match a.pod.cmp(&b.pod) {
            Ordering::Equal => a.volume.cmp(&b.volume),
            other => other,
        });
        all
    }
}
