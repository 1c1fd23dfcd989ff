//! `tokensmith completions`: what a package installs beside the binary.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::given;
use crate::output;
use crate::usage::untied;

/// Print a completion script for a shell, or write manual pages
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(tokensmith completions bash)\n  tokensmith completions zsh > ~/.zfunc/_tokensmith\n  tokensmith completions fish > ~/.config/fish/completions/tokensmith.fish\n  tokensmith completions man --to /usr/local/share/man/man1"
)]
pub struct CompletionsArgs {
    /// For which shell; man: manual pages, one for each command
    #[arg(value_name = "SHELL", value_enum)]
    what: What,

    /// The folder for the manual pages
    #[arg(long, value_name = "DIR", required_if_eq("what", "man"))]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Bash,
    Elvish,
    Fish,
    Man,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

impl CompletionsArgs {
    /// Prints the script, or writes the pages.
    ///
    /// # Errors
    /// Standard output is closed, or a page cannot be written.
    pub fn run(self) -> Result<(), Failure> {
        let shell = match self.what {
            What::Bash => Shell::Bash,
            What::Elvish => Shell::Elvish,
            What::Fish => Shell::Fish,
            What::Man => return pages(self.to.as_deref().unwrap_or(Path::new("."))),
            What::PowerShell => Shell::PowerShell,
            What::Zsh => Shell::Zsh,
        };
        if self.to.is_some() {
            return Err(Failure::usage("--to is for manual pages; a script goes to standard output"));
        }
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "tokensmith", &mut script);
        Ok(output::print_bytes(&script)?)
    }
}

fn pages(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = given::command();
    command.build();
    let mut written = 0;
    page(&command, folder, &mut written)?;
    Ok(output::print_text(&format!("{written} manual pages are in {}\n", folder.display()))?)
}

/// The page of a command, and those of the commands below it.
fn page(command: &Command, folder: &Path, written: &mut usize) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).context("cannot make a manual page")?;
    let text = untied(&String::from_utf8_lossy(&text));
    files::write(&folder.join(format!("{name}.1")), text.as_bytes(), Access::Everyone)?;
    *written += 1;
    let below = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
    below.into_iter().try_for_each(|inner| page(inner, folder, written))
}
