//! Tokens of many issuers, from the front door.

use super::*;
use crate::trust::{
    KeySource, SignedClaims, TrustConfig, TrustError, TrustedIssuer, TrustedIssuers, Untrusted, audiences,
};
use crate::{DiscoveryError, KeysError};
use tokensmith_core::keys::PublishedKeys;
use tokensmith_core::tokens::{Jws, TimeError};

struct Trusting {
    clock: Arc<ManualClock>,
    web: Arc<Web>,
    trusted: TrustedIssuers,
}

fn issuer(issuer: &str, keys: KeySource) -> TrustedIssuer {
    TrustedIssuer { issuer: issuer.into(), keys }
}

impl Trusting {
    fn new(issuers: impl IntoIterator<Item = TrustedIssuer>) -> Trusting {
        let world = World::new(&[]);
        let config = TrustConfig { clock: world.clock.clone(), ..TrustConfig::new(world.web.clone()) };
        let trusted = TrustedIssuers::new(issuers, config).unwrap();
        Trusting { clock: world.clock, web: world.web, trusted }
    }

    /// The one issuer, by discovery.
    fn one(key: &PrivateKey) -> Trusting {
        let trusting = Trusting::new([issuer(ISSUER, KeySource::Discovery)]);
        trusting.web.put(JWKS, Ok(page(format!("{{\"keys\":[{}]}}", key.public().jwk()))));
        trusting
    }

    async fn verify(&self, token: &str) -> Result<SignedClaims, Untrusted> {
        self.trusted.verify(token).await
    }
}

fn token(key: &PrivateKey, change: impl FnOnce(&mut Value)) -> String {
    let now = START.unix_timestamp();
    let mut claims = json!({"iss": ISSUER, "sub": "repo:acme/shop", "aud": "sts", "exp": now + 600});
    change(&mut claims);
    sign(key, claims.to_string().as_bytes())
}

fn set(published: &[&PrivateKey]) -> String {
    let keys: Vec<_> = published.iter().map(|key| key.public().jwk()).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

#[tokio::test]
async fn a_token_that_holds_says_what_its_issuer_has_signed() {
    let key = es256();
    let world = Trusting::one(&key);
    let payload = format!(
        r#"{{"iss":"{ISSUER}","sub":"a","exp":1767226200.9,"nbf":1767225600.1,"x":[1,{{"y":null}}]}}"#
    );
    let header = json!({"alg": "ES256", "kid": key.public().key_id(), "typ": "at+jwt"});
    let signed = world.verify(&signed_with_header(&key, header, payload.as_bytes())).await.unwrap();
    assert_eq!((signed.issuer.as_str(), signed.text("sub")), (ISSUER, Some("a")));
    assert_eq!(signed.header.kid, key.public().key_id());
    assert_eq!((signed.header.alg, signed.header.typ.as_deref()), (Algorithm::ES256, Some("at+jwt")));
    assert_eq!(
        (signed.expires, signed.not_before, signed.issued),
        (1_767_226_200, Some(1_767_225_601), None)
    );
    assert_eq!(signed.claims["x"], json!([1, {"y": null}]));
    for (aud, read) in [
        (json!("a"), Some(vec!["a"])),
        (json!(["a", "b"]), Some(vec!["a", "b"])),
        (json!([1]), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        let signed = world.verify(&token(&key, |c| c["aud"] = aud.clone())).await.unwrap();
        assert_eq!(signed.audiences(), read, "{aud}");
    }
}

#[tokio::test]
async fn each_rule_falls_by_its_own_name() {
    let (key, other) = (es256(), es256());
    let world = Trusting::one(&key);
    let claims = |change: fn(&mut Value)| token(&key, change);
    let header = |header: Value| {
        signed_with_header(
            &key,
            header,
            token(&key, |_| {}).split('.').nth(1).map(|p| BASE64.decode(p).unwrap()).unwrap().as_slice(),
        )
    };
    let kid = key.public().key_id();
    let raw = |payload: &str| sign(&key, payload.as_bytes());
    for (bad, why) in [
        ("".to_owned(), "malformed"),
        ("a.b".to_owned(), "malformed"),
        (format!("{}=", token(&key, |_| {})), "malformed"),
        ("x".repeat(17 << 10), "too_long"),
        (claims(|c| c["iss"] = json!("https://other.example")), "issuer"),
        (claims(|c| c["iss"] = json!(format!("{ISSUER}/"))), "issuer"),
        (claims(|c| c["iss"] = json!([ISSUER])), "malformed"),
        (claims(|c| drop(c.as_object_mut().unwrap().remove("iss"))), "malformed"),
        (claims(|c| drop(c.as_object_mut().unwrap().remove("exp"))), "no_expiry"),
        (raw("[1]"), "malformed"),
        (raw(&format!(r#"{{"iss":"{ISSUER}","exp":1767226200,"sub":"a","sub":"b"}}"#)), "malformed"),
        (raw(&format!(r#"{{"iss":"{ISSUER}","exp":1767226200,"x":{{"y":1,"y":1}}}}"#)), "malformed"),
        (
            raw(&format!(
                r#"{{"iss":"{ISSUER}","exp":1767226200,"x":{}1{}}}"#,
                "[".repeat(200),
                "]".repeat(200)
            )),
            "malformed",
        ),
        (header(json!({"alg": "none", "kid": kid})), "algorithm"),
        (header(json!({"alg": "HS256", "kid": kid})), "algorithm"),
        (header(json!({"alg": "RS256", "kid": kid})), "algorithm"),
        (header(json!({"kid": kid})), "algorithm"),
        (header(json!({"alg": "ES256"})), "no_key_id"),
        (header(json!({"alg": "ES256", "kid": ""})), "no_key_id"),
        (header(json!({"alg": "ES256", "kid": kid, "crit": ["exp"]})), "critical"),
        (header(json!({"alg": "ES256", "kid": kid, "crit": null})), "critical"),
        (header(json!({"alg": "ES256", "kid": kid, "b64": false})), "critical"),
        (header(json!({"alg": "ES256", "kid": kid, "b64": null})), "critical"),
        (header(json!({"alg": "ES256", "kid": kid, "typ": 1})), "malformed"),
        (token(&other, |_| {}), "unknown_key"),
        (
            signed_with_header(
                &other,
                json!({"alg": "ES256", "kid": kid}),
                format!(r#"{{"iss":"{ISSUER}","exp":1767226200}}"#).as_bytes(),
            ),
            "signature",
        ),
    ] {
        let error = world.verify(&bad).await.unwrap_err();
        assert_eq!(error.code(), why, "{bad}: {error}");
    }
    // Who cannot sign is not told that his token has also expired.
    let forged = signed_with_header(
        &other,
        json!({"alg": "ES256", "kid": kid}),
        format!(r#"{{"iss":"{ISSUER}","exp":1}}"#).as_bytes(),
    );
    assert_eq!(world.verify(&forged).await, Err(Untrusted::Signature));
}

#[tokio::test]
async fn times_are_numbers_with_a_leeway_and_never_overflow() {
    let key = es256();
    let world = Trusting::one(&key);
    let now = START.unix_timestamp();
    let verify = async |claim: &str, number: &str| {
        let exp = if claim == "exp" { String::new() } else { format!(r#""exp":{},"#, now + 600) };
        let payload = format!(r#"{{"iss":"{ISSUER}",{exp}"{claim}":{number}}}"#);
        world.verify(&sign(&key, payload.as_bytes())).await.map(|signed| signed.expires)
    };
    for (claim, number) in [
        ("exp", (now - 60).to_string()),
        ("exp", format!("{}.5", now - 60)),
        ("exp", i64::MAX.to_string()),
        ("exp", "9007199254740991.0".to_owned()),
        ("nbf", (now + 60).to_string()),
        ("iat", (now + 60).to_string()),
        ("nbf", i64::MIN.to_string()),
        ("iat", "-1.5".to_owned()),
    ] {
        assert!(verify(claim, &number).await.is_ok(), "{claim} {number}");
    }
    for (claim, number, error) in [
        ("exp", (now - 61).to_string(), TimeError::Expired),
        ("exp", format!("{}.9", now - 61), TimeError::Expired),
        ("exp", i64::MIN.to_string(), TimeError::Expired),
        ("exp", "-1".to_owned(), TimeError::Expired),
        ("nbf", format!("{}.1", now + 60), TimeError::NotYetValid),
        ("nbf", i64::MAX.to_string(), TimeError::NotYetValid),
        ("iat", i64::MAX.to_string(), TimeError::IssuedInFuture),
    ] {
        assert_eq!(verify(claim, &number).await, Err(Untrusted::Time(error)), "{claim} {number}");
    }
    for claim in ["exp", "nbf", "iat"] {
        for number in [
            "1e300",
            "-1e300",
            "18446744073709551615",
            "9223372036854775808",
            "\"1767226200\"",
            "null",
            "true",
            "[1]",
            "1e999",
        ] {
            let error = verify(claim, number).await.unwrap_err();
            assert_eq!(error.code(), "malformed", "{claim} {number}");
        }
    }
    // However large a leeway is.
    let config = TrustConfig {
        clock: world.clock.clone(),
        leeway: Duration::MAX,
        ..TrustConfig::new(world.web.clone())
    };
    let lenient = TrustedIssuers::new([issuer(ISSUER, KeySource::Discovery)], config).unwrap();
    assert!(lenient.verify(&token(&key, |c| c["exp"] = json!(0))).await.is_ok());
}

#[tokio::test]
async fn ten_thousand_issuers_cost_a_table_and_a_token_one_of_them() {
    let key = es256();
    let count = 10_000;
    let name = |n: usize| format!("https://issuer-{n}.example/tenant");
    let world = Trusting::new((0..count).map(|n| issuer(&name(n), KeySource::Discovery)));
    assert_eq!(world.trusted.len(), count);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    assert!(world.web.asked.lock().unwrap().is_empty());
    for used in [0, 4711, 9999] {
        let (own, keys) = (name(used), format!("{}/keys", name(used)));
        world.web.put(
            &format!("{own}/.well-known/openid-configuration"),
            Ok(page(json!({"issuer": own, "jwks_uri": keys}).to_string())),
        );
        world.web.put(&keys, Ok(page(set(&[&key]))));
        assert!(world.trusted.health(&own).is_none());
        for _ in 0..3 {
            assert_eq!(world.verify(&token(&key, |c| c["iss"] = json!(own))).await.unwrap().issuer, own);
        }
        assert!(world.trusted.health(&own).unwrap().is_ok());
    }
    assert_eq!(world.web.asked.lock().unwrap().len(), 6, "both documents of those that were used");
    settle().await;
    assert!(tasks() - before <= 3, "one keeps the keys of each that was used");
    // An issuer that nobody has asked for is its name, and where its keys are.
    assert_eq!(TrustedIssuers::BYTES_OF_AN_UNUSED.max(96), 96);
}

#[tokio::test]
async fn a_token_whose_times_are_out_has_nothing_fetched() {
    let key = es256();
    let world = Trusting::one(&key);
    let now = START.unix_timestamp();
    for (claim, value) in [("exp", json!(now - 600)), ("nbf", json!(now + 600)), ("exp", json!("x"))] {
        let error = world.verify(&token(&key, |c| c[claim] = value.clone())).await.unwrap_err();
        assert!(matches!(error, Untrusted::Time(_) | Untrusted::Malformed(_)), "{claim} {value}: {error}");
    }
    assert_eq!((world.web.count(DISCOVERY), world.trusted.health(ISSUER)), (0, None));
    // Where there are keys, who cannot sign is told no more than that.
    world.verify(&token(&key, |_| {})).await.unwrap();
    let error = world.verify(&token(&es256(), |c| c["exp"] = json!(now - 600))).await.unwrap_err();
    assert_eq!(error, Untrusted::UnknownKey);
}

#[tokio::test]
async fn a_token_that_nobody_has_a_use_for_has_nothing_fetched() {
    let (key, foreign) = (es256(), es256());
    let world = Trusting::one(&key);
    let ask = async |token: String| {
        world
            .trusted
            .verify_if(&Jws::parse(&token).unwrap(), |issuer, claims| match (issuer, audiences(claims)) {
                (ISSUER, Some(all)) if all == ["sts"] => Ok(()),
                _ => Err("another's"),
            })
            .await
            .map(|fit| fit.map(|signed| signed.issuer))
    };
    let for_another = |key: &PrivateKey| token(key, |c| c["aud"] = json!("x"));
    assert_eq!(ask(for_another(&key)).await, Ok(Err("another's")));
    assert_eq!((world.web.count(DISCOVERY), world.trusted.health(ISSUER)), (0, None));
    assert_eq!(ask(token(&key, |_| {})).await, Ok(Ok(ISSUER.into())));
    // Where there are keys, the signature counts first, and a key that is not known is not looked for.
    assert_eq!(ask(for_another(&foreign)).await, Err(Untrusted::UnknownKey));
    assert_eq!(ask(for_another(&key)).await, Ok(Err("another's")));
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(ask(for_another(&foreign)).await, Err(Untrusted::UnknownKey));
    assert_eq!(world.web.count(JWKS), 1);
}

#[tokio::test]
async fn of_many_issuers_few_are_asked_at_once() {
    let key = es256();
    let name = |at: usize| format!("https://i{at}.example");
    let world = Trusting::new((0..100).map(|at| issuer(&name(at), KeySource::Discovery)));
    world.web.hold(true);
    let trusted = Arc::new(world.trusted);
    let asking: Vec<_> = (0..100)
        .map(|at| {
            let (trusted, token) = (trusted.clone(), token(&key, |c| c["iss"] = json!(name(at))));
            tokio::spawn(async move { trusted.verify(&token).await })
        })
        .collect();
    settle().await;
    let asked = || (0..100).map(|at| world.web.count(&crate::discovery::url(&name(at)))).sum::<usize>();
    assert_eq!(asked(), 16);
    world.web.hold(false);
    for one in asking {
        assert!(matches!(one.await.unwrap(), Err(Untrusted::Keys { .. })));
    }
    assert_eq!(asked(), 100);
}

#[tokio::test]
async fn what_a_hostile_issuer_says_is_told_in_few_words() {
    let key = es256();
    let world = Trusting::one(&key);
    let long = "é".repeat(400_000);
    for document in [
        json!({"issuer": long, "jwks_uri": JWKS}),
        json!({"issuer": ISSUER, "jwks_uri": format!("https://a.example/{long}")}),
        json!({"issuer": ISSUER, "jwks_uri": format!("https://a.example/{}", "k".repeat(1000))}),
    ] {
        world.web.put(DISCOVERY, Ok(page(document.to_string())));
        world.clock.advance(DAY);
        let now = world.clock.unix();
        let error = world.verify(&token(&key, |c| c["exp"] = json!(now + 600))).await.unwrap_err();
        assert!(matches!(error, Untrusted::Keys { why: Some(_), .. }), "{error}");
        assert!(error.to_string().len() < 500 && format!("{error:?}").len() < 500, "{error:?}");
    }
    assert!(crate::FetchError::new(long).to_string().len() < 300);
}

#[tokio::test]
async fn documents_may_be_read_elsewhere_and_are_still_the_issuers() {
    let key = es256();
    let here = "http://127.0.0.1:8080";
    let world = Trusting::new([issuer(ISSUER, KeySource::DiscoveryAt(here.into()))]);
    let discovery = format!("{here}/.well-known/openid-configuration");
    world.web.put(&discovery, Ok(page(json!({"issuer": ISSUER, "jwks_uri": JWKS}).to_string())));
    world.web.put(&format!("{here}/openid/v1/jwks"), Ok(page(set(&[&key]))));
    assert!(world.verify(&token(&key, |_| {})).await.is_ok());
    assert_eq!((world.web.count(DISCOVERY), world.web.count(JWKS)), (0, 0), "nothing is asked of the name");
    // Another issuer's document says nothing for this one.
    world.web.put(&discovery, Ok(page(json!({"issuer": here, "jwks_uri": JWKS}).to_string())));
    let fresh = Trusting {
        trusted: TrustedIssuers::new(
            [issuer(ISSUER, KeySource::DiscoveryAt(here.into()))],
            TrustConfig { clock: world.clock.clone(), ..TrustConfig::new(world.web.clone()) },
        )
        .unwrap(),
        ..world
    };
    let foreign = DiscoveryError::Foreign { found: here.into(), issuer: ISSUER.into() };
    match fresh.verify(&token(&key, |_| {})).await {
        Err(Untrusted::Keys { why: Some(KeysError::Discovery(error)), .. }) => assert_eq!(error, foreign),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_set_file_is_looked_at_again_but_not_for_each_token() {
    let (key, next) = (es256(), es256());
    let path = std::env::temp_dir().join(format!("{}.jwks", tokensmith_core::random::uuid()));
    std::fs::write(&path, set(&[&key])).unwrap();
    let world = Trusting::new([issuer("kubernetes", KeySource::File(path.clone()))]);
    let of = |key: &PrivateKey| token(key, |c| c["iss"] = json!("kubernetes"));
    assert!(world.verify(&of(&key)).await.is_ok());
    std::fs::write(&path, set(&[&next])).unwrap();
    assert!(world.verify(&of(&key)).await.is_ok(), "within the minute");
    assert_eq!(
        world.verify(&of(&next)).await,
        Err(Untrusted::UnknownKey),
        "nor for a key that nobody knows, at once"
    );
    world.clock.advance(Duration::from_secs(10));
    assert!(world.verify(&of(&next)).await.is_ok());
    assert_eq!(world.verify(&of(&key)).await, Err(Untrusted::UnknownKey), "what has left counts no more");
    // Gone, and then longer than anybody's: what was read last counts for a while.
    std::fs::remove_file(&path).unwrap();
    world.clock.advance(Duration::from_secs(120));
    assert!(world.verify(&of(&next)).await.is_ok());
    assert!(world.trusted.health("kubernetes").unwrap().is_err());
    world.clock.advance(2 * DAY);
    match world
        .verify(&token(&next, |c| {
            c["iss"] = json!("kubernetes");
            c["exp"] = json!(i64::MAX);
        }))
        .await
    {
        Err(Untrusted::Keys { why: Some(KeysError::Fetch(error)), .. }) => {
            assert!(error.to_string().contains(&path.display().to_string()))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn files_that_are_none_say_so() {
    let key = es256();
    let folder = std::env::temp_dir();
    let long = folder.join(format!("{}.jwks", tokensmith_core::random::uuid()));
    std::fs::write(&long, vec![b' '; (1 << 20) + 1]).unwrap();
    let junk = folder.join(format!("{}.jwks", tokensmith_core::random::uuid()));
    std::fs::write(&junk, "[]").unwrap();
    for (path, why) in [
        (folder, "it is no file"),
        (long.clone(), "answers with 1048577 bytes"),
        (junk.clone(), "it is no JWK set"),
    ] {
        let world = Trusting::new([issuer(ISSUER, KeySource::File(path))]);
        let error = world.verify(&token(&key, |_| {})).await.unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains('\n'), "{error}");
    }
    std::fs::remove_file(long).unwrap();
    std::fs::remove_file(junk).unwrap();
}

#[tokio::test]
async fn what_cannot_be_trusted_is_told_when_it_is_set_up() {
    let web = World::new(&[]).web;
    let new = |issuers: Vec<TrustedIssuer>| {
        TrustedIssuers::new(issuers, TrustConfig::new(web.clone())).map(|trusted| trusted.len())
    };
    let keys = KeySource::Keys(PublishedKeys::parse(set(&[&es256()]).as_bytes()).unwrap());
    assert_eq!(new(vec![]), Ok(0));
    assert_eq!(new(vec![issuer("any text", keys.clone()), issuer("https://a", KeySource::Discovery)]), Ok(2));
    assert_eq!(new(vec![issuer("", keys.clone())]), Err(TrustError::NoName));
    assert_eq!(
        new(vec![issuer("a", keys.clone()), issuer("a", keys.clone())]),
        Err(TrustError::Twice("a".into()))
    );
    assert_eq!(
        new(vec![issuer("a", KeySource::Keys(PublishedKeys::default()))]),
        Err(TrustError::NoKeys("a".into()))
    );
    for (name, keys) in [
        ("http://a.example", KeySource::Discovery),
        ("a", KeySource::DiscoveryAt("http://b.example".into())),
        ("a", KeySource::DiscoveryAt("b".into())),
    ] {
        assert!(matches!(new(vec![issuer(name, keys)]), Err(TrustError::Discovery(_))), "{name}");
    }
}

#[tokio::test]
async fn given_keys_need_nobody() {
    let key = rsa();
    let world =
        Trusting::new([issuer("x", KeySource::Keys(PublishedKeys::parse(set(&[&key]).as_bytes()).unwrap()))]);
    assert!(world.verify(&token(&key, |c| c["iss"] = json!("x"))).await.is_ok());
    assert_eq!(world.verify(&token(&es256(), |c| c["iss"] = json!("x"))).await, Err(Untrusted::UnknownKey));
    assert!(world.web.asked.lock().unwrap().is_empty() && world.trusted.health("x").unwrap().is_ok());
}
