//! `backup`: everything that a server holds, in one file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures::stream::{BoxStream, StreamExt};
use serde_json::json;
use tokensmith_core::backup::{Decoder, Finished};

use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{Access, Draft, set_umask};
use crate::offline::backup::{self, VerifyArgs};
use crate::offline::contents::{Contents, origin};
use crate::output;

/// Write everything that a server holds into a file, while it runs
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  tokensmith backup --to /backup/tokensmith
  tokensmith backup --to - | age -r RECIPIENT >tokensmith.age
  tokensmith backup --offline --data-dir /var/lib/tokensmith --to tokensmith.backup
  tokensmith backup verify /backup/tokensmith --sealing-key-file seal.key

In it are all objects, the key ring, revocations, issue records, and, sealed, the CA, the administrator's token and the
issuer. Private keys stay sealed: keep the sealing key (seal.key in the data directory, or the file of --sealing-key-file)
apart from it, for without that key nobody can restore it. Secrets are in it as they are in the store: it is for its owner
alone (mode 0600). Put back with `tokensmith restore`.")]
pub struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,

    /// Write here; what is there is replaced only by a whole backup. - is standard output
    #[arg(long, value_name = "FILE", required = true)]
    to: Option<PathBuf>,

    /// Why: it stays in the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    /// Read the data directory itself, which no server may use just now
    #[arg(long)]
    offline: bool,

    /// With --offline: the sealing key is here, not in the data directory
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_SEALING_KEY_FILE")]
    sealing_key_file: Option<PathBuf>,

    /// With --offline: the data directory's group may use what is in it, as with `serve`
    #[arg(long, env = "TOKENSMITH_ALLOW_GROUP_ACCESS")]
    allow_group_access: bool,

    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Look whether a backup is whole
    Verify(VerifyArgs),
}

/// A piece is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the server gives it.
const PATH: &str = "/admin/v1/backup";

impl BackupArgs {
    /// Runs it.
    ///
    /// # Errors
    /// There is no whole backup: what was there before is as it was.
    pub async fn run(self) -> Result<(), Failure> {
        if let Some(BackupCommand::Verify(args)) = self.command {
            return args.run();
        }
        let to = self.to.as_deref().unwrap_or(Path::new("-"));
        let mut sink = Sink::to(to)?;
        let pieces = match self.offline {
            true => {
                let others = if self.allow_group_access { Others::Group } else { Others::Nobody };
                set_umask(others);
                backup::begin(&self.client.data_dir, self.sealing_key_file.as_deref(), others)?
            }
            false => self.ask().await?,
        };
        let (contents, finished) = take(pieces, &mut sink).await?;
        sink.commit()?;
        let place = if to == Path::new("-") { "standard output".into() } else { to.display().to_string() };
        let said = format!(
            "backed up to {place} ({} bytes): {}\n  {}\n",
            finished.bytes,
            origin(&finished),
            contents.told()
        );
        if to == Path::new("-") {
            output::aside_text(&said);
            return Ok(());
        }
        Ok(output::print_text(&said)?)
    }

    async fn ask(&self) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
        let target = self.client.target().map_err(stopped)?;
        let answer = connect(&target)?.pieces(PATH, &json!({ "reason": self.reason })).await;
        let answer = answer.map_err(|e| stopped(e.into()))?;
        let pieces = answer.map_err(|r| Failure::failed(format!("failed to back up: {}", r.message)))?;
        Ok(pieces.map(|piece| piece.map_err(Failure::from)).boxed())
    }
}

/// What to do where no server answers.
fn stopped(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(text) => {
            Failure::Failed(format!("{text}; the data of a server that is stopped are read with --offline"))
        }
        other => other,
    }
}

/// Takes a backup piece by piece, and believes it only at its end.
async fn take(
    mut pieces: BoxStream<'static, Result<Bytes, Failure>>,
    sink: &mut Sink,
) -> Result<(Contents, Finished), Failure> {
    let (mut decoder, mut contents) = (Decoder::default(), Contents::default());
    let damaged = |e| anyhow::Error::new(e).context("what came is no whole backup");
    loop {
        let piece = tokio::time::timeout(PATIENCE, pieces.next()).await;
        let piece = piece.map_err(|_| Failure::failed("the backup broke off: no more of it came in time"))?;
        let Some(piece) = piece.transpose()? else { break };
        decoder.push(&piece);
        while let Some(record) = decoder.record().map_err(damaged)? {
            contents.take(&record);
        }
        sink.write(&piece)?;
    }
    Ok((contents, decoder.finish().map_err(damaged)?))
}

/// Where a backup goes.
enum Sink {
    File(Draft),
    Output,
}

impl Sink {
    fn to(path: &Path) -> Result<Self, Failure> {
        if path != Path::new("-") {
            return Ok(Sink::File(Draft::create(path, Access::Owner)?));
        }
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage("--to -: standard output is a terminal: give a file, or a pipe"));
        }
        Ok(Sink::Output)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Sink::File(draft) => Ok(draft.write(bytes)?),
            Sink::Output => Ok(output::print_bytes(bytes)?),
        }
    }

    fn commit(self) -> Result<(), Failure> {
        match self {
            Sink::File(draft) => Ok(draft.commit()?),
            Sink::Output => Ok(()),
        }
    }
}
