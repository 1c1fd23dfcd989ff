//! `TableOptions`.

use tokensmith_objects::FieldError;
use tokensmith_objects::table::Include;

use super::query::Query;
use tokensmith_core::error::Error;

/// Reads what each row of a table carries of its object.
pub fn include_object(query: &str) -> Result<Include, Error> {
    match Query::read(query).text("includeObject").as_str() {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => {
            let detail = "must be 'Metadata', 'Object', 'None', or empty";
            let error = FieldError::invalid("includeObject", &other.into(), detail);
            Err(Error::BadRequest(format!("Unable to convert to Table as requested: {error}")))
        }
    }
}
