//! What a token's claims come to for someone who knows the issuer only. Each rule says why; a claim of another type than
//! it must have is no claim that was not made.

use serde_json::Value;
use time::OffsetDateTime;
use tokensmith_api::duration::human;
use tokensmith_core::tokens::claims::granted;
use tokensmith_core::tokens::{Times, account_of};

use super::{Remedy, Rule, UnverifiedToken};

/// The claims, one by one, in Kubernetes' order of checking.
pub(super) fn rules(token: &UnverifiedToken, issuer: &str, audiences: &[String], now: i64) -> Vec<Rule> {
    let mut rules = vec![self::issuer(token, issuer), audience(token, audiences)];
    rules.extend(lifetime(token, now));
    rules.push(subject(token));
    rules
}

fn issuer(token: &UnverifiedToken, issuer: &str) -> Rule {
    match token.claims.get("iss") {
        Some(Value::String(iss)) if iss == issuer => Rule::holds("issuer", issuer),
        Some(Value::String(iss)) => Rule::fails("issuer", format!("the token is from {iss:?}")),
        Some(_) => Rule::fails("issuer", "the token's iss is no text"),
        None => Rule::fails("issuer", "the token does not say"),
    }
}

fn audience(token: &UnverifiedToken, wanted: &[String]) -> Rule {
    let text = match token.claims.get("aud") {
        Some(Value::Array(list)) => list.iter().all(Value::is_string),
        aud => aud.is_none_or(Value::is_string),
    };
    if !text {
        return Rule::fails("audience", "the token's aud is neither a text nor a list of texts");
    }
    let has: Vec<String> = token.audiences().into_iter().map(str::to_owned).collect();
    if wanted.is_empty() {
        let whom = if has.is_empty() { "nobody".into() } else { has.join(", ") };
        return Rule::unasked("audience", format!("it is for {whom}")).with(Remedy::NameAudience);
    }
    let common = granted(&has, wanted);
    Rule::when(
        !common.is_empty(),
        "audience",
        common.join(", "),
        format!("it is for {has:?}, not for {wanted:?}"),
    )
}

/// A time of the token's.
enum Date {
    Missing,
    /// Unix seconds; fractions are cut off (RFC 7519 §2).
    At(i64),
    /// No number, or one that no calendar has: some readers would take it for the past, others for the future.
    Nonsense,
}

fn date(token: &UnverifiedToken, claim: &str) -> Date {
    match token.claims.get(claim) {
        None => Date::Missing,
        Some(_) => {
            let real = token.time(claim).filter(|s| OffsetDateTime::from_unix_timestamp(*s).is_ok());
            real.map_or(Date::Nonsense, Date::At)
        }
    }
}

/// Each time by itself, by the one check of times that there is.
fn lifetime(token: &UnverifiedToken, now: i64) -> [Rule; 3] {
    let away = |unix: i64| human(unix.abs_diff(now));
    let refused = |times: Times| times.check(now).is_err();
    let nonsense =
        |rule, claim: &str| Rule::fails(rule, format!("the token's {claim} is no time that a calendar has"));
    let not_before = match date(token, "nbf") {
        Date::At(nbf) if refused(Times { not_before: Some(nbf), ..Times::default() }) => {
            Rule::fails("not before", format!("it becomes valid in {}; are both clocks right?", away(nbf)))
        }
        Date::At(_) => Rule::holds("not before", ""),
        Date::Missing => Rule::unasked("not before", "the token does not say"),
        Date::Nonsense => nonsense("not before", "nbf"),
    };
    let expiry = match date(token, "exp") {
        Date::At(exp) if refused(Times { expires_at: Some(exp), ..Times::default() }) => {
            Rule::fails("expiry", format!("it expired {} ago", away(exp)))
        }
        Date::At(exp) if exp < now => {
            Rule::holds("expiry", format!("expired {} ago, within the leeway", away(exp)))
        }
        Date::At(exp) => Rule::holds("expiry", format!("{} left", away(exp))),
        Date::Missing => Rule::fails("expiry", "the token never expires (is it a legacy Secret token?)"),
        Date::Nonsense => nonsense("expiry", "exp"),
    };
    let issued = match date(token, "iat") {
        Date::At(iat) if refused(Times { issued_at: Some(iat), ..Times::default() }) => {
            Rule::fails("issued at", format!("it is from {} ahead; are both clocks right?", away(iat)))
        }
        Date::At(iat) => Rule::holds("issued at", format!("{} ago", away(iat.min(now)))),
        Date::Missing => Rule::unasked("issued at", "the token does not say"),
        Date::Nonsense => nonsense("issued at", "iat"),
    };
    [not_before, expiry, issued]
}

/// Whom it is about. A verifier reads the account from `sub`, an API server from Kubernetes' claim: both must say the same.
fn subject(token: &UnverifiedToken) -> Rule {
    let sub = match token.claims.get("sub") {
        Some(Value::String(sub)) if !sub.is_empty() => sub,
        Some(Value::String(_)) | None => return Rule::fails("subject", "the token does not say"),
        Some(_) => return Rule::fails("subject", "the token's sub is no text"),
    };
    let namespace = token.private(&["namespace"]);
    let account = token.private(&["serviceaccount", "name"]);
    let same = account_of(sub) == Some((namespace, account));
    match token.claims.get("kubernetes.io") {
        Some(_) if same => Rule::holds("subject", sub.as_str()),
        Some(_) => Rule::fails(
            "subject",
            format!("sub says {sub:?}, kubernetes.io {:?}", format!("{namespace}/{account}")),
        ),
        None => Rule::unasked("subject", format!("{sub}: the token has no kubernetes.io to compare it with")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::super::token::tests::token;
    use super::*;

    fn verdicts(claims: Value) -> Vec<Verdict> {
        lifetime(&token(claims), 1000).iter().map(|r| r.verdict).collect()
    }

    #[test]
    fn times_have_a_minutes_leeway() {
        use Verdict::{Fails, Holds, Unchecked};
        assert_eq!(verdicts(json!({ "nbf": 1060, "exp": 940, "iat": 1060 })), [Holds, Holds, Holds]);
        assert_eq!(verdicts(json!({ "nbf": 1061, "exp": 939, "iat": 1061 })), [Fails, Fails, Fails]);
        assert_eq!(verdicts(json!({})), [Unchecked, Fails, Unchecked]);
        assert_eq!(
            verdicts(json!({ "nbf": i64::MAX, "exp": i64::MIN, "iat": i64::MAX })),
            [Fails, Fails, Fails]
        );
    }

    #[test]
    fn a_time_that_no_calendar_has_is_no_time() {
        for odd in [
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e300),
            json!("1767265200"),
            json!(null),
            json!([]),
            json!(true),
        ] {
            let claims = json!({ "nbf": odd, "exp": odd, "iat": odd });
            assert_eq!(verdicts(claims), [Verdict::Fails; 3], "{odd}");
        }
        assert_eq!(verdicts(json!({ "nbf": -1, "exp": 2000.9, "iat": 0 })), [Verdict::Holds; 3]);
    }

    #[test]
    fn one_audience_must_match() {
        let token_of = |aud: Value| token(json!({ "aud": aud }));
        let some = token_of(json!(["a", "b"]));
        assert_eq!(audience(&some, &[]).verdict, Verdict::Unchecked);
        assert_eq!(audience(&some, &["c".into(), "b".into()]), Rule::holds("audience", "b"));
        assert_eq!(audience(&some, &["c".into()]).verdict, Verdict::Fails);
        for odd in [json!(7), json!(["a", 7]), json!({ "a": 1 }), json!(null)] {
            assert_eq!(audience(&token_of(odd.clone()), &["a".into()]).verdict, Verdict::Fails, "{odd}");
        }
    }

    #[test]
    fn subject_and_issuer_are_texts_that_fit() {
        let of = |sub: Value, name: Value| {
            let private = json!({ "namespace": "n", "serviceaccount": { "name": name } });
            subject(&token(json!({ "sub": sub, "kubernetes.io": private }))).verdict
        };
        assert_eq!(of(json!("system:serviceaccount:n:a"), json!("a")), Verdict::Holds);
        for (sub, name) in [
            (json!("system:serviceaccount:n:b"), json!("a")),
            (json!("system:serviceaccount:m:a"), json!("a")),
            (json!("system:serviceaccount:n:a"), json!(7)),
            (json!("n:a"), json!("a")),
            (json!(["system:serviceaccount:n:a"]), json!("a")),
            (json!(""), json!("")),
            (json!(null), json!("a")),
        ] {
            assert_eq!(of(sub.clone(), name), Verdict::Fails, "{sub}");
        }
        for (iss, verdict) in [
            (json!("i"), Verdict::Holds),
            (json!("i/"), Verdict::Fails),
            (json!(["i"]), Verdict::Fails),
            (json!(null), Verdict::Fails),
        ] {
            assert_eq!(issuer(&token(json!({ "iss": iss })), "i").verdict, verdict, "{iss}");
        }
    }
}
