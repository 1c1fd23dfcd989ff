//! A container's environment (`pkg/kubelet/kubelet_pods.go`, `makeEnvironmentVariables`), without the services'.

mod expand;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use tokensmith_agent::api::Resource;
use tokensmith_agent::payload::Secret;
use tokensmith_agent::pod::parse::{Parsed, flag, list, object_name, text};
use tokensmith_agent::pod::{
    CONFIG_MAP, CONTAINERS, Containers, FieldPath, NodeResources, ObjectKind, Objects, PlanError, Reference,
    ResourceField, SECRET, SourceError, look_up,
};
use tokensmith_objects::{FieldError, Object};

use self::expand::expand;
use crate::EnvError;

/// What a container's environment is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvPlan {
    container: String,
    namespace: String,
    all: Vec<All>,
    variables: Vec<Variable>,
}

/// An entry of `envFrom`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct All {
    of: Of,
    prefix: String,
}

/// A ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Of {
    secret: bool,
    name: String,
    optional: bool,
}

/// An entry of `env`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    value: From,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    Field(FieldPath),
    Key(Of, String),
    Resource(ResourceField),
    Text(String),
}

impl EnvPlan {
    /// Plans the environment of a container; empty for one that the pod does not have.
    ///
    /// # Errors
    /// The first thing that is wrong, with its field, in the API server's words.
    pub fn new(pod: &Object, container: &str) -> Result<Self, PlanError> {
        plan(pod, container).map_err(|cause| PlanError { pod: pod.name().into(), cause })
    }

    /// The objects that it is made of.
    pub fn references(&self) -> BTreeSet<Reference> {
        let keys = self.variables.iter().filter_map(|variable| match &variable.value {
            From::Key(of, _) => Some(of),
            _ => None,
        });
        let all = self.all.iter().map(|all| &all.of).chain(keys);
        all.map(|of| Reference::Named {
            resource: if of.secret { Resource::Secrets } else { Resource::ConfigMaps },
            namespace: Some(self.namespace.clone()),
            name: of.name.clone(),
        })
        .collect()
    }

    /// The variables, no name twice, in the order of their first mention: `envFrom`, then `env`. A later one of the
    /// same name has the value; `$(NAME)` sees only those before it.
    ///
    /// # Errors
    /// An object or a key that is not there and not optional, in the kubelet's words.
    pub fn variables(
        &self,
        pod: &Object,
        objects: &dyn Objects,
        node: &NodeResources,
    ) -> Result<Vec<(String, Secret)>, EnvError> {
        let mut found = Found::default();
        let containers = Containers::of(pod);
        for All { of, prefix } in &self.all {
            let Some(object) = self.object(of, objects)? else { continue };
            let mut keys: Vec<_> = of.kind().variables(&object).collect();
            keys.sort_unstable();
            for key in keys {
                // What is no name of a variable is passed over, as a shell would.
                let name = format!("{prefix}{key}");
                if let Some(value) = of.kind().entry(&object, key)?.filter(|_| is_name(&name)) {
                    found.put(name, value)?;
                }
            }
        }
        for Variable { name, value } in &self.variables {
            let value = match value {
                From::Field(field) => Some(Secret::new(field.value(pod))),
                From::Key(of, key) => self.key(of, key, objects)?,
                From::Resource(field) => {
                    Some(Secret::new(field.value(pod, &containers, Some(&self.container), node)?))
                }
                From::Text(text) => {
                    let lookup = |wanted: &str| found.get(wanted).map(Secret::expose);
                    Some(Secret::new(expand(text, lookup, MOST).ok_or(EnvError::TooLarge(MOST))?))
                }
            };
            if let Some(value) = value {
                found.put(name.clone(), value)?;
            }
        }
        match found.all.iter().find(|(_, value)| value.expose().contains(&0)) {
            Some((name, _)) => Err(EnvError::Nul(name.clone())),
            None => Ok(found.all),
        }
    }

    fn key(&self, of: &Of, key: &str, objects: &dyn Objects) -> Result<Option<Secret>, EnvError> {
        let Some(object) = self.object(of, objects)? else { return Ok(None) };
        let there = of.kind().has_variable(&object, key);
        match there.then(|| of.kind().entry(&object, key)).transpose()?.flatten() {
            None if !of.optional => Err(EnvError::Key {
                kind: of.kind().title,
                namespace: self.namespace.clone(),
                name: of.name.clone(),
                key: key.into(),
            }),
            found => Ok(found),
        }
    }

    fn object(&self, of: &Of, objects: &dyn Objects) -> Result<Option<std::sync::Arc<Object>>, SourceError> {
        let kind = of.kind();
        look_up(objects, kind.resource, kind.name, Some(&self.namespace), &of.name, of.optional)
    }
}

impl Of {
    fn kind(&self) -> &'static ObjectKind {
        if self.secret { &SECRET } else { &CONFIG_MAP }
    }

    fn new(field: &str, reference: &Value, secret: bool) -> Parsed<Self> {
        let name = object_name(&format!("{field}.name"), text(reference, "name"))?;
        Ok(Of { secret, name, optional: flag(reference, "optional") })
    }
}

/// As much as Linux gives a process at most, all together (`execve(2)`): three quarters of 8 MiB.
const MOST: usize = 6 << 20;

/// Variables in the order in which their names came; of two with one name, the later value.
#[derive(Default)]
struct Found {
    all: Vec<(String, Secret)>,
    by_name: HashMap<String, usize>,
    bytes: usize,
}

impl Found {
    fn get(&self, name: &str) -> Option<&Secret> {
        self.by_name.get(name).and_then(|at| self.all.get(*at)).map(|(_, value)| value)
    }

    fn put(&mut self, name: String, value: Secret) -> Result<(), EnvError> {
        self.bytes += name.len() + value.expose().len();
        if self.bytes > MOST {
            return Err(EnvError::TooLarge(MOST));
        }
        match self.by_name.get(&name).and_then(|at| self.all.get_mut(*at)) {
            Some((_, there)) => *there = value,
            None => {
                self.by_name.insert(name.clone(), self.all.len());
                self.all.push((name, value));
            }
        }
        Ok(())
    }
}

/// What a process can be given; Kubernetes asks for no more (`IsRelaxedEnvVarName`).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

fn plan(pod: &Object, container: &str) -> Parsed<EnvPlan> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let mut lists = CONTAINERS.into_iter().flat_map(|(name, _)| list(spec, "spec", name));
    let found = lists.find(|(_, value)| text(value, "name") == container);
    let (field, value) = found.unwrap_or((String::new(), &Value::Null));
    let all = list(value, &field, "envFrom").map(|(field, entry)| {
        let of = match (&entry["configMapRef"], &entry["secretRef"]) {
            (Value::Null, Value::Null) => {
                let text = "must specify one of: `configMapRef` or `secretRef`";
                return Err(FieldError::invalid(field, &"".into(), text));
            }
            (reference, Value::Null) => Of::new(&format!("{field}.configMapRef"), reference, false)?,
            (Value::Null, reference) => Of::new(&format!("{field}.secretRef"), reference, true)?,
            _ => {
                let text = "may not have more than one field specified at a time";
                return Err(FieldError::invalid(field, &"".into(), text));
            }
        };
        Ok(All { of, prefix: text(entry, "prefix").into() })
    });
    let variables = list(value, &field, "env").map(|(field, entry)| {
        let name = text(entry, "name");
        if name.is_empty() {
            return Err(FieldError::required(format!("{field}.name"), ""));
        }
        if !is_name(name) {
            let text = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            return Err(FieldError::invalid(format!("{field}.name"), &name.into(), text));
        }
        Ok(Variable { name: name.into(), value: From::new(&field, entry)? })
    });
    Ok(EnvPlan {
        container: container.into(),
        namespace: pod.namespace().into(),
        all: all.collect::<Parsed<_>>()?,
        variables: variables.collect::<Parsed<_>>()?,
    })
}

impl From {
    fn new(field: &str, entry: &Value) -> Parsed<Self> {
        let given = entry["valueFrom"].as_object().into_iter().flatten().find(|(_, v)| !v.is_null());
        let value = text(entry, "value");
        let Some((kind, reference)) = given else { return Ok(From::Text(value.into())) };
        if !value.is_empty() {
            let text = "may not be specified when `value` is not empty";
            return Err(FieldError::invalid(format!("{field}.valueFrom"), &"".into(), text));
        }
        let field = format!("{field}.valueFrom.{kind}");
        match kind.as_str() {
            "configMapKeyRef" | "secretKeyRef" => {
                let key = text(reference, "key");
                if key.is_empty() {
                    return Err(FieldError::required(format!("{field}.key"), ""));
                }
                Ok(From::Key(Of::new(&field, reference, kind == "secretKeyRef")?, key.into()))
            }
            "fieldRef" => FieldPath::of_env(&field, reference).map(From::Field),
            "resourceFieldRef" => ResourceField::new(&field, reference).map(From::Resource),
            // Among them fileKeyRef: its file is in a volume that another container writes.
            kind => Err(FieldError::forbidden(&field, &format!("{kind} is not supported"))),
        }
    }
}
