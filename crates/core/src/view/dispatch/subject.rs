//! What can be watched, and which of it a change concerns.

use std::sync::Arc;

use tokensmith_objects::Stored;

use crate::view::moved::Moved;
use crate::view::{REGISTRY, collection_key, object_key};

/// A part of all objects that is watched by itself: a change finds it by its own key and fields, so nobody else is woken.
/// Where a client asks for less than a subject has, it is the client's selectors that leave the rest out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub(super) String);

impl Subject {
    /// All objects.
    pub fn all() -> Self {
        Subject(REGISTRY.to_owned())
    }

    /// A collection: one namespace's, or all when `namespace` is empty.
    pub fn collection(group: &str, resource: &str, namespace: &str) -> Self {
        Subject(collection_key(group, resource, namespace))
    }

    /// One object. Clients select it by `metadata.name`, such as a kubelet each Secret of its pods.
    pub fn object(group: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Subject(object_key(group, resource, namespace, name))
    }

    /// The pods that are bound to a node. Each kubelet watches its own.
    pub fn pods_on(node: &str) -> Self {
        Subject(on_node(node))
    }
}

const PODS: &str = "/registry/pods/";
/// No key has this in it.
const NODE: char = '\0';

fn on_node(node: &str) -> String {
    format!("{PODS}{NODE}{node}")
}

/// Whether it is [`Subject::pods_on`] a node.
pub(super) fn is_of_node(subject: &str) -> bool {
    subject.contains(NODE)
}

/// Tells each subject that a change concerns; those of nodes only where somebody watches one.
pub(super) fn concerned(moved: &Moved, nodes: bool, mut each: impl FnMut(&str)) {
    let key = &*moved.key;
    let path = key.strip_prefix(REGISTRY).unwrap_or_default();
    let before = key.len() - path.len();
    each(&key[..before]);
    path.match_indices('/').for_each(|(at, _)| each(&key[..=before + at]));
    each(key);
    if nodes && key.starts_with(PODS) {
        let (old, new) = (node(moved.old.as_deref()), node(moved.new.as_deref()));
        [old.filter(|old| new.as_ref() != Some(old)), new].into_iter().flatten().for_each(|node| each(&node));
    }
}

fn node(pod: Option<&Stored>) -> Option<String> {
    let node = pod?.node();
    (!node.is_empty()).then(|| on_node(node))
}

/// Whether a change concerns a subject.
pub(super) fn concerns(moved: &Moved, subject: &str) -> bool {
    // No other subject begins like the key.
    if !is_of_node(subject) {
        return match subject.ends_with('/') {
            true => moved.key.starts_with(subject),
            false => *moved.key == *subject,
        };
    }
    let node = subject.rsplit(NODE).next().unwrap_or_default();
    let on = |pod: &Option<Arc<Stored>>| pod.as_ref().is_some_and(|pod| pod.node() == node);
    moved.key.starts_with(PODS) && (on(&moved.old) || on(&moved.new))
}
