//! What the rule that decides gives: a token of this server's, or one of a service elsewhere.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokensmith_core::tokens::access_token::{Grant, IssueError, Tie};
use tokensmith_core::{Error, error};
use tokensmith_server::audit::Line;

use super::Shown;
use super::choose::{choose, not_given, refused, refused_as};
use crate::actor;
use crate::endpoint::{Endpoint, failed};
use crate::oauth::{self, Code, Refusal};
use crate::policy::{GrantType, Policy, Wanted};
use crate::subject::{Kind, Subject};
use crate::upstream::{Asked, IssuedToken, UpstreamError};

/// Answers by the rule that decides.
pub(super) async fn by_rule(
    here: &Endpoint,
    policy: &Policy,
    shown: &Shown,
    wanted: &Wanted,
    line: &mut Line,
) -> Result<Response, Refusal> {
    let given = choose(here, policy, shown, wanted).await?;
    given.rule.name.clone_into(&mut line.rule);
    if names_another(policy, &shown.subject, &given.subject) {
        let why = "the rule computes a subject that is another issuer's";
        return Err(refused(shown.grant, why.into()).by_rule(&given.rule.name));
    }
    let rule = given.rule;
    line.audiences.clone_from(&given.audiences);
    if let Some(rate) = rule.rate {
        here.rates.take(rate, &rule.name, &shown.subject.name, here.clock.monotonic()).map_err(|wait| {
            let told = "tokens are asked for too often";
            let seconds = wait.as_secs().saturating_add(1);
            Refusal::because(Code::SlowDown, told, "the rule's rate is used up").retry_after(seconds)
        })?;
    }
    // The last thing before: what is refused for another reason may be sent again.
    used_up(here, policy, shown)?;
    if let Some(upstream) = &rule.upstream {
        let (resources, audiences) = rule.resources_of(&given.audiences, wanted);
        let asked = Asked { audiences: &audiences, resources: &resources, scopes: &given.scopes };
        let issued = upstream.exchange(&shown.token, &shown.subject, &asked).await;
        return issued.map(|issued| passed_on(&issued)).map_err(|e| elsewhere(&e).by_rule(&rule.name));
    }
    let act = actor::chain(&shown.subject, shown.actor.as_ref())
        .map_err(|why| Refusal::because(refused_as(shown.grant), "the subject_token is not accepted", why))?;
    let client = shown.client();
    let scope = (!given.scopes.is_empty()).then(|| given.scopes.join(" "));
    let tie = shown.subject.tie.as_ref();
    let grant = Grant {
        audiences: &given.audiences,
        client_id: &client.name,
        subject: &given.subject,
        scope: scope.as_deref(),
        act: act.as_ref(),
        expires_at: rule.expires_at(&shown.subject, here.clock.unix(), here.max_token_seconds),
        claims: &given.claims,
        tie,
        requester: &client.name,
    };
    let signed =
        here.access.issue(&grant).await.map_err(|e| not_issued(e, shown.grant).by_rule(&rule.name))?;
    line.jti.clone_from(&signed.id);
    line.kid.clone_from(&signed.kid);
    line.bound_object =
        tie.and_then(Tie::bound_to).map_or_else(String::new, |to| format!("{}/{}", to.kind, to.name));
    let mut body = json!({
        "access_token": signed.token,
        "token_type": "Bearer",
        "expires_in": signed.expires_at.saturating_sub(signed.issued_at),
    });
    if let Some(issued) = shown.issued_token_type {
        body["issued_token_type"] = issued.into();
    }
    // RFC 6749 §5.1: where it is not what was asked; said wherever there is one.
    if let Some(scope) = scope {
        body["scope"] = scope.into();
    }
    Ok(oauth::json(StatusCode::OK, &body))
}

/// Uses up the assertions that have shown who asks, where they count once.
fn used_up(here: &Endpoint, policy: &Policy, shown: &Shown) -> Result<(), Refusal> {
    if let Some(client) = &shown.client {
        let told = "the client is not authenticated";
        here.once(policy, client).map_err(|why| Refusal::because(Code::InvalidClient, told, why))?;
    }
    if shown.assertion {
        let told = "the assertion is not accepted";
        here.once(policy, &shown.subject).map_err(|why| Refusal::because(Code::InvalidGrant, told, why))?;
    }
    Ok(())
}

/// Whether a subject is what another trusted issuer's tokens are exchanged for.
fn names_another(policy: &Policy, subject: &Subject, named: &str) -> bool {
    let Some((issuer, _)) = named.split_once('#') else { return false };
    let own = match subject.kind {
        Kind::Issuer => subject.issuer == issuer,
        // As it was.
        Kind::Exchanged => subject.id == named,
        Kind::Account { .. } => false,
    };
    !own && policy.issuers.contains_key(issuer)
}

fn not_issued(e: IssueError, grant: GrantType) -> Refusal {
    match e {
        IssueError::Fenced(e) => {
            Refusal::because(not_given(grant), "the request is not granted", format!("the fence: {e}"))
        }
        IssueError::Gone(e) => Refusal::because(refused_as(grant), "the token does not hold any more", e.0),
        IssueError::NoTime => {
            let why = "its subject token has no time left";
            Refusal::because(refused_as(grant), "the token does not hold any more", why)
        }
        IssueError::Failed(e @ Error::TooManyRequests { retry_after, .. }) => {
            let seconds = u64::try_from(retry_after).unwrap_or(1);
            Refusal::because(Code::TemporarilyUnavailable, "ask again", error::chain(&e)).retry_after(seconds)
        }
        IssueError::Failed(e @ Error::Unavailable(_)) => {
            Refusal::because(Code::TemporarilyUnavailable, "ask again", error::chain(&e))
        }
        IssueError::Failed(e) => failed(&e),
    }
}

/// What a service elsewhere has issued, as it is.
fn passed_on(issued: &IssuedToken) -> Response {
    let mut body = json!({
        "access_token": issued.access_token,
        "issued_token_type": issued.issued_token_type,
        "token_type": issued.token_type,
    });
    if let Some(seconds) = issued.expires_in {
        body["expires_in"] = seconds.into();
    }
    if let Some(scope) = &issued.scope {
        body["scope"] = scope.as_str().into();
    }
    oauth::json(StatusCode::OK, &body)
}

fn elsewhere(e: &UpstreamError) -> Refusal {
    let why = format!("the service elsewhere: {e}");
    match e {
        UpstreamError::ApiAudience | UpstreamError::Refused(_) | UpstreamError::Block(_) => {
            Refusal::because(Code::InvalidTarget, "no token is issued for what was asked", why)
        }
        UpstreamError::Unavailable(_) => {
            Refusal::because(Code::TemporarilyUnavailable, "ask again", why).retry_after(1)
        }
    }
}
