//! `tokensmith token create`: `kubectl create token` with its flags, its local checks and its words
//! (`kubectl/pkg/cmd/create/create_token.go`).

use clap::Args;
use serde_json::{Value, json};

use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::client::http::{Client, Refusal, segment};
use crate::commands::named::named;
use crate::duration::{GoDuration, exact};
use crate::failure::Failure;
use crate::output::{self, Output};

const EXAMPLES: &str = "Examples:
  # a token for the service account `builder`, for the API server itself, for an hour
  tokensmith token create builder

  # one for vault, for ten minutes
  tokensmith token create builder --audience vault --duration 10m

  # one that dies with its pod
  tokensmith token create builder --bound-object-kind Pod --bound-object-name build-1

  # the whole answer
  tokensmith token create builder --output json";

/// Request a token for a service account.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CreateArgs {
    /// The service account's name, with its namespace or in that of --namespace or the context
    #[arg(value_name = "[NAMESPACE/]NAME")]
    name: String,

    #[command(flatten)]
    request: TokenFlags,

    /// Print the whole answer in this form instead of the token alone
    #[arg(long, short, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    client: ClientFlags,
}

/// What to ask for.
#[derive(Args, Clone, Debug, Default)]
pub struct TokenFlags {
    /// For whom the token is; repeat for several. Without it: the API server's own audiences
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,

    /// How long it shall be valid, e.g. 10m or 1h30m; 0 leaves it to the server
    #[arg(long, value_name = "DURATION", default_value = "0")]
    duration: GoDuration,

    /// Bind the token to an object of this kind: Node, Pod or Secret
    #[arg(long, value_name = "KIND")]
    bound_object_kind: Option<String>,

    /// The object's name
    #[arg(long, value_name = "NAME")]
    bound_object_name: Option<String>,

    /// The object's UID; the token is refused if the object has another
    #[arg(long, value_name = "UID")]
    bound_object_uid: Option<String>,
}

impl CreateArgs {
    /// Requests the token and prints it.
    ///
    /// # Errors
    /// Wrong flags, or the server's refusal.
    pub async fn run(self) -> Result<(), Failure> {
        let body = self.request.body()?;
        let target = self.client.target()?;
        let (namespace, name) = named("service account", &self.name, &self.client, &target)?;
        let answer = request(&connect(&target)?, namespace, name, &body).await?;
        let token = token_of(&answer)?;
        match self.output {
            None => output::print_value(token)?,
            Some(form) => output::print(form, &answer, || table(&answer))?,
        }
        Ok(())
    }
}

impl TokenFlags {
    /// The TokenRequest.
    ///
    /// # Errors
    /// What kubectl checks before it asks, in its words.
    pub fn body(&self) -> Result<Value, Failure> {
        let refuse = |text: &str| Err(Failure::usage(text));
        if self.duration.is_negative() {
            return refuse("--duration must be greater than or equal to 0");
        }
        if !self.duration.is_whole() {
            return refuse("--duration cannot be expressed in units less than seconds");
        }
        if self.audience.iter().any(String::is_empty) {
            return refuse("--audience must not be an empty string");
        }
        let kind = self.bound_object_kind.as_deref().unwrap_or_default();
        let name = self.bound_object_name.as_deref().unwrap_or_default();
        let uid = self.bound_object_uid.as_deref().unwrap_or_default();
        let mut spec = json!({});
        if kind.is_empty() {
            if !name.is_empty() {
                return refuse("--bound-object-name can only be set if --bound-object-kind is provided");
            }
            if !uid.is_empty() {
                return refuse("--bound-object-uid can only be set if --bound-object-kind is provided");
            }
        } else {
            if !matches!(kind, "Node" | "Pod" | "Secret") {
                return refuse("supported --bound-object-kind values are Node, Pod, Secret");
            }
            if name.is_empty() {
                return refuse("--bound-object-name is required if --bound-object-kind is provided");
            }
            spec["boundObjectRef"] = json!({ "kind": kind, "apiVersion": "v1", "name": name });
            if !uid.is_empty() {
                spec["boundObjectRef"]["uid"] = uid.into();
            }
        }
        if !self.audience.is_empty() {
            spec["audiences"] = self.audience.clone().into();
        }
        if !self.duration.is_whole() {
            return refuse("--duration cannot be expressed in units less than seconds");
        }
        if self.duration != GoDuration::default() {
            spec["expirationSeconds"] = self.duration.whole_seconds().into();
        }
        Ok(json!({ "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec }))
    }
}

/// Posts a TokenRequest.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub async fn request(client: &Client, namespace: &str, name: &str, body: &Value) -> Result<Value, Failure> {
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", segment(namespace), segment(name));
    let asked = body.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let answer = client.post(&path, body).await?;
    let answer = answer.map_err(|refusal| {
        Failure::failed(format!("failed to create token: {}{}", refusal.message, mend(&refusal, asked)))
    })?;
    if let Some(note) = shorter(&answer, asked) {
        output::aside(&note);
    }
    Ok(answer)
}

/// Tokens live for so long at least, where the server does not permit less (`pkg/apis/authentication/validation`).
const LEAST: i64 = 600;

/// What to do about a lifetime that is refused.
fn mend(refusal: &Refusal, asked: Option<i64>) -> &'static str {
    let lifetime =
        refusal.code == 422 && refusal.fields.iter().any(|field| field == "spec.expirationSeconds");
    match asked {
        Some(seconds) if lifetime && seconds < LEAST => {
            ": give a longer --duration, or start the server with a shorter --min-token-expiration"
        }
        _ => "",
    }
}

/// That a token does not live for as long as was asked for.
fn shorter(answer: &Value, asked: Option<i64>) -> Option<String> {
    let lives = answer.pointer("/spec/expirationSeconds").and_then(Value::as_i64)?;
    let asked = asked.filter(|asked| lives < *asked)?;
    let span = |seconds: i64| exact(seconds.max(0).unsigned_abs());
    Some(format!(
        "note: the token lives for {}, not for {} as was asked: the server permits no more (--service-account-max-token-expiration, or the token profile of the audience)",
        span(lives),
        span(asked)
    ))
}

/// The token in an answer.
///
/// # Errors
/// There is none.
pub fn token_of(answer: &Value) -> Result<&str, Failure> {
    let token = answer.pointer("/status/token").and_then(Value::as_str).filter(|t| !t.is_empty());
    token.ok_or_else(|| Failure::failed("failed to create token: no token in server response"))
}

fn table(answer: &Value) -> String {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let audiences = answer.pointer("/spec/audiences").and_then(Value::as_array);
    let audiences: Vec<_> = audiences.into_iter().flatten().filter_map(Value::as_str).collect();
    let row = vec![
        text("/metadata/namespace"),
        text("/metadata/name"),
        audiences.join(","),
        text("/status/expirationTimestamp"),
        text("/status/token"),
    ];
    output::columns(&["NAMESPACE", "NAME", "AUDIENCES", "EXPIRES", "TOKEN"], &[row])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(change: impl FnOnce(&mut TokenFlags)) -> TokenFlags {
        let mut flags = TokenFlags::default();
        change(&mut flags);
        flags
    }

    #[test]
    fn kubectls_local_errors() {
        let cases = [
            (flags(|f| f.duration = "-1s".parse().unwrap()), "--duration must be greater than or equal to 0"),
            (
                flags(|f| f.duration = "1500ms".parse().unwrap()),
                "--duration cannot be expressed in units less than seconds",
            ),
            (flags(|f| f.audience = vec![String::new()]), "--audience must not be an empty string"),
            (
                flags(|f| f.bound_object_kind = Some("ConfigMap".into())),
                "supported --bound-object-kind values are Node, Pod, Secret",
            ),
            (
                flags(|f| f.bound_object_kind = Some("Pod".into())),
                "--bound-object-name is required if --bound-object-kind is provided",
            ),
            (
                flags(|f| f.bound_object_name = Some("p".into())),
                "--bound-object-name can only be set if --bound-object-kind is provided",
            ),
            (
                flags(|f| f.bound_object_uid = Some("u".into())),
                "--bound-object-uid can only be set if --bound-object-kind is provided",
            ),
        ];
        for (flags, text) in cases {
            assert_eq!(flags.body(), Err(Failure::usage(text)));
        }
    }

    #[test]
    fn a_lifetime_that_is_refused_has_its_mend() {
        let refusal = |fields: &[&str]| {
            let causes: Vec<Value> = fields.iter().map(|field| json!({ "field": field })).collect();
            let body = json!({ "message": "no", "details": { "causes": causes } });
            Refusal::of(422, body.to_string().as_bytes())
        };
        let mended = mend(&refusal(&["spec.expirationSeconds"]), Some(300));
        assert!(mended.contains("--min-token-expiration"), "{mended}");
        assert_eq!(mend(&refusal(&["spec.expirationSeconds"]), Some(1 << 33)), "", "it is too long");
        assert_eq!(mend(&refusal(&["spec.boundObjectRef"]), Some(300)), "");
        assert_eq!(mend(&refusal(&["spec.expirationSeconds"]), None), "");
    }

    #[test]
    fn a_life_that_is_shorter_than_asked_is_told() {
        let answer = json!({ "spec": { "expirationSeconds": 86_400 } });
        assert_eq!(
            shorter(&answer, Some(172_800)).as_deref(),
            Some(
                "note: the token lives for 24h, not for 2d as was asked: the server permits no more (--service-account-max-token-expiration, or the token profile of the audience)"
            )
        );
        assert_eq!(shorter(&answer, Some(86_400)), None);
        assert_eq!(shorter(&answer, None), None);
        assert_eq!(shorter(&json!({}), Some(600)), None);
    }

    #[test]
    fn only_what_was_asked_for_is_sent() {
        assert_eq!(TokenFlags::default().body().unwrap()["spec"], json!({}));
        let full = flags(|f| {
            f.audience = vec!["vault".into()];
            f.duration = "10m".parse().unwrap();
            f.bound_object_kind = Some("Pod".into());
            f.bound_object_name = Some("p".into());
            f.bound_object_uid = Some("u".into());
        });
        assert_eq!(
            full.body().unwrap()["spec"],
            json!({
                "boundObjectRef": { "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u" },
                "audiences": ["vault"],
                "expirationSeconds": 600,
            })
        );
    }
}
