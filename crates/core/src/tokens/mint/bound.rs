//! What a token is bound to.

use std::sync::Arc;

use tokensmith_objects::{Object, names};

use crate::error::Error;
use crate::tokens::claims::{Bound, Reference};
use crate::view::Snapshot;

/// The object that the token is to be bound to, as it is now. Its UID comes from the object, never from the request. `before`: what
/// was there when admission was asked, which has judged the object of then.
pub(super) fn find(
    before: &Arc<Snapshot>,
    objects: &Arc<Snapshot>,
    namespace: &str,
    account: &str,
    request: &Object,
) -> Result<Bound, Error> {
    let field = |key: &str| request.str_at(&["spec", "boundObjectRef", key]);
    // Only the group counts: any version, even none, means the core group's one.
    let (group, version) = match field("apiVersion").split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", field("apiVersion")),
    };
    let (plural, scope) = match (group, field("kind")) {
        ("", "Pod") => ("pods", namespace),
        ("", "Secret") => ("secrets", namespace),
        ("", "Node") => ("nodes", ""),
        (group, kind) => {
            let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Error::BadRequest(text));
        }
    };
    let name = field("name");
    if name.is_empty() {
        return Err(Error::BadRequest("Name parameter required.".into()));
    }
    if let [problem, ..] = names::path_segment(name).as_slice() {
        return Err(Error::BadRequest(format!("Name parameter invalid: {name:?}: {problem}")));
    }
    let found = objects.get("", plural, scope, name).ok_or_else(|| Error::not_found("", plural, name))?;
    if plural == "pods" && found.account() != account {
        let text = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        );
        return Err(Error::BadRequest(text));
    }
    // Where nothing has changed meanwhile, it is the same.
    let judged = match Arc::ptr_eq(before, objects) {
        true => None,
        false => before.get("", plural, scope, name),
    };
    for uid in [field("uid"), judged.map_or("", |judged| judged.uid())] {
        if !["", found.uid()].contains(&uid) {
            let cause = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Error::conflict("", field("kind"), name, cause));
        }
    }
    let to = Reference::new(name, found.uid());
    Ok(match plural {
        "nodes" => Bound::Node(to),
        "secrets" => Bound::Secret(to),
        _ => {
            let node = Some(found.node()).filter(|n| !n.is_empty());
            let uid =
                |n: &str| objects.get("", "nodes", "", n).map(|o| o.uid().to_owned()).unwrap_or_default();
            Bound::Pod { pod: to, node: node.map(|n| Reference::new(n, uid(n))) }
        }
    })
}
