//! `keys import`: a key from elsewhere comes in.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{ArgGroup, Args};
use serde_json::Map;
use zeroize::Zeroizing;

use super::change::ChangeFlags;
use crate::failure::Failure;

const EXAMPLES: &str = "Examples:
  # take over a cluster's key, so that it goes on signing; it signs at once only with --force
  tokensmith keys import sa.key --sign

  # go on accepting tokens of a cluster's key until they have expired
  tokensmith keys import sa.pub --verify --tokens-until 2027-01-01T00:00:00Z";

/// Bring in a key.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("use").args(["sign", "verify"]).required(true)))]
pub struct ImportArgs {
    /// A PEM file: PKCS#1, SEC1, PKCS#8 or encrypted PKCS#8; for --verify also a public key or a certificate; - is standard
    /// input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The key is to sign, once it has been published for long enough
    #[arg(long)]
    sign: bool,

    /// The key verifies only
    #[arg(long)]
    verify: bool,

    /// With --verify: no token of the key expires later (RFC 3339). Without it the key stays until it is revoked
    #[arg(long, value_name = "TIME", requires = "verify")]
    tokens_until: Option<String>,

    /// The first line of this file opens the PEM file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,

    /// Sign with this algorithm; default: the one that goes with the kind of key
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,

    #[command(flatten)]
    flags: ChangeFlags,
}

impl ImportArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut body = Map::new();
        let mut put = |field: &str, value: &str| body.insert(field.into(), value.into());
        put("pem", &read(&self.file)?);
        put("use", if self.sign { "sign" } else { "verify" });
        if let Some(path) = &self.passphrase_file {
            put("passphrase", &passphrase(path)?);
        }
        for (field, value) in [("tokensUntil", &self.tokens_until), ("algorithm", &self.algorithm)] {
            if let Some(value) = value {
                put(field, value);
            }
        }
        self.flags.send("/import", "import the key", body).await
    }
}

/// The first line of a passphrase file.
///
/// # Errors
/// It cannot be read, or is empty.
pub(super) fn passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read(path)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::failed(format!("{} holds no passphrase in its first line", path.display())));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    if path == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Zeroizing::new(text))
}
