//! `tokensmith token revoke`, through the server's admin API (openapi/tokensmith.yaml).

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};
use tokensmith_client::Refusal;
use tokensmith_core::ledger::jti::{self, Given, holds_token};

use super::inspect::given;
use super::pasted;
use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Output};

const PATH: &str = "/admin/v1/tokens/revoke";

const EXAMPLES: &str = "Examples:
  # one token; `token list` and the audit log tell its jti
  tokensmith token revoke 9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e --reason 'in a log file'

  # the token itself, which is looked at and not kept; not as argument, where others can see it
  tokensmith token revoke --file leaked-token
  pbpaste | tokensmith token revoke -

  # every token of an account that was issued up to now, also by a clock that was ahead; new ones are good
  tokensmith token revoke --account payments/api

  # those that a pod holds, those that a key has signed
  tokensmith token revoke --pod payments/api-0
  tokensmith token revoke --key KID";

/// Refuse tokens from now on. Name exactly one of JTI, --file, --account, --pod and --key.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RevokeArgs {
    /// One token's id, as a list or TokenReview shows it; `-` reads it, or the token itself, from standard input
    #[arg(value_name = "JTI")]
    jti: Option<String>,

    /// The token in this file, or its id
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,

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

    /// Also what nobody knows: an id without a record, an account or pod that is not there and has no token
    #[arg(long)]
    force: bool,

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
        let done = done.map_err(|r| Failure::failed(refused(&r)))?;
        for warning in warnings(&done) {
            output::aside(&format!("Warning: {warning}"));
        }
        Ok(output::print(self.output, &done, || text(&done))?)
    }

    fn body(&self) -> Result<Value, Failure> {
        let file = self.file.as_ref().map(|_| String::new());
        let fields = [
            ("jti", &self.jti),
            ("file", &file),
            ("account", &self.account),
            ("pod", &self.pod),
            ("key", &self.key),
        ];
        let given: Vec<_> = fields.iter().filter_map(|(k, v)| Some((*k, v.as_deref()?))).collect();
        let [(field, value)] = given.as_slice() else {
            return Err(Failure::usage("name exactly one of JTI, --file, --account, --pod and --key"));
        };
        if self.reason.as_deref().is_some_and(holds_token) {
            return Err(Failure::usage(
                "--reason: there is a token in it, and it would be kept: leave it out",
            ));
        }
        let mut body = match *field {
            "jti" | "file" => self.one(value)?,
            field => {
                if holds_token(value) {
                    return Err(Failure::usage(format!("--{field}: this is a token, not a name")));
                }
                let parts = value.split_once('/');
                let named = parts.is_some_and(|(namespace, name)| {
                    !namespace.is_empty() && !name.is_empty() && !name.contains('/')
                });
                if field != "key" && !named {
                    return Err(Failure::usage(format!("--{field} {value:?}: must be NAMESPACE/NAME")));
                }
                if value.is_empty() {
                    return Err(Failure::usage(format!("{field}: must not be empty")));
                }
                Map::from_iter([(field.to_owned(), (*value).into())])
            }
        };
        body.insert("force".into(), self.force.into());
        if let Some(reason) = &self.reason {
            body.insert("reason".into(), reason.as_str().into());
        }
        Ok(Value::Object(body))
    }

    /// A token by its id, or by itself: the server looks at its signature and says whether there is something to revoke.
    fn one(&self, value: &str) -> Result<Map<String, Value>, Failure> {
        let argument = Some(value).filter(|_| self.file.is_none());
        let text = pasted::read(argument, self.file.as_deref())?;
        let mut found = jti::given(&text);
        if found.is_err() {
            // It may lie in an object, as `token inspect` finds it. An id does not: what is joined there from several
            // words would be revoked as a name that nobody gave.
            let inner = given::token(&text).map_err(|e| Failure::usage(format!("no token: {e}")))?;
            found =
                jti::given(&inner).ok().filter(|given| matches!(given, Given::Token(_))).map_or(found, Ok);
        }
        match found {
            Ok(Given::Jti(jti)) => Ok(Map::from_iter([("jti".to_owned(), jti.into())])),
            Ok(Given::Token(token)) => {
                if argument.is_some_and(|argument| argument != "-") {
                    output::aside(
                        "Warning: a token on the command line can be read by others on this machine, and stays in the \
                         shell's history: use --file, or - for standard input",
                    );
                }
                Ok(Map::from_iter([("token".to_owned(), token.into())]))
            }
            Err(error) => Err(Failure::usage(error.to_string())),
        }
    }
}

/// The server's refusal, and what to do about it.
fn refused(refusal: &Refusal) -> String {
    let message = &refusal.message;
    match refusal.code {
        // `--force` helps nobody who names a key that is not there.
        404 if refusal.about == "keys" => format!("failed to revoke: {message}"),
        404 => format!(
            "failed to revoke: {message}: nothing unexpired of that name is on record, so nothing was revoked; check the \
             spelling (--force revokes it all the same)"
        ),
        _ => format!("failed to revoke: {message}"),
    }
}

fn warnings(done: &Value) -> Vec<&str> {
    let warnings = done.get("warnings").and_then(Value::as_array);
    warnings.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What is revoked, what that covers, until when it is kept.
fn text(done: &Value) -> String {
    let of = |field: &str| done.get(field).and_then(Value::as_str);
    let names = [
        ("jti", "token"),
        ("account", "account"),
        ("pod", "pod"),
        ("key", "key"),
        ("sha256", "token with SHA-256"),
    ];
    let what = names
        .into_iter()
        .find_map(|(field, word)| Some(format!("{word} {}", of(field)?)))
        .unwrap_or_default();
    let issued = match of("jti").or(of("sha256")) {
        Some(_) => String::new(),
        None => format!(", what was issued before {}", of("at").unwrap_or_default()),
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
    if let Some(count) = done.get("elsewhere").and_then(Value::as_u64) {
        out.push_str(&format!("of these not revoked at the API server that issued them: {count}\n"));
    }
    if let Some(count) = done.get("secretTokens").and_then(Value::as_u64) {
        out.push_str(&format!("tokens in Secrets that are revoked for ever: {count}\n"));
    }
    if let Some(unmarked) = done.get("unmarked") {
        let of = |field: &str| unmarked.get(field).and_then(Value::as_str);
        let which = match (of("issuedUntil"), of("expiringUntil")) {
            (Some(issued), Some(expiring)) => {
                format!("that was issued until {issued} or expires until {expiring}")
            }
            _ => "there is".to_owned(),
        };
        out.push_str(&format!(
            "a token without a mark (from an older version, or from an issuer elsewhere with a key of this server) does not \
             tell whether it is older: refused is each {which}\n"
        ));
    }
    match of("until") {
        Some(until) => out.push_str(&format!(
            "kept for a day after {until}, when the last of what it refuses has expired\n"
        )),
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
        let refused = || Failure::usage("name exactly one of JTI, --file, --account, --pod and --key");
        assert_eq!(body(&[]), Err(refused()));
        assert_eq!(body(&["j", "--key=k"]), Err(refused()));
        assert_eq!(body(&["--account=a/b", "--pod=a/b"]), Err(refused()));
        assert_eq!(body(&["j", "--reason=why"]), Ok(json!({"jti": "j", "reason": "why", "force": false})));
        assert_eq!(body(&["--account=a/b", "--force"]), Ok(json!({"account": "a/b", "force": true})));
        for wrong in ["--account=a", "--pod=/b", "--pod=a/b/c", "--key=", "two words", " "] {
            assert!(matches!(body(&[wrong]), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_given_as_a_token_and_never_as_a_name() {
        let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA";
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, format!("Authorization: Bearer {token}\n")).unwrap();
        let want = json!({"token": token, "force": false});
        assert_eq!(body(&[token]), Ok(want.clone()));
        assert_eq!(body(&["--file", file.to_str().unwrap()]), Ok(want));
        let jti = "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e";
        std::fs::write(&file, format!("JTI={}\n", jti.to_uppercase())).unwrap();
        assert_eq!(body(&["--file", file.to_str().unwrap()]), Ok(json!({"jti": jti, "force": false})));
        for args in [
            vec!["--key", token],
            vec!["--account", token],
            vec![jti, "--reason", token],
            vec!["eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30"],
        ] {
            let Err(Failure::Usage(error)) = body(&args) else { panic!("{args:?}") };
            assert!(!error.contains("eyJ"), "{error}");
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
            "revoked account n/a, what was issued before 2026-01-01T10:00:00Z\n\
             unexpired tokens that this covers: 2\n  n/a: 2\n\
             tokens in Secrets that are revoked for ever: 1\n\
             kept for a day after 2026-01-01T12:00:00Z, when the last of what it refuses has expired\n"
        );
        assert!(warnings(&done).is_empty());
        let unmarked = |unmarked: Value| {
            let mut done = done.clone();
            done["unmarked"] = unmarked;
            let text = text(&done);
            text.lines().find(|line| line.contains("without a mark")).unwrap_or_default().to_owned()
        };
        let both = json!({"issuedUntil": "2026-01-01T10:00:00Z", "expiringUntil": "2026-01-01T12:00:00Z"});
        assert!(unmarked(both).ends_with(
            "each that was issued until 2026-01-01T10:00:00Z or expires until 2026-01-01T12:00:00Z"
        ));
        assert!(
            unmarked(json!({"issuedUntil": "2026-01-01T10:00:00Z"})).ends_with("refused is each there is")
        );
        let bare = json!({"jti": "j", "at": "2026-01-01T10:00:00Z", "by": "admin", "warnings": ["check the spelling"]});
        assert_eq!(warnings(&bare), ["check the spelling"]);
        assert_eq!(
            text(&bare),
            "revoked token j\nkept for ever: nobody knows when the last of them expires\n"
        );
    }
}
