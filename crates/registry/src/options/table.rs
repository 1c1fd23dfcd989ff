//! `TableOptions`.

use tokensmith_objects::FieldError;
use tokensmith_objects::table::Include;

use super::query::Query;

/// No such thing can be in a row.
#[derive(Clone, Debug, thiserror::Error)]
#[error("Unable to convert to Table as requested: {0}")]
pub struct UnknownInclude(FieldError);

/// Reads what each row of a table carries of its object.
///
/// # Errors
/// 400: it says something else.
pub fn include_object(query: &str) -> Result<Include, UnknownInclude> {
    match Query::read(query).text("includeObject").as_str() {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => {
            let detail = "must be 'Metadata', 'Object', 'None', or empty";
            Err(UnknownInclude(FieldError::invalid("includeObject", &other.into(), detail)))
        }
    }
}
