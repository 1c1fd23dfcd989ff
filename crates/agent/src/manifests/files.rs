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
    origins: Vec<Origin>,
    seen: BTreeMap<String, Seen>,
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
        Files { origins, seen: BTreeMap::new() }
    }

    /// Looks at all files, and reads those that may be different. Gives whether all are as the last look found them. Blocks.
    pub fn look(&mut self) -> bool {
        let mut now = BTreeMap::new();
        for origin in &self.origins {
            match origin {
                Origin::Text(text) => {
                    let seen = Seen { identity: None, text: Ok(text.clone()), settled: true };
                    now.insert(STANDARD_INPUT.to_owned(), seen);
                }
                Origin::Path(path) => match listed(path) {
                    Ok(paths) => {
                        for path in paths {
                            let file = path.display().to_string();
                            let seen = look_at(&path, &file, self.seen.get(&file));
                            now.insert(file, seen);
                        }
                    }
                    Err(why) => {
                        let file = path.display().to_string();
                        let error = ReadError { file: file.clone(), why: why.to_string() };
                        let settled = self.seen.get(&file).is_some_and(|s| s.text.as_ref() == Err(&error));
                        now.insert(file, Seen { identity: None, text: Err(error), settled });
                    }
                },
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

/// The files that a path stands for.
fn listed(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let manifest = path.extension().is_some_and(|ext| ["json", "yaml", "yml"].iter().any(|e| ext == *e));
        // A volume's files are links; folders in a folder are not read.
        if manifest && !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(io::Error::other("no .json, .yaml or .yml file is in this folder"));
    }
    files.sort();
    Ok(files)
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
