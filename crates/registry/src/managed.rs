//! Who manages which fields, recorded with each write as upstream's handlers do (apiserver `endpoints/handlers`: before admission
//! and strategies have their say, so nobody manages what those put in).

use std::borrow::Cow;

use ::time::OffsetDateTime;
use serde_json::Map;
use tokensmith_fields::{Filter, MANAGED, Recorder, Set, Type, Versions, put_managers};
use tokensmith_objects::field::is_printable;
use tokensmith_objects::object::timestamp;
use tokensmith_objects::schema::group_version;

use super::*;

/// As many bytes of a name are kept.
const NAME: usize = 128;

impl Request<'_> {
    /// Who manages what this request writes: as it says itself, or the program that sends it.
    pub(super) fn manager(&self) -> Cow<'_, str> {
        match self.options.field_manager() {
            "" => program(self.agent).into(),
            named => named.into(),
        }
    }
}

/// The program's name in a `User-Agent`, without what cannot be printed (`handlers/create.go`, `prefixFromUserAgent`).
fn program(agent: &str) -> String {
    let mut name = String::new();
    for c in agent.split('/').next().unwrap_or_default().chars().filter(|c| is_printable(*c)) {
        if name.len().saturating_add(c.len_utf8()) > NAME {
            break;
        }
        name.push(c);
    }
    name
}

/// The versions of a kind, and what counts of a write of a part of it.
pub(super) struct Written<'a> {
    kind: &'a Kind,
    schema: Arc<Schema>,
    filter: Filter,
}

impl<'a> Written<'a> {
    pub(super) fn new(kind: &'a Kind, part: &str, schema: Arc<Schema>) -> Self {
        let filter = match kind.rules().counted(part) {
            Some(paths) => {
                let owned = |path: &&[&str]| path.iter().map(|step| (*step).to_owned()).collect();
                Filter::Only(paths.iter().map(owned).collect())
            }
            None => {
                // What a part is for is put back when the whole is written.
                let status =
                    (part.is_empty() && kind.subresource("status").is_some()).then_some(&["status"][..]);
                let all = kind.rules().put_back(part).iter().copied().chain(status);
                Filter::Except(Set::of_names(all))
            }
        };
        Written { kind, schema, filter }
    }

    /// The kind that shows the same objects in another version.
    fn version(&self, version: &str) -> Option<&Kind> {
        let (group, name) = group_version(version);
        if (group, name) == (self.kind.group.as_str(), self.kind.version.as_str()) {
            return Some(self.kind);
        }
        let kind = self.schema.kind(group, name, &self.kind.kind)?;
        (kind.storage().id() == self.kind.storage().id()).then_some(&**kind)
    }
}

impl Versions for Written<'_> {
    fn of(&self, version: &str) -> Option<Type<'_>> {
        self.version(version).map(|kind| Type::of(kind.message()))
    }

    fn convert(&self, value: &Value, from: &str, to: &str) -> Option<Value> {
        let (from, to) = (self.version(from)?, self.version(to)?);
        let mut object = Object::from_value(value.clone())?;
        from.to_stored(&mut object);
        to.of_stored(&mut object);
        Some(Stored::as_shown(to, object).into_value())
    }

    fn empty(&self, version: &str) -> Object {
        let kind = self.version(version).unwrap_or(self.kind);
        Stored::as_shown(kind, Object::new(&kind.api_version(), &kind.kind))
    }

    fn ignored(&self, _: &str) -> Cow<'_, Filter> {
        Cow::Borrowed(&self.filter)
    }
}

/// An object that is written over, with its tree, which is read once for all that looks into it.
pub(super) struct There {
    pub(super) stored: Arc<Stored>,
    /// As its kind shows it.
    pub(super) tree: Object,
    /// As the kind shows it that was asked for, where that is another one.
    asked: Option<Object>,
}

impl There {
    pub(super) fn read(asked: &Kind, stored: Arc<Stored>) -> There {
        let kind = asked.storage();
        let other = (kind.id() != asked.id()).then(|| stored.wire_object(asked));
        There { tree: stored.wire_object(kind), asked: other, stored }
    }

    /// As the kind shows it that was asked for.
    pub(super) fn asked(&mut self) -> &mut Object {
        self.asked.as_mut().unwrap_or(&mut self.tree)
    }
}

impl Registry {
    /// Records in an object, as it was sent and with its defaults, that a request writes it in place of another one, which is
    /// lent as the kind shows it, or anew.
    pub(super) fn record(
        &self,
        manager: &str,
        kind: &Kind,
        part: &str,
        live: Option<&mut Object>,
        object: &mut Object,
    ) {
        record(&self.schema(), self.clock.now(), manager, (kind, part), live, object);
    }

    pub(super) fn recorder<T>(
        &self,
        versions: &dyn Versions,
        version: &str,
        kind: &str,
        part: &str,
        with: impl FnOnce(Recorder<'_>) -> T,
    ) -> T {
        let now = timestamp(self.clock.now());
        with(Recorder { versions, version, kind, subresource: part, now: &now })
    }
}

/// The same for who has no registry.
pub(crate) fn record(
    schema: &Arc<Schema>,
    now: OffsetDateTime,
    manager: &str,
    (kind, part): (&Kind, &str),
    live: Option<&mut Object>,
    object: &mut Object,
) {
    let written = Written::new(kind, part, schema.clone());
    let (version, now) = (kind.api_version(), timestamp(now));
    let given = object.remove(MANAGED);
    // What is shown although nobody has set it is no change.
    let mut shown = Stored::as_shown(kind, object.clone());
    // An empty list has all managers forgotten, and is not shown.
    put_managers(&mut shown, given);
    kind.rules().converted(&mut shown);
    let recorder =
        Recorder { versions: &written, version: &version, kind: &kind.kind, subresource: part, now: &now };
    match live {
        Some(live) => recorder.update(live, &mut shown, manager),
        None => recorder.update(&mut written.empty(&version), &mut shown, manager),
    }
    put_managers(object, shown.remove(MANAGED));
}

/// Whether an object is as the one that was there, as answers have both, but for its version, and for when somebody last changed
/// something: that alone is no change (`fieldmanager/equality.go`).
pub(super) fn is_unchanged(object: &Object, old: &Object) -> bool {
    let (new, before) = (object.at(MANAGED), old.at(MANAGED));
    let managed = match (new.and_then(Value::as_array), before.and_then(Value::as_array)) {
        (Some(new), Some(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| rest(new).eq(rest(old)))
        }
        (None, None) => true,
        _ => false,
    };
    managed && same_members(&object.0, &old.0, &["metadata"])
}

/// Whether two maps have the same members in one order: their bytes are the same then. At the end of a path what says who manages
/// an object, and its version, do not count.
fn same_members(one: &Map<String, Value>, other: &Map<String, Value>, at: &[&str]) -> bool {
    let counts = |(name, _): &(&String, &Value)| {
        !(at.is_empty() && matches!(name.as_str(), "managedFields" | "resourceVersion"))
    };
    let (mut one, mut other) = (one.iter().filter(counts), other.iter().filter(counts));
    loop {
        let same = match (one.next(), other.next()) {
            (None, None) => return true,
            (Some((name, one)), Some((other_name, other))) if name == other_name => {
                match (one, other, at.split_first()) {
                    (Value::Object(one), Value::Object(other), Some((first, rest))) if name == first => {
                        same_members(one, other, rest)
                    }
                    _ => same(one, other),
                }
            }
            _ => false,
        };
        if !same {
            return false;
        }
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let pairs = one.iter().zip(other);
            one.len() == other.len()
                && pairs.into_iter().all(|(one, other)| one.0 == other.0 && same(one.1, other.1))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => one == other,
    }
}

/// What an entry says besides its time.
fn rest(entry: &Value) -> impl Iterator<Item = &Value> {
    let fields = entry.as_object().into_iter().flatten();
    fields.filter(|(name, _)| *name != "time").map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn when_somebody_last_changed_something_is_no_change() {
        let of = |version: &str, time: &str, fields: Value, data: Value| {
            let managers = json!([{"manager": "m", "time": time, "fieldsV1": fields}]);
            let metadata = json!({"name": "a", "resourceVersion": version, "managedFields": managers});
            Object::from_value(json!({"metadata": metadata, "data": data})).unwrap()
        };
        let (fields, data) = (json!({"f:a": {}}), json!({"a": "1", "managedFields": "x"}));
        let old = of("1", "then", fields.clone(), data.clone());
        let mut bare = old.clone();
        bare.remove(&["metadata", "resourceVersion"]);
        assert!(
            is_unchanged(&bare, &old) && is_unchanged(&of("2", "now", fields.clone(), data.clone()), &old)
        );
        for other in [
            of("1", "then", json!({"f:b": {}}), data.clone()),
            of("1", "then", fields.clone(), json!({"a": "2", "managedFields": "x"})),
            of("1", "then", fields.clone(), json!({"managedFields": "x", "a": "1"})),
            of("1", "then", fields.clone(), json!({"a": "1"})),
            of("1", "then", fields.clone(), json!({"a": "1", "managedFields": "y"})),
        ] {
            assert!(!is_unchanged(&other, &old), "{:?}", other.into_value());
        }
        let mut forgotten = old.clone();
        forgotten.remove(MANAGED);
        assert!(!is_unchanged(&forgotten, &old) && is_unchanged(&forgotten, &forgotten));
    }

    #[test]
    fn a_program_is_what_comes_before_the_slash() {
        for (agent, name) in [
            ("kubectl/v1.36 (linux/amd64)", "kubectl"),
            ("Mozilla 5.0", "Mozilla 5.0"),
            ("", ""),
            ("/x", ""),
            ("a\u{7}b\u{200b}/1", "ab"),
        ] {
            assert_eq!(program(agent), name);
        }
        assert_eq!(program(&"é".repeat(100)).len(), 128);
        assert_eq!(program(&format!("a{}", "é".repeat(100))).len(), 127);
    }
}
