//! Parameters of a form (`application/x-www-form-urlencoded`, RFC 6749 appendix B).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::log::shown;

/// The parameters of a body, each at most once.
#[derive(Debug, Default)]
pub(crate) struct Form(HashMap<String, String>);

/// A parameter that is there more than once (RFC 6749 §3.2: it must not be).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeated(pub(crate) String);

impl Repeated {
    /// Its name, if it can be one: a body that is no form is a name as a whole, and may be a token.
    pub(crate) fn name(&self) -> &str {
        shown(&self.0)
    }
}

impl Form {
    /// Reads a body, or the query of a URL. Parameters that nobody asks for are kept and never looked at (§3.2: they are
    /// ignored); all of them are counted.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Repeated> {
        let mut form = Form::default();
        form.read(bytes)?;
        Ok(form)
    }

    /// Reads more of the same: two readers of a name that is there twice could take two values.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Repeated> {
        for (name, value) in form_urlencoded::parse(bytes) {
            match self.0.entry(name.into_owned()) {
                Entry::Occupied(first) => return Err(Repeated(first.key().clone())),
                Entry::Vacant(place) => {
                    place.insert(value.into_owned());
                }
            }
        }
        Ok(())
    }

    /// A parameter as it is there, also without a value.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The names of those that are there.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A parameter. One without a value is as if it were not there (RFC 6749 §3.2).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The same, taken out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// Adds one.
    pub(crate) fn put(&mut self, name: String, value: String) {
        self.0.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6749_section_3_2_parameters() {
        let form = Form::parse(b"a=1&b=&c=x%20y+z&unknown=%FF").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("1"), None, Some("x y z")));
        assert_eq!(Form::parse(b"a=1&b=2&a=1").unwrap_err(), Repeated("a".into()));
        // Also where one of them has no value, and whoever they are for.
        assert_eq!(Form::parse(b"x=&x=2").unwrap_err(), Repeated("x".into()));
        assert!(Form::parse(b"").unwrap().get("a").is_none());
        // And where one is in the URL and the other in the body.
        let mut both = Form::parse(b"a=1&c=").unwrap();
        assert_eq!((both.read(b"b=2"), both.read(b"c=3")), (Ok(()), Err(Repeated("c".into()))));
        assert_eq!((both.raw("a"), both.get("b"), both.raw("c")), (Some("1"), Some("2"), Some("")));
    }
}
