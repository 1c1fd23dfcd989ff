//! What no exchanged token may say, whatever asked for it. A policy's literals are held against the same rules when it is
//! read, so that an operator learns of them at once.

use serde_json::{Map, Value};

use super::tie::{CLAIM, Tie};
use super::{ACCOUNT_PREFIX, account_subject};
use crate::tokens::ExtraClaims;
use crate::tokens::extra_claims::{ClaimsError, MAX_DEPTH, folded, is_kubernetes};

/// Why a token is not made. One line, without values that came with a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fenced {
    /// A subject that only an account's token gives.
    #[error(
        "the subject begins with {ACCOUNT_PREFIX}, which the token of that account alone is exchanged for"
    )]
    Account,
    /// An audience that not everybody reads alike.
    #[error("an audience must be 1 to {MAX_AUDIENCE} bytes without control characters or blanks at its ends")]
    Audience,
    /// An audience of the API.
    #[error("one of the audiences is the API's own: no exchanged token is for it")]
    ApiAudience,
    /// A claim that cannot be one.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// A claim of Kubernetes', at any depth.
    #[error("a claim holds one of the name kubernetes.io, which are Kubernetes' alone")]
    Kubernetes,
    /// For nobody.
    #[error("there is no audience")]
    NoAudience,
    /// A claim that the server writes.
    #[error("the claim {0:?} is set by the token endpoint alone: use another name")]
    Reserved(&'static str),
    /// No subject, or none that everybody reads alike.
    #[error("the subject must be 1 to {MAX_SUBJECT} bytes without control characters or blanks at its ends")]
    Subject,
    /// Too much of it all.
    #[error("a token may say {MAX_PAYLOAD} bytes at most")]
    TooLarge,
    /// A name of the system's.
    #[error("the subject begins with system:, which is Kubernetes' alone")]
    System,
}

/// The longest subject, bytes.
pub const MAX_SUBJECT: usize = 1024;
/// The longest audience, bytes.
pub const MAX_AUDIENCE: usize = 1024;
/// The longest payload: with the longest header and signature of any algorithm verifiers still take the token.
pub const MAX_PAYLOAD: usize = 8 << 10;

/// What the token endpoint says itself (RFC 9068 §2.2, RFC 8693 §4), besides what no claim may be called
/// ([`ExtraClaims`]); `cnf` would promise a proof of possession that nobody has checked (RFC 7800).
const OWN: [&str; 6] = ["act", "client_id", "cnf", "may_act", "scope", CLAIM];

/// An audience.
///
/// # Errors
/// It is the API's, or empty.
pub fn audience(audience: &str, api: &[String]) -> Result<(), Fenced> {
    match audience {
        "" => Err(Fenced::NoAudience),
        audience
            if audience.len() > MAX_AUDIENCE
                || audience.trim() != audience
                || audience.chars().any(char::is_control) =>
        {
            Err(Fenced::Audience)
        }
        audience if api.iter().any(|own| own == audience) => Err(Fenced::ApiAudience),
        _ => Ok(()),
    }
}

/// A subject; `tie` is what its token comes from.
///
/// # Errors
/// It is a name of the system's, or another account's.
pub fn subject(subject: &str, tie: Option<&Tie>) -> Result<(), Fenced> {
    let odd = subject.trim() != subject || subject.chars().any(char::is_control);
    if subject.is_empty() || subject.len() > MAX_SUBJECT || odd {
        return Err(Fenced::Subject);
    }
    let folded = folded(subject);
    if folded.starts_with("system:") {
        return Err(Fenced::System);
    }
    if folded.starts_with(ACCOUNT_PREFIX) {
        let account = tie.and_then(|tie| tie.account.as_ref());
        let own = account.is_some_and(|a| account_subject(&a.namespace, &a.serviceaccount.name) == subject);
        return if own { Ok(()) } else { Err(Fenced::Account) };
    }
    Ok(())
}

/// `act`: each actor has a name that a subject could have, or an account's, which is told by this server alone.
///
/// # Errors
/// One has another, or they nest too deeply.
pub(super) fn actors(act: &Value, levels: usize) -> Result<(), Fenced> {
    let (Some(left), Some(name)) = (levels.checked_sub(1), act.get("sub").and_then(Value::as_str)) else {
        return Err(Fenced::Subject);
    };
    match subject(name, None) {
        // Written by this endpoint: a foreign actor's name begins with its issuer.
        Ok(()) | Err(Fenced::Account) => {}
        Err(e) => return Err(e),
    }
    act.get("act").map_or(Ok(()), |before| actors(before, left))
}

/// The claims that a policy adds, as a token carries them.
///
/// # Errors
/// One has a name that is the server's or Kubernetes', at any depth, or they are too many or too large.
pub fn claims(claims: &Map<String, Value>) -> Result<ExtraClaims, Fenced> {
    // First how deep they are: what follows walks them.
    let extra = ExtraClaims::new(claims)?;
    for name in claims.keys() {
        claim_name(name)?;
    }
    match claims.values().any(|value| holds_kubernetes(value, MAX_DEPTH)) {
        true => Err(Fenced::Kubernetes),
        false => Ok(extra),
    }
}

/// A claim's name.
///
/// # Errors
/// It is the server's.
pub fn claim_name(name: &str) -> Result<(), Fenced> {
    let folded = folded(name);
    match OWN.into_iter().find(|own| *own == folded) {
        Some(own) => Err(Fenced::Reserved(own)),
        None if is_kubernetes(name) => Err(Fenced::Kubernetes),
        None => Ok(()),
    }
}

/// Whether there is a member of Kubernetes' name anywhere below; what is deeper than it may be counts as one.
pub(super) fn holds_kubernetes(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => {
            let Some(left) = levels.checked_sub(1) else { return true };
            items.iter().any(|item| holds_kubernetes(item, left))
        }
        Value::Object(map) => {
            let Some(left) = levels.checked_sub(1) else { return true };
            map.iter().any(|(name, item)| is_kubernetes(name) || holds_kubernetes(item, left))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{AccountTie, Tie};
    use super::*;
    use crate::tokens::Reference;

    fn tie() -> Tie {
        let account = AccountTie {
            namespace: "pay".into(),
            serviceaccount: Reference::new("api", "u"),
            ..AccountTie::default()
        };
        Tie { account: Some(account), ..Tie::default() }
    }

    #[test]
    fn subjects() {
        let tie = tie();
        for (text, own, foreign) in [
            ("jane", Ok(()), Ok(())),
            ("serviceaccount:pay:api", Ok(()), Err(Fenced::Account)),
            ("serviceaccount:pay:other", Err(Fenced::Account), Err(Fenced::Account)),
            ("ServiceAccount:pay:api", Err(Fenced::Account), Err(Fenced::Account)),
            ("\u{17f}erviceaccount:pay:api", Err(Fenced::Account), Err(Fenced::Account)),
            ("system:serviceaccount:pay:api", Err(Fenced::System), Err(Fenced::System)),
            ("System:masters", Err(Fenced::System), Err(Fenced::System)),
            ("\u{17f}ystem:admin", Err(Fenced::System), Err(Fenced::System)),
            (" system:admin", Err(Fenced::Subject), Err(Fenced::Subject)),
            ("", Err(Fenced::Subject), Err(Fenced::Subject)),
            ("a\nb", Err(Fenced::Subject), Err(Fenced::Subject)),
            ("systemd", Ok(()), Ok(())),
        ] {
            assert_eq!((subject(text, Some(&tie)), subject(text, None)), (own, foreign), "{text:?}");
        }
        assert_eq!(subject(&"x".repeat(1025), None), Err(Fenced::Subject));
    }

    #[test]
    fn claims_of_kubernetes_and_of_the_endpoint() {
        let fenced = |value: Value| claims(value.as_object().unwrap()).map(drop).unwrap_err();
        for nested in [
            json!({"a": {"kubernetes.io": {}}}),
            json!({"a": [{"b": {"Kubernetes.IO/serviceaccount/namespace": 1}}]}),
        ] {
            assert_eq!(fenced(nested), Fenced::Kubernetes);
        }
        for own in ["kubernetes.io", "kubernetes.io/serviceaccount/namespace", "KUBERNETES.IO"] {
            assert!(matches!(fenced(json!({own: {}})), Fenced::Claims(ClaimsError::Reserved(_))), "{own}");
        }
        for own in ["act", "client_id", "cnf", "Scope", "may_act", "tokensmith.dev/bound"] {
            assert!(matches!(fenced(json!({own: {}})), Fenced::Reserved(_)), "{own}");
        }
        for registered in ["iss", "exp", "aud", "sub", "iat", "jti", "nbf", "Sub"] {
            assert!(matches!(fenced(json!({registered: 1})), Fenced::Claims(_)), "{registered}");
        }
        assert!(claims(json!({"team": {"kubernetes": 1}, "k8s.io": 2}).as_object().unwrap()).is_ok());
    }

    #[test]
    fn audiences_of_the_api() {
        let api = ["https://kubernetes.default.svc".to_owned()];
        assert_eq!(audience("https://kubernetes.default.svc", &api), Err(Fenced::ApiAudience));
        assert_eq!(audience("", &api), Err(Fenced::NoAudience));
        assert_eq!(audience("vault", &api), Ok(()));
        for odd in ["a\r\nb", "a\0", " a", "a\t", &"x".repeat(1025)] {
            assert_eq!(audience(odd, &api), Err(Fenced::Audience), "{odd:?}");
        }
    }

    #[test]
    fn actors_are_named_as_subjects_are() {
        let fenced = |act: Value| actors(&act, 9);
        let nested = |sub: &str| json!({"sub": "serviceaccount:a:b", "act": {"sub": sub}});
        assert_eq!(fenced(nested("https://ci.example.com#x")), Ok(()));
        for (wrong, why) in [
            (nested("system:masters"), Fenced::System),
            (json!({"sub": " x"}), Fenced::Subject),
            (json!({"sub": 1}), Fenced::Subject),
            (json!([]), Fenced::Subject),
        ] {
            assert_eq!(fenced(wrong), Err(why));
        }
    }
}
