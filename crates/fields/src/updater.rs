//! What a write makes of who manages what (`merge/update.go`).
//!
//! An update takes exactly what it changed; everybody loses what has gone. An apply merges what it names into the object, takes
//! from it what its manager named before and nobody has any more, and may take from others only what they would not miss, unless
//! it is forced.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use tokensmith_objects::Object;

use crate::walk::{self, Comparison};
use crate::{Conflicts, Errors, Filter, Manager, Managers, Operation, Owned, Set, Type};

/// The versions that an object has.
pub trait Versions {
    /// The type of objects of a version, if there is that version.
    fn of(&self, version: &str) -> Option<Type<'_>>;

    /// An object of one version as another one shows it; `None` where there is no such version.
    fn convert(&self, value: &Value, from: &str, to: &str) -> Option<Value>;

    /// An object of a version of which nothing is said, as it would be shown.
    fn empty(&self, version: &str) -> Object;

    /// What does not count of what is written in a version.
    fn ignored(&self, version: &str) -> Cow<'_, Filter>;
}

/// Weighs writes of one version.
pub struct Updater<'a> {
    /// Which versions there are.
    pub versions: &'a dyn Versions,
    /// The one that is written.
    pub version: &'a str,
}

/// An apply that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Conflicts(Conflicts),
    #[error("failed to {0}: {1}")]
    Values(&'static str, Errors),
    #[error("no corresponding type for {0}")]
    NoVersion(String),
}

impl<'a> Updater<'a> {
    /// Has a manager write a new object in place of the one that is there.
    pub(crate) fn update(
        &self,
        live: &Value,
        new: &Value,
        managers: &mut Managers,
        manager: &Manager,
    ) -> Result<(), Refused> {
        self.reconcile(managers);
        let compared = self.weigh(live, new, managers, manager, true)?;
        let before = managers.0.remove(manager).map(|owned| owned.fields).unwrap_or_default();
        let fields = before.difference(&compared.removed).union(&compared.changed());
        let fields = self.versions.ignored(self.version).apply(fields);
        if !fields.is_empty() {
            managers.0.insert(manager.clone(), Owned { fields, version: self.version.into(), time: None });
        }
        Ok(())
    }

    /// Has a manager apply what it wants to be there. Gives the object, `None` where nothing changes.
    pub(crate) fn apply(
        &self,
        live: &Value,
        config: &Value,
        managers: &mut Managers,
        manager: &Manager,
        force: bool,
    ) -> Result<Option<Value>, Refused> {
        self.reconcile(managers);
        let of = self.of(self.version)?;
        let merged = walk::merge(of, live, config).map_err(|e| Refused::Values("merge config", e))?;
        let fields = walk::fields(of, config).map_err(|e| Refused::Values("get field set", e))?;
        let fields = self.versions.ignored(self.version).apply(fields);
        let time = managers.0.get(manager).and_then(|owned| owned.time.clone());
        let owned = Owned { fields, version: self.version.into(), time };
        let last = managers.0.insert(manager.clone(), owned);
        let last = last.filter(|last| self.gives_up(managers, manager, last));
        let new = self.prune(merged, managers, last)?;
        self.weigh(live, &new, managers, manager, force)?;
        Ok((!crate::value::same(live, &new)).then_some(new))
    }

    fn convert<'v>(&self, value: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        match from == to {
            true => Some(Cow::Borrowed(value)),
            false => self.versions.convert(value, from, to).map(Cow::Owned),
        }
    }

    fn of(&self, version: &str) -> Result<Type<'a>, Refused> {
        self.versions.of(version).ok_or_else(|| Refused::NoVersion(version.into()))
    }

    /// Fields of what has become one field belong to whoever had one of them.
    fn reconcile(&self, managers: &mut Managers) {
        managers.0.retain(|_, owned| match self.versions.of(&owned.version) {
            Some(of) => {
                if let Some(fields) = walk::reconcile(of, &owned.fields) {
                    owned.fields = fields;
                }
                true
            }
            // A version that is gone.
            None => false,
        });
    }

    /// Takes from all others what has changed and what has gone. What has changed is a conflict, unless that is forced.
    fn weigh(
        &self,
        live: &Value,
        new: &Value,
        managers: &mut Managers,
        writer: &Manager,
        force: bool,
    ) -> Result<Comparison, Refused> {
        let mut compared = BTreeMap::<String, Option<(Comparison, Set)>>::new();
        let own = self.compare(self.version, live, new)?;
        let changed = own.changed();
        compared.insert(self.version.into(), Some((own, changed)));
        let (mut conflicts, mut taken) = (Conflicts::default(), Vec::new());
        for (manager, owned) in managers.0.iter().filter(|(manager, _)| *manager != writer) {
            if !compared.contains_key(&owned.version) {
                let convert = |value| self.versions.convert(value, self.version, &owned.version);
                let found = match (convert(live), convert(new)) {
                    (Some(live), Some(new)) => {
                        let found = self.compare(&owned.version, &live, &new)?;
                        let changed = found.changed();
                        Some((found, changed))
                    }
                    _ => None,
                };
                compared.insert(owned.version.clone(), found);
            }
            let Some(Some((found, changed))) = compared.get(&owned.version) else { continue };
            let lost = owned.fields.intersection(changed);
            let gone = owned.fields.intersection(&found.removed);
            if lost.is_empty() && gone.is_empty() {
                continue;
            }
            taken.push((manager.clone(), owned.fields.difference(&lost).difference(&gone)));
            if !force && !lost.is_empty() {
                conflicts.0.push((manager.clone(), lost));
            }
        }
        if !conflicts.0.is_empty() {
            return Err(Refused::Conflicts(conflicts));
        }
        for (manager, left) in taken {
            if let Some(owned) = managers.0.get_mut(&manager) {
                owned.fields = left;
            }
        }
        // What cannot be shown in its version is nobody's.
        managers.0.retain(|manager, owned| {
            let unknown = matches!(compared.get(&owned.version), Some(None));
            !owned.fields.is_empty() && (manager == writer || !unknown)
        });
        let own = compared.remove(self.version).flatten();
        Ok(own.map(|(own, _)| own).unwrap_or_default())
    }

    fn compare(&self, version: &str, live: &Value, new: &Value) -> Result<Comparison, Refused> {
        let compared = walk::compare(self.of(version)?, live, new);
        let compared = compared.map_err(|e| Refused::Values("compare objects", e))?;
        Ok(compared.filtered(&self.versions.ignored(version)))
    }

    /// Whether a manager has applied something that it does not name any more. Where it has not, nothing is taken away, whoever
    /// has what; what other versions make of an object is not guessed.
    fn gives_up(&self, managers: &Managers, manager: &Manager, last: &Owned) -> bool {
        let one_version = managers.0.values().all(|owned| owned.version == self.version);
        let stays = |owned: &Owned| last.fields.difference(&owned.fields).is_empty();
        !(one_version && last.version == self.version && managers.0.get(manager).is_some_and(stays))
    }

    /// Takes away what the manager applied last time and not this time, and that nobody else has.
    fn prune(&self, merged: Value, managers: &Managers, last: Option<Owned>) -> Result<Value, Refused> {
        let Some(last) = last.filter(|last| !last.fields.is_empty()) else { return Ok(merged) };
        let (Ok(of), Some(whole)) =
            (self.of(&last.version), self.convert(&merged, self.version, &last.version))
        else {
            return Ok(merged);
        };
        let named = last.fields.with_named_fields(Some(of));
        let pruned = walk::remove(of, &whole, &named);
        let pruned = self.add_back_owned(&whole, pruned, &last.version, managers)?;
        let pruned = self.add_back_dangling(of, &whole, &pruned, &named)?;
        let pruned = self.convert(&pruned, &last.version, self.version).map(Cow::into_owned);
        Ok(pruned.unwrap_or(merged))
    }

    /// What somebody has comes back, the version first that was pruned: what another one needs to be made of it may be in there.
    fn add_back_owned(
        &self,
        merged: &Value,
        pruned: Value,
        version: &str,
        managers: &Managers,
    ) -> Result<Value, Refused> {
        let mut sets = BTreeMap::<&str, Vec<Set>>::new();
        for one in managers.0.values() {
            sets.entry(&one.version).or_default().push(one.fields.clone());
        }
        let mut owned: BTreeMap<&str, Set> =
            sets.into_iter().map(|(version, sets)| (version, Set::of_all(sets))).collect();
        let first = owned.remove_entry(version);
        let (mut pruned, mut now) = (pruned, version.to_owned());
        for (to, owned) in first.into_iter().chain(owned) {
            let Some(of) = self.versions.of(to) else { continue };
            let whole = self.convert(merged, version, to);
            let (Some(whole), Some(left)) = (whole, self.convert(&pruned, &now, to)) else { continue };
            let fields = |value: &Value| -> Result<Set, Refused> {
                let fields = walk::fields(of, value).map_err(|e| Refused::Values("prune fields", e))?;
                Ok(fields.with_named_fields(Some(of)))
            };
            let stays = fields(&left)?.union(&owned.with_named_fields(Some(of)));
            pruned = walk::remove(of, &whole, &fields(&whole)?.difference(&stays));
            to.clone_into(&mut now);
        }
        let back = self.convert(&pruned, &now, version).map(Cow::into_owned);
        Ok(back.unwrap_or(pruned))
    }

    /// What the manager had not applied last time is not its to take away.
    fn add_back_dangling(
        &self,
        of: Type<'_>,
        merged: &Value,
        pruned: &Value,
        last: &Set,
    ) -> Result<Value, Refused> {
        let fields = |value: &Value| -> Result<Set, Refused> {
            let fields = walk::fields(of, value).map_err(|e| Refused::Values("prune fields", e))?;
            Ok(fields.with_named_fields(Some(of)))
        };
        let gone = fields(merged)?.difference(&fields(pruned)?).intersection(last);
        Ok(walk::remove(of, merged, &gone))
    }
}

impl Manager {
    /// Somebody who writes a version of an object, or a part of it.
    pub fn of(operation: Operation, name: &str, version: &str, subresource: &str) -> Manager {
        Manager {
            operation,
            name: if name.is_empty() { "unknown" } else { name }.into(),
            version: if operation == Operation::Apply { String::new() } else { version.into() },
            subresource: subresource.into(),
        }
    }
}
