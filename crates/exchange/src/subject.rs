//! A token that was given, verified: whose it is, and what it says.

use serde_json::{Map, Value};
use tokensmith_core::access::AuthError;
use tokensmith_core::tokens::access_token::{AccountToken, Checked, Tie, account_subject};
use tokensmith_core::tokens::jws::TokenType;
use tokensmith_core::tokens::{Jws, account_of};
use tokensmith_verify::trust::{SignedClaims, Untrusted, audiences};

use crate::endpoint::Endpoint;
use crate::oauth::{Code, Refusal};
use crate::policy::Policy;

/// Whose token it is, and all that is known of it.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(crate) kind: Kind,
    /// How the tokens that come of it name the subject, where a rule says nothing else. Nobody else's is the same.
    pub(crate) id: String,
    /// Who that is, where they ask for something themselves: `client_id`, in lines and records. What was exchanged may have any
    /// subject, so it is told that it was.
    pub(crate) name: String,
    /// `iss`
    pub(crate) issuer: String,
    /// `sub`, as the token has it.
    pub(crate) sub: String,
    /// `aud`
    pub(crate) audiences: Vec<String>,
    /// `jti`
    pub(crate) jti: Option<String>,
    /// `exp`, Unix seconds.
    pub(crate) expires_at: i64,
    /// All that it says.
    pub(crate) claims: Map<String, Value>,
    /// What tokens that come of it live and die with.
    pub(crate) tie: Option<Tie>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An account of this server.
    Account { namespace: String, name: String, pod: Option<String> },
    /// A token that this endpoint has issued.
    Exchanged,
    /// Another issuer's.
    Issuer,
}

/// As what a token was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// `urn:ietf:params:oauth:token-type:access_token`
    AccessToken,
    /// An assertion, of a client or for a grant (RFC 7523).
    Assertion,
    /// `urn:ietf:params:oauth:token-type:id_token`
    IdToken,
    /// `urn:ietf:params:oauth:token-type:jwt`
    Jwt,
}

/// Why a token is not taken.
#[derive(Clone, Debug)]
pub(crate) enum NotTaken {
    /// Nothing can be told just now: the issuer's keys are away.
    Later { why: String, retry_after: u32 },
    /// It does not count.
    Wrong(String),
}

impl NotTaken {
    /// What the client is told; what cannot be told now is nobody's fault.
    pub(crate) fn refusal(self, code: Code, told: &'static str) -> Refusal {
        match self {
            NotTaken::Later { why, retry_after } => {
                let told = "the keys of the token's issuer are not available: ask again";
                Refusal::because(Code::TemporarilyUnavailable, told, short(&why))
                    .retry_after(retry_after.into())
            }
            NotTaken::Wrong(why) => Refusal::because(code, told, short(&why)),
        }
    }
}

impl<T: Into<String>> From<T> for NotTaken {
    fn from(why: T) -> Self {
        NotTaken::Wrong(why.into())
    }
}

/// What others have made up gets into no log at length.
fn short(why: &str) -> &str {
    const LONGEST: usize = 512;
    &why[..why.floor_char_boundary(LONGEST)]
}

impl Subject {
    /// The issuer and the id by which an assertion is known.
    pub(crate) fn used(&self) -> (&str, Option<&str>) {
        (&self.issuer, self.jti.as_deref())
    }

    /// `scope` of a token that this endpoint has issued.
    pub(crate) fn scopes(&self) -> Option<Vec<String>> {
        let own = matches!(self.kind, Kind::Exchanged);
        own.then(|| {
            let scope = self.claims.get("scope").and_then(Value::as_str).unwrap_or_default();
            scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect()
        })
    }

    fn of_account(token: AccountToken) -> Result<Self, String> {
        let tie = token.tie();
        let AccountToken { payload, claims, .. } = token;
        let (namespace, name) = account_of(&payload.subject).ok_or("its subject is no account")?;
        let pod = payload.kubernetes.pod.as_ref().map(|pod| pod.name.clone());
        Ok(Subject {
            kind: Kind::Account { namespace: namespace.into(), name: name.into(), pod },
            id: account_subject(namespace, name),
            name: account_subject(namespace, name),
            issuer: payload.issuer,
            sub: payload.subject.clone(),
            audiences: payload.audiences,
            jti: Some(payload.id),
            expires_at: payload.expires_at.unwrap_or(i64::MIN),
            claims,
            tie: Some(tie),
        })
    }

    fn of_exchanged(checked: Checked) -> Result<Self, String> {
        let tie = checked.onward().ok_or("too many tokens were exchanged one for the other")?;
        let Checked { payload, claims, .. } = checked;
        Ok(Subject {
            kind: Kind::Exchanged,
            id: payload.subject.clone(),
            name: format!("exchanged:{}", payload.subject),
            issuer: payload.issuer,
            sub: payload.subject,
            audiences: payload.audiences,
            jti: Some(payload.id),
            expires_at: payload.expires_at.unwrap_or(i64::MIN),
            claims,
            tie: Some(tie),
        })
    }

    fn of_issuer(signed: SignedClaims) -> Result<Self, String> {
        let sub = signed.text("sub").filter(|sub| !sub.is_empty()).ok_or("it has no sub")?.to_owned();
        let audiences = signed.audiences().ok_or("its aud is none")?;
        let audiences = audiences.into_iter().map(str::to_owned).collect();
        let jti = signed.text("jti").filter(|jti| !jti.is_empty()).map(str::to_owned);
        Ok(Subject {
            kind: Kind::Issuer,
            // No issuer has a '#', so nobody else's id is the same.
            id: format!("{}#{sub}", signed.issuer),
            name: format!("{}#{sub}", signed.issuer),
            issuer: signed.issuer,
            sub,
            audiences,
            jti,
            expires_at: signed.expires,
            claims: signed.claims,
            tie: None,
        })
    }
}

impl Endpoint {
    /// Verifies a token that was given: by its issuer's keys, its times, its type and its audience; an account's by the account, what
    /// it is bound to and the revocations of now as well. `Err`: why not, for the log.
    pub(crate) async fn subject(&self, policy: &Policy, token: &str, given: As) -> Result<Subject, NotTaken> {
        // As it comes from a file, with the end of its line.
        let token = token.trim();
        let jws = Jws::parse(token).ok_or("it is no signed JWT")?;
        let typ = jws.token_type();
        // RFC 8725 §3.11: what is another kind of token does not count as one of these, whoever has signed it.
        match (typ, given) {
            // `JOSE` says no more than nothing does; of this server's own it is refused below.
            (TokenType::Jwt | TokenType::Jose, _) | (TokenType::AccessToken, As::AccessToken | As::Jwt) => {}
            _ => return Err("its typ is another than the type it was given as".into()),
        }
        if let Some(checked) = self.own(&jws)? {
            // What was exchanged is for others by its nature: its rule says for whom it may have been.
            if matches!(checked.kind, Kind::Account { .. }) {
                policy.accounts.one_of(&checked.audiences)?;
            }
            return Ok(checked);
        }
        // What is for others is known to be useless by anybody: no issuer is asked for its keys because of it.
        let ours = |issuer: &str, claims: &Map<String, Value>| {
            let audiences = audiences(claims).ok_or("its aud is none")?;
            let takes = policy.issuers.get(issuer).ok_or("its issuer is not trusted")?;
            takes.one_of(&audiences)
        };
        let signed = policy.trusted.verify_if(&jws, ours).await.map_err(|e| match e {
            Untrusted::Keys { retry_after, .. } => NotTaken::Later { why: e.to_string(), retry_after },
            e => NotTaken::Wrong(e.to_string()),
        })?;
        Ok(Subject::of_issuer(signed?)?)
    }

    /// A token of this server's; `None` when it is another's.
    fn own(&self, jws: &Jws<'_>) -> Result<Option<Subject>, String> {
        if jws.token_type() == TokenType::AccessToken && self.access.is_own(jws) {
            let checked = self.access.check(jws).map_err(|e| e.to_string())?;
            return Subject::of_exchanged(checked).map(Some);
        }
        let found = self.access.account_token(jws).map_err(|AuthError(cause)| cause)?;
        let found = found.map(Subject::of_account).transpose()?;
        // Dated by this very clock: there is no leeway in which a dead token could have a child.
        match found.as_ref().is_some_and(|subject| subject.expires_at <= self.clock.unix()) {
            true => Err("it has expired".into()),
            false => Ok(found),
        }
    }
}
