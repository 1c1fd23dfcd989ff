//! `tokensmith token revoke`, through the server's admin API (openapi/tokensmith.yaml).

use clap::Args;
use serde_json::{Map, Value};

use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Output};

const PATH: &str = "/admin/v1/tokens/revoke";

const EXAMPLES: &str = "Examples:
  # one token; `token list` and the audit log tell its jti
  tokensmith token revoke 9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e --reason 'in a log file'

  # every token of an account that was issued up to now; new ones are good
  tokensmith token revoke --account payments/api

  # those that a pod holds, those that a key has signed
  tokensmith token revoke --pod payments/api-0
  tokensmith token revoke --key KID";

/// Refuse tokens from now on. Name exactly one of JTI, --account, --pod and --key.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RevokeArgs {
    /// One token's id
    #[arg(value_name = "JTI")]
    jti: Option<String>,

    /// The tokens of this service account
    #[arg(long, value_name = "NAMESPACE/NAME")]
    account: Option<String>,

    /// The tokens that are bound to this pod
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,

    /// The tokens that this key has signed
    #[arg(long, value_name = "KID")]
    key: Option<String>,

    /// Why; kept with the revocation and in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

impl RevokeArgs {
    /// Revokes and says what that covers.
    ///
    /// # Errors
    /// Wrong usage, or the server's refusal.
    pub async fn run(self) -> Result<(), Failure> {
        let body = self.body()?;
        let client = connect(&self.client.target()?)?;
        let done = client.post(PATH, &body).await?;
        let done = done.map_err(|r| Failure::failed(format!("failed to revoke: {}", r.message)))?;
        for warning in warnings(&done) {
            eprintln!("Warning: {warning}");
        }
        Ok(output::print(self.output, &done, || text(&done))?)
    }

    fn body(&self) -> Result<Value, Failure> {
        let fields = [("jti", &self.jti), ("account", &self.account), ("pod", &self.pod), ("key", &self.key)];
        let given: Vec<_> = fields.iter().filter_map(|(k, v)| Some((*k, v.as_deref()?))).collect();
        let [(field, value)] = given.as_slice() else {
            return Err(Failure::usage("name exactly one of JTI, --account, --pod and --key"));
        };
        let split = value
            .split_once('/')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'));
        match *field {
            "account" | "pod" if split.is_none() => {
                return Err(Failure::usage(format!("--{field} {value:?}: must be NAMESPACE/NAME")));
            }
            _ if value.is_empty() => return Err(Failure::usage(format!("{field}: must not be empty"))),
            _ => {}
        }
        let mut body = Map::new();
        body.insert((*field).into(), (*value).into());
        if let Some(reason) = &self.reason {
            body.insert("reason".into(), reason.as_str().into());
        }
        Ok(Value::Object(body))
    }
}

fn warnings(done: &Value) -> Vec<&str> {
    let warnings = done.get("warnings").and_then(Value::as_array);
    warnings.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What is revoked, what that covers, until when it is kept.
fn text(done: &Value) -> String {
    let of = |field: &str| done.get(field).and_then(Value::as_str);
    let what = [("jti", "token"), ("account", "account"), ("pod", "pod"), ("key", "key")]
        .into_iter()
        .find_map(|(field, word)| Some(format!("{word} {}", of(field)?)))
        .unwrap_or_default();
    let issued = match of("jti") {
        Some(_) => String::new(),
        None => format!(", what was issued until {}", of("at").unwrap_or_default()),
    };
    let mut out = format!("revoked {what}{issued}\n");
    if let Some(covered) = done.get("covered") {
        let count = covered.get("tokens").and_then(Value::as_u64).unwrap_or_default();
        out.push_str(&format!("unexpired tokens that this covers: {count}\n"));
        for account in covered.get("accounts").and_then(Value::as_array).into_iter().flatten() {
            let name = account.get("account").and_then(Value::as_str).unwrap_or_default();
            let count = account.get("tokens").and_then(Value::as_u64).unwrap_or_default();
            out.push_str(&format!("  {name}: {count}\n"));
        }
    }
    if let Some(count) = done.get("secretTokens").and_then(Value::as_u64) {
        out.push_str(&format!("tokens in Secrets that are revoked for ever: {count}\n"));
    }
    match of("until") {
        Some(until) => {
            out.push_str(&format!("kept for a day after {until}, when the last of them has expired\n"))
        }
        None => out.push_str("kept for ever: nobody knows when the last of them expires\n"),
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        revoke: RevokeArgs,
    }

    fn body(args: &[&str]) -> Result<Value, Failure> {
        Command::try_parse_from(["revoke"].iter().chain(args)).unwrap().revoke.body()
    }

    #[test]
    fn exactly_one_thing_is_revoked() {
        let refused = || Failure::usage("name exactly one of JTI, --account, --pod and --key");
        assert_eq!(body(&[]), Err(refused()));
        assert_eq!(body(&["j", "--key=k"]), Err(refused()));
        assert_eq!(body(&["--account=a/b", "--pod=a/b"]), Err(refused()));
        assert_eq!(body(&["j", "--reason=why"]), Ok(json!({"jti": "j", "reason": "why"})));
        assert_eq!(body(&["--account=a/b"]), Ok(json!({"account": "a/b"})));
        for wrong in ["--account=a", "--pod=/b", "--pod=a/b/c", "--key="] {
            assert!(matches!(body(&[wrong]), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn what_it_says() {
        let done = json!({
            "account": "n/a", "at": "2026-01-01T10:00:00Z", "until": "2026-01-01T12:00:00Z", "by": "admin",
            "covered": {"tokens": 2, "accounts": [{"account": "n/a", "tokens": 2}]}, "secretTokens": 1,
        });
        assert_eq!(
            text(&done),
            "revoked account n/a, what was issued until 2026-01-01T10:00:00Z\n\
             unexpired tokens that this covers: 2\n  n/a: 2\n\
             tokens in Secrets that are revoked for ever: 1\n\
             kept for a day after 2026-01-01T12:00:00Z, when the last of them has expired\n"
        );
        assert!(warnings(&done).is_empty());
        let bare = json!({"jti": "j", "at": "2026-01-01T10:00:00Z", "by": "admin", "warnings": ["check the spelling"]});
        assert_eq!(warnings(&bare), ["check the spelling"]);
        assert_eq!(
            text(&bare),
            "revoked token j\nkept for ever: nobody knows when the last of them expires\n"
        );
    }
}
