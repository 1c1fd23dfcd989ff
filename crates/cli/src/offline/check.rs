//! `store check`: what is damaged, what is whole.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, NotOpened};
use tokensmith_store::{BadRecord, Examined, OpenError, Record, examine_in};

use super::said::troubles;
use crate::client::flags::DATA_DIR;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::output::{print_text, printable, shell};
use crate::serve::data_dir::DataDir;
use crate::serve::sealing::SealingFile;

/// Say what is damaged, what is whole, and what can be done; changes nothing
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tokensmith store check --data-dir /var/lib/tokensmith

Exit codes: 0 the store is whole, 3 it is damaged, 1 it cannot be looked at. A copy is read, in the store's folder (or
--scratch) and for as long as that takes; a server that uses the store is left alone: back that up with `tokensmith backup`.")]
pub struct CheckArgs {
    /// Of this data directory
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,

    /// The sealing key is here. Default: seal.key in the data directory
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_SEALING_KEY_FILE")]
    sealing_key_file: Option<PathBuf>,

    /// The copy that is read is made here, and removed again, not in the store's folder: for a disk that is full or
    /// cannot be written
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

impl CheckArgs {
    /// Runs it.
    ///
    /// # Errors
    /// It is damaged, or cannot be looked at.
    pub fn run(self) -> Result<(), Failure> {
        let mut ring = None;
        let found = look(&self.data_dir, self.scratch.as_deref(), &mut |record| {
            if let Ok(Record::Object(entry)) = record
                && entry.key == RING_KEY
            {
                ring = Some(KeyRing::from_json(&entry.value));
            }
        })?;
        let keys = match &ring {
            None => "missing".to_owned(),
            Some(Err(e)) => format!("cannot be used: {e}"),
            Some(Ok(ring)) if found.whole.older_ring => format!(
                "NOT WHOLE: {} keys of a ring that is or may be an older one; {}",
                ring.keys().len(),
                self.opens(ring)
            ),
            Some(Ok(ring)) => format!("{} keys; {}", ring.keys().len(), self.opens(ring)),
        };
        let damaged = !found.troubles.is_empty() || !matches!(ring, Some(Ok(_)));
        print_text(&told(&self.data_dir, &found, &keys, damaged))?;
        match damaged {
            true => Err(Failure::guard(format!("the store in {} is damaged", self.data_dir.display()))),
            false => Ok(()),
        }
    }

    fn opens(&self, ring: &KeyRing) -> String {
        match SealingFile::find(self.sealing_key_file.as_deref(), &self.data_dir, Others::Group) {
            Ok(Some(seal)) => match seal.opens(ring) {
                Ok(()) => "the sealing key opens them".into(),
                Err(NotOpened { id }) => {
                    format!("the sealing key does NOT open {id}: put the right one back")
                }
            },
            Ok(None) => "the sealing key is MISSING: put it back".into(),
            Err(e) => format!("the sealing key cannot be read: {e:#}"),
        }
    }
}

/// Examines the store of a data directory that no server uses.
///
/// # Errors
/// There is none, or a server uses it.
pub fn look(
    data_dir: &Path,
    scratch: Option<&Path>,
    each: &mut dyn FnMut(Result<Record, BadRecord>),
) -> Result<Examined, Failure> {
    let dir = DataDir::look(data_dir);
    if !dir.holds_store() {
        let name = data_dir.display();
        return Err(Failure::failed(format!(
            "there is no store in {name}: give --data-dir, or put one back with `tokensmith restore`"
        )));
    }
    examine_in(&dir.store(), scratch, each).map_err(|e| match &e {
        OpenError::InUse { .. } => Failure::failed(format!(
            "{e}: stop that server first; a store in use is saved with `tokensmith backup`"
        )),
        OpenError::Io { .. } => {
            let cause = anyhow::Error::new(e);
            Failure::failed(format!(
                "{cause:#}: a copy of the store is read, and --scratch DIR has it made in another folder"
            ))
        }
        _ => anyhow::Error::new(e).into(),
    })
}

/// What an examination has found, for people.
fn told(data_dir: &Path, found: &Examined, keys: &str, damaged: bool) -> String {
    let format = found.format.map_or("unknown format".to_owned(), |format| format!("format {format}"));
    let state = if damaged { "DAMAGED" } else { "whole" };
    let whole = &found.whole;
    let mut out =
        format!("the store in {} is {state} ({format}, revision {}", data_dir.display(), whole.revision);
    match found.anchored {
        Some(anchored) => drop(writeln!(out, ", its anchor has seen {anchored})")),
        None => out.push_str(")\n"),
    }
    out.push_str(&troubles(&found.troubles));
    let objects: u64 = whole.objects.values().sum();
    let _ = writeln!(out, "  key ring        {keys}");
    let _ = writeln!(out, "  revocations     {}", whole.revocations);
    let _ = writeln!(out, "  objects         {objects}");
    for (kind, count) in &whole.objects {
        let _ = writeln!(out, "    {count:>7} {}", printable(kind));
    }
    let _ = writeln!(out, "  issue records   {}", whole.issued);
    if whole.issued_damaged > 0 {
        let _ =
            writeln!(out, "  {} issue records cannot be read; no reason not to start", whole.issued_damaged);
    }
    if damaged {
        let at = shell(&data_dir.to_string_lossy());
        let older = match whole.older_ring {
            true => {
                "; the key ring only with\n      --with-older-ring: a key that was revoked since signs by it again"
            }
            false => "",
        };
        let _ = write!(
            out,
            "What can be done, the store stays as it is:\n  tokensmith restore --from BACKUP --data-dir {at} --force   a backup takes its place; its revocations are taken over\n  tokensmith store salvage --data-dir {at} --to DIR          what is whole is copied{older}\n"
        );
    }
    out
}
