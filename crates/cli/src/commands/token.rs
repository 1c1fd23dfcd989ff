//! `tokensmith token …`.

use clap::{Args, Subcommand};

use super::inspect::InspectArgs;
use super::mint::CreateArgs;
use super::token_list::ListArgs;
use super::token_revoke::RevokeArgs;
use crate::failure::Failure;

/// Mint, examine, list and revoke tokens.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Request a token for a service account, as `kubectl create token` does
    Create(Box<CreateArgs>),
    /// Show what a token says; with --server or --issuer also which rules it meets
    Inspect(Box<InspectArgs>),
    /// List the unexpired tokens that the server has issued; what is known of them, never the tokens
    List(Box<ListArgs>),
    /// Refuse a token, or those of an account, pod or key up to now, from now on
    Revoke(Box<RevokeArgs>),
}

impl TokenArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// The subcommand's.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            TokenCommand::Create(args) => args.run().await,
            TokenCommand::Inspect(args) => args.run().await,
            TokenCommand::List(args) => args.run().await,
            TokenCommand::Revoke(args) => args.run().await,
        }
    }
}
