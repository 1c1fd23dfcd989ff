//! `GetOptions`.

use tokensmith_core::error::Error;
use tokensmith_core::store::Revision;
use tokensmith_objects::FieldError;

use super::query::{Query, unsigned};

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
        let revision = match query.text("resourceVersion").as_str() {
            "" => 0,
            text => unsigned(text).map_err(|cause| {
                let error = FieldError::invalid("resourceVersion", &text.into(), cause.to_string());
                // Upstream has no class for it where one object is read.
                Error::Unclassified(error.to_string())
            })?,
        };
        Ok(GetOptions { revision })
    }
}
