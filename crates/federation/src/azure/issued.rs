//! The access tokens that are given out: JWTs as Entra's, so that tools can look into them, and signed as Entra signs none.
//!
//! Whoever checks them finds the key at the tenant's `jwks_uri`. It is Ed25519, made from the process' secret: a reload keeps it,
//! a restart does not, and no service that takes Entra's RS256 takes it by mistake.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Version, documents};
use crate::cloud::Secret;

/// The life of a token, in seconds, as it is told.
pub(super) const LIFE: i64 = 3599;
const KEY_ID: &str = "tokensmith-sts";

/// Signs tokens.
pub(super) struct Issued(Ed25519KeyPair);

/// What a token says.
#[derive(Debug)]
pub(super) struct Grant<'a> {
    /// Of the listener.
    pub(super) url: &'a str,
    /// Of the endpoint that was asked.
    pub(super) version: Version,
    pub(super) tenant: Uuid,
    pub(super) application: Uuid,
    /// `aud`.
    pub(super) resource: &'a str,
    /// In Unix seconds.
    pub(super) now: i64,
}

impl Issued {
    /// With a secret of this process.
    pub(super) fn new(secret: &Secret) -> Self {
        let seed = secret.derive("signs access tokens of the local Azure STS");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        Issued(pair.expect("32 bytes are a seed of Ed25519"))
    }

    /// A token.
    fn token(&self, grant: &Grant<'_>) -> String {
        let Grant { url, version, tenant, application, resource, now } = grant;
        let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": KEY_ID });
        let mut claims = json!({
            "aud": resource,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(LIFE),
            "idtyp": "app",
            "oid": application.to_string(),
            "sub": application.to_string(),
            "tid": tenant.to_string(),
        });
        // <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>; the issuer of the first version's is
        // `https://sts.windows.net/{tenant}/`.
        let (issuer, version, party) = match version {
            Version::V1 => (format!("{url}/{tenant}/"), "1.0", ["appid", "appidacr"]),
            Version::V2 => (documents::issuer(url, *tenant), "2.0", ["azp", "azpacr"]),
        };
        claims["iss"] = issuer.into();
        claims["ver"] = version.into();
        claims[party[0]] = application.to_string().into();
        claims[party[1]] = "2".into();
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let signature = self.0.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// What the endpoint answers; the first version's has its numbers as texts.
    pub(super) fn answer(&self, grant: &Grant<'_>) -> Value {
        let token = self.token(grant);
        match grant.version {
            Version::V1 => json!({
                "token_type": "Bearer",
                "expires_in": LIFE.to_string(),
                "ext_expires_in": LIFE.to_string(),
                "expires_on": grant.now.saturating_add(LIFE).to_string(),
                "not_before": grant.now.to_string(),
                "resource": grant.resource,
                "access_token": token,
            }),
            Version::V2 => json!({
                "token_type": "Bearer",
                "expires_in": LIFE,
                "ext_expires_in": LIFE,
                "access_token": token,
            }),
        }
    }

    /// The key set (RFC 8037 §2).
    pub(super) fn keys(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID, "x": x }] })
    }
}

#[cfg(test)]
mod tests {
    use tokensmith_core::keys::PublishedKeys;
    use tokensmith_core::tokens::Jws;

    use super::*;

    #[test]
    fn its_keys_verify_it_and_no_others() {
        let (here, elsewhere) = (Issued::new(&Secret([1; 32])), Issued::new(&Secret([2; 32])));
        let id = Uuid::from_u128(7);
        let of = |version| Grant {
            url: "https://x",
            version,
            tenant: id,
            application: id,
            resource: "api://r",
            now: 100,
        };
        let grant = of(Version::V2);
        let token = here.token(&grant);
        let keys = |issued: &Issued| PublishedKeys::parse(issued.keys().to_string().as_bytes()).unwrap();
        let jws = Jws::parse(&token).unwrap();
        assert!(jws.verify(keys(&here).candidates(KEY_ID)).is_ok());
        assert!(jws.verify(keys(&elsewhere).candidates(KEY_ID)).is_err());
        assert_eq!(Issued::new(&Secret([1; 32])).keys(), here.keys(), "a reload keeps it");
        let claims: Value = serde_json::from_slice(jws.payload()).unwrap();
        assert_eq!((&claims["aud"], &claims["exp"]), (&json!("api://r"), &json!(3699)));
        assert_eq!(
            (&claims["iss"], &claims["azp"]),
            (&json!(format!("https://x/{id}/v2.0")), &json!(id.to_string()))
        );
        let first = here.answer(&of(Version::V1));
        assert_eq!((&first["expires_in"], &first["expires_on"]), (&json!("3599"), &json!("3699")));
        let jws = Jws::parse(first["access_token"].as_str().unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(jws.payload()).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["appid"]),
            (&json!(format!("https://x/{id}/")), &json!(id.to_string()))
        );
        assert!(claims.get("azp").is_none() && here.answer(&grant)["expires_in"] == 3599);
    }
}
