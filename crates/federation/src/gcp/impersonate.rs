//! `POST /v1/projects/-/serviceAccounts/EMAIL:generateAccessToken`: whoever a binding lets be a service account gets its token
//! (<https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>).

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_api::moment;

use super::Gcp;
use super::config::{Account, CREATOR, USER};
use super::refusal::Refusal;
use super::tokens::{Held, Holder};

/// One of which a caller's token must have.
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/iam"];
const DEFAULT: &str = SCOPES[0];
/// The life of a token that asks for none, in seconds.
const HOUR: i64 = 3600;
/// A chain is not longer than a request may be, and none that anybody has is.
const DELEGATES: usize = 20;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Generate {
    scope: String,
    lifetime: i64,
    delegates: Vec<String>,
}

impl Generate {
    /// Reads the body.
    pub(super) fn new(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let texts = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(all)) => {
                let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| invalid_list(name))
            }
            Some(_) => Err(invalid_list(name)),
        };
        let scope = texts("scope")?;
        if scope.is_empty() {
            return Err(Refusal::invalid_argument("Scope required."));
        }
        // An empty one is the default (seen so).
        let scope: Vec<&str> =
            scope.into_iter().map(|one| if one.is_empty() { DEFAULT } else { one }).collect();
        if scope.iter().any(|scope| scope.contains(char::is_whitespace)) {
            // As below: Google repeats the value, and a log would have it.
            return Err(Refusal::invalid_argument("Invalid OAuth scope or ID token audience provided."));
        }
        let lifetime = match body.get("lifetime") {
            None | Some(Value::Null) => HOUR,
            Some(Value::String(text)) => seconds(text).ok_or_else(invalid_lifetime)?,
            Some(_) => return Err(invalid_lifetime()),
        };
        if lifetime <= 0 {
            // The misspelling is Google's.
            return Err(Refusal::invalid_argument("Lifetime of access token must be larger then zero."));
        }
        let mut delegates = Vec::new();
        for delegate in texts("delegates")? {
            // "The - wildcard character is required; replacing it with a project ID is invalid."
            let email =
                delegate.strip_prefix("projects/-/serviceAccounts/").filter(|email| !email.is_empty());
            let wrong = || Refusal::invalid_argument("Invalid delegate.");
            delegates.push(email.ok_or_else(wrong)?.to_owned());
        }
        if delegates.len() > DELEGATES {
            return Err(Refusal::invalid_argument(format!("At most {DELEGATES} delegates may be given.")));
        }
        Ok(Generate { scope: scope.join(" "), lifetime, delegates })
    }
}

impl Gcp {
    /// Answers.
    pub(super) fn generate(&self, email: &str, caller: &Held, generate: Generate) -> Result<Value, Refusal> {
        let principal = caller.holder.principal();
        if !caller.has_scope(&SCOPES) {
            let why = format!("the token of {principal} has none of the scopes {SCOPES:?}");
            return Err(Refusal::insufficient_scope().because(why));
        }
        let Generate { scope, lifetime, delegates } = generate;
        let account = self.account(email)?;
        self.permitted(caller, &delegates, account)
            .map_err(|refusal| refusal.about(format_args!("{principal} wants to be {}", account.email)))?;
        if lifetime > account.longest {
            return Err(too_long(account));
        }
        let now = self.now();
        let expires = now.saturating_add(lifetime);
        tracing::info!(account = account.email, principal, "access token of a service account");
        let holder = Holder::Account { email: account.email.clone() };
        let token = self.tokens.seal(&Held { holder, scope, issued: now, expires });
        Ok(json!({ "accessToken": token, "expireTime": written(moment::from_unix(expires)) }))
    }

    fn account(&self, email: &str) -> Result<&Account, Refusal> {
        // Nobody is told which accounts there are; and in the log a name that is none may be anything.
        let missing = || Refusal::permission_denied().because("there is no such service account");
        self.config.accounts.get(email).map(|account| &**account).ok_or_else(missing)
    }

    /// Whether a binding lets the caller be the first of the chain, and each of the chain the next one.
    fn permitted(&self, caller: &Held, delegates: &[String], account: &Account) -> Result<(), Refusal> {
        let denied = |why: String| Err(Refusal::permission_denied().because(why));
        let mut chain = Vec::with_capacity(delegates.len().saturating_add(1));
        for delegate in delegates {
            chain.push(self.account(delegate)?);
        }
        chain.push(account);
        let members = caller.holder.members();
        if !self.may_use(caller) {
            return denied("its pool is disabled or deleted".into());
        }
        if let Some(first) =
            chain.first().filter(|first| members.iter().all(|one| !first.bearers.contains(one)))
        {
            let email = &first.email;
            return denied(format!("no binding of {email} with {USER} or {CREATOR} has one of {members:?}"));
        }
        for (last, next) in chain.iter().zip(chain.iter().skip(1)) {
            let member = format!("serviceAccount:{}", last.email);
            if !next.creators.contains(&member) {
                return denied(format!("no binding of {} with {CREATOR} has {member}", next.email));
            }
        }
        Ok(())
    }

    /// "You cannot use a disabled pool to exchange tokens, or use existing tokens to access resources" (IAM API,
    /// `WorkloadIdentityPool.disabled`). A provider that was disabled stops new tokens alone (seen so).
    fn may_use(&self, caller: &Held) -> bool {
        match &caller.holder {
            Holder::Account { .. } => true,
            Holder::Federated { pool, .. } => !self.config.closed_pools.contains(pool),
        }
    }
}

fn too_long(account: &Account) -> Refusal {
    let (email, longest) = (&account.email, account.longest);
    if longest > HOUR {
        return Refusal::invalid_argument(format!(
            "Access tokens of {email} can not have lifetimes of more than 12 hours."
        ));
    }
    Refusal::invalid_argument(format!(
        "Access tokens of {email} can not have lifetimes of more than 1 hour. Use the Org Policy Constraint \
         constraints/iam.allowServiceAccountCredentialLifetimeExtension to allow up to 12 hours."
    ))
}

/// A `Duration` of protobuf in JSON: seconds, up to nine digits after a point, and `s`. Parts of a second are left out.
fn seconds(text: &str) -> Option<i64> {
    let number = text.strip_suffix('s')?;
    let (whole, parts) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits(whole.strip_prefix('-').unwrap_or(whole)) && digits(parts) && parts.len() <= 9;
    whole.parse().ok().filter(|_| plain)
}

fn invalid_lifetime() -> Refusal {
    Refusal::invalid_argument("Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration)")
}

fn invalid_list(name: &str) -> Refusal {
    Refusal::invalid_argument(format!("Invalid value at '{name}' (TYPE_STRING), a list of strings is needed"))
}

/// RFC 3339 in UTC, to the second: google-auth reads no other.
fn written(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("moments can be written")
}
