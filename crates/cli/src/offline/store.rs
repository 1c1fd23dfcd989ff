//! `store`: what is done when a store does not start.

use clap::{Args, Subcommand};

use super::check::CheckArgs;
use super::salvage::SalvageArgs;
use crate::failure::Failure;

/// Look whether a store is whole, and save what is
#[derive(Args, Debug)]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Say what is damaged, what is whole, and what can be done; changes nothing
    Check(CheckArgs),
    /// Copy what is whole into another data directory
    Salvage(SalvageArgs),
}

impl StoreArgs {
    /// Runs it.
    ///
    /// # Errors
    /// The store is damaged, or cannot be looked at.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            StoreCommand::Check(args) => args.run(),
            StoreCommand::Salvage(args) => args.run(),
        }
    }
}
