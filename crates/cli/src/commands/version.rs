//! `tokensmith version`.

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Output};

/// Print the version.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  tokensmith version\n  tokensmith version --output json")]
pub struct VersionArgs {
    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

impl VersionArgs {
    /// Prints it.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn run(self) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
        let data = json!({ "version": version, "platform": platform });
        Ok(output::print(self.output, &data, || format!("tokensmith {version} ({platform})\n"))?)
    }
}
