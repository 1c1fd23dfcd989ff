//! Questions about a token that this endpoint has issued (RFC 7662, RFC 7009): who asks, and about which token.

use std::cell::OnceCell;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tokensmith_core::access::ANONYMOUS;
use tokensmith_expressions::{Budget, Variables};
use tokensmith_server::Caller;
use tokensmith_server::audit::Line;

use crate::budget::{too_costly, within_budget};
use crate::endpoint::Endpoint;
use crate::form::Form;
use crate::oauth::{Code, Refusal};
use crate::policy::{Client, May, Policy};
use crate::subject::Subject;

/// Who asks, and about which tokens.
pub(crate) enum Asker {
    /// Whom the authorizers have let in.
    Caller,
    /// Whom the policy names.
    Client(Arc<Client>, Box<Subject>),
}

impl Asker {
    /// Whether tokens for these audiences are theirs to ask about.
    pub(crate) fn is_for(&self, audiences: &[String]) -> bool {
        match self {
            Asker::Caller => true,
            Asker::Client(client, _) => client.is_for(audiences),
        }
    }
}

/// A question whose asker may ask.
pub(crate) struct Asked {
    pub(crate) asker: Asker,
    form: Form,
}

impl Asked {
    /// Reads it. Who may not ask is told no more than that.
    pub(crate) async fn read(
        here: &Endpoint,
        caller: &Caller,
        request: Request<Body>,
        may: May,
        line: &mut Line,
    ) -> Result<Self, Refusal> {
        let form = Form::read(here.limit, request).await?;
        let policy = here.policies.current();
        let asker = asker(here, &policy, caller, &form, may, line).await?;
        form.need("token", "the token is missing")?;
        Ok(Asked { asker, form })
    }

    /// What it is about, whatever that is.
    pub(crate) fn token(&self) -> &str {
        self.form.get("token").unwrap_or_default().trim()
    }
}

/// Writes the line, and answers.
pub(crate) fn finish(caller: &Caller, mut line: Line, answer: Result<Response, Refusal>) -> Response {
    match answer {
        Ok(response) => {
            (line.decision, line.code) = ("allow", response.status().as_u16());
            caller.tell(line);
            response
        }
        Err(refusal) => {
            (line.decision, line.code) = ("deny", refusal.status().as_u16());
            line.reason.clone_from(&refusal.why);
            line.rule.clone_from(&refusal.rule);
            caller.tell(line);
            refusal.response()
        }
    }
}

/// Who asks (RFC 7662 §2.1, RFC 7009 §2.1): by a credential of the API, which the gate has judged, or by an assertion.
async fn asker(
    here: &Endpoint,
    policy: &Policy,
    caller: &Caller,
    form: &Form,
    may: May,
    line: &mut Line,
) -> Result<Asker, Refusal> {
    let told = "the client is not authenticated";
    let shown = caller.user.name != ANONYMOUS;
    let Some(client) = here.client(policy, form).await? else {
        if shown {
            return Ok(Asker::Caller);
        }
        return Err(Refusal::new(Code::InvalidClient, told));
    };
    // RFC 6749 §2.3: one way to say who one is, not two.
    if shown {
        let told = "there is a credential in a header, and a client_assertion: leave one of them out";
        return Err(Refusal::new(Code::InvalidRequest, told));
    }
    here.once(policy, &client).map_err(|why| Refusal::because(Code::InvalidClient, told, why))?;
    line.user.clone_from(&client.name);
    let unknown = |why: String| Refusal::because(Code::InvalidClient, told, why);
    let named = |budget: &Budget| named(here, policy, &client, may, budget).map_err(unknown);
    match within_budget(&client.name, named, unknown).await? {
        Some(named) => {
            line.rule.clone_from(&named.name);
            Ok(Asker::Client(named, Box::new(client)))
        }
        // It is who it says, and may not: nobody needs to know which of both it was.
        None => Err(Refusal::because(Code::InvalidClient, told, "no client of the policy is meant by it")),
    }
}

/// The first client of the policy that is meant.
fn named(
    here: &Endpoint,
    policy: &Policy,
    client: &Subject,
    may: May,
    budget: &Budget,
) -> Result<Option<Arc<Client>>, String> {
    let objects = here.view.snapshot();
    let (facts, made, nothing) = (OnceCell::new(), OnceCell::new(), Variables::new());
    for one in policy.clients.iter().filter(|one| one.may.contains(&may)) {
        if !one.from.names(client, &objects) {
            continue;
        }
        let known = match (one.from.conditions.is_empty(), made.get()) {
            (true, _) => &nothing,
            (false, Some(known)) => known,
            (false, None) => {
                let facts = facts.get_or_init(|| here.facts(client, None, None, &objects));
                let known = facts.variables(budget)?;
                made.get_or_init(|| known)
            }
        };
        let holds = one.from.holds(known).is_ok();
        if budget.is_exhausted() {
            return Err(too_costly());
        }
        if holds {
            return Ok(Some(one.clone()));
        }
    }
    Ok(None)
}
