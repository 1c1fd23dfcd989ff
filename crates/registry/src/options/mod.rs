//! What a request asks for beside its object: the options of every verb, read and judged in one place (apimachinery
//! `meta/v1/validation`, `meta/internalversion/validation`; apiserver `endpoints/handlers`).
//!
//! Nothing makes a value of these types but reading one whole, so no write can happen on an option that was not
//! understood. What is unreadable is a 400, what is read and not allowed a 422, in upstream's words and order.

mod delete;
mod get;
mod list;
mod query;
mod table;
mod timeout;
mod write;

#[cfg(test)]
mod tests;

pub use delete::{DeleteOptions, Propagation};
pub use get::GetOptions;
pub use list::ListOptions;
pub(crate) use query::unsigned;
pub use table::{UnknownInclude, include_object};
pub use timeout::timeout;
pub use write::WriteOptions;

use tokensmith_objects::FieldError;

use tokensmith_core::error::Error;

/// A number of a query, in Go's words for what is none.
pub fn number(query: &str, name: &str) -> Result<Option<i64>, Error> {
    query::Query::read(query).number(name)
}

/// 422 for the options of a kind, unless nothing was found.
fn judged(kind: &str, errors: Vec<FieldError>) -> Result<(), Error> {
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid("meta.k8s.io", kind, "", errors)) }
}

/// `dryRun`: `All`, or nothing.
fn dry_run(given: &[String], errors: &mut Vec<FieldError>) -> bool {
    if given.iter().any(|v| v != "All") {
        errors.push(FieldError::not_supported("dryRun", &serde_json::json!(given), &["All"]));
    }
    !given.is_empty()
}
