//! `CreateOptions`, `UpdateOptions` and `PatchOptions`.

use tokensmith_objects::FieldError;
use tokensmith_objects::codec::FieldValidation;
use tokensmith_objects::field::{Shared, is_printable};

use super::query::Query;
use super::{dry_run, judged};
use tokensmith_core::error::Error;

/// What a create, an update or a patch asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    dry_run: bool,
    applies: bool,
    field_manager: Box<str>,
    field_validation: FieldValidation,
    force: bool,
}

impl WriteOptions {
    /// Reads the query of a create.
    pub fn create(query: &str) -> Result<Self, Error> {
        Self::read(&Query::read(query), "CreateOptions", Vec::new())
    }

    /// Reads the query of an update.
    pub fn update(query: &str) -> Result<Self, Error> {
        Self::read(&Query::read(query), "UpdateOptions", Vec::new())
    }

    /// Reads the query of a patch; only a server-side `apply` may be forced, and must say who it is.
    pub fn patch(query: &str, apply: bool) -> Result<Self, Error> {
        let query = Query::read(query);
        let mut errors = Vec::new();
        if apply && query.text("fieldManager").is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if !apply && query.flag("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        Ok(WriteOptions { applies: apply, ..Self::read(&query, "PatchOptions", errors)? })
    }

    /// It is an apply, for which nobody's managers are forgotten.
    pub fn applies(&self) -> bool {
        self.applies
    }

    /// Do everything but the write.
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Who manages what is written, `""` where nothing is said of it.
    pub fn field_manager(&self) -> &str {
        &self.field_manager
    }

    /// An apply takes what others manage.
    pub fn force(&self) -> bool {
        self.force
    }

    /// What to do with fields that the kind does not have.
    pub fn field_validation(&self) -> FieldValidation {
        self.field_validation
    }

    fn read(query: &Query, kind: &str, mut errors: Vec<FieldError>) -> Result<Self, Error> {
        let manager = query.text("fieldManager");
        field_manager(&manager, &mut errors);
        let dry_run = dry_run(&query.all("dryRun"), &mut errors);
        let asked = query.text("fieldValidation");
        let field_validation = match asked.as_str() {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let known = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", &other.into(), &known));
                FieldValidation::Strict
            }
        };
        judged(kind, errors)?;
        let force = query.flag("force").unwrap_or(false);
        Ok(WriteOptions { applies: false, dry_run, field_manager: manager.into(), field_validation, force })
    }
}

/// As many bytes as a manager's name may have.
const MANAGER: usize = 128;

fn field_manager(name: &str, errors: &mut Vec<FieldError>) {
    if name.len() > MANAGER {
        errors.push(FieldError::too_long("fieldManager", MANAGER));
    }
    let mut shown = Shared::value(&name.into());
    for (at, c) in name.char_indices().filter(|(_, c)| !is_printable(*c)) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid_shared("fieldManager", &mut shown, detail));
    }
}
