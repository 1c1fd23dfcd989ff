//! The command line's top level: which commands there are.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::logs::LogFlags;
use crate::serve::flags::ServeArgs;
use crate::serve::signer::SignerArgs;

/// A Kubernetes service-account token issuer: mints, publishes and verifies tokens.
#[derive(Debug, Parser)]
#[command(name = "tokensmith", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a guard, or an alarm; 141 nobody reads the output any more."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write everything that a server holds into a file, while it runs
    Backup(commands::backup::BackupArgs),
    /// Show or move the clock of a server with --test-clock
    Clock(commands::clock::ClockArgs),
    /// Print a completion script for a shell, or write manual pages
    Completions(commands::completions::CompletionsArgs),
    /// Say what verifiers elsewhere will make of an issuer, rule by rule
    Doctor(commands::doctor::DoctorArgs),
    /// Exchange a token for another one at an OAuth token endpoint (RFC 8693)
    Exchange(Box<commands::exchange::ExchangeArgs>),
    /// Ask a server whether it is ready; for images without a shell
    Healthcheck(commands::healthcheck::HealthcheckArgs),
    /// Publish what relying parties need
    Issuer(commands::issuer::IssuerArgs),
    /// Become a command (used by project --exec)
    #[command(hide = true)]
    ExecInit(commands::project::init::ExecInitArgs),
    /// Clean up behind a command (used by project --exec)
    #[command(hide = true)]
    ExecKeep(commands::project::keep::ExecKeepArgs),
    /// List, rotate, revoke, import and export the signing keys
    Keys(commands::keys::KeysArgs),
    /// Print or write a kubeconfig
    Kubeconfig(commands::kubeconfig::KubeconfigArgs),
    /// Keep the projected volumes of pods fresh in a folder, as the kubelet does
    Project(Box<commands::project::ProjectArgs>),
    /// The sidecar: give out tokens, put them on requests, or let in only requests that carry one
    Proxy(Box<commands::proxy::ProxyArgs>),
    /// Make a data directory from a backup
    Restore(Box<crate::offline::restore::RestoreArgs>),
    /// Run the server
    Serve(Box<ServeArgs>),
    /// Sign for a kube-apiserver on a Unix socket, and do nothing else
    Signer(Box<SignerArgs>),
    /// Look whether a store is whole, and save what is
    Store(crate::offline::store::StoreArgs),
    /// Mint, examine, list and revoke tokens
    Token(commands::token::TokenArgs),
    /// Print the version
    Version(commands::version::VersionArgs),
    /// Say whether a token may do something, and which rule of which layer decides
    Why(Box<commands::why::WhyArgs>),
}

impl Command {
    /// How it logs, if it stays.
    pub fn log(&self) -> Option<&LogFlags> {
        match self {
            Command::Project(args) if args.action.is_none() => Some(&args.log),
            Command::Proxy(args) => Some(&args.log),
            Command::Serve(args) => Some(&args.log),
            Command::Signer(args) => Some(&args.log),
            _ => None,
        }
    }
}

/// Lets a key id begin with a dash, as one of 64 does: to clap it would be a bundle of flags. It becomes the value of the
/// `--key` before it, or the last argument, behind `--`.
pub fn protect_key_ids(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (mut out, mut last) = (Vec::<OsString>::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--") => {
                last.push(arg);
                last.extend(args);
                break;
            }
            // What follows is another program's, flags and all.
            Some("--exec") if out.iter().any(|before| before == "project") => {
                out.push(arg);
                last.push("--".into());
                let mut rest = args.peekable();
                rest.next_if(|arg| arg == "--");
                last.extend(rest);
                break;
            }
            Some(id) if looks_like_a_flag(id) => match out.last_mut().filter(|before| *before == "--key") {
                Some(flag) => *flag = format!("--key={id}").into(),
                None => last.extend(["--".into(), arg]),
            },
            _ => out.push(arg),
        }
    }
    out.extend(last);
    out
}

/// A SHA-256 in base64url that begins with a dash. No flag is so long and has capitals, digits or underscores.
fn looks_like_a_flag(arg: &str) -> bool {
    let of_an_id = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    arg.len() == 43
        && arg.starts_with('-')
        && arg.bytes().all(of_an_id)
        && arg.bytes().any(|b| !b.is_ascii_lowercase() && b != b'-')
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
    fn a_command_keeps_its_flags() {
        let protect = |args: &[&str]| {
            protect_key_ids(args.iter().map(Into::into)).join(" ".as_ref()).into_string().unwrap()
        };
        let id = "-0uiKEwa8Nhd4oeY7I8WYlyOwIVOB0dfHMaE8Q6bSlc";
        assert_eq!(
            protect(&["t", "project", "--exec", "a", "-b", "--", id]),
            format!("t project --exec -- a -b -- {id}")
        );
        assert_eq!(protect(&["t", "project", "--exec", "--", "a", "--"]), "t project --exec -- a --");
        assert_eq!(protect(&["t", "project", "--exec"]), "t project --exec --");
        assert_eq!(
            protect(&["t", "keys", "revoke", id, "--force"]),
            format!("t keys revoke --force -- {id}")
        );
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
