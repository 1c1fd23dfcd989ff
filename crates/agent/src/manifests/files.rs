//! Texts of manifests: files, folders, standard input.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::pod::manifest::MAX_BYTES;

/// Where manifests come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file, or a folder whose `.json`, `.yaml` and `.yml` files count, as for kubectl.
    Path(PathBuf),
    /// What standard input had, which can be read once.
    Text(Arc<str>),
}

/// What people call standard input in a message.
const STANDARD_INPUT: &str = "standard input";

/// A file that cannot be read. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {file}: {why}")]
pub struct ReadError {
    /// Which.
    pub file: String,
    /// Why.
    pub why: String,
}

/// Files that are looked at again and again.
#[derive(Debug)]
pub struct Files {
    origins: Vec<Followed>,
    seen: BTreeMap<String, Seen>,
}

/// An origin, and what was found there.
#[derive(Debug)]
struct Followed {
    origin: Origin,
    /// The folder as the last look found it that could list it.
    last: Option<Folder>,
    /// The folder as two looks found it, or the first.
    settled: Option<Folder>,
}

/// A folder's manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    /// What is mounted there.
    device: u64,
    files: Vec<PathBuf>,
}

/// What was seen of a file.
#[derive(Clone, Debug)]
struct Seen {
    identity: Option<Identity>,
    text: Result<Arc<str>, ReadError>,
    /// Two looks have found the same.
    settled: bool,
}

/// What tells one content from another behind the same path. The time of the last change of anything (`ctime`) cannot be set
/// back; but it has a grain, so what was just written is read twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Files {
    /// Nothing is read yet.
    pub fn new(origins: Vec<Origin>) -> Self {
        let followed = |origin| Followed { origin, last: None, settled: None };
        Files { origins: origins.into_iter().map(followed).collect(), seen: BTreeMap::new() }
    }

    /// Looks at all files, and reads those that may be different. Gives whether all are as the last look found them. Blocks.
    ///
    /// A folder that cannot be listed has the files that it had when it could, and its own path stands among them with the
    /// reason. One that was listed and is empty now has none; but where something else is mounted by now it was not emptied.
    pub fn look(&mut self) -> bool {
        let mut now = BTreeMap::new();
        for followed in &mut self.origins {
            let path = match &followed.origin {
                Origin::Text(text) => {
                    let seen = Seen { identity: None, text: Ok(text.clone()), settled: true };
                    now.insert(STANDARD_INPUT.to_owned(), seen);
                    continue;
                }
                Origin::Path(path) => path,
            };
            match listed(path, followed.settled.as_ref()) {
                Ok(folder) => {
                    let files = folder.as_ref().map_or(std::slice::from_ref(path), |folder| &folder.files);
                    for path in files {
                        let file = path.display().to_string();
                        let seen = look_at(path, &file, self.seen.get(&file));
                        now.insert(file, seen);
                    }
                    if followed.settled.is_none() || followed.last == folder {
                        followed.settled.clone_from(&folder);
                    }
                    followed.last = folder;
                }
                Err(error) => {
                    let folder = path.display().to_string();
                    let error = ReadError { file: folder.clone(), why: reason(&error) };
                    for path in followed.settled.iter().flat_map(|folder| &folder.files) {
                        let file = path.display().to_string();
                        let seen = self.seen.get(&file).filter(|seen| seen.settled).cloned();
                        // What was seen once may have been half written, and nobody can look again.
                        let unknown = || Seen { identity: None, text: Err(error.clone()), settled: true };
                        now.insert(file, seen.unwrap_or_else(unknown));
                    }
                    let settled = self.seen.get(&folder).is_some_and(|s| s.text.as_ref() == Err(&error));
                    now.insert(folder, Seen { identity: None, text: Err(error), settled });
                }
            }
        }
        let settled = now.values().all(|seen| seen.settled) && now.keys().eq(self.seen.keys());
        self.seen = now;
        settled
    }

    /// The texts as they were last seen, by the names of their files.
    pub fn texts(&self) -> impl Iterator<Item = (&str, Result<&Arc<str>, &ReadError>)> {
        self.seen.iter().map(|(file, seen)| (file.as_str(), seen.text.as_ref()))
    }
}

/// The folder that a path stands for; `None`: it is a file itself. What was a folder `before` is one, or cannot be listed.
fn listed(path: &Path, before: Option<&Folder>) -> io::Result<Option<Folder>> {
    if before.is_none() && !path.is_dir() {
        return Ok(None);
    }
    let device = fs::metadata(path)?.dev();
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let manifest = path.extension().is_some_and(|ext| ["json", "yaml", "yml"].iter().any(|e| ext == *e));
        // A volume's files are links; folders in a folder are not read.
        if manifest && !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() && before.is_none_or(|before| before.device != device) {
        return Err(io::Error::other("no .json, .yaml or .yml file is in this folder"));
    }
    files.sort();
    Ok(Some(Folder { device, files }))
}

fn look_at(path: &Path, file: &str, before: Option<&Seen>) -> Seen {
    let found = fs::metadata(path).ok();
    // A shell's `<(…)` is a pipe, which gives its text once.
    let once = found.as_ref().is_some_and(|found| !found.is_file());
    if let Some(before) = before
        && once
    {
        return before.clone();
    }
    let identity = found.map(|found| Identity::of(&found));
    if let Some(before) = before
        && before.settled
        && before.identity.is_some()
        && before.identity == identity
    {
        return before.clone();
    }
    let text = read(path).map_err(|e| ReadError { file: file.to_owned(), why: reason(&e) });
    let settled = once || before.is_some_and(|before| before.identity == identity && before.text == text);
    Seen { identity, text, settled }
}

fn read(path: &Path) -> io::Result<Arc<str>> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text.into())
}

/// Without the number of the error, which says nothing to people.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl Identity {
    fn of(found: &fs::Metadata) -> Self {
        Identity {
            device: found.dev(),
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
            size: found.size(),
        }
    }
}
