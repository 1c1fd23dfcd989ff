//! `GetOptions`.

use tokensmith_core::error::Error;
use tokensmith_core::store::Revision;

use super::query::{Query, revision};

/// What a read of one object asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// The object must not be older than this; 0 takes any.
    pub(crate) revision: Revision,
}

impl GetOptions {
    /// Reads the query of a get.
    pub fn read(query: &str) -> Result<Self, Error> {
        let query = Query::read(query);
        // Upstream has no class for it where one object is read.
        let revision =
            revision(&query.text("resourceVersion")).map_err(|e| Error::Unclassified(e.to_string()))?;
        Ok(GetOptions { revision })
    }
}
