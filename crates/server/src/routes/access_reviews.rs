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
    let mut sent =
        body::create(with.limit, parts, body, &Expected::kind(kind), reply::metadata_alone).await?;
    let warnings = sent.warnings.clone();
    answer(with, caller, kind, &mut sent).await.map_err(|failure| Failure::beside(failure, warnings))?;
    Ok(reply::answered(&sent.object, &sent.format, sent.warnings))
}

async fn answer(with: &Judges, caller: &Caller, kind: &Kind, sent: &mut body::Sent) -> Result<(), Failure> {
    let namespace = &caller.info.attributes.namespace;
    if kind.namespaced && !["", namespace].contains(&sent.object.namespace()) {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Error::BadRequest(text.into()).into());
    }
    // What is the system's to say is not the client's, and a namespace is the URL's or none.
    let metadata = &mut sent.object.0.entry("metadata").or_insert_with(|| serde_json::json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|field, _| !super::SYSTEM.contains(&field.as_str()) && field != "namespace");
    }
    if kind.namespaced {
        sent.object.set(&["metadata", "namespace"], namespace.as_str());
    }
    super::admit_review(&with.registry, caller, kind, sent).await?;
    let asked = &mut sent.object;
    let objects = with.view.snapshot();
    match kind.kind.as_str() {
        "SelfSubjectRulesReview" => {
            // The answer is as long as all that somebody holds.
            heavy::enter().await;
            review::rules(asked, &caller.user, &*with.authorizer, &objects)?;
        }
        _ => review::access(asked, &caller.user, &*with.authorizer, &objects)?,
    }
    Ok(())
}
