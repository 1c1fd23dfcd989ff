//! tokensmith: a Kubernetes service-account token issuer.
//!
//! The binary. `serve/` is the only place that builds and wires the server; `commands/` are clients that
//! speak HTTP like anyone else; `offline/` is what is done with the files of a server that is stopped. Nothing here decides what a token holds or who may have one.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
// They panic where their output is closed: `output` has what does not.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod args;
mod client;
mod commands;
mod failure;
mod files;
mod given;
mod kubeconfig;
mod logs;
mod offline;
mod output;
mod serve;
mod times;
mod usage;

use std::process::ExitCode;

// Known here by its short name, `crate::duration`.
use tokensmith_api::duration;

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    match given::read(std::env::args_os()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    if let Some(log) = cli.command.log() {
        log.speak();
    }
    // What a damaged store makes sled say is told once, and not as a crash. Commands that log do so with their own hook.
    if matches!(cli.command, Command::Backup(_) | Command::Restore(_) | Command::Store(_)) {
        tokensmith_store::hush();
    }
    if !tells_of_strangers_itself(&cli.command) {
        given::warn_of_strangers();
    }
    match cli.command {
        Command::Backup(args) => block_on(args.run()),
        Command::Clock(args) => block_on(args.run()),
        Command::Completions(args) => args.run(),
        Command::Doctor(args) => block_on(args.run()),
        Command::Exchange(args) => block_on(args.run()),
        Command::ExecInit(args) => args.run(),
        Command::ExecKeep(args) => args.run(),
        Command::Healthcheck(args) => block_on(args.run()),
        Command::Issuer(args) => block_on(args.run()),
        Command::Keys(args) => block_on(args.run()),
        Command::Kubeconfig(args) => block_on(args.run()),
        Command::Project(mut args) => {
            args.alone();
            block_on(args.run())
        }
        Command::Proxy(args) => on_all_cores(args.run()),
        Command::Restore(args) => args.run(),
        Command::Serve(args) => serve::run(*args),
        Command::Signer(args) => serve::signer::run(*args),
        Command::Store(args) => args.run(),
        Command::Token(args) => block_on(args.run()),
        Command::Version(args) => args.run(),
        Command::Why(args) => block_on(args.run()),
    }
}

/// Who stays does so in its log; the rest of these asks nobody and reads no variable of its own.
fn tells_of_strangers_itself(command: &Command) -> bool {
    let stays =
        matches!(command, Command::Project(_) | Command::Proxy(_) | Command::Serve(_) | Command::Signer(_));
    let asks_nobody = matches!(
        command,
        Command::Completions(_) | Command::ExecInit(_) | Command::ExecKeep(_) | Command::Version(_)
    );
    stays || asks_nobody
}

/// A proxy has as many requests as there are cores for.
fn on_all_cores(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Failure::failed(format!("cannot start: {e}")))?.block_on(command)
}

/// A client waits for one answer at a time: one thread will do.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Failure::failed(format!("cannot start: {e}")))?.block_on(command)
}
