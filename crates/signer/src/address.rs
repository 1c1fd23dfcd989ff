//! Where the signer listens, as kube-apiserver's `--service-account-signing-endpoint` names it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A path, or a name in Linux' abstract namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Without its `@`.
    Abstract(String),
    /// A file.
    Path(PathBuf),
}

/// No address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An abstract name with other characters than the API server takes.
    #[error(
        "{0:?} is no name of an abstract socket: use @ and letters, digits, - and _, in parts joined by dots"
    )]
    Abstract(String),
    /// Nothing at all.
    #[error("the socket's path is empty")]
    Empty,
}

impl FromStr for Address {
    type Err = AddressError;

    /// `^@([a-zA-Z0-9_-]+\.)*[a-zA-Z0-9_-]+$` is abstract; whatever else does not begin with `@` is a path.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(name) = text.strip_prefix('@') else {
            return if text.is_empty() { Err(AddressError::Empty) } else { Ok(Address::Path(text.into())) };
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match name.split('.').all(|part| !part.is_empty() && part.chars().all(plain)) {
            true => Ok(Address::Abstract(name.to_owned())),
            false => Err(AddressError::Abstract(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Abstract(name) => write!(f, "@{name}"),
            Address::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_api_server_takes() {
        for name in ["@a", "@tokensmith.signer_1-x", "@a.b.c"] {
            let address: Address = name.parse().unwrap();
            assert_eq!(address, Address::Abstract(name[1..].into()));
            assert_eq!(address.to_string(), name);
        }
        for name in ["@", "@.", "@a.", "@.a", "@a..b", "@a/b", "@é", "@a b", "@@a"] {
            assert_eq!(name.parse::<Address>(), Err(AddressError::Abstract(name.into())));
        }
        assert_eq!("run/@a".parse(), Ok(Address::Path("run/@a".into())));
        assert_eq!("".parse::<Address>(), Err(AddressError::Empty));
    }
}
