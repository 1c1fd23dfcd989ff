//! Where in an object something stands: written out only when it is told, so a look at a field costs no text.

use std::fmt;

/// A field, by the way that leads to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    before: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Child(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A field of the object itself; dots lead on.
    pub(crate) const fn new(name: &'a str) -> Self {
        Path { before: None, part: Part::Child(name) }
    }

    /// A field of what stands here; dots lead on.
    pub(crate) const fn child(&'a self, name: &'a str) -> Self {
        Path { before: Some(self), part: Part::Child(name) }
    }

    /// The name of the field, as far as it was led to by [`child`](Path::child).
    pub(crate) fn name(&self) -> &'a str {
        match self.part {
            Part::Child(name) | Part::Key(name) => name,
            Part::Index(_) => "",
        }
    }

    /// An item of the list that stands here.
    pub(crate) const fn index(&'a self, at: usize) -> Self {
        Path { before: Some(self), part: Part::Index(at) }
    }

    /// A value of the map that stands here.
    pub(crate) const fn key(&'a self, key: &'a str) -> Self {
        Path { before: Some(self), part: Part::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            before.fmt(f)?;
        }
        match (self.part, self.before) {
            (Part::Child(name), None) => f.write_str(name),
            (Part::Child(name), Some(_)) => write!(f, ".{name}"),
            (Part::Index(at), _) => write!(f, "[{at}]"),
            (Part::Key(key), _) => write!(f, "[{key}]"),
        }
    }
}

impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_upstream_has_it() {
        let spec = Path::new("spec");
        let containers = spec.child("containers");
        let one = containers.index(1);
        assert_eq!(
            one.child("resources.limits").key("cpu").to_string(),
            "spec.containers[1].resources.limits[cpu]"
        );
    }
}
