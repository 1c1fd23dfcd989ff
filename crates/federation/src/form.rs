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
        let mut all = HashMap::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            match all.entry(name.into_owned()) {
                Entry::Occupied(first) => return Err(Repeated(first.key().clone())),
                Entry::Vacant(place) => {
                    place.insert(value.into_owned());
                }
            }
        }
        Ok(Form(all))
    }

    /// A parameter. One without a value is as if it were not there (RFC 6749 §3.2).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
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
    }
}
