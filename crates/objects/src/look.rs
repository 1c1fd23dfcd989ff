//! What a walk over an object asks its values, be they a tree's or a [`Part`](crate::stored::Part)'s.

use serde_json::Value;

/// A value that is looked at.
pub trait Look: Sized {
    /// The member of this name.
    fn member(&self, name: &str) -> Option<&Self>;

    /// All members; none of what is no object.
    fn members(&self) -> impl Iterator<Item = (&str, &Self)>;

    /// The items of a list; none of what is none.
    fn items(&self) -> &[Self];

    /// What a text says.
    fn string(&self) -> Option<&str>;

    /// Whether it is `null`.
    fn none(&self) -> bool;

    /// What the text at a member says; `""` where there is none.
    fn text(&self, name: &str) -> &str {
        self.member(name).and_then(Self::string).unwrap_or("")
    }
}

impl Look for Value {
    fn member(&self, name: &str) -> Option<&Self> {
        self.get(name)
    }

    fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    fn items(&self) -> &[Self] {
        self.as_array().map_or(&[], Vec::as_slice)
    }

    fn string(&self) -> Option<&str> {
        self.as_str()
    }

    fn none(&self) -> bool {
        self.is_null()
    }
}
