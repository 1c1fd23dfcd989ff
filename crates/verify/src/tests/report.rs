//! The report tells people what the verifier tells machines.

use tokensmith_core::keys::PublishedKeys;

use super::*;
use crate::report::{Conclusion, Report, UnverifiedToken};
use crate::{Expected, verify_by_keys};

/// Whether the verifier takes a token of these claims and header, and whether the report calls it valid.
fn both(key: &PrivateKey, header: Value, claims: &Value) -> (bool, bool) {
    let token = signed_with_header(key, header, claims.to_string().as_bytes());
    let jwks = format!("{{\"keys\":[{}]}}", key.public().jwk());
    let keys = PublishedKeys::parse(jwks.as_bytes()).unwrap();
    let audiences = [AUDIENCE.to_owned()];
    let now = START.unix_timestamp();
    let expected = Expected { issuer: ISSUER, audiences: &audiences, allow_subjects: &[] };
    let taken = verify_by_keys(&token, &keys, &expected, now).is_ok();
    let document = json!({"issuer": ISSUER, "jwks_uri": JWKS}).to_string();
    let report = UnverifiedToken::parse(&token)
        .map(|token| Report::by_issuer(&token, ISSUER, &audiences, (document.as_bytes(), JWKS, &keys), now));
    (taken, report.is_ok_and(|report| report.conclusion() == Conclusion::Valid))
}

#[test]
fn the_report_and_the_verifier_agree() {
    let key = es256();
    let kid = key.public().key_id().to_owned();
    let header = json!({"alg": "ES256", "kid": kid});
    let now = START.unix_timestamp();
    let good = claims(now);
    assert_eq!(both(&key, header.clone(), &good), (true, true));
    let odd =
        [json!(null), json!(7), json!(""), json!([]), json!({}), json!("x"), json!(1e300), json!(["x"])];
    for header in [
        json!({"alg": "ES384", "kid": kid}),
        json!({"alg": "none", "kid": kid}),
        json!({"kid": kid}),
        json!({"alg": "ES256", "kid": "other"}),
        json!({"alg": "ES256", "kid": kid, "crit": ["exp"]}),
        json!({"alg": "ES256", "kid": kid, "b64": false}),
    ] {
        assert_eq!(both(&key, header.clone(), &good), (false, false), "{header}");
    }
    let (minute, later) = (now + 60, now + 61);
    for (claim, value, holds) in [
        ("nbf", json!(minute), true),
        ("nbf", json!(later), false),
        ("iat", json!(later), false),
        ("exp", json!(now - 60), true),
        ("exp", json!(now - 61), false),
        ("aud", json!(AUDIENCE), true),
        ("aud", json!(["other"]), false),
        ("sub", json!("system:serviceaccount:pay:other"), false),
        ("sub", json!("system:serviceaccount:pay"), false),
        ("iss", json!("https://issuer.example/"), false),
    ] {
        let mut claims = good.clone();
        claims[claim] = value.clone();
        assert_eq!(both(&key, header.clone(), &claims), (holds, holds), "{claim}: {value}");
    }
    // Whatever a claim is made: what the verifier takes, the report never calls refused.
    for claim in ["iss", "aud", "sub", "exp", "nbf", "iat", "kubernetes.io"] {
        for value in &odd {
            let mut claims = good.clone();
            claims[claim] = value.clone();
            let (taken, valid) = both(&key, header.clone(), &claims);
            let no_time = claim != "exp" && taken && (value.is_null() || value.is_number());
            assert!(valid || !taken || no_time, "{claim}: {value}");
        }
    }
}
