//! Key sets that are uploaded to a provider (IAM API, `Oidc.jwksJson`).

use std::collections::BTreeSet;

use serde_json::Value;
use tokensmith_api::json;
use tokensmith_core::keys::{Algorithm, PublishedKeys};

/// "It must include only the following fields."
const MEMBERS: [&str; 9] = ["kty", "alg", "use", "kid", "n", "e", "x", "y", "crv"];

/// Reads a set. Unlike one that is fetched it must be whole: what Google does not take it refuses when it is uploaded.
///
/// Of EC keys that is all but P-256 (seen: "Only RSA, EC key types are supported" for P-384 and P-521), and tokens are
/// RS256 or ES256 alone.
pub(super) fn keys(text: &str) -> Result<PublishedKeys, String> {
    let read = json::parse(text.as_bytes())
        .map_err(|why| format!("Input JWK is not in a valid json format: {why}"))?;
    if let Some(repeated) = read.duplicates.first() {
        return Err(format!("Input JWK is not in a valid json format: {repeated} is there twice"));
    }
    let Some(entries) = read.value.get("keys").and_then(Value::as_array) else {
        return Err("Input JWK is not in a valid json format: there are no keys".into());
    };
    let mut kids = BTreeSet::new();
    for entry in entries {
        let kid = entry.get("kid").and_then(Value::as_str).filter(|kid| !kid.is_empty());
        let kid = kid.ok_or("each key needs a kid")?;
        if !kids.insert(kid) {
            return Err(format!("the kid {kid:?} is there twice"));
        }
        let members = entry.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let foreign: Vec<&str> = members.filter(|name| !MEMBERS.contains(name)).collect();
        if !foreign.is_empty() {
            let foreign = foreign.join(", ");
            return Err(format!(
                "Input JWK is not in a valid json format: the key {kid:?} must not have {foreign}"
            ));
        }
        if entry.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err(format!("the key {kid:?} is not for signatures (use: sig)"));
        }
    }
    let keys = PublishedKeys::parse(text.as_bytes()).map_err(|why| why.to_string())?;
    if let Some(passed) = keys.passed_over().first() {
        let kid = passed.kid.as_deref().unwrap_or_default();
        return Err(format!("the key {kid:?} is not one of RSA or EC: {}", passed.why));
    }
    let taken = |algorithm| {
        matches!(algorithm, Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 | Algorithm::ES256)
    };
    let other = keys.iter().find(|(_, key)| !taken(key.algorithm())).map(|(kid, _)| kid.to_owned());
    match other {
        Some(kid) => Err(format!("the key {kid:?}: Only RSA, EC key types are supported (of EC, P-256)")),
        None if keys.is_empty() => Err("there are no keys".into()),
        None => Ok(keys),
    }
}
