//! What a program answers: an `ExecCredential`, of the version that it is asked in.

use std::sync::Arc;

use serde_json::Value;
use tokensmith_api::yaml;
use tokensmith_core::moment;

use super::Issued;
use crate::certificate::pair;
use crate::http::secret;

/// The error goes on from the program's name, and has nothing of what it wrote.
pub(super) fn read(output: &[u8], version: &str) -> Result<Issued, String> {
    let read = yaml::parse(output).map_err(|_| "wrote something that is no ExecCredential".to_owned())?;
    let field = |pointer: &str| match read.value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => {
            Err(format!("wrote an ExecCredential whose {} is no text", &pointer[1..].replace('/', ".")))
        }
    };
    if field("/kind")? != Some("ExecCredential") {
        return Err("wrote something that is no ExecCredential".into());
    }
    let returned = field("/apiVersion")?.unwrap_or_default();
    if returned != version {
        let returned: String = returned.chars().take(60).filter(|c| !c.is_control()).collect();
        return Err(format!(
            "is configured to use API version {version}, plugin returned version {returned}"
        ));
    }
    if !read.value.get("status").is_some_and(Value::is_object) {
        return Err("didn't return a status field".into());
    }
    let certificate = (field("/status/clientCertificateData")?, field("/status/clientKeyData")?);
    let certificate = match certificate {
        (Some(chain), Some(key)) => {
            let pair = pair(chain.as_bytes(), key.as_bytes());
            Some(Arc::new(
                pair.map_err(|why| format!("returned credentials that cannot be used: the {why}"))?,
            ))
        }
        (None, None) => None,
        _ => return Err("returned only certificate or key, not both".into()),
    };
    let bearer = match field("/status/token")? {
        Some(token) => Some(secret(token).map_err(|_| "returned a token that cannot be sent".to_owned())?),
        None => None,
    };
    if bearer.is_none() && certificate.is_none() {
        return Err("didn't return a token or cert/key pair".into());
    }
    let expires = match field("/status/expirationTimestamp")? {
        Some(text) => {
            let at = moment::parse(text);
            Some(at.map_err(|_| "returned an expirationTimestamp that is not RFC 3339".to_owned())?)
        }
        None => None,
    };
    Ok(Issued { bearer, certificate, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn answer(status: &str) -> String {
        format!(r#"{{"apiVersion":"{V1}","kind":"ExecCredential","status":{status}}}"#)
    }

    #[test]
    fn a_token_and_its_end() {
        let text = answer(r#"{"token":"s3cret","expirationTimestamp":"2026-01-01T10:00:00Z"}"#);
        let issued = read(text.as_bytes(), V1).unwrap();
        assert!(issued.bearer.is_some_and(|value| value.is_sensitive() && value == "Bearer s3cret"));
        assert_eq!(issued.expires, moment::parse("2026-01-01T10:00:00Z").ok());
        // YAML is taken, too.
        let text = format!("apiVersion: {V1}\nkind: ExecCredential\nstatus:\n  token: s3cret\n");
        assert!(read(text.as_bytes(), V1).is_ok_and(|issued| issued.expires.is_none()));
    }

    #[test]
    fn what_cannot_be_used_is_told_without_it() {
        for (text, said) in [
            ("s3cret".to_owned(), "wrote something that is no ExecCredential"),
            (answer("null"), "didn't return a status field"),
            (answer("{}"), "didn't return a token or cert/key pair"),
            (answer(r#"{"token":7}"#), "wrote an ExecCredential whose status.token is no text"),
            (answer(r#"{"token":"s3cret\n"}"#), "returned a token that cannot be sent"),
            (answer(r#"{"clientKeyData":"s3cret"}"#), "returned only certificate or key, not both"),
            (
                answer(r#"{"clientCertificateData":"s3cret","clientKeyData":"s3cret"}"#),
                "returned credentials that cannot be used: the certificate is not PEM",
            ),
            (
                answer(r#"{"token":"t","expirationTimestamp":"s3cret"}"#),
                "returned an expirationTimestamp that is not RFC 3339",
            ),
        ] {
            assert_eq!(read(text.as_bytes(), V1).err().as_deref(), Some(said), "{text}");
        }
        let other = read(answer(r#"{"token":"t"}"#).as_bytes(), "client.authentication.k8s.io/v1beta1").err();
        assert_eq!(
            other.unwrap(),
            "is configured to use API version client.authentication.k8s.io/v1beta1, plugin returned version client.authentication.k8s.io/v1"
        );
    }
}
