//! The token endpoint: who asks by which grant, which rule gives it, and the answer.

mod choose;
mod facts;
mod issue;

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tokensmith_server::Caller;
use tokensmith_server::audit::Line;
use url::Url;

use crate::endpoint::Endpoint;
use crate::form::Form;
use crate::oauth::{Code, Refusal};
use crate::policy::{GrantType, Policy, Wanted};
use crate::subject::{As, Kind, NotTaken, Subject};

/// RFC 8693 §2.1
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 7523 §2.1
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 6749 §4.4
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// RFC 8693 §3
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Answers a request, and leaves its line and its counts.
pub(crate) async fn token(here: &Endpoint, caller: &Caller, request: Request<Body>) -> Response {
    let mut line = caller.line(&*here.clock, "exchange");
    let mut grant = "unknown";
    let answer = answer(here, request, &mut grant, &mut line).await;
    let response = match answer {
        Ok(response) => {
            (line.decision, line.code) = ("allow", 200);
            here.metrics.exchanged(grant, &line.rule, "issued");
            tracing::debug!(rule = line.rule, grant, "a token was exchanged");
            response
        }
        Err(refusal) => {
            (line.decision, line.code) = ("deny", refusal.status().as_u16());
            line.reason.clone_from(&refusal.why);
            if !refusal.rule.is_empty() {
                line.rule.clone_from(&refusal.rule);
            }
            here.metrics.exchanged(grant, &line.rule, refusal.code.as_str());
            tracing::info!(
                error = refusal.code.as_str(),
                rule = line.rule,
                grant,
                cause = refusal.why,
                "an exchange is refused"
            );
            refusal.response()
        }
    };
    caller.tell(line);
    response
}

/// What a grant has shown.
struct Shown {
    grant: GrantType,
    subject: Subject,
    actor: Option<Subject>,
    /// Who is `client_id`.
    client: Option<Subject>,
    /// Whether the subject was shown by an assertion, too.
    assertion: bool,
    /// What is passed on upstream.
    token: String,
    /// RFC 8693 §2.2.1
    issued_token_type: Option<&'static str>,
}

impl Shown {
    /// Who asks: who has shown an assertion, else the actor, else the subject.
    fn client(&self) -> &Subject {
        self.client.as_ref().or(self.actor.as_ref()).unwrap_or(&self.subject)
    }
}

async fn answer(
    here: &Endpoint,
    request: Request<Body>,
    grant: &mut &'static str,
    line: &mut Line,
) -> Result<Response, Refusal> {
    no_credential(request.headers())?;
    let form = Form::read(here.limit, request).await?;
    let policy = here.policies.current();
    let shown = match form.need("grant_type", "grant_type is missing")? {
        TOKEN_EXCHANGE => {
            *grant = "token-exchange";
            token_exchange(here, &policy, &form).await?
        }
        CLIENT_CREDENTIALS => {
            *grant = "client-credentials";
            client_credentials(here, &policy, &form).await?
        }
        JWT_BEARER => {
            *grant = "jwt-bearer";
            jwt_bearer(here, &policy, &form).await?
        }
        _ => return Err(Refusal::new(Code::UnsupportedGrantType, "this grant_type is not known")),
    };
    line.subject.clone_from(&shown.subject.id);
    line.user.clone_from(&shown.client().name);
    let wanted = wanted(&form)?;
    issue::by_rule(here, &policy, &shown, &wanted, line).await
}

/// No client has a password here, and no bearer token is one (RFC 6749 §2.3, §5.2).
fn no_credential(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(()) };
    let told = "clients show who they are by a client_assertion: leave the Authorization header out";
    // The scheme that the client has used, where it is one.
    let scheme = header.to_str().ok().and_then(|text| text.split(' ').next()).filter(|scheme| {
        !scheme.is_empty()
            && scheme.len() <= 32
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    let scheme = scheme.map_or_else(
        || "Bearer".to_owned(),
        |scheme| match scheme.to_ascii_lowercase().as_str() {
            "basic" => "Basic realm=\"tokensmith\"".to_owned(),
            _ => scheme.to_owned(),
        },
    );
    let scheme = HeaderValue::from_str(&scheme).unwrap_or(HeaderValue::from_static("Bearer"));
    Err(Refusal::new(Code::InvalidClient, told).with_scheme(scheme))
}

/// RFC 8693 §2.1
async fn token_exchange(here: &Endpoint, policy: &Policy, form: &Form) -> Result<Shown, Refusal> {
    let token = form.need("subject_token", "subject_token is missing")?;
    let given = form.need("subject_token_type", "subject_token_type is missing")?;
    let issued_token_type = match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
        Some(JWT) => JWT,
        Some(_) => return Err(Refusal::new(Code::InvalidRequest, "this requested_token_type is not issued")),
    };
    let (actor_token, actor_type) = (form.get("actor_token"), form.get("actor_token_type"));
    if actor_token.is_some() != actor_type.is_some() {
        // §2.1: REQUIRED with the actor's token, and MUST NOT be there without.
        return Err(Refusal::new(Code::InvalidRequest, "actor_token and actor_token_type go together"));
    }
    let client = here.client(policy, form).await?;
    let refused = |told| move |e: NotTaken| e.refusal(Code::InvalidRequest, told);
    let given = token_type(given)?;
    let subject =
        here.subject(policy, token, given).await.map_err(refused("the subject_token is not accepted"))?;
    let told = "the actor_token is not accepted";
    let actor = match actor_token.zip(actor_type) {
        None => None,
        Some((token, given)) => {
            let actor = here.subject(policy, token, token_type(given)?).await.map_err(refused(told))?;
            if actor.kind == Kind::Exchanged {
                return Err(refused(told)(
                    "an actor shows a token of its own, and none that was exchanged".into(),
                ));
            }
            Some(actor)
        }
    };
    Ok(Shown {
        grant: GrantType::TokenExchange,
        subject,
        actor,
        client,
        assertion: false,
        token: token.to_owned(),
        issued_token_type: Some(issued_token_type),
    })
}

/// RFC 8693 §3
fn token_type(given: &str) -> Result<As, Refusal> {
    match given {
        ACCESS_TOKEN => Ok(As::AccessToken),
        ID_TOKEN => Ok(As::IdToken),
        JWT => Ok(As::Jwt),
        _ => Err(Refusal::new(Code::InvalidRequest, "this type of token is not known")),
    }
}

/// RFC 6749 §4.4.2: the client has shown who it is, and asks for itself.
async fn client_credentials(here: &Endpoint, policy: &Policy, form: &Form) -> Result<Shown, Refusal> {
    let client = here.client(policy, form).await?;
    let client =
        client.ok_or_else(|| Refusal::new(Code::InvalidClient, "the client is not authenticated"))?;
    Ok(Shown {
        grant: GrantType::ClientCredentials,
        subject: client.clone(),
        actor: None,
        client: Some(client),
        assertion: false,
        token: form.get("client_assertion").unwrap_or_default().to_owned(),
        issued_token_type: None,
    })
}

/// RFC 7523 §2.1
async fn jwt_bearer(here: &Endpoint, policy: &Policy, form: &Form) -> Result<Shown, Refusal> {
    let assertion = form.need("assertion", "the assertion is missing")?;
    let client = here.client(policy, form).await?;
    let refused = |e: NotTaken| e.refusal(Code::InvalidGrant, "the assertion is not accepted");
    let subject = here.subject(policy, assertion, As::Assertion).await.map_err(refused)?;
    Ok(Shown {
        grant: GrantType::JwtBearer,
        subject,
        actor: None,
        client,
        assertion: true,
        token: assertion.to_owned(),
        issued_token_type: None,
    })
}

/// What is asked for.
fn wanted(form: &Form) -> Result<Wanted, Refusal> {
    // What is asked twice is asked once, here and wherever it is passed on to.
    let each = |name: &str| {
        let mut seen = HashSet::new();
        form.all(name).filter(|text| seen.insert(*text)).map(str::to_owned).collect::<Vec<_>>()
    };
    let resources = each("resource");
    // RFC 8707 §2: absolute, and without a fragment.
    let fits = |resource: &String| !resource.contains('#') && Url::parse(resource).is_ok();
    if !resources.iter().all(fits) {
        return Err(Refusal::new(
            Code::InvalidTarget,
            "a resource must be an absolute URI without a fragment",
        ));
    }
    let scopes = form.get("scope").map(|text| {
        let mut seen = HashSet::new();
        let all: Vec<String> =
            text.split(' ').filter(|scope| seen.insert(*scope)).map(str::to_owned).collect();
        match all.iter().all(|scope| is_scope(scope)) {
            true => Ok(all),
            false => Err(Refusal::new(Code::InvalidScope, "the scope is no list of scopes")),
        }
    });
    Ok(Wanted { audiences: each("audience"), resources, scopes: scopes.transpose()? })
}

/// A scope's value (RFC 6749 §3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}
