use serde_json::json;

use super::site::{Chain, ISSUER, Site, http_date, jwk};
use super::*;

type Break = fn(&mut Site);

/// One key, in a set that says that it has changed so many seconds ago.
fn changed(site: &mut Site, ago: i64) {
    site.keys = json!({ "keys": [jwk(0)] });
    let now = site.claims["iat"].as_i64().unwrap();
    site.key_set.set("last-modified", &http_date(now - ago));
}

/// A fault, what breaks, and all rules that fail for it with whom they fail for.
struct Fault(&'static str, Break, &'static [(&'static str, &'static str)]);

/// Who looks for a discovery document.
const DISCOVERS: &str = "issuer vault-jwt aws gcp azure istio oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc spring openidconnect";
/// Who fetches a key set.
const FETCHES: &str = "issuer vault-jwt aws gcp azure istio envoy oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc spring nimbus pyjwt authlib joserfc python-jose jose jwks-rsa openidconnect";
/// Who passes over a key without a name; Envoy tries it.
const WITHOUT_KID: &str = "issuer vault-jwt aws gcp azure oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc kube-apiserver spring nimbus pyjwt authlib joserfc jose jwks-rsa openidconnect";
/// Who finds keys by their names.
const BY_KID: &str = "issuer vault-jwt aws gcp azure istio envoy oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc kube-apiserver spring nimbus pyjwt authlib joserfc jose jwks-rsa openidconnect";

const FAULTS: &[Fault] = &[
    Fault("whole", |_| {}, &[]),
    Fault(
        "the document's issuer has a slash too much",
        |site| site.document["issuer"] = "https://tokens.example.com/".into(),
        &[(
            "exact-issuer",
            "issuer vault-jwt aws gcp azure oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc spring openidconnect",
        )],
    ),
    Fault(
        "the issuer itself ends with a slash",
        |site| {
            site.issuer.push('/');
            site.document["issuer"] = site.issuer.clone().into();
            site.claims["iss"] = site.issuer.clone().into();
        },
        &[("no-final-slash", "issuer"), ("uncut-path", "istio")],
    ),
    Fault(
        "http jwks_uri",
        |site| site.document["jwks_uri"] = "http://tokens.example.com/openid/v1/jwks".into(),
        &[("keys-https", "issuer aws gcp azure")],
    ),
    Fault(
        "jwks_uri on another host, unreachable",
        |site| site.document["jwks_uri"] = "https://keys.example.com/jwks".into(),
        &[("reachable", FETCHES)],
    ),
    Fault(
        "jwks_uri leads inside",
        |site| site.document["jwks_uri"] = "https://inside.example.com/openid/v1/jwks".into(),
        &[("reachable", FETCHES)],
    ),
    Fault(
        "no list of algorithms",
        |site| drop(site.document.as_object_mut().unwrap().remove("id_token_signing_alg_values_supported")),
        &[("algorithms-listed", "issuer"), ("members", "openidconnect")],
    ),
    Fault(
        "an algorithm that is not listed",
        |site| site.document["id_token_signing_alg_values_supported"] = json!(["ES256"]),
        &[("algorithms-listed", "issuer oauth2-proxy go-oidc")],
    ),
    Fault(
        "no authorization_endpoint",
        |site| drop(site.document.as_object_mut().unwrap().remove("authorization_endpoint")),
        &[("members", "openidconnect")],
    ),
    Fault(
        "no subject_types_supported",
        |site| drop(site.document.as_object_mut().unwrap().remove("subject_types_supported")),
        &[("members", "issuer openidconnect")],
    ),
    Fault(
        "no jwks_uri",
        |site| drop(site.document.as_object_mut().unwrap().remove("jwks_uri")),
        &[("discovery-document", DISCOVERS)],
    ),
    Fault("404", |site| site.discovery.status = 404, &[("discovery-document", DISCOVERS)]),
    Fault("500 for the key set", |site| site.key_set.status = 500, &[("key-set", FETCHES)]),
    Fault(
        "the document is HTML",
        |site| site.discovery.body = b"<html>".to_vec(),
        &[("discovery-document", DISCOVERS)],
    ),
    Fault(
        "no kid",
        |site| {
            for key in site.keys["keys"].as_array_mut().unwrap() {
                key.as_object_mut().unwrap().remove("kid");
            }
        },
        &[("key-ids", WITHOUT_KID)],
    ),
    Fault(
        "no alg",
        |site| {
            for key in site.keys["keys"].as_array_mut().unwrap() {
                key.as_object_mut().unwrap().remove("alg");
            }
        },
        &[("algorithm-named", "issuer")],
    ),
    Fault(
        "two keys with one kid",
        |site| site.keys["keys"][1]["kid"] = site.keys["keys"][0]["kid"].clone(),
        &[("unique-key-ids", "issuer aws pyjwt authlib joserfc jose jwks-rsa openidconnect")],
    ),
    Fault(
        "use: enc",
        |site| {
            for key in site.keys["keys"].as_array_mut().unwrap() {
                key["use"] = "enc".into();
            }
        },
        &[("for-signatures", "issuer aws spring nimbus pyjwt authlib joserfc jose jwks-rsa openidconnect")],
    ),
    Fault(
        "key_ops",
        |site| site.keys["keys"][0]["key_ops"] = json!(["verify"]),
        &[("without-members", "aws")],
    ),
    Fault(
        "a private key",
        |site| site.keys["keys"][0]["d"] = "AQAB".into(),
        &[
            ("no-private-half", "issuer"),
            ("no-secret-key", "vault-jwt oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc jose"),
        ],
    ),
    Fault(
        "RSA 1024",
        |site| {
            // Of a size that counts is only its length.
            let n = "w".repeat(171);
            for key in site.keys["keys"].as_array_mut().unwrap() {
                key["n"] = n.clone().into();
            }
        },
        &[("rsa-size", "issuer jose jwks-rsa")],
    ),
    Fault("a broken key", |site| site.keys["keys"][1]["n"] = "a b".into(), &[("whole-keys", "issuer")]),
    Fault("an empty key set", |site| site.keys = json!({ "keys": [] }), &[("some-key", FETCHES)]),
    Fault("the key set is HTML", |site| site.key_set.body = b"<html>".to_vec(), &[("key-set", FETCHES)]),
    Fault("the key set is a list", |site| site.keys = json!([jwk(0), jwk(1)]), &[("key-set", FETCHES)]),
    Fault(
        "wrong content types",
        |site| {
            site.discovery.set("content-type", "text/html");
            site.key_set.set("content-type", "text/plain");
        },
        &[("json-types", "issuer spring openidconnect")],
    ),
    Fault(
        "redirect",
        |site| {
            site.moved = Some("/moved");
            site.discovery.status = 302;
            site.discovery.set("location", "/moved");
        },
        &[("no-redirects", "issuer jose jwks-rsa openidconnect")],
    ),
    Fault("self-signed", |site| site.chain = Chain::SelfSigned, &[("trusted", FETCHES)]),
    Fault(
        "without the intermediate",
        |site| site.chain = Chain::WithoutIntermediate,
        &[("complete-chain", FETCHES)],
    ),
    Fault("expired", |site| site.chain = Chain::Expired, &[("certificate-time", FETCHES)]),
    Fault(
        "a certificate near its end",
        |site| site.chain = Chain::NearItsEnd,
        &[("certificate-young", "issuer")],
    ),
    Fault(
        "a certificate for another name",
        |site| site.chain = Chain::OtherName,
        &[("certificate-name", FETCHES)],
    ),
    Fault("a CA that only we know", |site| site.given = true, &[("trusted", "aws gcp azure")]),
    Fault("its clock is off", |site| site.clock = 600, &[("clock-right", "issuer")]),
    Fault("401 for outsiders", |site| site.discovery.status = 401, &[("open", FETCHES)]),
    Fault("403 for the key set", |site| site.key_set.status = 403, &[("open", FETCHES)]),
    Fault("HEAD is refused", |site| site.key_set.refuses_head = true, &[("head-answers", "issuer")]),
    Fault(
        "max-age too long",
        |site| site.key_set.set("cache-control", "max-age=172800"),
        &[("max-age", "issuer")],
    ),
    Fault(
        "max-age longer than keys are published",
        |site| site.publish_before = Some(1800),
        &[("max-age", "issuer")],
    ),
    Fault(
        "no max-age",
        |site| site.key_set.headers.retain(|(name, _)| *name != "cache-control"),
        &[("max-age", "issuer")],
    ),
    Fault("no spare", |site| site.keys = json!({ "keys": [jwk(0)] }), &[("spare", "issuer")]),
    Fault("no spare yet", |site| changed(site, 5), &[]),
    Fault("still no spare", |site| changed(site, 120), &[("spare", "issuer")]),
    Fault("no spare, and a date that lies ahead", |site| changed(site, -60), &[("spare", "issuer")]),
    Fault(
        "a port in the issuer",
        |site| {
            site.issuer = format!("{ISSUER}:{{port}}");
            site.document["issuer"] = site.issuer.clone().into();
            site.document["jwks_uri"] = format!("{}/openid/v1/jwks", site.issuer).into();
            site.claims["iss"] = site.issuer.clone().into();
        },
        &[("no-port", "aws")],
    ),
    Fault(
        "an http issuer",
        |site| {
            site.issuer = "http://tokens.example.com".into();
            site.document["issuer"] = site.issuer.clone().into();
            site.document["jwks_uri"] = format!("{}/openid/v1/jwks", site.issuer).into();
            site.claims["iss"] = site.issuer.clone().into();
        },
        &[("https", "issuer aws gcp azure kube-apiserver-oidc")],
    ),
    Fault(
        "a private address",
        |site| site.address = "10.1.2.3".parse().unwrap(),
        &[("outside", "aws gcp azure")],
    ),
    Fault(
        "10,000 keys",
        |site| {
            site.keys = json!({ "keys": (0..10_000).map(|_| json!({ "kty": "EC", "kid": "0123456789012345678901234567890123456789012", "crv": "P-256", "x": "", "y": "" })).collect::<Vec<_>>() });
        },
        &[("key-count", "issuer aws")],
    ),
    Fault(
        "101 keys",
        |site| {
            let more = (0..101).map(|n| {
                let mut key = jwk(1);
                key["kid"] = n.to_string().into();
                key
            });
            site.keys = json!({ "keys": std::iter::once(jwk(0)).chain(more).collect::<Vec<_>>() });
        },
        &[("key-count", "aws")],
    ),
    Fault(
        "an EdDSA key besides",
        |site| {
            site.keys = json!({ "keys": [jwk(0), jwk(1), jwk(2), jwk(2)] });
            site.keys["keys"][3]["kid"] = "another".into();
            site.document["id_token_signing_alg_values_supported"] = json!(["EdDSA", "RS256"]);
        },
        &[("one-type", "python-jose")],
    ),
    Fault(
        "EdDSA alone",
        |site| {
            site.keys = json!({ "keys": [jwk(2), jwk(1)] });
            site.keys["keys"][1] = site.keys["keys"][0].clone();
            site.keys["keys"][1]["kid"] = "another".into();
            site.document["id_token_signing_alg_values_supported"] = json!(["EdDSA"]);
            site.signer = 2;
        },
        &[
            (
                "algorithms",
                "aws gcp azure go-oidc-2 kube-apiserver-oidc kube-apiserver spring nimbus python-jose jwks-rsa openidconnect",
            ),
            (
                "token-algorithm",
                "vault-kubernetes aws gcp azure go-oidc-2 kube-apiserver-oidc kube-apiserver spring nimbus python-jose jwks-rsa openidconnect",
            ),
        ],
    ),
    Fault(
        "aud is a text",
        |site| site.claims["aud"] = "vault".into(),
        &[("audience-list", "vault-kubernetes")],
    ),
    Fault(
        "two audiences",
        |site| site.claims["aud"] = json!(["vault", "aws"]),
        &[("one-audience", "aws openidconnect")],
    ),
    Fault(
        "a long life",
        |site| site.claims["exp"] = (site.claims["iat"].as_i64().unwrap() + 2 * 86_400).into(),
        &[("lifetime", "gcp")],
    ),
    Fault(
        "a long sub",
        |site| site.claims["sub"] = format!("system:serviceaccount:payments:{}", "a".repeat(120)).into(),
        &[("subject-length", "gcp")],
    ),
    Fault(
        "an expired token",
        |site| site.claims["exp"] = (site.claims["iat"].as_i64().unwrap() - 1000).into(),
        &[(
            "in-force",
            "issuer vault-jwt vault-kubernetes aws gcp azure istio envoy oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc kube-apiserver spring nimbus pyjwt authlib joserfc python-jose jose jwks-rsa openidconnect",
        )],
    ),
    Fault(
        "a token that ended a moment ago",
        |site| site.claims["exp"] = (site.claims["iat"].as_i64().unwrap() - 30).into(),
        &[(
            "in-force",
            "oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc pyjwt authlib joserfc python-jose jose jwks-rsa openidconnect",
        )],
    ),
    Fault(
        "a token of another issuer",
        |site| site.claims["iss"] = "https://other.example.com".into(),
        &[(
            "token-issuer",
            "issuer vault-jwt aws gcp azure istio envoy oauth2-proxy go-oidc go-oidc-2 kube-apiserver-oidc kube-apiserver spring nimbus pyjwt authlib joserfc python-jose jose jwks-rsa openidconnect",
        )],
    ),
    Fault("a token of a key that is not published", |site| site.signer = 3, &[("token-key", BY_KID)]),
    Fault(
        "email_verified",
        |site| site.claims["email_verified"] = false.into(),
        &[("without-claims", "oauth2-proxy")],
    ),
    Fault(
        "no Kubernetes claims",
        |site| drop(site.claims.as_object_mut().unwrap().remove("kubernetes.io")),
        &[("kubernetes-claims", "vault-kubernetes kube-apiserver")],
    ),
    Fault(
        "no iat",
        |site| drop(site.claims.as_object_mut().unwrap().remove("iat")),
        &[("claims", "aws gcp")],
    ),
];

#[tokio::test]
async fn each_fault_is_found_and_only_it() {
    let mut wrong = String::new();
    for Fault(name, break_, expected) in FAULTS {
        let mut site = Site::whole();
        break_(&mut site);
        let found = failing(&site.examined().await);
        let expected: BTreeMap<String, Vec<String>> = expected
            .iter()
            .map(|(rule, whom)| ((*rule).to_owned(), whom.split(' ').map(str::to_owned).collect()))
            .collect();
        if found != expected {
            wrong.push_str(&format!("FAULT {name}\n"));
            for (rule, whom) in &found {
                wrong.push_str(&format!("        (\"{rule}\", \"{}\"),\n", whom.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
