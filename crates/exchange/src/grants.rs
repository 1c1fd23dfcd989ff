//! The token endpoint: who asks by which grant, which rule gives it, and the answer.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use tokensmith_core::tokens::access_token::{Grant, IssueError, Tie};
use tokensmith_core::view::Snapshot;
use tokensmith_core::{Error, error};
use tokensmith_expressions::Variables;
use tokensmith_objects::selector::Selectable;
use tokensmith_server::Caller;
use tokensmith_server::audit::Line;
use url::Url;

use crate::actor;
use crate::endpoint::{Endpoint, failed};
use crate::form::Form;
use crate::oauth::{self, Code, Refusal};
use crate::policy::{GrantType, Lacks, Policy, Rule, Wanted};
use crate::subject::{As, Kind, Subject};
use crate::upstream::{Asked, IssuedToken, UpstreamError};

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
    here.metrics.exchange_policy(here.policies.refused());
    let response = match answer {
        Ok(response) => {
            (line.decision, line.code) = ("allow", 200);
            here.metrics.exchanged(grant, &line.rule, "issued");
            tracing::info!(rule = line.rule, grant, "a token was exchanged");
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
    /// What is passed on upstream.
    token: String,
    /// RFC 8693 §2.2.1
    issued_token_type: Option<&'static str>,
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
    line.user.clone_from(&shown.client.as_ref().or(shown.actor.as_ref()).unwrap_or(&shown.subject).id);
    let wanted = wanted(&form)?;
    grant_by_rule(here, &policy, &shown, &wanted, line).await
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
    let refused = |told| move |why: String| Refusal::because(Code::InvalidRequest, told, why);
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
        token: form.get("client_assertion").unwrap_or_default().to_owned(),
        issued_token_type: None,
    })
}

/// RFC 7523 §2.1
async fn jwt_bearer(here: &Endpoint, policy: &Policy, form: &Form) -> Result<Shown, Refusal> {
    let assertion = form.need("assertion", "the assertion is missing")?;
    let client = here.client(policy, form).await?;
    let refused = |why: String| Refusal::because(Code::InvalidGrant, "the assertion is not accepted", why);
    let subject = here.subject(policy, assertion, As::Assertion).await.map_err(refused)?;
    here.once(policy, &subject).map_err(refused)?;
    Ok(Shown {
        grant: GrantType::JwtBearer,
        subject,
        actor: None,
        client,
        token: assertion.to_owned(),
        issued_token_type: None,
    })
}

/// What is asked for.
fn wanted(form: &Form) -> Result<Wanted, Refusal> {
    let resources: Vec<String> = form.all("resource").map(str::to_owned).collect();
    // RFC 8707 §2: absolute, and without a fragment.
    let fits = |resource: &String| !resource.contains('#') && Url::parse(resource).is_ok();
    if !resources.iter().all(fits) {
        return Err(Refusal::new(
            Code::InvalidTarget,
            "a resource must be an absolute URI without a fragment",
        ));
    }
    let scopes = form.get("scope").map(|text| {
        let all: Vec<String> = text.split(' ').map(str::to_owned).collect();
        match all.iter().all(|scope| is_scope(scope)) {
            true => Ok(all),
            false => Err(Refusal::new(Code::InvalidScope, "the scope is no list of scopes")),
        }
    });
    let audiences = form.all("audience").map(str::to_owned).collect();
    Ok(Wanted { audiences, resources, scopes: scopes.transpose()? })
}

/// A scope's value (RFC 6749 §3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

/// What expressions read.
pub(crate) struct Facts<'a> {
    claims: &'a Map<String, Value>,
    subject: Value,
    account: Value,
    actor: Value,
    request: Value,
}

impl Facts<'_> {
    /// Ready to be read.
    pub(crate) fn variables(&self) -> Result<Variables<'_>, String> {
        let mut variables = Variables::new();
        let mut all = || {
            variables.insert_object("claims", self.claims)?;
            variables.insert("subject", &self.subject)?;
            variables.insert("account", &self.account)?;
            variables.insert("actor", &self.actor)?;
            variables.insert("request", &self.request)
        };
        all().map_err(|e| e.to_string())?;
        Ok(variables)
    }
}

impl Endpoint {
    /// What expressions may know of a request.
    pub(crate) fn facts<'a>(
        &self,
        subject: &'a Subject,
        actor: Option<&Subject>,
        wanted: Option<&Wanted>,
        objects: &Snapshot,
    ) -> Facts<'a> {
        let request = wanted.map_or(Value::Null, |wanted| {
            json!({"audiences": wanted.audiences, "resources": wanted.resources, "scopes": wanted.scopes.as_deref().unwrap_or_default()})
        });
        Facts {
            claims: &subject.claims,
            subject: subject.id.as_str().into(),
            account: account(subject, objects),
            actor: actor.map_or(Value::Null, |actor| {
                json!({"id": actor.id, "iss": actor.issuer, "sub": actor.sub, "claims": actor.claims})
            }),
            request,
        }
    }
}

/// An account as it is now, and the pod that its token is bound to.
fn account(subject: &Subject, objects: &Snapshot) -> Value {
    let Kind::Account { namespace, name, pod } = &subject.kind else { return Value::Null };
    let labels = |resource: &str, namespace: &str, name: &str| {
        let mut all = Map::new();
        if let Some(object) = objects.get("", resource, namespace, name) {
            object.labels(&mut |key, value| drop(all.insert(key.to_owned(), value.into())));
        }
        Value::Object(all)
    };
    let mut shown = json!({
        "namespace": namespace,
        "name": name,
        "labels": labels("serviceaccounts", namespace, name),
        "namespaceLabels": labels("namespaces", "", namespace),
    });
    if let Some(pod) = pod {
        shown["pod"] = json!({"name": pod, "labels": labels("pods", namespace, pod)});
    }
    shown
}

/// A rule that gives all that is asked, and what.
struct Given<'a> {
    rule: &'a Rule,
    audiences: Vec<String>,
    scopes: Vec<String>,
}

async fn grant_by_rule(
    here: &Endpoint,
    policy: &Policy,
    shown: &Shown,
    wanted: &Wanted,
    line: &mut Line,
) -> Result<Response, Refusal> {
    let objects = here.view.snapshot();
    let facts = here.facts(&shown.subject, shown.actor.as_ref(), Some(wanted), &objects);
    let none = |why: String| Refusal::because(not_given(shown.grant), "the request is not granted", why);
    let (given, subject, claims) = {
        let variables = facts.variables().map_err(none)?;
        let given = choose(policy, shown, wanted, &objects, &variables)?;
        given.rule.name.clone_into(&mut line.rule);
        let broken =
            |e: tokensmith_expressions::EvaluationError| none(e.to_string()).by_rule(&given.rule.name);
        let subject = given.rule.subject(&shown.subject, &variables).map_err(broken)?;
        let claims = given.rule.claims(&variables).map_err(broken)?;
        (given, subject, claims)
    };
    let rule = given.rule;
    line.audiences.clone_from(&given.audiences);
    if let Some(rate) = rule.rate {
        here.rates.take(rate, &rule.name, &shown.subject.id, here.clock.monotonic()).map_err(|wait| {
            let told = "tokens are asked for too often";
            let seconds = wait.as_secs().saturating_add(1);
            Refusal::because(Code::SlowDown, told, "the rule's rate is used up").retry_after(seconds)
        })?;
    }
    if let Some(upstream) = &rule.upstream {
        let asked = Asked { audiences: &given.audiences, scopes: &given.scopes };
        let issued = upstream.exchange(&shown.token, &shown.subject, &asked).await;
        return issued.map(|issued| passed_on(&issued)).map_err(|e| elsewhere(&e).by_rule(&rule.name));
    }
    let act = actor::chain(&shown.subject, shown.actor.as_ref())
        .map_err(|why| Refusal::because(refused_as(shown.grant), "the subject_token is not accepted", why))?;
    let client = shown.client.as_ref().or(shown.actor.as_ref()).unwrap_or(&shown.subject);
    let scope = (!given.scopes.is_empty()).then(|| given.scopes.join(" "));
    let tie = shown.subject.tie.as_ref();
    let grant = Grant {
        audiences: &given.audiences,
        client_id: &client.id,
        subject: &subject,
        scope: scope.as_deref(),
        act: act.as_ref(),
        expires_at: rule.expires_at(&shown.subject, here.clock.unix(), here.max_token_seconds),
        claims: &claims,
        tie,
        requester: &client.id,
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

/// The first rule, in the file's order, that means the subject and gives all that is asked. Where there is none, what came closest to it
/// decides what is told.
fn choose<'a>(
    policy: &'a Policy,
    shown: &Shown,
    wanted: &Wanted,
    objects: &Snapshot,
    variables: &Variables<'_>,
) -> Result<Given<'a>, Refusal> {
    let within = shown.subject.scopes();
    let mut closest: Option<(Lacks, &str)> = None;
    for rule in policy.rules.of(&shown.subject) {
        if !rule.grants.contains(&shown.grant) {
            continue;
        }
        let lacks = match consider(rule, shown, wanted, within.as_deref(), objects, variables) {
            Ok(given) => return Ok(given),
            Err(lacks) => lacks,
        };
        if closest.is_none_or(|(before, _)| lacks > before) {
            closest = Some((lacks, &rule.name));
        }
    }
    let granted = "the request is not granted";
    Err(match closest {
        None | Some((Lacks::Subject, _)) => {
            Refusal::because(not_given(shown.grant), granted, "no rule means the subject")
        }
        Some((Lacks::Actor, rule)) => {
            let why = "the rule lets nobody act for the subject, or not this actor";
            Refusal::because(Code::InvalidRequest, granted, why).by_rule(rule)
        }
        Some((Lacks::Target, rule)) => {
            let told = "no token is issued for what was asked";
            Refusal::because(Code::InvalidTarget, told, "the rule does not give what was asked").by_rule(rule)
        }
        Some((Lacks::Scope, rule)) => {
            let told = "the scope is not granted";
            Refusal::because(Code::InvalidScope, told, "the rule does not give a scope that was asked")
                .by_rule(rule)
        }
    })
}

fn consider<'a>(
    rule: &'a Rule,
    shown: &Shown,
    wanted: &Wanted,
    within: Option<&[String]>,
    objects: &Snapshot,
    variables: &Variables<'_>,
) -> Result<Given<'a>, Lacks> {
    if !rule.from.matches(&shown.subject, objects, variables) {
        return Err(Lacks::Subject);
    }
    if !acts(rule, shown, objects, variables) {
        return Err(Lacks::Actor);
    }
    let audiences = rule.targets(wanted, variables)?;
    let scopes = rule.scopes(wanted, within)?;
    Ok(Given { rule, audiences, scopes })
}

/// Whether the actor may act, or there need be none.
fn acts(rule: &Rule, shown: &Shown, objects: &Snapshot, variables: &Variables<'_>) -> bool {
    match (&rule.actors, &shown.actor) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(actors), None) => !actors.required,
        (Some(actors), Some(who)) => {
            let named = actor::may_act(&shown.subject, who).unwrap_or(!actors.must_be_named());
            named && actor::is_one_of(&actors.from, who, objects, variables)
        }
    }
}

/// What is told of a subject that no rule means.
fn not_given(grant: GrantType) -> Code {
    match grant {
        GrantType::ClientCredentials => Code::UnauthorizedClient,
        GrantType::JwtBearer => Code::InvalidGrant,
        // RFC 8693 §2.2.2
        GrantType::TokenExchange => Code::InvalidRequest,
    }
}

/// What is told of a token that does not count.
fn refused_as(grant: GrantType) -> Code {
    match grant {
        GrantType::ClientCredentials => Code::InvalidClient,
        GrantType::JwtBearer => Code::InvalidGrant,
        GrantType::TokenExchange => Code::InvalidRequest,
    }
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
        UpstreamError::Refused(_) | UpstreamError::Block(_) => {
            Refusal::because(Code::InvalidTarget, "no token is issued for what was asked", why)
        }
        UpstreamError::Unavailable(_) => {
            Refusal::because(Code::TemporarilyUnavailable, "ask again", why).retry_after(1)
        }
    }
}
