//! Which keys of a key set AWS uses.
//!
//! The limits are <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>'s: 100 RSA and 100 EC keys at
//! most, RS256, RS384, RS512, ES256, ES384 and ES512. The rest nobody has published: a key needs a `kid`; of two with the same
//! the later one counts; `key_ops` makes a key unusable, also where it is `["verify"]`, as does a `use` that is not `sig`, and an
//! `x5c` of another key; `alg` does not choose. So others have recorded it of the real service in 2026; `tokensmith doctor` warns of the same.

use bytes::Bytes;
use serde_json::{Value, json};
use tokensmith_core::keys::PublishedKeys;

use super::x5c;

/// Of RSA and of EC each. With more of one kind, none of that kind is used.
const MOST: usize = 100;

/// A key set without what AWS does not use. What is no key set is left as it is, to be refused where it is read.
pub(super) fn used(document: &Bytes) -> Bytes {
    let Ok(set) = serde_json::from_slice::<Value>(document) else { return document.clone() };
    let Some(entries) = set.get("keys").and_then(Value::as_array) else { return document.clone() };
    let mut usable: Vec<&Value> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    // From the end: the last of a name counts.
    for entry in entries.iter().rev() {
        let kid = entry.get("kid").and_then(Value::as_str);
        if kid.is_some_and(|kid| seen.insert(kid)) && is_usable(entry) {
            usable.push(entry);
        }
    }
    usable.reverse();
    let of = |kind: &str| {
        let keys: Vec<&Value> = usable.iter().copied().filter(|entry| entry["kty"] == kind).collect();
        if keys.len() > MOST { Vec::new() } else { keys }
    };
    let (rsa, ec) = (of("RSA"), of("EC"));
    // A key here has one algorithm, so that of RSA is there once for each; where that would be more than is read, `alg` chooses.
    let each: &[&str] =
        if rsa.len() * 3 + ec.len() <= PublishedKeys::MAX_KEYS { &["RS256", "RS384", "RS512"] } else { &[] };
    let mut keys = Vec::new();
    for key in rsa {
        match each {
            [] => keys.push(with(key, key.get("alg").cloned())),
            each => keys.extend(each.iter().map(|alg| with(key, Some(json!(alg))))),
        }
    }
    // The curve says which it is.
    keys.extend(ec.iter().map(|key| with(key, None)));
    json!({ "keys": keys }).to_string().into()
}

fn is_usable(entry: &Value) -> bool {
    let used_for = entry.get("use").is_none_or(|usage| usage == "sig");
    let kind = entry["kty"] == "RSA" || entry["kty"] == "EC";
    used_for && entry.get("key_ops").is_none() && kind && x5c::agrees(entry)
}

/// What the key itself is (RFC 7518 §6.2.1, §6.3.1), with this `alg`: what else an issuer says of it (`x5c` above all) would count
/// three times for how much is read of a key set.
fn with(key: &Value, alg: Option<Value>) -> Value {
    const MEMBERS: [&str; 7] = ["kty", "kid", "n", "e", "crv", "x", "y"];
    let members = MEMBERS.iter().filter_map(|name| Some(((*name).to_owned(), key.get(*name)?.clone())));
    let alg = alg.map(|alg| ("alg".to_owned(), alg));
    Value::Object(members.chain(alg).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(keys: &[Value]) -> Vec<String> {
        let kept: Value = serde_json::from_slice(&used(&json!({ "keys": keys }).to_string().into())).unwrap();
        let mut kids: Vec<String> = kept["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect();
        kids.dedup();
        kids
    }

    #[test]
    fn keys_that_aws_does_not_use_are_not_there() {
        let keys = [
            json!({"kty": "RSA", "kid": "plain", "n": "1", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "1", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "ops", "key_ops": ["verify"]}),
            json!({"kty": "RSA", "kid": "enc", "use": "enc"}),
            json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519"}),
            json!({"kty": "EC", "kid": "twice", "x": "first"}),
            json!({"kty": "EC", "kid": "twice", "x": "last", "alg": "PS256"}),
            json!({"kty": "RSA", "kid": "gone"}),
            json!({"kty": "RSA", "kid": "gone", "key_ops": []}),
        ];
        assert_eq!(kids(&keys), ["plain", "twice"]);
        let kept: Value = serde_json::from_slice(&used(&json!({ "keys": keys }).to_string().into())).unwrap();
        assert_eq!(kept["keys"][3], json!({"kty": "EC", "kid": "twice", "x": "last"}));
        let wordy = json!({"kty": "RSA", "kid": "a", "n": "1", "e": "AQAB", "use": "sig", "alg": "RS256", "more": "x".repeat(9000)});
        let document: Bytes = json!({ "keys": vec![wordy; 1] }).to_string().into();
        let kept: Value = serde_json::from_slice(&used(&document)).unwrap();
        assert_eq!(kept["keys"][2], json!({"kty": "RSA", "kid": "a", "n": "1", "e": "AQAB", "alg": "RS512"}));
        assert_eq!(used(&Bytes::from_static(b"{}")), "{}");
        assert_eq!(used(&Bytes::from_static(b"<")), "<");
    }

    #[test]
    fn more_than_100_rsa_keys_are_none() {
        let rsa = |count: usize| (0..count).map(|at| json!({"kty": "RSA", "kid": format!("r{at}")}));
        let ec = json!({"kty": "EC", "kid": "ec"});
        assert_eq!(kids(&rsa(101).chain([ec.clone()]).collect::<Vec<_>>()), ["ec"]);
        assert_eq!(kids(&rsa(100).chain([ec]).collect::<Vec<_>>()).len(), 101);
    }
}
