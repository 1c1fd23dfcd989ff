//! The command line's top level: which commands there are.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::serve::flags::ServeArgs;
use crate::serve::signer::SignerArgs;

/// A Kubernetes service-account token issuer: mints, publishes and verifies tokens.
#[derive(Debug, Parser)]
#[command(name = "tokensmith", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a guard.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Ask a server whether it is ready; for images without a shell
    Healthcheck(commands::healthcheck::HealthcheckArgs),
    /// Publish what relying parties need
    Issuer(commands::issuer::IssuerArgs),
    /// Look at the signing keys
    Keys(commands::keys::KeysArgs),
    /// Print or write a kubeconfig
    Kubeconfig(commands::kubeconfig::KubeconfigArgs),
    /// Run the server
    Serve(Box<ServeArgs>),
    /// Sign for a kube-apiserver on a Unix socket, and do nothing else
    Signer(Box<SignerArgs>),
    /// Mint, examine, list and revoke tokens
    Token(commands::token::TokenArgs),
    /// Print the version
    Version(commands::version::VersionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_a_server_has_its_variable() {
        let command = Cli::command();
        let servers = ["serve", "signer"].map(|name| command.find_subcommand(name).unwrap());
        let args = servers.iter().flat_map(|server| server.get_arguments());
        for arg in args.filter(|a| !matches!(a.get_id().as_str(), "help" | "version")) {
            let flag = arg.get_long().unwrap();
            let variable = format!("TOKENSMITH_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|v| v.to_str()), Some(variable.as_str()), "--{flag}");
        }
    }
}
