//! `keys export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use zeroize::Zeroizing;

use super::{PATH, client, import, refused, text};
use crate::client::flags::ClientFlags;
use crate::client::http::segment;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::output;

/// The form of exported keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What GCP's workload identity federation takes as an uploaded key set.
    Gcp,
    /// A JSON Web Key Set.
    Jwks,
    /// Public keys, PEM.
    #[default]
    Pem,
}

/// Write keys.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tokensmith keys export --format jwks
  tokensmith keys export --format gcp >jwks.json
  tokensmith keys export KID --private --passphrase-file secret --to backup.pem")]
pub struct ExportArgs {
    /// Only this key; default: all that are published
    #[arg(value_name = "KID")]
    id: Option<String>,

    /// In which form
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// The private half (PKCS#8), of a key that signs or stands by
    #[arg(long, requires = "id", requires = "to", conflicts_with = "format")]
    private: bool,

    /// Encrypt the private half under the first line of this file
    #[arg(long, value_name = "FILE", requires = "private")]
    passphrase_file: Option<PathBuf>,

    /// Write here instead of to standard output; a private half goes nowhere else (mode 0600)
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// Why: it stays in the audit log
    #[arg(long, value_name = "TEXT", default_value = "", requires = "private")]
    reason: String,

    #[command(flatten)]
    client: ClientFlags,
}

impl ExportArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if let (true, Some(id), Some(to)) = (self.private, &self.id, &self.to) {
            let mut body = json!({ "reason": self.reason });
            if let Some(path) = &self.passphrase_file {
                body["passphrase"] = import::passphrase(path)?.as_str().into();
            }
            let path = format!("/admin/v1/private-keys/{}", segment(id));
            let answer = client(&self.client)?.post(&path, &body).await?;
            let answer = answer.map_err(|r| refused("export the key", r))?;
            let pem = Zeroizing::new(text(&answer, "pem").to_owned());
            return Ok(files::write(to, pem.as_bytes(), Access::Owner)?);
        }
        let format = match self.format {
            Format::Gcp => "gcp",
            Format::Jwks => "jwks",
            Format::Pem => "pem",
        };
        let mut query = vec![("format", format)];
        query.extend(self.id.as_deref().map(|id| ("key", id)));
        let keys = client(&self.client)?.text(&format!("{PATH}/export"), &query).await?;
        let keys = keys.map_err(|r| refused("export keys", r))?;
        match &self.to {
            None => Ok(output::print_value(&keys)?),
            Some(to) => Ok(files::write(to, keys.as_bytes(), Access::Everyone)?),
        }
    }
}
