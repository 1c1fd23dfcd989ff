//! `tokensmith completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output;

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(tokensmith completions bash)\n  tokensmith completions zsh > ~/.zfunc/_tokensmith\n  tokensmith completions fish > ~/.config/fish/completions/tokensmith.fish"
)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "tokensmith", &mut script);
        Ok(output::print_text(&String::from_utf8_lossy(&script))?)
    }
}
