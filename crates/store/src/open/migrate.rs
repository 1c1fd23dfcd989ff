//! From an older format to this one.

use tokensmith_core::random;

use super::{FORMAT, Folder, OpenError, Options, rewrite};
use crate::anchor::AnchorError;
use crate::damage::{Trouble, What};
use crate::database::Database;
use crate::scan::{self, Tally};
use crate::state::{Objects, State};

/// Brings a store of format 1, which has neither checksums nor an anchor, to this one.
pub(super) fn migrate(
    folder: &Folder,
    options: &Options,
    db: Database,
    mut tally: Tally,
    anchor: &Result<Option<State>, AnchorError>,
) -> Result<State, OpenError> {
    let revision = scan::revision_1(&db).map_err(|e| folder.fault(e))?;
    let state = State { objects: tally.state.objects, ledger: tally.state.ledger, ..State::default() };
    let mut troubles = std::mem::take(&mut tally.troubles);
    if tally.whole.revision > revision {
        let (anchor, found) = (tally.whole.revision, revision);
        troubles.push(Trouble::Behind { what: What::Objects, anchor, found });
    }
    let identity = match anchor {
        Ok(None) => random::bytes(),
        // Cut off after its anchor was made: the same must come of it again.
        Ok(Some(found)) => {
            let found = *found;
            let again = State { identity: found.identity, ..state };
            let again = State { objects: Objects { revision, ..again.objects }, ..again };
            // An older tokensmith, which knows no anchor, may have gone on from there: it is done again. Not if a server has
            // run on format 2 since, which begins with a log, and writes revocations in numbered groups: this would be
            // an older database put beside it.
            let unused = found.ledger.sequence == 0 && !folder.log().exists();
            let later = revision > found.objects.revision
                || again.objects == found.objects && again.ledger.sum.count > found.ledger.sum.count;
            if again != found && !(unused && later) {
                troubles.push(Trouble::OtherStore);
            }
            found.identity
        }
        Err(e) => {
            troubles.push(Trouble::AnchorUnreadable(e.to_string()));
            random::bytes()
        }
    };
    if !troubles.is_empty() {
        return Err(folder.damaged(troubles, tally.whole));
    }
    tracing::info!(revision, "the store is brought to format {FORMAT}");
    let state = State { identity, objects: Objects { revision, ..state.objects }, ledger: state.ledger };
    rewrite::rewrite(folder, options, db, 1, state, tally.live.bytes)?;
    Ok(state)
}
