//! `keys prepare`, `rotate`, `activate`, `revoke`, `reseal`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{PATH, client, refused, text};
use crate::client::flags::ClientFlags;
use crate::client::http::segment;
use crate::failure::Failure;
use crate::output::{self, Output};

/// What every change may say.
#[derive(Args, Debug)]
pub struct ChangeFlags {
    /// Overrule the guard; needs --reason, and stays in the journal
    #[arg(long, requires = "reason")]
    force: bool,

    /// Why: it stays in the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Print the whole answer in this form
    #[arg(long, short, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    client: ClientFlags,
}

impl ChangeFlags {
    /// Asks for a change and tells what has happened.
    pub(super) async fn send(
        &self,
        path: &str,
        what: &str,
        mut body: Map<String, Value>,
    ) -> Result<(), Failure> {
        if self.force {
            body.insert("force".into(), true.into());
        }
        if let Some(reason) = &self.reason {
            body.insert("reason".into(), reason.as_str().into());
        }
        let answer = client(&self.client)?.post(&format!("{PATH}{path}"), &Value::Object(body)).await?;
        let answer = answer.map_err(|r| refused(what, r))?;
        tell(&answer, self.output)
    }
}

/// Prints an answer: the warnings first, as kubectl does.
fn tell(answer: &Value, form: Option<Output>) -> Result<(), Failure> {
    let warnings = answer.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        output::aside(&format!("Warning: {warning}"));
    }
    if form.is_none() {
        output::aside_text(&super::followers(answer));
    }
    let lines = || {
        let mut out = format!("{}\n", text(answer, "text"));
        let accounts = answer.get("accounts").and_then(Value::as_array);
        for account in accounts.into_iter().flatten() {
            let tokens = account.get("tokens").and_then(Value::as_u64).unwrap_or_default();
            out.push_str(&format!("  unexpired tokens of {}: {tokens}\n", text(account, "account")));
        }
        out
    };
    match form {
        None => Ok(output::print_text(&lines())?),
        Some(form) => Ok(output::print(form, answer, lines)?),
    }
}

/// A change of one algorithm's keys.
#[derive(Args, Debug)]
pub struct AlgorithmArgs {
    /// Which algorithm's; default: the one that signs by default
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,

    #[command(flatten)]
    flags: ChangeFlags,
}

impl AlgorithmArgs {
    pub(super) async fn prepare(self) -> Result<(), Failure> {
        self.flags.send("/prepare", "prepare a key", self.body()).await
    }

    pub(super) async fn rotate(self) -> Result<(), Failure> {
        self.flags.send("/rotate", "rotate", self.body()).await
    }

    fn body(&self) -> Map<String, Value> {
        let algorithm = self.algorithm.iter().map(|a| ("algorithm".to_owned(), a.as_str().into()));
        algorithm.collect()
    }
}

/// Let a prepared key sign.
#[derive(Args, Debug)]
pub struct ActivateArgs {
    /// The key's id, as `tokensmith keys list` shows it
    #[arg(value_name = "KID")]
    id: String,

    #[command(flatten)]
    flags: ChangeFlags,
}

impl ActivateArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.flags.send(&format!("/{}/activate", segment(&self.id)), "activate the key", Map::new()).await
    }
}

/// Withdraw a key.
#[derive(Args, Debug)]
#[command(after_help = "\
The key leaves the key set, its tokens are refused here at once, and the accounts that had some are listed. If it signs,
the published spare takes its place; where the spare has not been published for long enough, --force is needed, and the
answer says which verifiers may refuse new tokens until when.

Verifiers elsewhere follow each in its own way, which the answer tells; some, like oauth2-proxy and Vault's JWT auth, never
do by time. An unknown kid makes most of them fetch: `tokensmith keys poke` makes a token with one that opens nothing. A
kube-apiserver that signs through us follows within 310 s, or within 10 s when it did not know the spare.

With --fresh a new key signs that no verifier knows, so that its first token makes them fetch; the spare stays a spare.
Those who do not ask at once refuse good tokens meanwhile: the answer says who and until when.")]
pub struct RevokeArgs {
    /// The key's id, as `tokensmith keys list` shows it
    #[arg(value_name = "KID")]
    id: String,

    /// Let a new key sign that no verifier knows, so that they fetch; needs --force
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    flags: ChangeFlags,
}

impl RevokeArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.fresh.then(|| ("fresh".to_owned(), true.into())).into_iter().collect();
        self.flags.send(&format!("/{}/revoke", segment(&self.id)), "revoke the key", body).await
    }
}

/// Seal anew.
#[derive(Args, Debug)]
pub struct ResealArgs {
    /// Make no new sealing key: seal under the first key that the file has now
    #[arg(long)]
    keep_file: bool,

    /// Why: it stays in the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    /// Print the whole answer in this form
    #[arg(long, short, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    client: ClientFlags,
}

impl ResealArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = json!({ "keepFile": self.keep_file, "reason": self.reason });
        let answer = client(&self.client)?.post(&format!("{PATH}/reseal"), &body).await?;
        tell(&answer.map_err(|r| refused("reseal the keys", r))?, self.output)
    }
}
