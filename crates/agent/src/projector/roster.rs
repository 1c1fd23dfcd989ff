//! The pods that there are, by their names and by their ids.

use std::collections::HashMap;
use std::sync::Arc;

use super::ids::{PodId, PodName, TokenId};
use super::token::Token;
use super::volume::Pod;

/// Pods whose volumes are kept. One of each name.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pods: HashMap<PodId, Pod>,
    names: HashMap<Arc<PodName>, PodId>,
    count: u64,
}

impl Roster {
    /// Takes a pod in.
    pub(super) fn add(&mut self, pod: Pod) -> PodId {
        self.count += 1;
        let id = PodId(self.count);
        self.names.insert(pod.name.clone(), id);
        self.pods.insert(id, pod);
        id
    }

    pub(super) fn remove(&mut self, id: PodId) -> Option<Pod> {
        let pod = self.pods.remove(&id)?;
        self.names.remove(&pod.name);
        Some(pod)
    }

    pub(super) fn get(&self, id: PodId) -> Option<&Pod> {
        self.pods.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: PodId) -> Option<&mut Pod> {
        self.pods.get_mut(&id)
    }

    pub(super) fn token(&mut self, id: TokenId) -> Option<&mut Token> {
        self.pods.get_mut(&id.pod)?.token(id)
    }

    pub(super) fn id_of(&self, name: &PodName) -> Option<PodId> {
        self.names.get(name).copied()
    }

    pub(super) fn names(&self) -> Vec<Arc<PodName>> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PodId, &Pod)> {
        self.pods.iter().map(|(id, pod)| (*id, pod))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PodId, &mut Pod)> {
        self.pods.iter_mut().map(|(id, pod)| (*id, pod))
    }

    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }
}
