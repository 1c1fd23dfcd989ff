//! Query parameters of reads and writes, checked as upstream does.

use serde_json::json;
use tokensmith_core::Error;
use tokensmith_core::access::request::{parameter, parameters};
use tokensmith_core::registry::ListOptions;
use tokensmith_objects::FieldError;
use tokensmith_objects::codec::FieldValidation;

use crate::failure::Failure;

/// What a write's query says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
}

/// Reads `dryRun`, `fieldValidation` and `fieldManager`. `kind` names the options in the error: `CreateOptions`.
pub(crate) fn write(query: &str, kind: &str) -> Result<WriteOptions, Failure> {
    let mut errors = Vec::new();
    let dry: Vec<String> = parameters(query).filter(|(k, _)| k == "dryRun").map(|(_, v)| v).collect();
    if dry.iter().any(|v| v != "All" && !v.is_empty()) {
        errors.push(FieldError::not_supported("dryRun", &json!(dry), &["All"]));
    }
    let manager = parameter(query, "fieldManager").unwrap_or_default();
    if manager.len() > 128 {
        errors.push(FieldError::too_long("fieldManager", 128));
    }
    let asked = parameter(query, "fieldValidation").unwrap_or_default();
    let validation = match asked.as_str() {
        "" | "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        other => {
            errors.push(FieldError::not_supported(
                "fieldValidation",
                &other.into(),
                &["", "Ignore", "Strict", "Warn"],
            ));
            FieldValidation::Warn
        }
    };
    invalid(kind, errors)?;
    Ok(WriteOptions { dry_run: dry.iter().any(|v| v == "All"), validation })
}

pub(crate) fn invalid(kind: &str, errors: Vec<FieldError>) -> Result<(), Failure> {
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid("meta.k8s.io", kind, "", errors).into()) }
}

/// Reads a list's query.
pub(crate) fn list(query: &str) -> Result<ListOptions, Failure> {
    let text = |name| parameter(query, name).unwrap_or_default();
    let limit = match text("limit").as_str() {
        "" => 0,
        given => match given.parse::<i64>() {
            Ok(limit) => limit.max(0).unsigned_abs() as usize,
            Err(_) => {
                let text = format!("strconv.ParseInt: parsing {given:?}: invalid syntax");
                return Err(Error::BadRequest(text).into());
            }
        },
    };
    Ok(ListOptions {
        label_selector: text("labelSelector"),
        field_selector: text("fieldSelector"),
        limit,
        continue_token: text("continue"),
        resource_version: text("resourceVersion"),
        resource_version_match: text("resourceVersionMatch"),
        send_initial_events: matches!(text("sendInitialEvents").as_str(), "true" | "1"),
    })
}
