//! SubjectAccessReview, LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview: may they?

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use tokensmith_core::Error;
use tokensmith_core::access::{Authorizer, review};
use tokensmith_core::view::View;
use tokensmith_objects::codec::Expected;
use tokensmith_objects::schema::Kind;
use tokensmith_registry::Registry;

use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::needs::{Limit, needs};
use crate::reply;

needs! {
    /// Who is asked.
    pub(super) struct Judges {
        authorizer: Arc<dyn Authorizer>,
        limit: Limit,
        registry: Arc<Registry>,
        view: Arc<View>,
    }
}

/// Answers an access review.
pub(super) async fn create(
    with: &Judges,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let mut sent = body::create(with.limit, parts, body, &Expected::kind(kind), |_| false).await?;
    let namespace = &caller.info.attributes.namespace;
    if kind.namespaced && !["", namespace].contains(&sent.object.namespace()) {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Error::BadRequest(text.into()).into());
    }
    super::admit_review(&with.registry, caller, kind, &mut sent).await?;
    let mut asked = sent.object;
    let objects = with.view.snapshot();
    match kind.kind.as_str() {
        "SelfSubjectRulesReview" => {
            // The answer is as long as all that somebody holds.
            heavy::enter().await;
            review::rules(&mut asked, &caller.user, &*with.authorizer, &objects)?;
        }
        _ => review::access(&mut asked, &caller.user, namespace, &*with.authorizer, &objects)?,
    }
    Ok(reply::answered(&asked, &sent.format, sent.warnings))
}
