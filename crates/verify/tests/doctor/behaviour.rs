//! What doctor says of a verifier is what the real one does: each row of tests/verifiers/behaviour.json, which that suite measures.
//! Of the rows about an audience or a pod that is gone doctor says nothing, and of verifiers that were not measured we have the
//! sources and documents of their rules alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokensmith_core::keys::verifiers::FAMILIES;
use tokensmith_verify::doctor::{Diagnosis, all};

use super::site::{Site, jwk, keys};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/verifiers/behaviour.json");

/// The verifiers that were measured, and that doctor knows.
fn measured() -> BTreeMap<String, Value> {
    let read: Value = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    let known: Vec<String> = all().unwrap().into_iter().map(|verifier| verifier.name).collect();
    // What looks at keys alone takes no token.
    let tells = |row: &Value| row["takes"].is_object();
    let rows = read.as_object().unwrap().iter().filter(|(name, row)| known.contains(name) && tells(row));
    let rows: BTreeMap<_, _> = rows.map(|(name, row)| (name.clone(), row.clone())).collect();
    assert!(rows.len() >= 13, "{rows:?}");
    rows
}

/// Whether nothing speaks against it, by verifier.
async fn taken(change: impl FnOnce(&mut Site)) -> BTreeMap<String, (bool, Vec<String>)> {
    let mut site = Site::whole();
    change(&mut site);
    let told = |one: Diagnosis| {
        let failing: Vec<String> = one.failing().map(|f| format!("{}: {}", f.rule, f.detail)).collect();
        (one.name, (failing.is_empty(), failing))
    };
    site.examined().await.into_iter().map(told).collect()
}

#[track_caller]
fn agree(
    aspect: &str,
    what: &str,
    told: &BTreeMap<String, (bool, Vec<String>)>,
    does: impl Fn(&Value) -> bool,
) {
    // Where something else looks at the claims nothing was measured of them.
    for (name, row) in measured().into_iter().filter(|(_, row)| row.get(aspect).is_some()) {
        let (taken, why) = &told[&name];
        assert_eq!(*taken, does(&row), "{name}, {what}: {why:?}");
    }
}

#[tokio::test]
async fn what_is_taken() {
    agree("takes", "a good token", &taken(|_| {}).await, |row| row["takes"]["good"] == true);
    let two = taken(|site| site.claims["aud"] = json!(["vault", "other"])).await;
    agree("takes", "two audiences", &two, |row| row["takes"]["twoAudiences"] == true);
    let spoilt = taken(|site| site.spoilt = true).await;
    agree("takes", "a spoilt signature", &spoilt, |row| row["takes"]["spoiltSignature"] == true);
}

#[tokio::test]
async fn algorithms() {
    for (number, key) in keys().iter().enumerate().skip(2) {
        let name = key.public().algorithm().as_str();
        let told = taken(|site| {
            let mut spare = jwk(number);
            spare["kid"] = "spare".into();
            site.keys = json!({ "keys": [jwk(number), spare] });
            site.document["id_token_signing_alg_values_supported"] = json!([name]);
            site.signer = number;
        })
        .await;
        // Only what was asked of them is known.
        let asked = ["RS256", "ES256", "ES384", "ES512"].contains(&name);
        if asked {
            agree("algorithms", name, &told, |row| {
                row["algorithms"].as_array().unwrap().iter().any(|one| one == name)
            });
        }
    }
}

#[tokio::test]
async fn clocks_that_differ() {
    for away in [5, 20, 45, 90, 200, 280, 450] {
        let expired = taken(|site| {
            let now = site.claims["iat"].as_i64().unwrap();
            site.claims["iat"] = (now - 3600).into();
            site.claims["nbf"] = (now - 3600).into();
            site.claims["exp"] = (now - away).into();
        })
        .await;
        let within = |row: &Value, which: &str| {
            row["skewSeconds"][which].as_i64().is_none_or(|allowed| away < allowed)
        };
        agree("skewSeconds", &format!("expired {away} s ago"), &expired, |row| within(row, "expired"));
        let early = taken(|site| {
            let now = site.claims["iat"].as_i64().unwrap();
            site.claims["iat"] = (now + away).into();
            site.claims["nbf"] = (now + away).into();
        })
        .await;
        agree("skewSeconds", &format!("valid in {away} s"), &early, |row| within(row, "notYetValid"));
    }
}

#[test]
fn who_forgets_a_key() {
    let all = all().unwrap();
    for (name, row) in measured() {
        let verifier = all.iter().find(|verifier| verifier.name == name).unwrap();
        let keys = verifier.keys.as_deref().unwrap_or_else(|| panic!("{name} has no row of its own"));
        let family = FAMILIES.iter().find(|family| family.name.starts_with(keys)).unwrap();
        assert_eq!(row["family"], family.name, "{name}");
    }
}
