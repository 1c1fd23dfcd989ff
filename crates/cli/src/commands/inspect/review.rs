//! Verification by the server: TokenReview. The server says yes, or which rule failed first; since it checks in a
//! fixed order (k8s-facts: "Verification in the API server"), the rules before that one hold and those after it
//! were not reached.

use serde_json::{Value, json};

use super::report::{Report, Rule};
use super::token::Token;
use crate::client::http::Client;
use crate::client::target::Target;
use crate::failure::Failure;

const ISSUER: &str = "issuer";
const KEY: &str = "key";
const SIGNATURE: &str = "signature";
const AUDIENCE: &str = "audience";
const NOT_BEFORE: &str = "not before";
const EXPIRY: &str = "expiry";
const ISSUED: &str = "issued at";
const ACCOUNT: &str = "account";
const BINDING: &str = "bound object";

/// The server's order of checks.
const ORDER: [&str; 9] = [ISSUER, KEY, SIGNATURE, AUDIENCE, NOT_BEFORE, EXPIRY, ISSUED, ACCOUNT, BINDING];

/// Asks the server.
///
/// # Errors
/// It cannot be reached, or does not let the caller review tokens.
pub async fn verify(
    token: &Token,
    client: &Client,
    target: &Target,
    audiences: &[String],
) -> Result<Report, Failure> {
    let mut spec = json!({ "token": token.text });
    if !audiences.is_empty() {
        spec["audiences"] = audiences.into();
    }
    let body = json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": spec });
    let answer = client.post("/apis/authentication.k8s.io/v1/tokenreviews", &body).await?;
    let answer = answer.map_err(|r| match r.code {
        401 => Failure::failed("the server does not know the credentials that the review was asked with: give --token or --kubeconfig"),
        403 => Failure::failed(format!("reviewing a token needs rights of its own: {}", r.message)),
        _ => Failure::failed(format!("failed to review the token: {}", r.message)),
    })?;
    let by = format!("TokenReview at {}", target.server.as_str().trim_end_matches('/'));
    Ok(Report { by, rules: rules(token, &answer["status"], audiences) })
}

fn rules(token: &Token, status: &Value, asked: &[String]) -> Vec<Rule> {
    if status["authenticated"] == true {
        return accepted(token, status, asked);
    }
    let error = status["error"].as_str().unwrap_or("the server gives no reason");
    // `[invalid bearer token, CAUSE]`: the first is what every other authenticator says.
    let cause =
        error.strip_prefix("[invalid bearer token, ").and_then(|e| e.strip_suffix(']')).unwrap_or(error);
    let failed = rule_of(cause);
    let position = ORDER.iter().position(|name| *name == failed).unwrap_or_default();
    let rule = |(i, name): (usize, &&'static str)| match i.cmp(&position) {
        std::cmp::Ordering::Less => Rule::holds(name, ""),
        std::cmp::Ordering::Equal => Rule::fails(name, explain(cause, token)),
        std::cmp::Ordering::Greater => Rule::unchecked(name, "not reached"),
    };
    ORDER.iter().enumerate().map(rule).collect()
}

fn accepted(token: &Token, status: &Value, asked: &[String]) -> Vec<Rule> {
    let audiences = status["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let audiences: Vec<&str> = audiences.collect();
    // A server that knows no audiences says yes to a token for anyone, and names none.
    let meant = asked.is_empty() || asked.iter().any(|a| audiences.contains(&a.as_str()));
    let audiences = audiences.join(", ");
    let user = status.pointer("/user/username").and_then(Value::as_str).unwrap_or_default();
    let detail = |name: &str| match name {
        ISSUER => token.claim("iss").to_owned(),
        KEY => token.parameter("kid").to_owned(),
        AUDIENCE => audiences.clone(),
        ACCOUNT => format!("{user} exists with that UID"),
        BINDING => match token.binding() {
            Some(b) => format!("{} {} exists with that UID", b.kind, b.name),
            None => "none".into(),
        },
        _ => String::new(),
    };
    let rule = |name: &&'static str| match *name {
        AUDIENCE if !meant => Rule::fails(name, "the server does not say that the token is for these"),
        name => Rule::holds(name, detail(name)),
    };
    ORDER.iter().map(rule).collect()
}

/// Which rule an error text of the server belongs to.
fn rule_of(cause: &str) -> &'static str {
    let has = |part: &str| cause.contains(part);
    match cause {
        _ if has("no keys found") => KEY,
        _ if has("error in cryptographic primitive") => SIGNATURE,
        _ if has("token issuer ") => ISSUER,
        _ if has("token audiences ") => AUDIENCE,
        _ if has("not valid yet") => NOT_BEFORE,
        _ if has("has expired") => EXPIRY,
        _ if has("issued in the future") => ISSUED,
        _ if has("pod UID") || has("secret UID") || has("node UID") || has("has been invalidated") => BINDING,
        _ if has("serviceaccounts \"") || has("ervice account UID") || has("has been deleted") => ACCOUNT,
        // `invalid bearer token` alone: no authenticator took it for its own.
        _ => ISSUER,
    }
}

/// The server's words, and in ours what lies behind the terse ones.
fn explain(cause: &str, token: &Token) -> String {
    let hint = match rule_of(cause) {
        ISSUER if cause == "invalid bearer token" => {
            format!(
                "the server does not issue as {:?}, so it takes the token for no one's",
                token.claim("iss")
            )
        }
        KEY => format!(
            "the server has no key {:?}: it signed elsewhere, or the key has been removed",
            token.parameter("kid")
        ),
        SIGNATURE => "the text has been changed, or the key of that id is another one".into(),
        AUDIENCE => "ask with --audience for whom the token is".into(),
        BINDING if cause.contains("invalidated") => {
            let what = token.binding().map_or("object", |b| b.kind);
            format!("the {what} that it is bound to is gone")
        }
        _ => return cause.to_owned(),
    };
    format!("{cause} ({hint})")
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::token::tests::token;
    use super::*;

    fn failing(error: &str) -> (&'static str, usize) {
        let token = token(json!({ "iss": "x", "kubernetes.io": { "pod": { "name": "p" } } }));
        let rules = rules(&token, &json!({ "user": {}, "error": error }), &[]);
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
        ] {
            assert_eq!(failing(error), (rule, held), "{error}");
        }
    }

    #[test]
    fn accepted_means_every_rule_holds() {
        let status = json!({ "authenticated": true, "user": { "username": "u" }, "audiences": ["vault"] });
        let held = rules(&token(json!({})), &status, &["vault".into(), "other".into()]);
        assert!(held.iter().all(|r| r.verdict == Verdict::Holds));
        assert_eq!(held[3].detail, "vault");
    }

    #[test]
    fn an_answer_for_other_audiences_is_a_no() {
        for audiences in [json!(null), json!([]), json!(["api"])] {
            let status = json!({ "authenticated": true, "user": {}, "audiences": audiences });
            let rules = rules(&token(json!({})), &status, &["vault".into()]);
            assert_eq!((rules[3].name, rules[3].verdict), (AUDIENCE, Verdict::Fails));
        }
    }
}
