//! `AssumeRoleWithWebIdentity`: a token for a session of a role
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).
//!
//! The order is: the parameters by themselves, the token (its provider in the role's account, signature, times, claims), then
//! whether the role's trust policy lets it in, and at last for how long.

use crate::issuers::{SignedClaims, Untrusted};
use bytes::Bytes;
use http::Response;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::tokens::{Jws, TimeError};
use tokensmith_core::{Clock, Moment};

use super::Account;
use super::arn::RoleArn;
use super::claims::Demands;
use super::config::Provider;
use super::error::Refusal;
use super::policy::{Asked, Context};
use super::query::{Parameters, short};
use super::session::{Sealer, Session};
use super::session_policy;
use super::validate::{self, Validator};
use super::xml::{self, Element};

pub(super) const ACTION: &str = "AssumeRoleWithWebIdentity";
/// As a policy names it.
const ALLOWED: &str = "sts:AssumeRoleWithWebIdentity";
/// Where nothing is said, whatever the role allows.
const DURATION: i64 = 3600;
/// `webIdentitySubjectType`, which the answer has: longer ones it could not say.
const MAX_SUBJECT: usize = 255;

/// What is asked for, with each parameter by itself in order.
struct Request<'a> {
    role_arn: &'a str,
    session_name: &'a str,
    token: &'a str,
    duration: Option<i64>,
    /// How large the session's own policies are, in percent of what may be.
    packed_policy_size: Option<usize>,
}

impl<'a> Request<'a> {
    fn read(parameters: &'a Parameters) -> Result<Self, Refusal> {
        let mut validator = Validator::new(parameters);
        let role_arn = validator.required(&validate::arn("RoleArn"));
        let session_name = validator.required(&validate::SESSION_NAME);
        let token = validator.required(&validate::TOKEN);
        let duration = validator.duration();
        let provider = validator.optional(&validate::PROVIDER_ID);
        let policy = validator.optional(&validate::POLICY);
        let arns = parameters.members("PolicyArns", "arn")?;
        for arn in &arns {
            validator.judge(&validate::arn("PolicyArns"), arn);
        }
        validator.end()?;
        // "Do not specify this value for OpenID Connect ID tokens"; the words are ours.
        if provider.is_some() {
            let text = "ProviderId is for OAuth 2.0 access tokens, and must not be given with an ID token.";
            return Err(Refusal::bad("InvalidParameterValue", text));
        }
        let packed_policy_size = session_policy::packed(policy, &arns)?;
        Ok(Request { role_arn, session_name, token, duration, packed_policy_size })
    }
}

/// Answers.
pub(super) async fn assume(
    account: &Account,
    parameters: &Parameters,
    clock: &dyn Clock,
) -> Result<Response<Bytes>, Refusal> {
    let request = Request::read(parameters)?;
    let role_arn = request.role_arn;
    let arn = RoleArn::parse(role_arn);
    let arn = arn.ok_or_else(|| Refusal::not_an_arn().because("RoleArn is no role's ARN"))?;
    let issuer = issuer(request.token)?;
    let key = (arn.account().to_owned(), issuer);
    let provider = account.config.providers.get(&key).ok_or_else(|| {
        let (account, issuer) = (&key.0, short(&key.1));
        let why = format!("the account {account} has no provider {issuer}");
        Refusal::no_provider(&issuer).because(why)
    })?;
    let signed = account.trusted.verify(request.token).await;
    let signed = signed.map_err(|why| {
        let refusal = untrusted(&why, request.token, clock);
        refusal.because(format_args!("the token of {} for {role_arn}: {why}", key.1))
    })?;
    let of = |refusal: Refusal| {
        let subject = signed.claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let why = format!("the token of {} and {subject:?} for {role_arn}: {refusal}", key.1);
        refusal.because(why)
    };
    let (subject, audience) = identity(&signed, provider).map_err(of)?;
    let demands = Demands::read(&signed.claims).map_err(of)?;

    let provider_arn = provider.arn(&arn);
    let mut context = Context::default();
    context.set(&format!("{}:sub", provider.name), [subject.to_owned()]);
    context.set(&format!("{}:aud", provider.name), [audience.to_owned()]);
    context.set(&format!("{}:amr", provider.name), texts(signed.claims.get("amr")));
    context.set("aws:FederatedProvider", [provider_arn.clone()]);
    context.set("sts:RoleSessionName", [request.session_name.to_owned()]);
    demands.tell(&mut context);
    let role = account.config.roles.get(role_arn);
    let role =
        role.ok_or_else(|| Refusal::not_authorized().because(format_args!("there is no role {role_arn}")))?;
    for action in [ALLOWED].into_iter().chain(demands.actions()) {
        let asked = Asked { action, provider: &provider_arn, context: &context };
        role.trust.allows(&asked).map_err(|why| {
            Refusal::not_authorized().because(format_args!(
                "the trust policy of {role_arn} refuses {action} to {subject:?} of {} and {audience:?}: {why}",
                key.1
            ))
        })?;
    }
    let duration = request.duration.unwrap_or(DURATION);
    if duration > role.max_session_duration {
        let most = role.max_session_duration;
        let why = format!("{duration} s are asked for, and {role_arn} has a maxSessionDuration of {most}");
        return Err(Refusal::too_long_a_session().because(why));
    }
    let expires = clock.now().plus(time::Duration::seconds(duration));
    let session = Session {
        access_key_id: Sealer::access_key_id(),
        account: role.arn.account().to_owned(),
        arn: role.arn.session(request.session_name),
        user_id: format!("{}:{}", role.arn.id(), request.session_name),
        expires: expires.unix_timestamp(),
    };
    tracing::info!(
        role = request.role_arn,
        subject,
        session = request.session_name,
        "AWS: a token is taken for a session"
    );
    let credentials = account.sealer.seal(&session);
    let user = Element::default().text("Arn", &session.arn).text("AssumedRoleId", &session.user_id);
    let given = Element::default()
        .text("AccessKeyId", &credentials.access_key_id)
        .text("SecretAccessKey", &credentials.secret_access_key)
        .text("SessionToken", &credentials.session_token)
        .text("Expiration", &written(expires));
    let size = request.packed_policy_size.map(|size| size.to_string());
    let result = Element::default()
        .text("SubjectFromWebIdentityToken", subject)
        .text("Audience", audience)
        .element("AssumedRoleUser", &user)
        .element("Credentials", &given)
        .text("Provider", &provider_arn)
        .optional("SourceIdentity", demands.source_identity())
        .optional("PackedPolicySize", size.as_deref());
    Ok(xml::answer(ACTION, &result))
}

/// `iss`, which nobody has signed yet: it says by whose keys the token is to be checked.
fn issuer(token: &str) -> Result<String, Refusal> {
    let jws = Jws::parse(token).ok_or_else(Refusal::no_jwt)?;
    let claims: Value = serde_json::from_slice(jws.payload()).map_err(|_| Refusal::no_jwt())?;
    match claims.get("iss") {
        Some(Value::String(issuer)) => Ok(issuer.clone()),
        _ => Err(Refusal::missing_claim("iss")),
    }
}

/// What stands for each rule of `verify::trust`. Where nobody has reported the words of the real service, they are ours, with
/// its code.
fn untrusted(why: &Untrusted, token: &str, clock: &dyn Clock) -> Refusal {
    match why {
        Untrusted::Malformed(_) => Refusal::no_jwt(),
        Untrusted::Keys { .. } | Untrusted::NoKeyId | Untrusted::UnknownKey | Untrusted::Issuer => {
            Refusal::no_key()
        }
        Untrusted::NoExpiry => Refusal::missing_claim("exp"),
        Untrusted::Time(TimeError::Expired) => Refusal::expired(clock.unix(), expiry(token)),
        Untrusted::Time(_) => Refusal::token("Token is not valid yet"),
        Untrusted::Algorithm | Untrusted::Critical | Untrusted::Signature => {
            Refusal::token("Token signature is invalid")
        }
        Untrusted::TooLong => Refusal::token("Token is too long"),
    }
}

/// `exp` of a token whose signature was checked.
fn expiry(token: &str) -> i64 {
    let claims = Jws::parse(token).and_then(|jws| serde_json::from_slice::<Value>(jws.payload()).ok());
    let exp = claims.as_ref().and_then(|claims| claims.get("exp"));
    // A fraction of a second does not show.
    exp.and_then(|exp| exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp as i64))).unwrap_or_default()
}

/// The subject, and for which client of the provider the token is: `azp` where it is there, else the one audience
/// (OpenID Connect Core §2 and §3.1.3.7, which the provider's list of client ids stands on).
fn identity<'a>(signed: &'a SignedClaims, provider: &Provider) -> Result<(&'a str, &'a str), Refusal> {
    let text = |name: &str| match signed.claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
        Some(_) => Err(Refusal::token(format!("The claim {name} is not a text"))),
    };
    let subject = text("sub")?.ok_or_else(|| Refusal::missing_claim("sub"))?;
    if subject.chars().count() > MAX_SUBJECT {
        return Err(Refusal::token("The claim sub is too long"));
    }
    if signed.issued.is_none() {
        return Err(Refusal::missing_claim("iat"));
    }
    let unread = || Refusal::audience().because("aud is neither a text nor a list of texts");
    let audiences = signed.audiences().ok_or_else(unread)?;
    let audience = match (text("azp")?, audiences.as_slice()) {
        (_, []) => return Err(Refusal::missing_claim("aud")),
        (Some(azp), _) => azp,
        (None, [one]) => one,
        (None, several) => {
            let why = format!("aud has {several:?}, and no azp says which counts");
            return Err(Refusal::audience().because(why));
        }
    };
    if provider.client_ids.iter().any(|id| id == audience) {
        return Ok((subject, audience));
    }
    let (name, known) = (&provider.name, &provider.client_ids);
    let why = format!("it is for {audience:?}, and the client ids of the provider {name} are {known:?}");
    Err(Refusal::audience().because(why))
}

/// A list of texts; nothing where it is something else, so that a condition on it does not hold.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => {
            let texts: Option<Vec<_>> = all.iter().map(|text| Some(text.as_str()?.to_owned())).collect();
            texts.unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// A time of the query protocol: whole seconds.
fn written(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}
