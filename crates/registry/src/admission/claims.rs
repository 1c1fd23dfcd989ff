//! A service account's annotation decides what its tokens say: changing it is a right of its own, which who may merely
//! edit accounts does not have.

use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;
use tokensmith_objects::schema::Kind;

use super::may;
use tokensmith_core::access::{Attributes, Authorizer, Identity};
use tokensmith_core::error::Error;
use tokensmith_core::tokens::extra_claims::{ANNOTATION, ExtraClaims};
use tokensmith_core::view::Snapshot;

/// The verb on `serviceaccounts` that allows it.
const VERB: &str = "set-claims";

/// Judges the change of an object: the annotation may be set, changed or removed by who has the right, and be set to
/// what tokens may carry. One that stays as it was is nobody's doing.
pub(in super::super) fn admit(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    kind: &Kind,
    new: &Object,
    old: Option<&Object>,
) -> Result<(), Error> {
    let text = new.annotation(ANNOTATION);
    let same = text == old.and_then(|old| old.annotation(ANNOTATION));
    if same || !kind.group.is_empty() || kind.kind != "ServiceAccount" {
        return Ok(());
    }
    if !allowed(user, authorizer, objects, new) {
        return Err(Error::forbidden("", &kind.plural, new.name(), cause(user, new.namespace())));
    }
    match text.map(ExtraClaims::parse) {
        Some(Err(e)) => Err(e.of_account(new.name())),
        _ => Ok(()),
    }
}

fn allowed(user: &Identity, authorizer: &dyn Authorizer, objects: &Snapshot, account: &Object) -> bool {
    let attributes = Attributes {
        verb: VERB.into(),
        version: "v1".into(),
        resource: "serviceaccounts".into(),
        namespace: account.namespace().into(),
        name: account.name().into(),
        resource_request: true,
        ..Attributes::default()
    };
    may(user, authorizer, objects, &attributes)
}

/// As upstream speaks of who grants what they do not hold.
fn cause(user: &Identity, namespace: &str) -> String {
    let groups: Vec<_> = user.groups.iter().map(|group| go_quote(group)).collect();
    format!(
        "user {} (groups=[{}]) is attempting to change the claims of the account's tokens (metadata.annotations[{ANNOTATION}]) without the verb {VERB:?} on resource \"serviceaccounts\" in API group \"\" in the namespace {}",
        go_quote(&user.name),
        groups.join(" "),
        go_quote(namespace),
    )
}
