//! `tokensmith issuer …`: what relying parties see of the issuer.

mod documents;
mod publish;
mod site;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use publish::PublishArgs;

/// Publish what relying parties need.
#[derive(Args, Debug)]
pub struct IssuerArgs {
    #[command(subcommand)]
    command: IssuerCommand,
}

#[derive(Debug, Subcommand)]
enum IssuerCommand {
    /// Write the discovery document and the key set to a directory for static hosting
    Publish(Box<PublishArgs>),
}

impl IssuerArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// The subcommand's.
    pub async fn run(self) -> Result<(), Failure> {
        let IssuerCommand::Publish(args) = self.command;
        args.run().await
    }
}
