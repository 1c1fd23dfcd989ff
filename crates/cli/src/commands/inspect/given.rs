//! The token in a text, as people have it: quoted, wrapped, behind `Bearer`, in base64, in an object that carries one. Where
//! there is none it is said what was found instead; the text itself, which may be a secret, is never repeated.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokensmith_api::{json, yaml};

/// What was found instead of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// An object of a kind that has no token, or has none where it should be.
    #[error("{0}")]
    Object(String),
    /// Text that begins as an object does.
    #[error("it is neither a token nor an object: {0}")]
    Unreadable(String),
    /// PEM, or a key in another form.
    #[error("it is {0}")]
    Other(&'static str),
    /// More than one.
    #[error("there are {0} tokens: give one of them")]
    Several(usize),
}

/// The token that is meant, without what surrounds it. What is no token by itself is given as it is: who reads it says why.
///
/// # Errors
/// See [`NotGiven`].
pub fn token(text: &str) -> Result<String, NotGiven> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if let Some(what) = other(text) {
        return Err(NotGiven::Other(what));
    }
    if let Some(value) = object(text)? {
        return carried(&value);
    }
    let one = one(text)?;
    // `data` of a Secret: a token's own text has dots, which base64 has not.
    let decoded = (!one.contains('.')).then(|| BASE64_STANDARD.decode(&one).ok()).flatten();
    let Some(decoded) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Ok(one) };
    let decoded = decoded.trim();
    if let Some(what) = other(decoded) {
        return Err(NotGiven::Other(what));
    }
    if decoded.matches('.').count() >= 2 && decoded.starts_with("ey") {
        return self::one(decoded);
    }
    Ok(one)
}

/// Keys and certificates.
fn other(text: &str) -> Option<&'static str> {
    if let Some((_, label)) = text.split_once("-----BEGIN ") {
        let label = label.split("-----").next().unwrap_or_default();
        return Some(match label {
            label if label.ends_with("PRIVATE KEY") => "a private key (PEM)",
            label if label.ends_with("PUBLIC KEY") => "a public key (PEM)",
            label if label.ends_with("CERTIFICATE REQUEST") => "a request for a certificate (PEM)",
            label if label.ends_with("CERTIFICATE") => "a certificate (PEM)",
            _ => "PEM, and holds no token",
        });
    }
    ["ssh-", "ecdsa-sha2-"].iter().any(|start| text.starts_with(start)).then_some("an SSH key")
}

/// The text as an object, where it begins as one.
fn object(text: &str) -> Result<Option<Value>, NotGiven> {
    let unreadable = |why: String| NotGiven::Unreadable(why);
    if text.starts_with(['{', '[']) {
        // Why it is none may quote it.
        let parsed = json::parse(text.as_bytes()).map_err(|_| unreadable("it is no JSON".into()))?;
        return Ok(Some(parsed.value));
    }
    let field = |line: &str| {
        let name = line.split_once(':').map(|(name, _)| name);
        name.is_some_and(|name| {
            matches!(name, "apiVersion" | "data" | "kind" | "metadata" | "spec" | "status" | "stringData")
        })
    };
    if !text.lines().any(field) {
        return Ok(None);
    }
    let text = text.strip_prefix("---").unwrap_or(text);
    let parsed =
        yaml::parse(text.as_bytes()).map_err(|_| unreadable("it is no YAML of one document".into()))?;
    Ok(Some(parsed.value))
}

/// The token that an object carries.
fn carried(value: &Value) -> Result<String, NotGiven> {
    let at = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = at("/kind").unwrap_or_default();
    let missing = |what: &str| NotGiven::Object(format!("it is {what}"));
    let token = match kind {
        "ExecCredential" => {
            at("/status/token").ok_or_else(|| missing("an ExecCredential without a status.token"))?
        }
        "TokenRequest" => at("/status/token")
            .ok_or_else(|| missing("a TokenRequest without a status.token: a request, and no answer"))?,
        "TokenReview" => at("/spec/token").ok_or_else(|| missing("a TokenReview without a spec.token"))?,
        "Secret" => match (at("/stringData/token"), at("/data/token")) {
            (Some(token), _) => token,
            (None, Some(data)) => {
                let data: String = data.split_whitespace().collect();
                let bytes = BASE64_STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let text =
                    bytes.ok_or_else(|| missing("a Secret whose data.token is no base64 of a text"))?;
                return one(text.trim());
            }
            (None, None) => return Err(missing("a Secret without a data.token")),
        },
        "Config" => return of_kubeconfig(value),
        "" if value.get("keys").is_some_and(Value::is_array) => return Err(missing("a key set (JWKS)")),
        "" if value.get("kty").is_some() => {
            let private = value.get("d").is_some() || value.get("k").is_some();
            return Err(missing(if private { "a private key (JWK)" } else { "a public key (JWK)" }));
        }
        "" if value.get("payload").is_some() => {
            return Err(missing("a JWS in its JSON form, which Kubernetes does not use"));
        }
        // What token endpoints answer with (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
        "" => {
            let fields =
                ["access_token", "id_token", "token"].map(|name| value.get(name).and_then(Value::as_str));
            let mut given = fields.into_iter().flatten();
            let first = given.next().ok_or_else(|| missing("an object without a token"))?;
            match given.count() {
                0 => first,
                more => return Err(NotGiven::Several(more.saturating_add(1))),
            }
        }
        kind if kind.chars().all(|c| c.is_ascii_alphanumeric()) => {
            return Err(missing(&format!("an object of kind {kind}, which carries no token")));
        }
        _ => return Err(missing("an object that carries no token")),
    };
    one(token)
}

/// The token of the only user that has one.
fn of_kubeconfig(config: &Value) -> Result<String, NotGiven> {
    let users = config.get("users").and_then(Value::as_array);
    let tokens = users.into_iter().flatten().filter_map(|user| user.pointer("/user/token")?.as_str());
    match tokens.collect::<Vec<_>>().as_slice() {
        [] => Err(NotGiven::Object("it is a kubeconfig without a token".into())),
        [token] => one(token),
        several => Err(NotGiven::Several(several.len())),
    }
}

/// One token of a text that holds nothing else: without quotes, `Authorization: Bearer` and line breaks.
fn one(text: &str) -> Result<String, NotGiven> {
    let text = bare(text);
    // A shell's way to go on with the next line.
    let pieces: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c == '\\').map(bare).filter(|p| !p.is_empty()).collect();
    let whole =
        pieces.iter().filter(|piece| piece.matches('.').count() == 2 && piece.starts_with("ey")).count();
    match whole {
        0 | 1 => Ok(pieces.concat()),
        several => Err(NotGiven::Several(several)),
    }
}

/// Without what surrounds it where it was copied from.
fn bare(mut text: &str) -> &str {
    loop {
        let before = text;
        text = text.trim_matches(|c: char| c.is_whitespace() || "\"'`,;".contains(c));
        for prefix in ["authorization:", "bearer"] {
            let (start, rest) = text.split_at_checked(prefix.len()).unwrap_or(("", ""));
            // A token may begin so, too.
            if start.eq_ignore_ascii_case(prefix)
                && (prefix.ends_with(':') || rest.starts_with(char::is_whitespace))
            {
                text = rest;
            }
        }
        if text == before {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJhIn0.AAAA";

    #[test]
    fn a_token_as_people_have_it() {
        let wrapped = format!("{}\n{}\r\n  {}", &TOKEN[..10], &TOKEN[10..40], &TOKEN[40..]);
        let data = BASE64_STANDARD.encode(TOKEN);
        let object = |value: Value| value.to_string();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": data, "ca.crt": "AA=="}});
        for text in [
            TOKEN.to_owned(),
            format!("\u{feff}{TOKEN}\r\n"),
            format!("\"{TOKEN}\""),
            format!("'{TOKEN}',"),
            format!("Bearer {TOKEN}"),
            format!("Authorization: bearer {TOKEN}\n"),
            format!("'Authorization: Bearer {TOKEN}'"),
            format!("Bearer\n{TOKEN}"),
            wrapped.clone(),
            format!("\"{wrapped}\""),
            format!("{}\\\n{}", &TOKEN[..20], &TOKEN[20..]),
            data.clone(),
            format!("{}\n{}\n", &data[..40], &data[40..]),
            BASE64_STANDARD.encode(format!("{TOKEN}\n")),
            object(secret.clone()),
            format!("---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  token: {data}\n"),
            object(json!({"kind": "Secret", "stringData": {"token": TOKEN}})),
            object(json!({"kind": "TokenRequest", "status": {"token": TOKEN}})),
            format!("kind: TokenRequest\nstatus: {{token: {TOKEN}}}\n"),
            object(json!({"kind": "TokenReview", "spec": {"token": TOKEN}})),
            object(json!({"kind": "ExecCredential", "status": {"token": TOKEN}})),
            object(
                json!({"kind": "Config", "users": [{"name": "a", "user": {"token": TOKEN}}, {"user": {}}]}),
            ),
            object(json!({"access_token": TOKEN, "token_type": "Bearer"})),
        ] {
            assert_eq!(token(&text).as_deref(), Ok(TOKEN), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_called_by_its_name() {
        let secret = "s3cr3t";
        for (text, said) in [
            ("-----BEGIN EC PRIVATE KEY-----\ns3cr3t\n".to_owned(), "it is a private key (PEM)"),
            ("-----BEGIN PRIVATE KEY-----\ns3cr3t\n".into(), "it is a private key (PEM)"),
            (BASE64_STANDARD.encode("-----BEGIN RSA PRIVATE KEY-----\ns3cr3t"), "it is a private key (PEM)"),
            ("-----BEGIN PUBLIC KEY-----\n".into(), "it is a public key (PEM)"),
            ("-----BEGIN CERTIFICATE-----\n".into(), "it is a certificate (PEM)"),
            ("ssh-ed25519 s3cr3t".into(), "it is an SSH key"),
            (json!({"kty": "EC", "d": secret}).to_string(), "it is a private key (JWK)"),
            (json!({"kty": "EC", "x": secret}).to_string(), "it is a public key (JWK)"),
            (json!({"keys": []}).to_string(), "it is a key set (JWKS)"),
            (
                json!({"kind": "Secret", "data": {"password": secret}}).to_string(),
                "it is a Secret without a data.token",
            ),
            (
                json!({"kind": "Secret", "data": {"token": "!s3cr3t"}}).to_string(),
                "it is a Secret whose data.token is no base64 of a text",
            ),
            (
                json!({"kind": "TokenRequest", "spec": {"audiences": []}}).to_string(),
                "it is a TokenRequest without a status.token: a request, and no answer",
            ),
            (json!({"kind": "Pod"}).to_string(), "it is an object of kind Pod, which carries no token"),
            (json!({"kind": "\u{1b}s3cr3t"}).to_string(), "it is an object that carries no token"),
            ("{\"token\": s3cr3t".into(), "it is neither a token nor an object: it is no JSON"),
            (
                "kind: Secret\ndata: [s3cr3t\n".into(),
                "it is neither a token nor an object: it is no YAML of one document",
            ),
            (format!("{TOKEN}\n{TOKEN}\n"), "there are 2 tokens: give one of them"),
            (
                json!({"kind": "Config", "users": [{"user": {"token": "a"}}, {"user": {"token": "b"}}]})
                    .to_string(),
                "there are 2 tokens: give one of them",
            ),
            (json!({"kind": "Config"}).to_string(), "it is a kubeconfig without a token"),
        ] {
            let error = token(&text).unwrap_err().to_string();
            assert_eq!(error, said, "{text}");
            assert!(!error.contains(secret));
        }
        // Who takes it apart says more.
        for text in ["", "a.b.c.d.e", "opaque"] {
            assert_eq!(token(text).as_deref(), Ok(text));
        }
    }
}
