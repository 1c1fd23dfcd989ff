//! Who manages which fields, recorded with each write as upstream's handlers do (apiserver `endpoints/handlers`: before admission
//! and strategies have their say, so nobody manages what those put in).

use std::borrow::Cow;

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
        Some(Stored::as_shown(to, &object).into_value())
    }

    fn empty(&self, version: &str) -> Object {
        let kind = self.version(version).unwrap_or(self.kind);
        Stored::as_shown(kind, &Object::new(&kind.api_version(), &kind.kind))
    }

    fn ignored(&self, _: &str) -> Cow<'_, Filter> {
        Cow::Borrowed(&self.filter)
    }
}

impl Registry {
    /// Records in an object, as it was sent and with its defaults, that a request writes it in place of another one, or anew.
    pub(super) fn record(
        &self,
        request: &Request<'_>,
        kind: &Kind,
        part: &str,
        live: Option<&Stored>,
        object: &mut Object,
    ) {
        let written = Written::new(kind, part, self.schema());
        let version = kind.api_version();
        let mut live = match live {
            Some(live) => live.wire_object(kind),
            None => written.empty(&version),
        };
        // What is shown although nobody has set it is no change.
        let mut shown = Stored::as_shown(kind, object);
        // An empty list has all managers forgotten, and is not shown.
        if object.at(MANAGED).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            shown.set(MANAGED, Vec::<Value>::new());
        }
        kind.rules().converted(&mut shown);
        self.recorder(&written, &version, &kind.kind, part, |recorder| {
            recorder.update(&mut live, &mut shown, &request.manager());
        });
        put_managers(object, shown.remove(MANAGED));
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

/// Leaves the times of entries as they were where nothing else has changed: when somebody last changed nothing is no change
/// (`fieldmanager/equality.go`).
pub(super) fn keep_times(object: &mut Object, old: &Object) -> Option<Value> {
    let (new, old) = (object.at(MANAGED)?.as_array()?, old.at(MANAGED)?.as_array()?);
    let all = new.len() == old.len() && new.iter().zip(old).all(|(new, old)| rest(new).eq(rest(old)));
    if !all || new == old {
        return None;
    }
    let old = Value::Array(old.clone());
    let new = object.at(MANAGED).cloned();
    object.set(MANAGED, old);
    new
}

/// What an entry says besides its time.
fn rest(entry: &Value) -> impl Iterator<Item = &Value> {
    let fields = entry.as_object().into_iter().flatten();
    fields.filter(|(name, _)| *name != "time").map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

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
