//! Who manages what of an object: `metadata.managedFields` as values (`managedfields/internal/managedfields.go`,
//! `capmanagers.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokensmith_api::moment;

use crate::Set;
pub use crate::set::Unreadable;

/// How fields came to be managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// They were applied: whoever leaves one out takes it away.
    Apply,
    /// They were written.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Who manages fields. What was applied is one manager's in whatever version it was applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The name that the client gave.
    pub name: String,
    /// How.
    pub operation: Operation,
    /// The version that was written; empty where it was applied.
    pub version: String,
    /// The part of the object that was written.
    pub subresource: String,
}

/// What somebody manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The fields.
    pub fields: Set,
    /// The version that the fields are of.
    pub version: String,
    /// When that last changed, as it is written.
    pub time: Option<String>,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(pub BTreeMap<Manager, Owned>);

impl Managers {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    /// An entry is not written as it has to be.
    pub fn read(entries: Option<&Value>) -> Result<Managers, Unreadable> {
        let mut managers = BTreeMap::new();
        for (at, entry) in entries.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err(Unreadable("operation must be `Apply` or `Update`".into())),
            };
            let version = text("apiVersion");
            if version.is_empty() {
                return Err(Unreadable("apiVersion must not be empty".into()));
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(Unreadable(format!("missing fieldsType in managed fields entry {at}"))),
                other => {
                    let text = format!("invalid fieldsType {other:?} in managed fields entry {at}");
                    return Err(Unreadable(text));
                }
            }
            let manager = Manager {
                operation,
                name: text("manager").into(),
                version: if operation == Operation::Apply { String::new() } else { version.into() },
                subresource: text("subresource").into(),
            };
            let owned = Owned {
                fields: Set::from_json(&entry["fieldsV1"])?,
                version: version.into(),
                time: entry["time"].as_str().map(str::to_owned),
            };
            managers.insert(manager, owned);
        }
        Ok(Managers(managers))
    }

    /// Writes it; `None` where nobody manages anything.
    pub fn written(&self) -> Option<Value> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_cached_key(|(manager, owned)| {
            let Manager { operation, name, subresource, .. } = manager;
            (*operation, seconds(owned), name.clone(), owned.version.clone(), subresource.clone())
        });
        let entries: Vec<_> = entries.into_iter().map(|(manager, owned)| entry(manager, owned)).collect();
        (!entries.is_empty()).then_some(Value::Array(entries))
    }

    /// Joins the oldest updates of a version until there are few enough.
    pub(crate) fn cap(&mut self) {
        let mut updates: Vec<Manager> =
            self.0.keys().filter(|manager| manager.operation == Operation::Update).cloned().collect();
        let mut left = updates.len();
        if left <= MOST_UPDATES {
            return;
        }
        updates.sort_by_cached_key(|manager| {
            let Manager { name, version, subresource, .. } = manager;
            (self.0.get(manager).map(seconds), name.clone(), version.clone(), subresource.clone())
        });
        let mut first = BTreeMap::<String, Manager>::new();
        let mut parts = BTreeMap::<Manager, Vec<Set>>::new();
        for manager in updates {
            if left <= MOST_UPDATES {
                break;
            }
            let Some(version) = self.0.get(&manager).map(|owned| owned.version.clone()) else { continue };
            let Some(first) = first.get(&version) else {
                first.insert(version, manager);
                continue;
            };
            let bucket = Manager {
                operation: Operation::Update,
                name: OLD_UPDATES.into(),
                version,
                subresource: String::new(),
            };
            if !self.0.contains_key(&bucket)
                && let Some(of_first) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), of_first);
            }
            let Some(owned) = self.0.remove(&manager) else { continue };
            match self.0.get_mut(&bucket) {
                Some(joined) => {
                    // The later one of the two.
                    joined.time = owned.time;
                    parts.entry(bucket).or_default().push(owned.fields);
                }
                None => drop(parts.remove(&bucket)),
            }
            left -= 1;
        }
        for (bucket, mut sets) in parts {
            if let Some(joined) = self.0.get_mut(&bucket) {
                sets.push(std::mem::take(&mut joined.fields));
                joined.fields = Set::of_all(sets);
            }
        }
    }
}

/// As many updates are told apart (`DefaultMaxUpdateManagers`).
const MOST_UPDATES: usize = 10;
/// Who has written what older updates wrote.
const OLD_UPDATES: &str = "ancient-changes";

fn seconds(owned: &Owned) -> i64 {
    let time = owned.time.as_deref().and_then(|time| moment::parse(time).ok());
    time.map_or(0, time::OffsetDateTime::unix_timestamp)
}

fn entry(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    let mut put = |name: &str, text: &str| {
        if !text.is_empty() {
            entry.insert(name.into(), text.into());
        }
    };
    put("manager", &manager.name);
    put("operation", manager.operation.name());
    put("apiVersion", &owned.version);
    put("time", owned.time.as_deref().unwrap_or_default());
    put("fieldsType", "FieldsV1");
    entry.insert("fieldsV1".into(), owned.fields.to_json());
    if !manager.subresource.is_empty() {
        entry.insert("subresource".into(), json!(manager.subresource));
    }
    Value::Object(entry)
}
