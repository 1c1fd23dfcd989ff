//! What a volume holds: files by their paths, before anything is on disk.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use tokensmith_objects::LocalPath;

/// A volume's files. The same path twice is the later one, as in a projected volume's list of sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    files: BTreeMap<LocalPath, File>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its content, a token perhaps.
    pub data: Secret,
    /// Its permissions, before `fsGroup` adds to them.
    pub mode: u32,
    /// Whom it is given to; `None` leaves it the writer's.
    pub user: Option<u32>,
}

/// Bytes that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Bytes);

impl Payload {
    /// Puts a file where it belongs.
    pub fn insert(&mut self, path: LocalPath, file: File) {
        self.files.insert(path, file);
    }

    /// In the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&LocalPath, &File)> {
        self.files.iter()
    }

    /// The file at a path.
    pub fn get(&self, path: &LocalPath) -> Option<&File> {
        self.files.get(path)
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Secret {
    /// Hides bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Secret(bytes.into())
    }

    /// The bytes; for where they must go, and nowhere else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As text, if it is text.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
