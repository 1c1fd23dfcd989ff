//! Who manages an object's replicas, as its `/scale` shows it and back (`managedfields/scalehandler.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Element, Managers, Owned, Set, Unreadable};

/// How an object's managers and those of its scale become each other.
#[derive(Clone, Copy, Debug)]
pub struct Scale<'a> {
    /// The version of the object.
    pub version: &'a str,
    /// Its replicas in each version that it has.
    pub replicas: &'a [(&'a str, &'a [&'a str])],
}

/// The one version of a scale.
const SCALE: &str = "autoscaling/v1";
const REPLICAS: [&str; 2] = ["spec", "replicas"];

impl Scale<'_> {
    /// The managers of a scale: those of the object's replicas.
    ///
    /// # Errors
    /// The object's cannot be read.
    pub fn to_part(&self, parent: Option<&Value>) -> Result<Option<Value>, Unreadable> {
        let mut managers = Managers::read(parent)?;
        managers.0.retain(|_, owned| match self.path(&owned.version).filter(|path| owned.fields.has(path)) {
            Some(_) => {
                owned.fields = Set::of_names([&REPLICAS[..]]);
                owned.version = SCALE.into();
                true
            }
            None => false,
        });
        Ok(managers.written())
    }

    /// The managers of the object once those of its scale have become these. Who does not manage the scale any more has lost the
    /// replicas; who manages them since has not said when.
    ///
    /// # Errors
    /// Some cannot be read.
    pub fn to_parent(
        &self,
        parent: Option<&Value>,
        part: Option<&Value>,
    ) -> Result<Option<Value>, Unreadable> {
        let (before, mut part) = (Managers::read(parent)?, Managers::read(part)?);
        let times: BTreeMap<_, _> =
            before.0.iter().map(|(manager, owned)| (manager.clone(), owned.time.clone())).collect();
        let mut managers = Managers::default();
        for (manager, mut owned) in before.0 {
            // What was written in a version that is not known is dropped.
            let Some(path) = self.path(&owned.version) else { continue };
            if owned.fields.has(&path) && part.0.remove(&manager).is_none() {
                let mut replicas = Set::new();
                replicas.insert(path);
                owned.fields = owned.fields.difference(&replicas);
            }
            if !owned.fields.is_empty() {
                managers.0.insert(manager, owned);
            }
        }
        let replicas = REPLICAS.map(Element::from);
        for (manager, _) in part.0.into_iter().filter(|(_, owned)| owned.fields.has(&replicas)) {
            let Some(path) = self.path(self.version) else { continue };
            let mut fields = Set::new();
            fields.insert(path);
            let time = times.get(&manager).cloned().flatten();
            managers.0.insert(manager, Owned { fields, version: self.version.into(), time });
        }
        Ok(managers.written())
    }

    fn path(&self, version: &str) -> Option<Vec<Element>> {
        let (_, path) = self.replicas.iter().find(|(known, _)| *known == version)?;
        Some(path.iter().copied().map(Element::from).collect())
    }
}
