//! Which tokens hold, and which forgeries do not.

use super::*;
use crate::{ConfigError, IssuerConfig};
use tokensmith_core::keys::issuer::NoDiscovery;
use tokensmith_core::tokens::TimeError;
use tokensmith_core::tokens::jws::SignatureError;

const WRONG: Rejection = Rejection::Signature(SignatureError::Wrong);
const NO_KEY: Rejection = Rejection::Signature(SignatureError::NoKey);

#[tokio::test]
async fn every_algorithm_is_checked_once_and_remembered() {
    for &algorithm in Algorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let world = World::new(&[&key]);
        let token = world.token(&key);
        let first = world.verify(&token).await.unwrap();
        let again = world.verify(&token).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again), "{algorithm}");
        assert_eq!(counter(&world.verifier, "tokensmith_verify_checked_total"), 1);
        assert_eq!(counter(&world.verifier, "tokensmith_verify_remembered_total"), 1);
        assert_eq!((world.web.count(DISCOVERY), world.web.count(JWKS)), (1, 1));
    }
}

#[tokio::test]
async fn what_is_found_out() {
    let key = es256();
    let world = World::new(&[&key]);
    let token = world.token_with(&key, |c| {
        c["aud"] = json!(["vault", AUDIENCE]);
        c["jti"] = json!("j");
    });
    let found = world.verify(&token).await.unwrap();
    let expires_at = START + Duration::from_secs(864_000);
    let reference = |name: &str, uid: &str| Some(tokensmith_core::tokens::Reference::new(name, uid));
    assert_eq!(
        *found,
        Verified {
            issuer: ISSUER.into(),
            subject: "system:serviceaccount:pay:api".into(),
            username: "system:serviceaccount:pay:api".into(),
            namespace: "pay".into(),
            account: "api".into(),
            uid: "c1c3d9be".into(),
            groups: ["system:serviceaccounts", "system:serviceaccounts:pay", "system:authenticated"]
                .map(Into::into)
                .into(),
            pod: reference("api-0", "2f7f0f5b"),
            node: reference("worker-1", "6a5f2c0e"),
            audiences: vec![AUDIENCE.into()],
            expires_at,
            jti: "j".into(),
        }
    );
}

#[tokio::test]
async fn forgeries() {
    let (key, other, stranger) = (rsa(), es256(), es256());
    let world = World::new(&[&key, &other]);
    let good = world.token(&key);
    world.verify(&good).await.unwrap();
    let payload = claims(world.clock.unix()).to_string().into_bytes();
    let kid = key.public().key_id();
    let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();

    // No signature at all, in every spelling.
    for alg in ["none", "None", "NONE", ""] {
        let header = BASE64.encode(json!({"alg": alg, "kid": kid}).to_string());
        for signature in ["", signature] {
            assert_eq!(world.verify(&format!("{header}.{body}.{signature}")).await, Err(WRONG), "{alg}");
        }
    }
    // HMAC with what everybody knows as the secret (the classic confusion).
    for secret in
        [key.public().to_pem().into_bytes(), key.public().spki().to_vec(), key.public().jwk().into_bytes()]
    {
        let signed = format!("{}.{body}", BASE64.encode(json!({"alg": "HS256", "kid": kid}).to_string()));
        let mac =
            ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), signed.as_bytes());
        assert_eq!(world.verify(&format!("{signed}.{}", BASE64.encode(mac))).await, Err(WRONG));
    }
    // A right signature by another algorithm of the same key (RFC 8725 §3.1).
    let rs384 = rsa().with_algorithm(Algorithm::RS384).unwrap();
    assert_eq!(world.verify(&sign(&rs384, &payload)).await, Err(WRONG));
    let claimed = signed_with_header(&key, json!({"alg": "RS384", "kid": kid}), &payload);
    assert_eq!(world.verify(&claimed).await, Err(WRONG));
    assert_eq!(world.verify(&signed_with_header(&key, json!({"kid": kid}), &payload)).await, Err(WRONG));
    // Another published key's name, and a stranger's signature under a published one.
    for signer in [&other, &stranger] {
        let header = json!({"alg": signer.public().algorithm(), "kid": kid});
        assert_eq!(world.verify(&signed_with_header(signer, header, &payload)).await, Err(WRONG));
    }
    assert_eq!(world.verify(&sign(&stranger, &payload)).await, Err(NO_KEY));
    // Keys that the token brings along.
    let jwk: Value = serde_json::from_str(&stranger.public().jwk()).unwrap();
    let header = json!({"alg": "ES256", "jwk": jwk, "jku": "https://evil.example/keys"});
    assert_eq!(world.verify(&signed_with_header(&stranger, header, &payload)).await, Err(NO_KEY));
    assert_eq!(world.web.count("https://evil.example/keys"), 0);
    // What asks to be understood and is not (RFC 7515 §4.1.11).
    for crit in [json!(["exp"]), json!([]), json!(null), json!("b64")] {
        let header = json!({"alg": "RS256", "kid": kid, "crit": crit});
        let signed = signed_with_header(&key, header, &payload);
        assert_eq!(world.verify(&signed).await, Err(WRONG), "{crit}");
    }
    // Changed after it was signed.
    let tampered = String::from_utf8(payload.clone()).unwrap().replace("pay", "kube-system");
    assert_eq!(world.verify(&format!("{head}.{}.{signature}", BASE64.encode(tampered))).await, Err(WRONG));
    let mut flipped = BASE64.decode(signature).unwrap();
    flipped[100] ^= 1;
    assert_eq!(world.verify(&format!("{head}.{body}.{}", BASE64.encode(&flipped))).await, Err(WRONG));
    assert_eq!(world.verify(&format!("{head}.{body}.{}", BASE64.encode(&flipped[1..]))).await, Err(WRONG));
    // None of it is remembered as good, and the good one still is.
    assert!(world.verify(&good).await.is_ok());
    assert_eq!(counter(&world.verifier, "tokensmith_verify_remembered_total"), 1);
    assert!(counter(&world.verifier, "tokensmith_verify_refused_total{reason=\"signature\"}") >= 20);
}

#[tokio::test]
async fn what_is_no_token() {
    let key = es256();
    let world = World::new(&[&key]);
    let good = world.token(&key);
    let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let claims = claims(0).to_string();
    let twice = claims.replacen('{', &format!("{{\"aud\":[{AUDIENCE:?}],"), 1);
    let nested = claims.replacen("\"namespace\":", "\"namespace\":\"kube-system\",\"namespace\":", 1);
    let head_twice = r#"{"alg":"ES256","alg":"ES256","kid":"x"}"#;
    for text in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{head}.{body}"),
        format!("{head}.{body}.{signature}.x"),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{signature} "),
        format!("{head}.{}.{signature}", BASE64.encode("[]")),
        format!("{head}.{}.{signature}", BASE64.encode("{")),
        format!("{}.{body}.{signature}", BASE64.encode("[\"ES256\"]")),
        format!("{}.{body}.{signature}", BASE64.encode(head_twice)),
        sign(&key, twice.as_bytes()),
        sign(&key, nested.as_bytes()),
    ] {
        assert_eq!(world.verify(&text).await, Err(Rejection::Malformed), "{text}");
    }
    let long = world.token_with(&key, |c| c["x"] = json!("x".repeat(super::super::MAX_TOKEN)));
    assert_eq!(world.verify(&long).await, Err(Rejection::TooLong));
    assert_eq!(world.web.count(DISCOVERY), 0, "junk costs the issuer nothing");
}

#[tokio::test]
async fn what_a_token_must_say() {
    use Rejection::{Audience, Issuer, Malformed, NoExpiry, Subject};
    use TimeError::{Expired, IssuedInFuture, NotYetValid};
    let key = es256();
    let world = World::new(&[&key]);
    let now = world.clock.unix();
    let long_ago = 86_400;
    for (claim, value, expected) in [
        ("iss", json!("https://issuer.example/"), Issuer),
        ("iss", json!("https://Issuer.example"), Issuer),
        ("iss", json!("kubernetes/serviceaccount"), Issuer),
        ("iss", json!(null), Issuer),
        ("iss", json!([ISSUER]), Malformed),
        ("aud", json!(null), Audience),
        ("aud", json!([]), Audience),
        ("aud", json!("vault"), Audience),
        ("aud", json!(["https://api.example/", "https://API.example"]), Audience),
        ("aud", json!(7), Malformed),
        ("exp", json!(null), NoExpiry),
        ("exp", json!(i64::MAX), NoExpiry),
        ("exp", json!(1e300), NoExpiry),
        ("exp", json!("soon"), Malformed),
        ("exp", json!(now - 61), Expired.into()),
        ("exp", json!(-1), Expired.into()),
        ("nbf", json!(now + 61), NotYetValid.into()),
        ("iat", json!(now + 61), IssuedInFuture.into()),
        ("sub", json!("system:serviceaccount:pay:api2"), Subject),
        ("sub", json!("system:serviceaccount:pay"), Subject),
        ("sub", json!("system:serviceaccount:pay:api:x"), Subject),
        ("sub", json!("system:node:api"), Subject),
        ("sub", json!(null), Subject),
        ("kubernetes.io", json!(null), Subject),
        ("kubernetes.io", json!({"namespace": "pay", "serviceaccount": {"name": "api"}}), Subject),
        ("kubernetes.io", json!({"namespace": "x", "serviceaccount": {"name": "api", "uid": "u"}}), Subject),
        ("kubernetes.io", json!("x"), Malformed),
    ] {
        let token = world.token_with(&key, |c| c[claim] = value.clone());
        assert_eq!(world.verify(&token).await, Err(expected), "{claim}: {value}");
    }
    for (claim, value) in [
        ("aud", json!(AUDIENCE)),
        ("aud", json!(["", "vault", AUDIENCE, AUDIENCE])),
        ("exp", json!(now - 60)),
        ("exp", json!(now as f64 + 0.5)),
        ("nbf", json!(now + 60)),
        ("nbf", json!(null)),
        ("iat", json!(now + 60)),
        ("iat", json!(now - long_ago)),
        ("jti", json!(null)),
        ("email", json!("x")),
    ] {
        let token = world.token_with(&key, |c| c[claim] = value.clone());
        assert!(world.verify(&token).await.is_ok(), "{claim}: {value}");
    }
}

#[tokio::test]
async fn time_counts_at_every_use() {
    let key = es256();
    let world = World::new(&[&key]);
    let token = world.token_with(&key, |c| c["exp"] = json!(START.unix_timestamp() + 600));
    world.verify(&token).await.unwrap();
    world.clock.advance(Duration::from_secs(660));
    world.verify(&token).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.verify(&token).await, Err(TimeError::Expired.into()));
    // A clock that was ahead and is set right: the token is of the future now.
    world.clock.set(START - Duration::from_secs(61));
    assert_eq!(world.verify(&token).await, Err(TimeError::NotYetValid.into()));
    world.clock.set(START - Duration::from_secs(60));
    world.verify(&token).await.unwrap();
    assert_eq!(counter(&world.verifier, "tokensmith_verify_checked_total"), 1);
}

#[tokio::test]
async fn only_those_who_are_let_in() {
    let key = es256();
    let world = World::with(&[&key], |c| {
        c.allow_subjects = ["system:serviceaccount:pay:*", "system:serviceaccount:*:probe"]
            .map(|s| s.parse().unwrap())
            .into();
    });
    let of = |namespace: &str, name: &str| {
        world.token_with(&key, |c| {
            c["sub"] = json!(format!("system:serviceaccount:{namespace}:{name}"));
            c["kubernetes.io"] =
                json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": "u"}});
        })
    };
    assert!(world.verify(&of("pay", "api")).await.is_ok());
    assert!(world.verify(&of("other", "probe")).await.is_ok());
    assert_eq!(world.verify(&of("other", "api")).await, Err(Rejection::NotAllowed));
    // Who cannot sign does not learn who would be let in.
    let forged = of("other", "api").rsplit_once('.').map(|(signed, _)| format!("{signed}.AAAA")).unwrap();
    assert_eq!(world.verify(&forged).await, Err(WRONG));
}

#[tokio::test]
async fn each_issuer_has_its_keys_and_its_audiences() {
    let (key, second) = (es256(), es256());
    let other = "https://other.example/tenant/";
    let world = World::with(&[&key], |c| {
        c.issuers.push(IssuerConfig { issuer: other.into(), audiences: vec!["other-audience".into()] });
    });
    let uri = "https://other.example/keys";
    let discovery = json!({"issuer": other, "jwks_uri": uri}).to_string();
    world.web.put("https://other.example/tenant/.well-known/openid-configuration", Ok(page(discovery)));
    world.web.put(uri, Ok(page(format!("{{\"keys\":[{}]}}", second.public().jwk()))));
    let of = |key, issuer, audience| {
        world.token_with(key, |c| {
            c["iss"] = json!(issuer);
            c["aud"] = json!([audience]);
        })
    };
    assert!(world.verify(&of(&key, ISSUER, AUDIENCE)).await.is_ok());
    assert!(world.verify(&of(&second, other, "other-audience")).await.is_ok());
    assert_eq!(world.verify(&of(&second, other, AUDIENCE)).await, Err(Rejection::Audience));
    // One issuer's key says nothing about the other's tokens.
    assert_eq!(world.verify(&of(&second, ISSUER, AUDIENCE)).await, Err(NO_KEY));
    assert!(world.verifier.health().is_ok());
}

#[test]
fn configurations_that_would_let_in_strangers() {
    let world = World::new(&[]);
    let error = |change: &dyn Fn(&mut VerifierConfig)| {
        let mut config = VerifierConfig::new(ISSUER, AUDIENCE, world.web.clone());
        change(&mut config);
        Verifier::new(config).err()
    };
    assert_eq!(error(&|_| {}), None);
    assert_eq!(error(&|c| c.issuers.clear()), Some(ConfigError::NoIssuer));
    assert_eq!(error(&|c| c.audiences.clear()), Some(ConfigError::NoAudience(ISSUER.into())));
    assert_eq!(error(&|c| c.audiences.push(String::new())), Some(ConfigError::EmptyAudience));
    assert_eq!(
        error(&|c| c.issuers.push(c.issuers[0].clone())),
        Some(ConfigError::TwiceIssuer(ISSUER.into()))
    );
    let plain = error(&|c| c.issuers[0].issuer = "http://issuer.example".into()).unwrap();
    assert!(matches!(plain, ConfigError::Issuer(crate::DiscoveryError::Issuer(NoDiscovery::NotHttps(_)))));
    assert_eq!(plain.to_string(), "issuer URL must use https scheme, got: http://issuer.example");
}
