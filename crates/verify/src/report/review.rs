//! Verification by the server: TokenReview. The server says yes, or which rule failed first; since it checks in a
//! fixed order (k8s-facts: "Verification in the API server"), the rules before that one hold and those after it
//! were not reached. What its answer does not tell counts as not checked: an authenticator that took the token for something
//! else than a service account's has looked at none of these rules.

use tokensmith_core::tokens::USERNAME_PREFIX;

use super::{Remedy, Rule, UnverifiedToken};
use crate::ReviewStatus;

const ISSUER: &str = "issuer";
const KEY: &str = "key";
const SIGNATURE: &str = "signature";
const AUDIENCE: &str = "audience";
const NOT_BEFORE: &str = "not before";
const EXPIRY: &str = "expiry";
const ISSUED: &str = "issued at";
const ACCOUNT: &str = "account";
const BINDING: &str = "bound object";
/// The rule that a token has not been revoked.
pub const REVOCATION: &str = "revocation";

/// The server's order of checks. Kubernetes has no revocations.
const ORDER: [&str; 10] =
    [ISSUER, KEY, SIGNATURE, AUDIENCE, NOT_BEFORE, EXPIRY, ISSUED, ACCOUNT, BINDING, REVOCATION];

/// What a TokenReview comes to, rule by rule.
pub(super) fn rules(token: &UnverifiedToken, wanted: &[String], status: &ReviewStatus) -> Vec<Rule> {
    if status.authenticated {
        return accepted(token, wanted, status);
    }
    let error = if status.error.is_empty() { "the server gives no reason" } else { &status.error };
    // `[invalid bearer token, CAUSE]`: the first is what every other authenticator says.
    let cause =
        error.strip_prefix("[invalid bearer token, ").and_then(|e| e.strip_suffix(']')).unwrap_or(error);
    let Some((failed, hint)) = read(cause) else {
        // Where it stopped is not known, so neither is what it had looked at.
        let rest = ORDER.iter().map(|name| Rule::unchecked(name, "the server does not say"));
        return std::iter::once(Rule::fails("review", cause)).chain(rest).collect();
    };
    let position = ORDER.iter().position(|name| *name == failed).unwrap_or_default();
    let rule = |(i, name): (usize, &&'static str)| match i.cmp(&position) {
        std::cmp::Ordering::Less => Rule::holds(name, ""),
        std::cmp::Ordering::Equal if *name == AUDIENCE => Rule::fails(name, cause).with(Remedy::NameAudience),
        std::cmp::Ordering::Equal => Rule::fails(name, explain(cause, hint, token)),
        std::cmp::Ordering::Greater => Rule::unchecked(name, "not reached"),
    };
    ORDER.iter().enumerate().map(rule).collect()
}

fn accepted(token: &UnverifiedToken, wanted: &[String], status: &ReviewStatus) -> Vec<Rule> {
    let user = status.username.as_str();
    let account = token.claim("sub");
    if user.is_empty() || !account.starts_with(USERNAME_PREFIX) || user != account {
        let why = format!("the server knows the bearer as {user:?}, not as the token's {account:?}");
        let rest = ORDER.iter().map(|name| Rule::unchecked(name, "not as a service account's token"));
        return std::iter::once(Rule::unchecked("review", why)).chain(rest).collect();
    }
    let detail = |name: &str| match name {
        ISSUER => token.claim("iss").to_owned(),
        KEY => token.parameter("kid").to_owned(),
        EXPIRY if !token.claims.contains_key("exp") => "it never expires".into(),
        ACCOUNT => format!("{user} exists with that UID"),
        BINDING => match token.binding() {
            Some(b) => format!("{} {} exists with that UID", b.kind, b.name),
            None => "none".into(),
        },
        _ => String::new(),
    };
    let rule = |name: &&'static str| match *name {
        AUDIENCE => audience(wanted, status),
        // Kubernetes' own server has none to look at.
        REVOCATION => Rule::holds(REVOCATION, "the server takes it"),
        name => Rule::holds(name, detail(name)),
    };
    ORDER.iter().map(rule).collect()
}

/// A server that knows no audiences says yes to a token for anyone, and names none (`TokenReviewStatus.audiences`).
fn audience(wanted: &[String], status: &ReviewStatus) -> Rule {
    let granted = &status.audiences;
    if wanted.is_empty() && granted.is_empty() {
        return Rule::unasked(AUDIENCE, "the server does not say");
    }
    let meant = wanted.is_empty() || wanted.iter().any(|wanted| granted.contains(wanted));
    let no = "the server does not say that the token is for these";
    Rule::when(meant, AUDIENCE, granted.join(", "), no.into())
}

/// What lies behind a terse error.
#[derive(Clone, Copy)]
enum Hint {
    /// What the token is bound to is gone.
    Gone,
    /// The signature is of another text, or by another key.
    OtherSignature,
    /// The server has no key of that id.
    NoKey,
    /// The server is not the issuer.
    NotIssuer,
    /// The text says it all.
    None,
}

/// Which rule an error text of the server belongs to; `None` for words that are not known here. The text is all that a
/// TokenReview has of it, and only what people read follows from it.
fn read(cause: &str) -> Option<(&'static str, Hint)> {
    let has = |part: &str| cause.contains(part);
    Some(match cause {
        _ if has("no keys found") => (KEY, Hint::NoKey),
        _ if has("error in cryptographic primitive") => (SIGNATURE, Hint::OtherSignature),
        _ if has("token issuer ") => (ISSUER, Hint::None),
        _ if has("token audiences ") => (AUDIENCE, Hint::None),
        _ if has("not valid yet") => (NOT_BEFORE, Hint::None),
        _ if has("has expired") => (EXPIRY, Hint::None),
        _ if has("issued in the future") => (ISSUED, Hint::None),
        _ if has("has been revoked") => (REVOCATION, Hint::None),
        _ if has("has been invalidated") => (BINDING, Hint::Gone),
        _ if has("pod UID") || has("secret UID") || has("node UID") => (BINDING, Hint::None),
        _ if has("serviceaccounts \"") || has("ervice account UID") || has("has been deleted") => {
            (ACCOUNT, Hint::None)
        }
        // That alone: no authenticator took it for its own.
        "invalid bearer token" => (ISSUER, Hint::NotIssuer),
        _ => return None,
    })
}

/// The server's words, and in ours what lies behind the terse ones.
fn explain(cause: &str, hint: Hint, token: &UnverifiedToken) -> String {
    let hint = match hint {
        Hint::Gone => {
            let what = token.binding().map_or("object", |b| b.kind);
            format!("the {what} that it is bound to is gone")
        }
        Hint::NoKey => format!(
            "the server has no such key {:?} that holds: it has been revoked or removed, or signed elsewhere",
            token.parameter("kid")
        ),
        Hint::NotIssuer => format!(
            "the server does not issue as {:?}, so it takes the token for no one's",
            token.claim("iss")
        ),
        Hint::OtherSignature => "the text has been changed, or the key of that id is another one".into(),
        Hint::None => return cause.to_owned(),
    };
    format!("{cause} ({hint})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::super::token::tests::token;
    use super::*;

    fn accepts(username: &str, audiences: &[&str]) -> ReviewStatus {
        let audiences = audiences.iter().map(|a| (*a).to_owned()).collect();
        ReviewStatus { authenticated: true, username: username.into(), audiences, ..ReviewStatus::default() }
    }

    fn refuses(error: &str) -> ReviewStatus {
        ReviewStatus { error: error.into(), ..ReviewStatus::default() }
    }

    fn failing(error: &str) -> (&'static str, usize) {
        let token = token(json!({ "iss": "x", "kubernetes.io": { "pod": { "name": "p" } } }));
        let rules = rules(&token, &[], &refuses(error));
        let held = rules.iter().take_while(|r| r.verdict == Verdict::Holds).count();
        assert!(rules[held + 1..].iter().all(|r| r.verdict == Verdict::Unchecked));
        (rules[held].name, held)
    }

    #[test]
    fn an_error_names_its_rule_and_the_ones_before_hold() {
        for (error, rule, held) in [
            ("invalid bearer token", ISSUER, 0),
            ("[invalid bearer token, invalid signature, no keys found]", KEY, 1),
            ("[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]", SIGNATURE, 2),
            (
                r#"[invalid bearer token, token audiences ["a"] is invalid for the target audiences ["b"]]"#,
                AUDIENCE,
                3,
            ),
            ("[invalid bearer token, service account token is not valid yet]", NOT_BEFORE, 4),
            ("[invalid bearer token, service account token has expired]", EXPIRY, 5),
            ("[invalid bearer token, service account token is issued in the future]", ISSUED, 6),
            (r#"[invalid bearer token, serviceaccounts "x" not found]"#, ACCOUNT, 7),
            ("[invalid bearer token, service account UID (a) does not match claim (b)]", ACCOUNT, 7),
            ("[invalid bearer token, service account token has been invalidated]", BINDING, 8),
            (
                "[invalid bearer token, pod UID (a) does not match service account pod ref claim (b)]",
                BINDING,
                8,
            ),
            ("[invalid bearer token, service account token has been revoked]", REVOCATION, 9),
        ] {
            assert_eq!(failing(error), (rule, held), "{error}");
        }
    }

    fn verdicts(rules: &[Rule]) -> (usize, usize, usize) {
        let count = |verdict| rules.iter().filter(|r| r.verdict == verdict).count();
        (count(Verdict::Holds), count(Verdict::Fails), count(Verdict::Unchecked))
    }

    #[test]
    fn accepted_means_every_rule_holds() {
        let status = accepts("system:serviceaccount:n:a", &["vault"]);
        let token = token(json!({ "sub": "system:serviceaccount:n:a" }));
        let rules = rules(&token, &["vault".into()], &status);
        assert_eq!(verdicts(&rules), (10, 0, 0));
        assert_eq!(rules[3].detail, "vault");
    }

    #[test]
    fn an_answer_for_other_audiences_is_a_no() {
        let account = "system:serviceaccount:n:a";
        for audiences in [&[][..], &["api"]] {
            let status = accepts(account, audiences);
            let rules = rules(&token(json!({ "sub": account })), &["vault".into()], &status);
            assert_eq!((rules[3].name, rules[3].verdict), (AUDIENCE, Verdict::Fails));
        }
    }

    #[test]
    fn what_the_server_has_not_looked_at_is_not_checked() {
        let token = token(json!({ "sub": "system:serviceaccount:n:a" }));
        let of = |user: &str, audiences: &[&str], wanted: &[String]| {
            verdicts(&rules(&token, wanted, &accepts(user, audiences)))
        };
        let account = "system:serviceaccount:n:a";
        // Some other authenticator's: a static token, an OIDC user, another account.
        for user in ["", "jane", "system:anonymous", "system:serviceaccount:n:b"] {
            assert_eq!(of(user, &["vault"], &[]), (0, 0, 11), "{user}");
        }
        let vault = ["vault".to_owned()];
        assert_eq!(of(account, &[], &[]), (9, 0, 1));
        for no in [&[][..], &["api"]] {
            assert_eq!(of(account, no, &vault), (9, 1, 0), "an answer for other audiences is a no");
        }
        let strange = refuses("some new words");
        assert_eq!(verdicts(&rules(&token, &[], &strange)), (0, 1, 10));
    }
}
