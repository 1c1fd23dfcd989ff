//! Who manages which fields of an object, and what an apply makes of that (structured-merge-diff; apimachinery
//! `util/managedfields`).
//!
//! ```text
//! element → set        names of fields, and sets of them with their algebra and their JSON (FieldsV1)
//! types → walk         values by their types: validate, list their fields, compare, merge, remove
//! managers → updater   who manages what: an update takes what it changed, an apply what it names
//! record               the same on objects: metadata.managedFields in and out
//! ```
//!
//! All of it is pure: no clock, no store, no HTTP. Sets are sorted trees and all that is done with two of them is one walk over
//! both, so the cost grows with their size; a walk is as deep as the value is, which its reader has bounded.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod conflict;
mod element;
mod managers;
mod record;
mod scale;
mod set;
mod types;
mod updater;
mod value;
pub mod walk;

pub use conflict::{Conflict, Conflicts};
pub use element::Element;
pub use managers::{Manager, Managers, Operation, Owned, Unreadable};
pub use record::{Applied, ApplyError, MANAGED, Recorder, put_managers};
pub use scale::Scale;
pub use set::{Filter, Set};
pub use types::{Atom, Type};
pub use updater::{Updater, Versions};
pub use walk::{Errors, Fault};
