//! `restore`: a data directory from a backup.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::backup::{Bump, Finished, Record};
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::KeyRing;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_store::OpenError;

use super::backup::{prove, sealing};
use super::before::Before;
use super::contents::{self, Contents, count};
use super::fill::{Fill, Rest};
use super::said::{keys, one_line, revocations_lost};
use super::target::{Files, Target};
use crate::client::flags::DATA_DIR;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::set_umask;
use crate::output::{self, print_text, shell};
use crate::times::with_distance;

/// Make a data directory from a backup, for `serve` to start on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # the sealing key is not in a backup
  install -m 700 -d /var/lib/tokensmith && install -m 600 seal.key /var/lib/tokensmith/
  tokensmith restore --from /backup/tokensmith --data-dir /var/lib/tokensmith

The whole backup is read and checked before anything is written; what is cut off on its way leaves nothing that starts.
Revisions and the marks in tokens go on far beyond those of the backup, so that none is given twice: watches begin anew
(410), and revocations cover what they should. What was written, and above all what was REVOKED, after the backup was begun
is not in it: tokens and keys that were revoked since are good again until they are revoked again. The answer says from
when the data are and lists the keys; --revoke-tokens has every token of before refused.")]
pub struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// Put it here
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,

    /// The sealing key of the server that was backed up. Default: seal.key in the data directory
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_SEALING_KEY_FILE")]
    sealing_key_file: Option<PathBuf>,

    /// Move a store that is there aside, and take its place
    #[arg(long)]
    force: bool,

    /// Refuse all tokens that the keys of the backup have signed before: for when tokens were revoked since, and which is
    /// not known
    #[arg(long)]
    revoke_tokens: bool,

    /// Leave the key ring out, and all that is sealed: for when the sealing key is lost. `serve --force` then makes new keys
    #[arg(long, conflicts_with = "revoke_tokens")]
    without_keys: bool,

    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Let the data directory's group use what is in it, as with `serve`
    #[arg(long, env = "TOKENSMITH_ALLOW_GROUP_ACCESS")]
    allow_group_access: bool,
}

impl RestoreArgs {
    /// Runs it.
    ///
    /// # Errors
    /// The backup is not whole, its keys do not open, something is in the way: nothing has been changed then.
    pub fn run(self) -> Result<(), Failure> {
        let others = if self.allow_group_access { Others::Group } else { Others::Nobody };
        set_umask(others);
        let now = SystemClock::new().now();
        let (contents, finished) = contents::read(&self.from)?;
        let seal = match self.without_keys {
            true => None,
            false => Some(sealing(self.sealing_key_file.as_deref(), &self.data_dir, others)?),
        };
        if let Some(seal) = &seal {
            prove(&self.from, &contents, &finished, seal)?;
        }
        let ring =
            contents.ring().map_err(anyhow::Error::new).context("the key ring in it cannot be used")?;
        let ring = ring.filter(|_| seal.is_some());
        Target::judge(&self.data_dir, self.force)?;
        if self.dry_run {
            return Ok(print_text(&self.told(
                "would be restored",
                &finished,
                &contents,
                ring.as_ref(),
                now,
            ))?);
        }
        // What has been revoked since is known where the lost store can be read.
        let before = self.before()?;
        let target = Target::take(&self.data_dir, self.force, others)?;
        let bump = Bump::new(&finished.header, now);
        let (revocations, more) = before.join(&contents.revocations);
        let marks = bump.marks(before.marks(contents.marks));
        let rest = Rest { ring: ring.as_ref().map(|ring| bump.ring(ring, now)), marks, revocations };
        let rest = if self.revoke_tokens { rest.with_tokens_revoked(now.unix_timestamp()) } else { rest };
        let told = self.told("restored", &finished, &contents, ring.as_ref(), now);
        let sealed = contents.files.clone();
        let (draft, after) = (target.draft()?, bump.revision(finished.trailer.revision.max(before.revision)));
        let revision = self.write(Fill::begin(&draft, after)?, rest, contents, &finished)?;
        let files = match &seal {
            Some(seal) => target.put_files(&sealed, seal)?,
            None => Files::default(),
        };
        let aside = target.commit(&draft, now)?;
        // Before what may find its reader gone.
        for id in ring.iter().flat_map(|ring| before.revoked(ring)) {
            output::aside(&format!(
                "Warning: key {id} was revoked in the store that was there: revoke it again, at once"
            ));
        }
        print_text(&told)?;
        if more > 0 {
            print_text(&format!(
                "Taken over from the store that was there: {}\n",
                count(more, "further revocation")
            ))?;
        }
        Ok(print_text(&self.done(&files, aside.as_deref(), revision))?)
    }

    /// What is known of the store that is there.
    fn before(&self) -> Result<Before, Failure> {
        let Some(store) = Before::place(&self.data_dir) else { return Ok(Before::default()) };
        // Then none of the tokens of before is good, whatever was revoked.
        let refused = self.revoke_tokens || self.without_keys;
        let name = store.display();
        match Before::read(&store) {
            Ok(before) => {
                if !refused && revocations_lost(&before.troubles) {
                    output::aside(&format!(
                        "Warning: the store in {name} can be read in part at most ({}): what it has revoked may be good again. Revoke it again (the audit log has it), or restore with --revoke-tokens",
                        one_line(&before.troubles)
                    ));
                }
                Ok(before)
            }
            Err(e @ OpenError::InUse { .. }) => Err(Failure::failed(format!("{e}: stop that server first"))),
            Err(e) if refused => {
                let cause = anyhow::Error::new(e);
                output::aside(&format!(
                    "Warning: the store in {name} cannot be read: {cause:#}: what it has revoked is not taken over"
                ));
                Ok(Before::default())
            }
            Err(e) => {
                let cause = anyhow::Error::new(e);
                Err(Failure::guard(format!(
                    "the store in {name} cannot be read: {cause:#}: what it has revoked would be good again: mend that, or restore with --revoke-tokens, which refuses every token of before"
                )))
            }
        }
    }

    /// Makes the store. The backup is read a second time, and must still be the one that was checked.
    fn write(
        &self,
        mut fill: Fill,
        rest: Rest,
        mut contents: Contents,
        finished: &Finished,
    ) -> Result<u64, Failure> {
        let again = contents::records(&self.from, |record| match record {
            // It has changed, and comes last.
            Record::Entry(entry) if entry.key == RING_KEY => Ok(()),
            Record::Entry(entry) if contents.claim(&entry) => fill.object(entry.key, entry.value),
            Record::Issued(issued) => fill.issued(*issued),
            _ => Ok(()),
        })?;
        match again.digest == finished.digest {
            true => fill.finish(rest),
            false => Err(Failure::failed(format!("{} has changed meanwhile", self.from.display()))),
        }
    }

    fn told(
        &self,
        what: &str,
        finished: &Finished,
        contents: &Contents,
        ring: Option<&KeyRing>,
        now: OffsetDateTime,
    ) -> String {
        let (dir, from) = (self.data_dir.display(), self.from.display());
        let begun = finished.header.time;
        let at = with_distance(begun.unix_timestamp(), now);
        let mut out =
            format!("{dir} {what} from {from}: {}\n  {}\n", contents::origin(finished), contents.told());
        out.push_str(&format!("The data are from {at}. What came later is not known here:\n"));
        out.push_str(match self.revoke_tokens {
            true => "  - all tokens that these keys signed before are refused (--revoke-tokens); those in Secrets are not: delete the Secrets\n",
            false => "  - tokens that were revoked later are good again, and so are those of accounts that were deleted: revoke them again (the audit log has them: \"action\":\"revoke\"), or restore with --revoke-tokens\n",
        });
        out.push_str(
            "  - keys that were revoked later sign and verify again: `tokensmith keys revoke KID --force --reason TEXT` once the server runs (\"action\":\"keys.revoke\")\n  - keys that were made later are lost: their tokens are refused\n  - objects are as they were then\n",
        );
        let Some(ring) = ring else {
            out.push_str("There is no key ring: `tokensmith serve --force` makes a new one, and every token of before is refused.\n");
            return out;
        };
        out.push_str(&keys(ring));
        out
    }

    fn done(&self, files: &Files, aside: Option<&Path>, revision: u64) -> String {
        let mut out = format!("Revisions go on after {revision}: watches begin anew.\n");
        let dir = self.data_dir.display();
        if !files.written.is_empty() {
            out.push_str(&format!("Also put back: {}\n", files.written.join(", ")));
        }
        if !files.kept.is_empty() {
            let names = files.kept.join(", ");
            out.push_str(&format!("Kept as they are in {dir}, though the backup has others: {names}\n"));
        }
        if let Some(aside) = aside {
            out.push_str(&format!("The store that was there is in {} now\n", aside.display()));
        }
        let at = shell(&self.data_dir.to_string_lossy());
        let key = self
            .sealing_key_file
            .as_ref()
            .map(|path| format!(" --sealing-key-file {}", shell(&path.to_string_lossy())));
        let force = if self.without_keys { " --force" } else { "" };
        out.push_str(&format!("Start: tokensmith serve --data-dir {at}{}{force}\n", key.unwrap_or_default()));
        out
    }
}
