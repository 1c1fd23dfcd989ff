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

    /// The first path that has no place, and the file that is in its way: one whose path is that of a folder above it.
    pub fn conflict(&self) -> Option<(&LocalPath, &LocalPath)> {
        let mut paths: Vec<&LocalPath> = self.files.keys().collect();
        // Element by element: what is below a path follows it at once, so nobody asks for each folder of each path.
        paths.sort_unstable_by(|a, b| a.elements().cmp(b.elements()));
        let mut above: Vec<&LocalPath> = Vec::new();
        let mut found = None;
        for path in paths {
            while above.last().is_some_and(|file| !is_below(path, file)) {
                above.pop();
            }
            if let Some(file) = above.first().copied() {
                found = found.into_iter().chain([(path, file)]).min();
            }
            above.push(path);
        }
        found
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

fn is_below(path: &LocalPath, folder: &LocalPath) -> bool {
    path.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
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

    /// Whether it can be a bearer token (RFC 6750, b64token). A space or a comma would say something else to those who parse the
    /// header that it stands in.
    pub(crate) fn is_bearer_token(&self) -> bool {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b);
        !self.0.is_empty() && self.0.iter().all(allowed)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Payload {
        let mut payload = Payload::default();
        for path in paths {
            let file = File { data: Secret::new("x"), mode: 0o644, user: None };
            payload.insert(LocalPath::try_from(*path).unwrap(), file);
        }
        payload
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_found() {
        for (paths, want) in [
            (&["a", "b/c", "b/d"][..], None),
            (&["a", "a-b", "a.b", "ab"], None),
            (&["a", "a-b", "a/b"], Some(("a/b", "a"))),
            (&["a/b", "a/b/c/d", "a/b/c"], Some(("a/b/c", "a/b"))),
            (&["z", "z/y", "b", "b/a"], Some(("b/a", "b"))),
        ] {
            let payload = of(paths);
            let found = payload.conflict().map(|(path, file)| (path.as_str(), file.as_str()));
            assert_eq!(found, want, "{paths:?}");
        }
    }

    /// Each of these paths has two thousand folders above it.
    #[test]
    fn paths_cost_as_much_as_they_are_long() {
        let paths: Vec<_> = (0..300).map(|n| format!("{}{n}", "a/".repeat(2000))).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        assert_eq!(of(&paths).conflict(), None);
    }
}
