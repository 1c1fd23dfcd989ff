//! One set of files in place of another, at one stroke: the kubelet's AtomicWriter
//! (`pkg/volume/util/atomic_writer.go`), on an open folder.

use std::collections::BTreeMap;
use std::ffi::OsString;

use time::OffsetDateTime;

use super::current;
use super::dir::{self, Dir, Mounts};
use super::error::{Doing, Failed, OWN};
use super::generation;
use super::layout::{DATA, DATA_TMP, LINK_TMP};
use super::owner::Owners;
use crate::payload::Payload;

/// A set that a folder is to hold.
pub(super) struct Set<'a> {
    pub(super) dir: &'a Dir,
    pub(super) payload: &'a Payload,
    pub(super) owners: Owners<'a>,
    /// The folder's name tells it.
    pub(super) now: OffsetDateTime,
    /// Whether the data must be on disk before it counts. After a loss of power a file system may know the rename
    /// and not the data, and an application that starts before the agent would read empty files. The rename itself
    /// is not waited for: it comes after the data, and until then the old set counts.
    pub(super) durable: bool,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The volume held these files already.
    Unchanged,
    /// It holds them now.
    Updated,
}

/// A [`Set`] that is in its place.
pub(super) struct Placed {
    pub(super) written: Written,
    /// The generation that counted before, still there for those who read it.
    pub(super) superseded: Option<OsString>,
}

impl Set<'_> {
    /// Writes it, unless the folder holds it already. Paths and nesting have been checked.
    pub(super) fn write(&self) -> Result<Placed, Failed> {
        self.dir.settle(self.owners.dir()).doing(OWN, "")?;
        let current = current::current(self.dir).doing("read", DATA)?;
        // What cannot be compared is not what it should be.
        let matches = current.as_ref().is_some_and(|(_, generation)| {
            current::matches(generation, self.payload, &self.owners).unwrap_or(false)
        });
        if matches {
            self.links()?;
            self.dir.settle_link(DATA, self.owners.link(None)).doing(OWN, DATA)?;
            return Ok(Placed { written: Written::Unchanged, superseded: None });
        }
        let name = generation::new(self.now);
        let swapped = self.fill(&name).and_then(|()| self.swap(&name));
        if let Err(failed) = swapped {
            // If that fails too, the next write finds it.
            let _ = self.dir.remove(&name, Mounts::Refuse);
            return Err(failed);
        }
        self.links()?;
        Ok(Placed { written: Written::Updated, superseded: current.map(|(name, _)| name) })
    }

    /// Makes a generation that nobody sees yet.
    fn fill(&self, name: &str) -> Result<(), Failed> {
        let top = self.dir.create_dir(name, 0o755).doing("create", name)?;
        // A path that has been made is kept open while the next file is in the same folder or below.
        let mut open: Vec<(&str, Dir)> = Vec::new();
        for (path, file) in self.payload.files() {
            let elements: Vec<&str> = path.elements().collect();
            let Some((leaf, folders)) = elements.split_last() else { continue };
            let shared = open.iter().zip(folders).take_while(|((name, _), folder)| name == *folder).count();
            open.truncate(shared);
            for folder in &folders[shared..] {
                let parent = open.last().map_or(&top, |(_, dir)| dir);
                let dir = parent.child_or_create(folder, 0o755).doing("create", path.as_str())?;
                open.push((folder, dir));
            }
            let parent = open.last().map_or(&top, |(_, dir)| dir);
            let made = parent.create_file(leaf, file.data.expose());
            let made = made.doing("write", path.as_str())?;
            dir::settle(&made, self.owners.file(file)).doing(OWN, path.as_str())?;
            if self.durable {
                made.sync_data().doing("write", path.as_str())?;
            }
            for (_, dir) in &open {
                dir.settle(self.owners.dir()).doing(OWN, path.as_str())?;
            }
        }
        top.settle(self.owners.dir()).doing(OWN, name)
    }

    /// The atomic step.
    fn swap(&self, name: &str) -> Result<(), Failed> {
        self.link(name, DATA_TMP, None)?;
        // What is no link cannot be renamed over, and was put there by somebody.
        if self.dir.link_target(DATA).doing("read", DATA)?.is_none() {
            self.dir.remove(DATA, Mounts::Refuse).doing("remove", DATA)?;
        }
        self.dir.rename(DATA_TMP, DATA).doing("rename", DATA)
    }

    /// Sees to it that every file can be reached, and no link leads to nothing.
    fn links(&self) -> Result<(), Failed> {
        // A link belongs to the user of what is below it, as since 1.36.
        let mut tops: BTreeMap<&str, Option<u32>> = BTreeMap::new();
        for (path, file) in self.payload.files() {
            let user = tops.entry(path.top()).or_default();
            *user = user.or(file.user);
        }
        for (top, user) in &tops {
            let target = format!("{DATA}/{top}");
            let found = self.dir.link_target(top).doing("read", top)?;
            if found.as_ref().is_some_and(|found| found == target.as_str()) {
                self.dir.settle_link(top, self.owners.link(*user)).doing(OWN, top)?;
                continue;
            }
            // Somebody's file or folder, which would hide ours for ever. A link that is wrong is renamed over.
            if found.is_none() {
                self.dir.remove(top, Mounts::Refuse).doing("remove", top)?;
            }
            self.link(&target, LINK_TMP, *user)?;
            self.dir.rename(LINK_TMP, top).doing("rename", top)?;
        }
        for name in self.dir.names().doing("list", "")? {
            let Some(text) = name.to_str().filter(|text| !tops.contains_key(text)) else { continue };
            let ours = format!("{DATA}/{text}");
            if self.dir.link_target(&name).doing("read", &name)?.is_some_and(|to| to == ours.as_str()) {
                self.dir.unlink(&name).doing("remove", &name)?;
            }
        }
        Ok(())
    }

    fn link(&self, target: &str, name: &str, user: Option<u32>) -> Result<(), Failed> {
        self.dir.remove(name, Mounts::Refuse).doing("remove", name)?;
        self.dir.create_link(target, name).doing("link", name)?;
        self.dir.settle_link(name, self.owners.link(user)).doing(OWN, name)
    }
}
