//! `tokensmith token …`.

use clap::{Args, Subcommand};

use super::inspect::InspectArgs;
use super::mint::CreateArgs;
use crate::failure::Failure;

/// Mint and examine tokens.
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
        }
    }
}
