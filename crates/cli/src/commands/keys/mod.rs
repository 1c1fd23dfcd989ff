//! `tokensmith keys …`: the server's key ring, through its admin API (openapi/tokensmith.yaml).

mod change;
mod export;
mod import;
mod poke;
mod show;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::connect;
use crate::client::http::{Client, Refusal};
use crate::failure::Failure;
use crate::output;

/// Look at the signing keys and change them.
#[derive(Args, Debug)]
#[command(
    after_help = "A step that would break a verifier is refused with the time at which it becomes safe (exit code 3); --force --reason TEXT does it all the same."
)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Let a prepared key sign now
    Activate(change::ActivateArgs),
    /// Write public keys as PEM, JWKS or GCP's upload; a private one only with --private
    Export(export::ExportArgs),
    /// Show every change of the ring: who, why, from, to
    History(show::ShowArgs),
    /// Bring in a key from elsewhere, to sign or to verify with
    Import(import::ImportArgs),
    /// List the keys: their phases, since when, and what happens next; never their private halves
    List(show::ShowArgs),
    /// Make a token that opens nothing and makes verifiers fetch the key set
    Poke(poke::PokeArgs),
    /// Show when keys change
    Policy(show::ShowArgs),
    /// Publish a new key that may sign later
    Prepare(change::AlgorithmArgs),
    /// Seal the private keys in the store anew, under a new sealing key
    Reseal(change::ResealArgs),
    /// Withdraw a stolen key: out of the key set and refused, at once
    Revoke(change::RevokeArgs),
    /// Take the next safe step to a new signing key
    Rotate(change::AlgorithmArgs),
}

impl KeysArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            KeysCommand::Activate(args) => args.run().await,
            KeysCommand::Export(args) => args.run().await,
            KeysCommand::History(args) => args.history().await,
            KeysCommand::Import(args) => args.run().await,
            KeysCommand::List(args) => args.list().await,
            KeysCommand::Poke(args) => args.run().await,
            KeysCommand::Policy(args) => args.policy().await,
            KeysCommand::Prepare(args) => args.prepare().await,
            KeysCommand::Reseal(args) => args.run().await,
            KeysCommand::Revoke(args) => args.run().await,
            KeysCommand::Rotate(args) => args.rotate().await,
        }
    }
}

const PATH: &str = "/admin/v1/keys";

/// A client for the server that the flags mean.
fn client(flags: &crate::client::flags::ClientFlags) -> Result<Client, Failure> {
    connect(&flags.target()?)
}

/// What a refusal means for the exit code: 409 is a guard.
fn refused(what: &str, refusal: Refusal) -> Failure {
    let text = format!("failed to {what}: {}", refusal.message);
    if refusal.code == 409 { Failure::guard(text) } else { Failure::failed(text) }
}

/// What verifiers elsewhere do, in columns; nothing where the answer does not say.
fn followers(answer: &Value) -> String {
    let told = answer.get("verifiers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if told.is_empty() {
        return String::new();
    }
    let row = |told: &Value| ["verifier", "text"].map(|field| text(told, field).to_owned()).to_vec();
    output::columns(&["VERIFIERS", "WHAT THEY DO"], &told.iter().map(row).collect::<Vec<_>>())
}

/// A string of an answer, empty if it is not there.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
