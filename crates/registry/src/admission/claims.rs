//! A service account's annotation decides what its tokens say: changing it is a right of its own, which who may merely
//! edit accounts does not have.

use std::sync::Arc;

use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_core::access::{Attributes, Authorizer, Identity};
use tokensmith_core::error::Error;
use tokensmith_core::tokens::extra_claims::{ANNOTATION, ExtraClaims};
use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;

use super::may;

/// The verb on `serviceaccounts` that allows it.
const VERB: &str = "set-claims";

/// Judges the change of an object: the annotation may be set, changed or removed by who has the right, and be set to
/// what tokens may carry. One that stays as it was is nobody's doing.
pub(super) struct TokenClaims {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

impl Admission for TokenClaims {
    /// A TokenRequest's own annotations are nobody's claims.
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of("", "serviceaccounts") && write.subresource != "token" && super::is_stored(write)
    }

    fn permit<'a>(&'a self, write: &'a Write<'a>, new: Option<&'a Object>) -> Answer<'a> {
        new.map_or(Ok(()), |new| judge(write, new, &*self.authorizer)).into()
    }
}

fn judge(write: &Write<'_>, new: &Object, authorizer: &dyn Authorizer) -> Result<(), Error> {
    let text = new.annotation(ANNOTATION);
    if text == write.old.and_then(|old| old.annotation(ANNOTATION)) {
        return Ok(());
    }
    if !allowed(write, authorizer, new) {
        return Err(write.forbidden(Some(new), cause(write.user, new.namespace())));
    }
    match text.map(ExtraClaims::parse) {
        Some(Err(e)) => Err(e.of_account(new.name())),
        _ => Ok(()),
    }
}

fn allowed(write: &Write<'_>, authorizer: &dyn Authorizer, account: &Object) -> bool {
    let attributes = Attributes {
        verb: VERB.into(),
        version: "v1".into(),
        resource: "serviceaccounts".into(),
        namespace: account.namespace().into(),
        name: account.name().into(),
        resource_request: true,
        ..Attributes::default()
    };
    may(write, authorizer, &attributes)
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
