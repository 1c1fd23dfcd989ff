//! Tables: what `kubectl get` prints (`pkg/printers/internalversion/printers.go`).

use std::borrow::Borrow;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_api::Moment;

use crate::kinds::Cells;
use crate::schema::{Column, Kind};
use crate::selector::written;
use crate::{Object, Stored};

/// What each row carries of its object (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Its metadata.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// All of it.
    Object,
}

/// A `Table` of objects of one kind, as they are stored, of a version of `meta.k8s.io`; `list_meta` is the list's `metadata`.
pub fn table(
    version: &str,
    kind: &Kind,
    items: impl IntoIterator<Item = impl Borrow<Object>>,
    include: Include,
    now: OffsetDateTime,
    list_meta: Value,
) -> Value {
    let columns: Vec<_> = kind
        .columns
        .iter()
        .map(|c| json!({"name": c.0, "type": c.1, "format": c.2, "description": c.5, "priority": c.3}))
        .collect();
    let rows: Vec<_> =
        items.into_iter().map(|object| row(version, kind, object.borrow(), include, now)).collect();
    // Kinds without columns of their own have a list that nobody has made where it is empty (`NewDefaultTableConvertor`).
    let bare = rows.is_empty() && kind.columns.iter().any(|column| column.0 == "Created At");
    let rows = if bare { Value::Null } else { rows.into() };
    json!({
        "kind": "Table", "apiVersion": version, "metadata": list_meta,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(version: &str, kind: &Kind, object: &Object, include: Include, now: OffsetDateTime) -> Value {
    let own = kind.storage().rules().cells(object, now);
    let cells: Vec<_> = kind.columns.iter().map(|column| cell(&own, object, column, now)).collect();
    let shown = match include {
        Include::None => Value::Null,
        Include::Object if kind.is_view() => {
            let mut shown = object.clone();
            kind.of_stored(&mut shown);
            Stored::as_shown(kind, shown).into_value()
        }
        Include::Object => object.clone().into_value(),
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": version,
            "metadata": object.get("metadata").cloned().unwrap_or_default(),
        }),
    };
    let mut row = Map::from_iter([("cells".to_owned(), Value::Array(cells))]);
    if let Some(conditions) = kind.storage().rules().row_conditions(object) {
        row.insert("conditions".into(), conditions);
    }
    row.insert("object".into(), shown);
    Value::Object(row)
}

fn cell(own: &Cells<'_>, object: &Object, column: &Column, now: OffsetDateTime) -> Value {
    if !column.4.is_empty() {
        let path: Vec<&str> = column.4.iter().map(String::as_str).collect();
        return object.at(&path).cloned().unwrap_or_default();
    }
    let column = column.0.as_str();
    if let Some(own) = own(column) {
        return own;
    }
    match column {
        "Name" => object.name().into(),
        // The table of a kind for which upstream has no printer.
        "Created At" => match object.str_at(&["metadata", "creationTimestamp"]) {
            // Go's zero, of what nobody has made: a bookmark.
            "" => "0001-01-01T00:00:00Z".into(),
            made => made.into(),
        },
        "Age" => object.creation_timestamp().map_or("<unknown>".into(), |t| ago(now, t).into()),
        _ => "".into(),
    }
}

/// How long something took.
pub(crate) fn duration(took: time::Duration) -> String {
    human(took)
}

/// How long ago something was.
pub(crate) fn ago(now: OffsetDateTime, then: OffsetDateTime) -> String {
    human(now.since(then))
}

/// How much a field of an object holds.
pub(crate) fn count(object: &Object, field: &str) -> usize {
    match object.get(field) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

pub(crate) fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Labels in order, as `KEY=VALUE`.
pub(crate) fn labels(labels: &Value) -> Value {
    or_none(&written::labels(labels))
}

/// A selector's requirements in order.
pub(crate) fn selector(selector: &Value) -> Value {
    or_none(&written::words(selector))
}

/// An age as kubectl shows it; clocks that disagree by a second make none that is before its beginning.
pub(crate) fn human(age: time::Duration) -> String {
    match age.whole_seconds() {
        ..-1 => "<invalid>".into(),
        seconds => tokensmith_api::duration::human(u64::try_from(seconds).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::schema::Schema;

    #[test]
    fn ages() {
        for (seconds, want) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (660, "11m"),
            (10800, "3h"),
            (11000, "3h3m"),
            (86400, "24h"),
            (172800, "2d"),
            (176400, "2d1h"),
            (-10, "<invalid>"),
            (86400 * 400, "400d"),
            (86400 * 731, "2y1d"),
        ] {
            assert_eq!(human(Duration::seconds(seconds)), want, "{seconds}");
        }
    }

    #[test]
    fn every_column_of_every_kind_is_known() {
        let now = datetime!(2026-01-01 00:00 UTC);
        for kind in Schema::builtin().kinds().filter(|k| k.stored) {
            let object = Object::from_value(
                json!({"metadata": {"name": "a", "creationTimestamp": "2025-12-31T23:59:00Z"}}),
            )
            .unwrap();
            let table = table("meta.k8s.io/v1", kind, [&object], Include::None, now, json!({}));
            assert!(!kind.columns.is_empty(), "{}", kind.kind);
            let name = kind.columns.iter().position(|column| column.0 == "Name");
            assert_eq!(table["rows"][0]["cells"][name.unwrap()], "a", "{}", kind.kind);
            assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(kind.columns.len()));
        }
    }
}
