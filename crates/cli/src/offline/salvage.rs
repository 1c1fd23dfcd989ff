//! `store salvage`: what is whole of a damaged store, in another data directory.

use std::path::PathBuf;

use clap::Args;
use tokensmith_core::Clock;
use tokensmith_core::backup::Bump;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::KeyRing;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::ledger::{Marks, Revocation};
use tokensmith_store::{BadRecord, Record};

use super::check::look;
use super::contents::count;
use super::fill::{Fill, Rest};
use super::said::{keys, revocations_lost, troubles};
use super::target::Target;
use crate::client::flags::DATA_DIR;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{read_if_there, set_umask};
use crate::output::{aside, print_text, printable, shell};
use crate::serve::data_dir::{DataDir, Kept, SEAL};

/// Copy what is whole into another data directory
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tokensmith store salvage --data-dir /var/lib/tokensmith --to /var/lib/tokensmith-new

What verifies is copied: objects, revocations, issue records, and the key ring if it is the last that was written; so are the
sealing key, the CA, the administrator's token and the issuer. What does not is named. The damaged store stays as it is. A
ring that is or may be an older one is left out, for a key that was revoked since signs by it again; --with-older-ring takes
it. Without a ring, `serve --force` makes a new one, and every token of before is refused. Prefer a backup that is recent
enough (`tokensmith restore`). Where revocations are lost, tokens that were revoked may be good again: --revoke-tokens
has every token of before refused.")]
pub struct SalvageArgs {
    /// From this data directory
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,

    /// Into this one, which has no store
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Refuse all tokens that the keys have signed before
    #[arg(long)]
    revoke_tokens: bool,

    /// Copy the key ring even where it is or may be an older one. Its keys are listed: revoke again what was revoked since
    #[arg(long)]
    with_older_ring: bool,

    /// The copy that is read is made here, and removed again, not in the store's folder: for a disk that is full or
    /// cannot be written
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Let the new directory's group use what is in it, as with `serve`
    #[arg(long, env = "TOKENSMITH_ALLOW_GROUP_ACCESS")]
    allow_group_access: bool,
}

/// What is not copied one by one.
#[derive(Default)]
struct Found {
    ring: Option<KeyRing>,
    marks: Option<Marks>,
    revocations: Vec<Revocation>,
    lost: Vec<String>,
    failed: Option<Failure>,
}

impl SalvageArgs {
    /// Runs it.
    ///
    /// # Errors
    /// There is no store to be read, or none can be written.
    pub fn run(self) -> Result<(), Failure> {
        let others = if self.allow_group_access { Others::Group } else { Others::Nobody };
        set_umask(others);
        let now = SystemClock::new().now();
        if DataDir::look(&self.to).holds_store() {
            let to = self.to.display();
            return Err(Failure::guard(format!(
                "{to} holds a store already: give another directory with --to"
            )));
        }
        // First what there is: the new store begins beyond it.
        let known = look(&self.data_dir, self.scratch.as_deref(), &mut |_| {})?;
        let target = Target::take(&self.to, false, others)?;
        let bump = Bump::after(0);
        let (draft, seen) = (target.draft()?, known.whole.revision.max(known.anchored.unwrap_or(0)));
        let mut fill = Fill::begin(&draft, bump.revision(seen))?;
        let mut found = Found::default();
        let examined =
            look(&self.data_dir, self.scratch.as_deref(), &mut |record| found.take(record, &mut fill))?;
        if let Some(failed) = found.failed {
            return Err(failed);
        }
        let kept = found.marks.unwrap_or_else(|| {
            // Where nobody knows, tokens without a mark may be out, and such as others were exchanged for.
            let last = found.ring.iter().flat_map(KeyRing::keys).filter_map(|key| key.last_exp).max();
            Marks { unmarked_until: last, exchanged_until: last, ..Marks::default() }
        });
        let epochs = found.revocations.iter().filter_map(|revocation| revocation.epoch);
        let kept = Marks { limit: epochs.fold(kept.limit, u32::max), ..kept };
        let older = examined.whole.older_ring;
        let taken = found.ring.as_ref().filter(|_| !older || self.with_older_ring);
        let ring = taken.map(|ring| bump.ring(ring, now));
        let rest = Rest { ring, marks: bump.marks(Some(kept)), revocations: found.revocations };
        let rest = if self.revoke_tokens { rest.with_tokens_revoked(now.unix_timestamp()) } else { rest };
        let revision = fill.finish(rest)?;
        let files = target.put(&self.files()?)?;
        target.commit(&draft, now)?;

        let whole = &examined.whole;
        let mut out = format!(
            "saved from {} into {}: {}, {}, {}, {}\n",
            self.data_dir.display(),
            self.to.display(),
            match taken {
                Some(_) if older => "AN OLDER KEY RING",
                Some(_) => "the key ring",
                None => "NO key ring",
            },
            count(whole.objects.values().sum(), "object"),
            count(whole.revocations, "revocation"),
            count(whole.issued, "issue record"),
        );
        out.push_str(&troubles(&examined.troubles));
        out.extend(found.lost.iter().map(|lost| format!("  lost: {}\n", printable(lost))));
        if revocations_lost(&examined.troubles) {
            out.push_str("Revocations are or may be lost: what was revoked may be good again. Revoke it again (the audit log has it), or salvage with --revoke-tokens\n");
        }
        if !files.written.is_empty() {
            out.push_str(&format!("Also copied: {}\n", files.written.join(", ")));
        }
        out.push_str(&format!("Revisions go on after {revision}: watches begin anew.\n"));
        let at = shell(&self.to.to_string_lossy());
        out.push_str(&match (taken, &found.ring) {
            (Some(_), _) => format!("Start: tokensmith serve --data-dir {at}\n"),
            (None, None) => format!("Start: tokensmith serve --data-dir {at} --force\n  which makes new keys: every token of before is refused then. A backup may have the ring\n"),
            (None, Some(_)) => format!("The key ring that is there is or may be an older one, by which a key that was revoked since signs again: it was left out\nStart: tokensmith serve --data-dir {at} --force\n  which makes new keys: every token of before is refused then. A backup may have the ring; or salvage into another directory with --with-older-ring, and revoke again what was revoked\n"),
        });
        // Before what may find its reader gone.
        let older = taken.filter(|_| older);
        if older.is_some() {
            aside(
                "Warning: this key ring is or may be an OLDER one: keys that were made since are missing, and a key that was revoked since signs and verifies again. Compare the list with the audit log (\"action\":\"keys.revoke\"), and as soon as the server runs: `tokensmith keys revoke KID --force --reason TEXT`",
            );
        }
        print_text(&out)?;
        if let Some(ring) = older {
            print_text(&keys(ring))?;
        }
        Ok(())
    }

    /// What stands beside the store.
    fn files(&self) -> Result<Kept, Failure> {
        let dir = DataDir::look(&self.data_dir);
        let mut files = dir.kept()().map_err(anyhow::Error::new)?;
        if let Some(seal) = read_if_there(&dir.file(SEAL))? {
            files.push((SEAL.to_owned(), seal.into()));
        }
        Ok(files)
    }
}

impl Found {
    fn take(&mut self, record: Result<Record, BadRecord>, fill: &mut Fill) {
        if self.failed.is_some() {
            return;
        }
        let done = match record {
            Err(bad) => {
                self.lost.push(bad.to_string());
                Ok(())
            }
            Ok(Record::Object(entry)) if entry.key == RING_KEY => {
                match KeyRing::from_json(&entry.value) {
                    Ok(ring) => self.ring = Some(ring),
                    Err(e) => self.lost.push(format!("{RING_KEY}: {e}")),
                }
                Ok(())
            }
            Ok(Record::Object(entry)) => fill.object(entry.key, entry.value),
            Ok(Record::Issued(issued)) => fill.issued(*issued),
            Ok(Record::Marks(marks)) => {
                self.marks = Some(marks);
                Ok(())
            }
            Ok(Record::Revocation(revocation)) => {
                self.revocations.push(revocation);
                Ok(())
            }
        };
        self.failed = done.err();
    }
}
