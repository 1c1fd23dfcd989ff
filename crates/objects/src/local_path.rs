//! Paths inside a volume, as whoever writes them must see them.

use std::fmt;

/// A path that cannot leave its volume, cleaned: elements between single slashes, none of them `.` or `..`.
///
/// The API server's validation (`validate/volume.rs`) has looked at most of them already; but a manifest can come from a
/// file, and a stored pod can be older than the rules. So who writes to a disk asks again
/// (`pkg/volume/util/atomic_writer.go`, `validatePath`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPath(String);

/// Why a path is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalPathError {
    /// It begins with a slash.
    #[error("invalid path: must be relative path: {0:?}")]
    Absolute(String),
    /// It is empty, or means the volume itself.
    #[error("invalid path: must not be empty: {0:?}")]
    Empty(String),
    /// It has a character that no file's name may have.
    #[error("invalid path: must not contain NUL: {0:?}")]
    Nul(String),
    /// Its first element would be taken for one of the writer's own files.
    #[error("invalid path: must not start with '..': {0:?}")]
    Reserved(String),
    /// More than 4096 characters, or 255 in an element.
    #[error("invalid path: too long: {0:.80?}")]
    TooLong(String),
    /// An element is `..`.
    #[error("invalid path: must not contain '..': {0:?}")]
    Up(String),
}

impl LocalPath {
    /// The longest path, in bytes.
    pub const MAX: usize = 4096;
    /// The longest element, in bytes.
    pub const MAX_ELEMENT: usize = 255;

    /// Its elements; at least one.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The first element: what stands at the volume's top.
    pub fn top(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(top, _)| top)
    }

    /// With slashes between its elements.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for LocalPath {
    type Error = LocalPathError;

    fn try_from(text: &str) -> Result<Self, LocalPathError> {
        use LocalPathError::{Absolute, Empty, Nul, Reserved, TooLong, Up};
        if text.starts_with('/') {
            return Err(Absolute(text.into()));
        }
        if text.contains('\0') {
            return Err(Nul(text.into()));
        }
        let elements: Vec<&str> = text.split('/').filter(|e| !e.is_empty() && *e != ".").collect();
        if elements.contains(&"..") {
            return Err(Up(text.into()));
        }
        if text.len() > Self::MAX || elements.iter().any(|e| e.len() > Self::MAX_ELEMENT) {
            return Err(TooLong(text.into()));
        }
        match elements.first() {
            None => Err(Empty(text.into())),
            Some(first) if first.starts_with("..") => Err(Reserved(text.into())),
            Some(_) => Ok(LocalPath(elements.join("/"))),
        }
    }
}

impl fmt::Debug for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside() {
        for (given, want) in
            [("token", "token"), ("a/b", "a/b"), ("./a//b/", "a/b"), ("a/..b", "a/..b"), ("...", "")]
        {
            let got = LocalPath::try_from(given).map(|p| p.as_str().to_owned()).unwrap_or_default();
            assert_eq!(got, want, "{given}");
        }
        let long = "x".repeat(256);
        let deep = "x/".repeat(2100);
        for bad in
            ["", ".", "/", "/x", "..", "../x", "a/../b", "..data", "..x/y", "./../x", "a\0b", &long, &deep]
        {
            assert!(LocalPath::try_from(bad).is_err(), "{bad:.40}");
        }
    }
}
