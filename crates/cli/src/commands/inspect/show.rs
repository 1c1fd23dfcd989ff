//! A token and its report, for people and for programs.

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokensmith_api::duration::exact;
use tokensmith_objects::object::timestamp;
use tokensmith_verify::report::{Report, UnverifiedToken};

use super::report;
use crate::output::printable;
use crate::times;

const TIMES: [(&str, &str); 3] = [("iat", "issued"), ("nbf", "not before"), ("exp", "expires")];

/// For programs: header and claims as they stand in the token, times as RFC 3339, the report if there is one.
pub fn data(token: &UnverifiedToken, report: Option<&Report>, now: OffsetDateTime) -> Value {
    let mut out = json!({ "header": token.header, "claims": token.claims, "times": {} });
    let warn_after = token.warn_after().map(|t| ("warnafter", t));
    for (claim, unix) in TIMES.iter().filter_map(|(c, _)| Some((*c, token.time(c)?))).chain(warn_after) {
        if let Ok(at) = OffsetDateTime::from_unix_timestamp(unix) {
            out["times"][claim] = timestamp(at).into();
        }
    }
    if let Some(exp) = token.time("exp") {
        out["times"]["secondsLeft"] = exp.saturating_sub(now.unix_timestamp()).into();
    }
    if let Some(report) = report {
        out["verification"] = report::data(report);
    }
    out
}

/// For people.
pub fn text(token: &UnverifiedToken, report: Option<&Report>, now: OffsetDateTime) -> String {
    let mut lines = Lines::default();
    lines.add("algorithm", token.parameter("alg"));
    lines.add("key", token.parameter("kid"));
    lines.add("type", token.parameter("typ"));
    lines.add("issuer", token.claim("iss"));
    lines.add("subject", token.claim("sub"));
    for audience in token.audiences() {
        lines.add("audience", audience);
    }
    lines.add("client", token.claim("client_id"));
    lines.add("scope", token.claim("scope"));
    for (claim, label) in TIMES {
        if let Some(unix) = token.time(claim) {
            lines.add(label, &times::with_distance(unix, now));
        }
    }
    if let (Some(iat), Some(exp)) = (token.time("iat"), token.time("exp")) {
        lines.add("lifetime", &exact(exp.saturating_sub(iat).max(0).unsigned_abs()));
    }
    if let Some(unix) = token.warn_after() {
        lines.add("stale after", &times::with_distance(unix, now));
    }
    lines.add("token id", token.claim("jti"));
    let account = token.private(&["serviceaccount", "name"]);
    if !account.is_empty() {
        let uid = token.private(&["serviceaccount", "uid"]);
        lines.add("account", &named(&format!("{}/{account}", token.private(&["namespace"])), uid));
    }
    if let Some(binding) = token.binding() {
        lines.add("bound to", &named(&format!("{} {}", binding.kind, binding.name), binding.uid));
        let node = token.private(&["node", "name"]);
        if binding.kind == "Pod" && !node.is_empty() {
            lines.add("on node", &named(node, token.private(&["node", "uid"])));
        }
    }
    let end = match report {
        Some(report) => report::text(report),
        None => "not verified: nobody has checked the signature; --server or --issuer does\n".into(),
    };
    format!("{}\n{end}", lines.0)
}

fn named(name: &str, uid: &str) -> String {
    if uid.is_empty() { name.to_owned() } else { format!("{name} (uid {uid})") }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A line, unless there is nothing to say. What a token says may hold terminal escapes: they are shown, not
    /// obeyed.
    fn add(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.0.push_str(&format!("{label:<12}  {}\n", printable(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    /// A token with these claims and a signature that verifies nowhere.
    fn token(claims: Value) -> UnverifiedToken {
        let part = |v: Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
        let header = part(json!({ "alg": "RS256", "kid": "k1" }));
        UnverifiedToken::parse(&format!("{header}.{}.AAAA", part(claims))).unwrap()
    }

    #[test]
    fn people_see_distances_and_no_escapes() {
        let token = token(json!({
            "iss": "https://issuer", "sub": "evil\u{1b}[2J", "aud": "vault",
            "iat": 1_767_261_600, "exp": 1_767_265_200,
            "kubernetes.io": { "namespace": "ns", "serviceaccount": { "name": "sa", "uid": "u1" }, "pod": { "name": "p", "uid": "u2" } },
        }));
        let text = text(&token, None, datetime!(2026-01-01 10:30 UTC));
        assert_eq!(
            text,
            "algorithm     RS256\nkey           k1\nissuer        https://issuer\nsubject       evil\\u{1b}[2J\n\
             audience      vault\nissued        2026-01-01T10:00:00Z (30m ago)\nexpires       2026-01-01T11:00:00Z (in 30m)\n\
             lifetime      60m\naccount       ns/sa (uid u1)\nbound to      Pod p (uid u2)\n\n\
             not verified: nobody has checked the signature; --server or --issuer does\n"
        );
    }

    /// RFC 9068: what it is, whom it was issued to, what it may be used for.
    #[test]
    fn people_see_what_an_access_token_is() {
        let part = |v: Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
        let header = part(json!({ "alg": "ES256", "kid": "k1", "typ": "at+jwt" }));
        let claims =
            json!({"aud": "vault", "client_id": "serviceaccount:pay:api", "scope": "read\u{1b} write"});
        let token = UnverifiedToken::parse(&format!("{header}.{}.AAAA", part(claims))).unwrap();
        let text = text(&token, None, datetime!(2026-01-01 10:30 UTC));
        assert_eq!(
            text.lines().take(6).collect::<Vec<_>>(),
            [
                "algorithm     ES256",
                "key           k1",
                "type          at+jwt",
                "audience      vault",
                "client        serviceaccount:pay:api",
                "scope         read\\u{1b} write",
            ]
        );
    }

    #[test]
    fn programs_see_times_and_seconds() {
        let token = token(json!({ "exp": 1_767_265_200 }));
        let data = data(&token, None, datetime!(2026-01-01 10:30 UTC));
        assert_eq!(data["times"], json!({ "exp": "2026-01-01T11:00:00Z", "secondsLeft": 1800 }));
        assert!(data.get("verification").is_none());
    }
}
