//! `POST /admin/v1/why`: whether a token would be let do something, and which rule of which layer says so.
//!
//! Nothing is judged here. The authenticators, the authorizers, the route's own rule and, of a write whose object is given,
//! admission are asked as they are for the request itself, and tell what they have looked at. The write is a dry run as who the token
//! is: whoever has the token could do that.

mod asked;
mod write;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};
use tokensmith_core::access::why::decisive;
use tokensmith_core::access::{
    ANONYMOUS, Attributes, AuthError, BearerToken, Clearance, Decision, Identity, Step, UNAUTHENTICATED,
};
use tokensmith_core::tokens::{Jws, TokenRule};
use tokensmith_objects::object::timestamp;

use self::asked::{Asked, WhyBody};
use super::Access;
use super::token_reviews::user;
use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::{self, Caller};
use crate::heavy;
use crate::needs::{Limit, Shared};
use crate::reply;

/// The layer of the one who acts for somebody else, of whom a token alone says nothing.
const IMPERSONATION: &str = "impersonation";
/// The layer of a route's own rule.
const ROUTE: &str = "route";
/// The layer of who has shown nothing.
const NOBODY: &str = "anonymous";

/// Takes the whole server: what is asked for may be anything that it does.
pub(super) async fn create(
    State(Shared(app)): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: WhyBody = body::json(Limit(app.config.max_request_bytes), &headers, body).await?;
    let mut asked = Asked::read(&app.schema.now(), &wanted)?;
    // What comes near is looked for among all that there is.
    heavy::enter().await;
    let clearance = clearance(&app, &caller);
    asked.look_for_namespace(&app.view.snapshot(), |name| may_read_namespace(&app, &caller, name));
    let mut steps = Vec::new();
    let access = super::rule_of(&app, &asked.attributes);
    let open = access == Access::Open || access == Access::Shown && wanted.anonymous;
    let who = match open {
        true => None,
        false => who(&app, &wanted, &clearance, &mut steps).await,
    };
    let mut line = caller.line(&*app.clock, "why");
    let code = match &who {
        None if open => {
            let text = "nobody is asked who they are here: what the request itself holds decides";
            steps.push(Step::holds(ROUTE, text));
            200
        }
        None => {
            steps.push(Step::unasked(IMPERSONATION));
            let mut rest = Vec::new();
            app.authorizer.explain(
                &Identity::default(),
                &asked.attributes,
                &app.view.snapshot(),
                &Clearance::default(),
                &mut rest,
            );
            steps.extend(rest.iter().map(|step| Step::unasked(step.rule)));
            401
        }
        Some(user) => {
            line.subject.clone_from(&user.name);
            steps.push(Step::silent(IMPERSONATION, "nobody: who brings it acts as who it is"));
            match may(&app, &caller, (&asked, access), user, &clearance, &mut steps).await {
                true => 200,
                false => 403,
            }
        }
    };
    let decided = decisive(&steps);
    let denied = decided.filter(|_| code != 200);
    (line.decision, line.code) = (if code == 200 { "allow" } else { "deny" }, 200);
    line.reason = denied.map(|step| format!("{}: {}", step.rule, step.detail)).unwrap_or_default();
    caller.tell(line);
    let answer = json!({
        "allowed": code == 200,
        "code": code,
        "decidedBy": decided.map(|step| step.rule),
        "detail": decided.map(|step| step.detail.as_str()),
        "request": asked.text(),
        "notes": asked.notes,
        "user": who.as_ref().map(user),
        "layers": steps.iter().map(layer).collect::<Vec<_>>(),
        // A rule for what is not there would change nothing.
        "change": denied.filter(|_| code == 401 || !asked.vain).map(|step| step.change.as_slice()).unwrap_or_default(),
    });
    reply::json(&answer, &headers)
}

fn layer(step: &Step) -> Value {
    json!({ "layer": step.rule, "holds": step.holds, "detail": step.detail })
}

/// Whether the caller may read whether there is a namespace.
fn may_read_namespace(app: &App, caller: &Caller, name: &str) -> bool {
    let wanted = Attributes {
        verb: "get".into(),
        version: "v1".into(),
        resource: "namespaces".into(),
        namespace: name.into(),
        name: name.into(),
        resource_request: true,
        ..Attributes::default()
    };
    matches!(app.authorizer.authorize(&caller.user, &wanted, &app.view.snapshot()), Decision::Allow(_))
}

/// What of the server's own the caller may read, by the paths and kinds under which it is read.
fn clearance(app: &App, caller: &Caller) -> Clearance {
    let allowed = |wanted: Attributes| {
        let decision = app.authorizer.authorize(&caller.user, &wanted, &app.view.snapshot());
        matches!(decision, Decision::Allow(_))
    };
    let path =
        |path: &str| allowed(Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() });
    let kind = |resource: &str| {
        allowed(Attributes {
            verb: "list".into(),
            group: "rbac.authorization.k8s.io".into(),
            version: "v1".into(),
            resource: resource.into(),
            resource_request: true,
            ..Attributes::default()
        })
    };
    Clearance {
        keys: path("/admin/v1/keys") && path("/admin/v1/keys/history"),
        revocations: path("/admin/v1/revocations"),
        roles: ["clusterrolebindings", "clusterroles", "rolebindings", "roles"].into_iter().all(kind),
    }
}

/// Whose the token is; `None` where it is refused.
async fn who(app: &App, wanted: &WhyBody, clearance: &Clearance, steps: &mut Vec<Step>) -> Option<Identity> {
    if wanted.anonymous {
        let open = app.config.anonymous_auth;
        steps.push(match open {
            true => Step::silent(NOBODY, "who shows nothing is system:anonymous"),
            false => Step::fails(NOBODY, "who shows nothing is refused (--anonymous-auth=false)")
                .or("send a token")
                .or("start the server with --anonymous-auth"),
        });
        let groups = vec![UNAUTHENTICATED.to_owned()];
        return open.then(|| Identity { name: ANONYMOUS.into(), groups, ..Identity::default() });
    }
    let text = wanted.token.trim();
    let token = BearerToken::new(text);
    let (found, looked) =
        app.authentication.explain(&token, &app.view.snapshot(), app.clock.now(), clearance);
    steps.extend(looked);
    match found {
        Ok(found) => Some(found.identity),
        Err(AuthError(cause)) => {
            if decisive(steps).is_none_or(|step| step.holds != Some(false)) {
                steps.push(Step::fails("authentication", cause));
            }
            if clearance.keys {
                remember_key(app, text, steps).await;
            }
            None
        }
    }
}

/// What the journal says of a key that is published no more.
async fn remember_key(app: &App, token: &str, steps: &mut [Step]) {
    let key = TokenRule::Key.as_str();
    let Some(step) = steps.iter_mut().find(|step| step.rule == key && step.holds == Some(false)) else {
        return;
    };
    let Some(jws) = Jws::parse(token) else { return };
    let Ok((journal, _)) = app.keys.history().await else { return };
    let last = journal.iter().rev().find(|entry| Some(entry.key.as_str()) == jws.key_id());
    if let Some(last) = last {
        step.detail.push_str(&format!(
            "; the journal has it {} at {} by {}",
            last.to,
            timestamp(last.at),
            last.by
        ));
        if !last.reason.is_empty() {
            step.detail.push_str(&format!(": {}", last.reason));
        }
    }
}

/// Whether the user may do it: the rule of the route, the authorizers, and admission.
async fn may(
    app: &Arc<App>,
    caller: &Caller,
    (asked, access): (&Asked, Access),
    user: &Identity,
    clearance: &Clearance,
    steps: &mut Vec<Step>,
) -> bool {
    if gate::is_open(app, access, &asked.attributes) {
        steps.push(Step::holds(ROUTE, "--anonymous-oidc opens the OIDC documents to everyone"));
        return true;
    }
    let decision = app.authorizer.explain(user, &asked.attributes, &app.view.snapshot(), clearance, steps);
    if !matches!(decision, Decision::Allow(_)) {
        steps.extend(asked.info.as_ref().filter(|_| asked.writes()).map(|_| Step::unasked(write::ADMISSION)));
        return false;
    }
    if let Err(cause) = gate::judge_masters(access, user) {
        let step = Step::fails(ROUTE, format!("{cause}, whatever RBAC allows"))
            .or("ask as a member of system:masters");
        steps.push(step);
        return false;
    }
    match write::admitted(app, caller, asked, user).await {
        Some(step) => {
            let refused = step.holds == Some(false);
            steps.push(step);
            !refused
        }
        None => true,
    }
}
