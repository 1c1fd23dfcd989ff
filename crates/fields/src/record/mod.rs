//! Writes of objects, recorded in their `metadata.managedFields` (`managedfields/internal/fieldmanager.go`,
//! `managedfieldsupdater.go`, `skipnonapplied.go`, `stripmeta.go`, `structuredmerge.go`).

mod last_applied;

use std::sync::LazyLock;

use serde_json::Value;
use tokensmith_objects::Object;
use tokensmith_objects::schema::group_version;

use crate::updater::Refused;
use crate::walk::{self, Twice};
use crate::{Conflicts, Manager, Managers, Operation, Owned, Set, Updater, Versions};

/// Records writes of one version of an object, or of a part of it.
pub struct Recorder<'a> {
    /// The object's versions.
    pub versions: &'a dyn Versions,
    /// The version that is written.
    pub version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// The part, `""` for all of it.
    pub subresource: &'a str,
    /// What time it is, as it is written.
    pub now: &'a str,
}

/// What an apply comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object as it is to be, of the applied version.
    pub object: Object,
    /// Who manages it then, as it is written.
    pub managers: Option<Value>,
}

/// Why nothing is applied; the text is the message that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others manage what it would change.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// It has no types, or what is stored cannot be read: upstream answers 500.
    #[error("{0}")]
    Failed(String),
    /// It is no object of the kind, or says who manages it.
    #[error("{0}")]
    Refused(String),
}

/// Where an object says who manages it.
pub const MANAGED: &[&str] = &["metadata", "managedFields"];
/// Who had written what nobody is known to have written, when it is first applied.
const BEFORE: &str = "before-first-apply";

/// Nobody manages these: the server sets them, or they say which object it is.
static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    const METADATA: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let top: [&[&str]; 3] = [&["apiVersion"], &["kind"], &["metadata"]];
    let metadata = METADATA.map(|name| ["metadata", name]);
    Set::of_names(top.into_iter().chain(metadata.iter().map(<[&str; 2]>::as_slice)))
});

impl Recorder<'_> {
    /// Records that a manager writes an object in place of another one; both are of the version that is written, and a new
    /// object takes the place of an empty one. What cannot be recorded leaves the managers as they were.
    pub fn update(&self, live: &mut Object, new: &mut Object, manager: &str) {
        let managers = self.managers(live, new);
        new.remove(MANAGED);
        // Whoever had all managers forgotten is heard: they begin again with the first apply.
        let managers = if managers.0.is_empty() && !live.uid().is_empty() {
            Ok(managers)
        } else {
            self.updated(live, new, managers, manager)
        };
        let written = match managers {
            Ok(managers) => managers.written(),
            Err(_) => live.at(MANAGED).cloned(),
        };
        put_managers(new, written);
    }

    /// Those that the request names, unless it has none or they cannot be read, or it is about a part: then those that there
    /// were.
    fn managers(&self, live: &Object, new: &Object) -> Managers {
        let before = || Managers::read(live.at(MANAGED)).unwrap_or_default();
        if !self.subresource.is_empty() {
            return before();
        }
        match new.at(MANAGED) {
            Some(given) if resets(given) => Managers::default(),
            given => Managers::read(given).ok().filter(|given| !given.0.is_empty()).unwrap_or_else(before),
        }
    }

    fn updated(
        &self,
        live: &mut Object,
        new: &mut Object,
        mut managers: Managers,
        name: &str,
    ) -> Result<Managers, Refused> {
        let manager = Manager::of(Operation::Update, name, self.version, self.subresource);
        // A name that nobody can have: whether anything changed is told by whether it gets anything.
        let this = Manager { version: String::new(), ..manager.clone() };
        // Trees are lent, not copied.
        let lend = |object: &mut Object| Value::Object(std::mem::take(&mut object.0));
        let (was, is) = (lend(live), lend(new));
        let done = self.updater().update(&was, &is, &mut managers, &this);
        (*live, *new) = (taken(was), taken(is));
        done?;
        let owned = managers.0.remove(&this).map(|owned| Owned {
            fields: owned.fields.difference(&NOBODYS),
            time: Some(self.now.into()),
            ..owned
        });
        if let Some(mut owned) = owned.filter(|owned| !owned.fields.is_empty()) {
            if let Some(before) = managers.0.get(&manager) {
                owned.fields = owned.fields.union(&before.fields);
            }
            managers.0.insert(manager, owned);
        }
        // A request may name any number of managers, also where it changes nothing else.
        managers.cap();
        Ok(managers)
    }

    /// Has a manager apply what it wants to be there to an object, which is empty if there is none. The object is lent.
    ///
    /// # Errors
    /// Nothing is to be changed.
    pub fn apply(
        &self,
        live: &mut Object,
        config: &Object,
        manager: &str,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        let managers = Managers::read(live.at(MANAGED))
            .map_err(|e| ApplyError::Failed(format!("failed to decode managed fields: {e}")))?;
        let found = kind_of(config);
        if found != kind_text(self.version, self.kind) {
            return Err(ApplyError::Refused(format!("invalid object type: {found}")));
        }
        let written = live.remove(MANAGED);
        let applied = self.apply_taking_over(live, written.as_ref(), config, managers, (manager, force));
        put_managers(live, written);
        applied
    }

    /// The object says nothing of its managers.
    fn merge(
        &self,
        live: &mut Object,
        config: &Value,
        mut managers: Managers,
        (name, force): (&str, bool),
    ) -> Result<Applied, ApplyError> {
        if managers.0.is_empty() {
            let mut empty = self.versions.empty(self.version);
            let found = self.updated(&mut empty, live, managers, BEFORE);
            managers = found.map_err(|e| {
                ApplyError::Failed(format!("failed to create manager for existing fields: {e}"))
            })?;
        }
        // `null` is none, as Go reads it.
        if config.pointer("/metadata/managedFields").is_some_and(|given| !given.is_null()) {
            return Err(ApplyError::Refused("metadata.managedFields must be nil".into()));
        }
        let was = Value::Object(std::mem::take(&mut live.0));
        let applied = self.merge_typed(&was, config, &mut managers, (name, force));
        *live = taken(was);
        let new = applied?;
        Ok(Applied { object: new.unwrap_or_else(|| live.clone()), managers: managers.written() })
    }

    fn merge_typed(
        &self,
        was: &Value,
        config: &Value,
        managers: &mut Managers,
        (name, force): (&str, bool),
    ) -> Result<Option<Object>, ApplyError> {
        let typed = |what: &str, of: &Value, twice| {
            let Some(kind) = self.versions.of(self.version) else { return Ok(()) };
            walk::validate(kind, of, twice).map_err(|e| {
                let which = called(&taken(of.clone()));
                ApplyError::Failed(format!("failed to create typed {what} object ({which}): {e}"))
            })
        };
        typed("patch", config, Twice::Refused)?;
        typed("live", was, Twice::Allowed)?;
        let manager = Manager::of(Operation::Apply, name, self.version, self.subresource);
        let applied = self.updater().apply(was, config, managers, &manager, force);
        let new = applied.map_err(|refused| match refused {
            Refused::Conflicts(conflicts) => ApplyError::Conflicts(conflicts),
            other => ApplyError::Failed(other.to_string()),
        })?;
        if let Some(owned) = managers.0.get_mut(&manager) {
            owned.fields = owned.fields.difference(&NOBODYS);
            if new.is_some() {
                owned.time = Some(self.now.into());
            }
            if owned.fields.is_empty() {
                managers.0.remove(&manager);
            }
        }
        Ok(new.map(taken))
    }

    fn updater(&self) -> Updater<'_> {
        Updater { versions: self.versions, version: self.version }
    }
}

impl Applied {
    /// The object, which says who manages it.
    pub fn into_object(self) -> Object {
        let mut object = self.object;
        put_managers(&mut object, self.managers);
        object
    }
}

/// Says in an object who manages it.
pub fn put_managers(object: &mut Object, managers: Option<Value>) {
    match managers {
        Some(managers) => object.set(MANAGED, managers),
        None => drop(object.remove(MANAGED)),
    }
}

fn taken(value: Value) -> Object {
    Object::from_value(value).unwrap_or_default()
}

/// A list without entries, or with one that says nothing.
fn resets(given: &Value) -> bool {
    let nothing = |entry: &Value| {
        entry.as_object().is_some_and(|entry| entry.values().all(|value| value.is_null() || *value == ""))
    };
    given
        .as_array()
        .is_some_and(|entries| entries.is_empty() || matches!(&entries[..], [one] if nothing(one)))
}

fn kind_text(api_version: &str, kind: &str) -> String {
    let (group, version) = group_version(api_version);
    format!("{group}/{version}, Kind={kind}")
}

fn kind_of(object: &Object) -> String {
    // One that cannot be taken apart makes the whole kind unknown.
    match object.api_version().matches('/').count() {
        0 | 1 => kind_text(object.api_version(), object.kind()),
        _ => kind_text("", ""),
    }
}

/// As upstream's messages call an object.
fn called(object: &Object) -> String {
    format!("{}/{}; {}", object.namespace(), object.name(), kind_of(object))
}
