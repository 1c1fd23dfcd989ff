//! Bodies for the endpoints that are tokensmith's own: they know their fields, and the schema table does not.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Body, FORM, bodies};

/// What an endpoint is sent that answers to this path; `None` for a path that nobody has thought of yet.
pub fn bodies(path: &str, size: usize) -> Option<Vec<Body>> {
    if path.starts_with("/oauth2/") {
        return Some(forms(path, size));
    }
    let (base, texts): (Value, &[&str]) = match path {
        "/admin/v1/keys/import" => {
            let mut all = with_texts(&json!({"use": "verify"}), &["pem", "passphrase", "reason"], size);
            all.extend(pems(size));
            return Some(all);
        }
        "/admin/v1/keys/poke" => (json!({"audience": "a"}), &["audience"]),
        "/admin/v1/keys/prepare" | "/admin/v1/keys/rotate" => (json!({}), &["algorithm", "reason"]),
        "/admin/v1/backup" => (json!({}), &["reason"]),
        "/admin/v1/keys/reseal" | "/admin/v1/keys/{id}/activate" | "/admin/v1/keys/{id}/revoke" => {
            (json!({}), &["reason"])
        }
        "/admin/v1/private-keys/{id}" => (json!({}), &["passphrase", "reason"]),
        "/admin/v1/tokens/revoke" => (json!({"reason": "x"}), &["account", "jti", "key", "pod", "token"]),
        "/admin/v1/why" => (
            json!({"token": "x", "verb": "get", "resource": "pods"}),
            &["token", "verb", "resource", "subresource", "namespace", "name", "group"],
        ),
        "/testing/v1/clock" => (json!({}), &["now"]),
        _ => return None,
    };
    Some(with_texts(&base, texts, size))
}

/// What OAuth's endpoints read (RFC 6749, appendix B).
fn forms(path: &str, size: usize) -> Vec<Body> {
    let base = match path {
        "/oauth2/token" => {
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&\
             subject_token_type=urn:ietf:params:oauth:token-type:jwt"
        }
        _ => "token_type_hint=access_token",
    };
    let fields: &[&str] = match path {
        "/oauth2/token" => {
            &["subject_token", "actor_token", "audience", "resource", "scope", "client_assertion"]
        }
        _ => &["token", "client_assertion"],
    };
    let form = |name: String, text: String| Body { name, media: FORM, bytes: text.into() };
    let many = |of: &dyn Fn(usize) -> String| (0..size / 8).map(of).collect::<String>();
    let mut all = vec![
        form("unknown parameters".into(), format!("{base}{}", many(&|at| format!("&f{at}=1")))),
        form("a parameter that is repeated".into(), format!("{base}{}", many(&|_| "&scope=a".into()))),
        form("many audiences".into(), format!("{base}{}", many(&|at| format!("&audience={at}")))),
        form("nothing but separators".into(), "&".repeat(size)),
        form("no value".into(), "%".repeat(size)),
    ];
    for field in fields {
        for part in ["x", "e", ".", "eyJhIjoxfQ.", "%2e", "%zz", "+", "x%20"] {
            let text = part.repeat(size / part.len());
            all.push(form(format!("{field} of {part:?}"), format!("{base}&{field}={text}")));
        }
    }
    all
}

fn with_texts(base: &Value, fields: &[&str], size: usize) -> Vec<Body> {
    let mut all = bodies::of_any(base, size);
    let parts = ["x", "e", ".", "eyJhIjoxfQ.", "/", "\u{1}", "\"", "é", "-----BEGIN A-----\n", "a: b\n"];
    for field in fields {
        for part in parts {
            let mut value = base.clone();
            value[*field] = part.repeat(size / part.len()).into();
            all.push(Body::json(format!("{field} of {part:?}"), value.to_string()));
        }
    }
    all
}

fn pems(size: usize) -> Vec<Body> {
    let block = |label: &str, bytes: usize| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            BASE64_STANDARD.encode(vec![0x30; bytes])
        )
    };
    let import = |name: &str, pem: String, more: Value| {
        let mut value = json!({"use": "verify", "pem": pem});
        if let (Some(map), Value::Object(more)) = (value.as_object_mut(), more) {
            map.extend(more);
        }
        Body::json(name, value.to_string())
    };
    let small = block("PUBLIC KEY", 91);
    let key = include_str!("../../../keys/README.md").len();
    let headers = format!("-----BEGIN A-----\n{}\nAAAA\n-----END A-----\n", "x: y\n".repeat(size / 6));
    vec![
        import("many blocks", small.repeat(size / small.len()), json!({})),
        import("one long block", block("PUBLIC KEY", size * 3 / 4), json!({})),
        import("one long private key", block("PRIVATE KEY", size * 3 / 4), json!({"use": "sign"})),
        import(
            "one long encrypted key",
            block("ENCRYPTED PRIVATE KEY", size * 3 / 4),
            json!({"passphrase": "x"}),
        ),
        import("blocks that do not end", "-----BEGIN A-----\n".repeat(size / 20), json!({})),
        import("headers", headers, json!({})),
        import("text around", format!("{}{small}", "x\n".repeat(size.saturating_sub(key) / 3)), json!({})),
    ]
}
