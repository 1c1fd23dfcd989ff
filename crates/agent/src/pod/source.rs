//! The sources of a projected volume, parsed.

use serde_json::Value;
use tokensmith_objects::selector::LabelSelector;
use tokensmith_objects::{FieldError, LocalPath, names};

use super::exchange::Exchange;
use super::field::FieldPath;
use super::parse::{Parsed, flag, list, local_path, mode, name, object_name, text};
use super::resource::ResourceField;

/// What a part of a volume is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Trust anchors in one file.
    ClusterTrustBundle(TrustBundleSource),
    /// Entries of a ConfigMap.
    ConfigMap(ObjectSource),
    /// Fields of the pod.
    DownwardApi(Vec<DownwardFile>),
    /// Entries of a Secret.
    Secret(ObjectSource),
    /// A token of the pod's account, or one that such a token is exchanged for.
    ServiceAccountToken(TokenProjection),
}

/// A token that is wanted (`serviceAccountToken` in a manifest, Kubernetes' ServiceAccountTokenProjection).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenProjection {
    /// Whom it is for; `None` is the API server.
    pub audience: Option<String>,
    /// Seconds, positive; what the server allows is the server's to say.
    pub expiration_seconds: i64,
    /// The file.
    pub path: LocalPath,
    /// Of which token it is made by exchange; `None`: it is the account's own.
    pub exchange: Option<Exchange>,
}

/// A ConfigMap or a Secret, of the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSource {
    /// Its name.
    pub name: String,
    /// Which entries go where; none for all of them, under their keys.
    pub items: Vec<Item>,
    /// Whether it may be missing, or lack a key.
    pub optional: bool,
}

/// An entry of a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The entry.
    pub key: String,
    /// The file.
    pub path: LocalPath,
    /// Its permissions; `None` for the volume's `defaultMode`.
    pub mode: Option<u32>,
}

/// A file that shows something of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownwardFile {
    /// The file.
    pub path: LocalPath,
    /// Its permissions; `None` for the volume's `defaultMode`.
    pub mode: Option<u32>,
    /// What it shows.
    pub value: DownwardValue,
}

/// What a file of the downward API shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownwardValue {
    /// `fieldRef`
    Field(FieldPath),
    /// `resourceFieldRef`
    Resource(ResourceField),
}

/// Trust anchors in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundleSource {
    /// Which ones.
    pub bundles: TrustBundles,
    /// Whether there may be none: the file is then empty.
    pub optional: bool,
    /// The file.
    pub path: LocalPath,
}

/// Which ClusterTrustBundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustBundles {
    /// One by its name.
    Name(String),
    /// Those of a signer.
    Signer {
        /// E.g. `example.com/my-signer`.
        signer_name: String,
        /// And with these labels; `None` takes none at all.
        labels: Option<LabelSelector>,
    },
}

impl Source {
    /// Whether it is a token that another one is exchanged for.
    pub(super) fn is_exchanged(&self) -> bool {
        matches!(self, Source::ServiceAccountToken(token) if token.exchange.is_some())
    }

    /// An entry of `projected.sources`; `None` for one without a kind, which the kubelet passes over too.
    pub(super) fn new(field: &str, source: &Value) -> Parsed<Option<Self>> {
        let mut given = source.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let Some((kind, value)) = given.next() else { return Ok(None) };
        if given.next().is_some() {
            return Err(FieldError::forbidden(field, "may not specify more than 1 volume type per source"));
        }
        let here = format!("{field}.{kind}");
        let source = match kind.as_str() {
            "clusterTrustBundle" => Source::ClusterTrustBundle(trust_bundle(&here, value)?),
            "configMap" => Source::ConfigMap(object(&here, value, "name")?),
            "downwardAPI" => Source::DownwardApi(downward(&here, value)?),
            "secret" => Source::Secret(object(&here, value, "name")?),
            "serviceAccountToken" => Source::ServiceAccountToken(token(field, &here, value)?),
            // Among them podCertificate: it needs a key, a request for a certificate, and who approves it.
            kind => return Err(FieldError::forbidden(&here, &format!("{kind} sources are not supported"))),
        };
        Ok(Some(source))
    }

    /// A volume that is one source (`secret`, `configMap`, `downwardAPI`); `None` for other kinds.
    pub(super) fn of_volume(field: &str, kind: &str, value: &Value) -> Parsed<Option<Self>> {
        Ok(Some(match kind {
            "configMap" => Source::ConfigMap(object(field, value, "name")?),
            "downwardAPI" => Source::DownwardApi(downward(field, value)?),
            "secret" => Source::Secret(object(field, value, "secretName")?),
            _ => return Ok(None),
        }))
    }
}

/// Seconds that a token lives when nobody says it.
const DEFAULT_EXPIRATION: i64 = 3600;

fn token(source: &str, field: &str, value: &Value) -> Parsed<TokenProjection> {
    let seconds = match &value["expirationSeconds"] {
        Value::Null => DEFAULT_EXPIRATION,
        given => given.as_i64().filter(|n| *n > 0).ok_or_else(|| {
            FieldError::invalid(format!("{field}.expirationSeconds"), given, "must be greater than 0")
        })?,
    };
    // The API server reports the path at the volume, not at the source.
    let projected = source.split(".sources[").next().unwrap_or(source);
    Ok(TokenProjection {
        audience: Some(text(value, "audience")).filter(|a| !a.is_empty()).map(Into::into),
        expiration_seconds: seconds,
        path: local_path(&format!("{projected}.path"), text(value, "path"))?,
        exchange: None,
    })
}

fn object(field: &str, value: &Value, name: &str) -> Parsed<ObjectSource> {
    let items = list(value, field, "items").map(|(here, item)| {
        let key = text(item, "key");
        if key.is_empty() {
            return Err(FieldError::required(format!("{here}.key"), ""));
        }
        let path = local_path(&format!("{here}.path"), text(item, "path"))?;
        Ok(Item { key: key.into(), path, mode: mode(item, &here, "mode")? })
    });
    Ok(ObjectSource {
        name: object_name(&format!("{field}.{name}"), text(value, name))?,
        items: items.collect::<Parsed<_>>()?,
        optional: flag(value, "optional"),
    })
}

fn downward(field: &str, value: &Value) -> Parsed<Vec<DownwardFile>> {
    let files = list(value, field, "items").map(|(here, item)| {
        let path = local_path(&format!("{here}.path"), text(item, "path"))?;
        let value = match (&item["fieldRef"], &item["resourceFieldRef"]) {
            (Value::Null, Value::Null) => {
                let text = "one of fieldRef and resourceFieldRef is required";
                return Err(FieldError::required(format!("{here}.fieldRef"), text));
            }
            (reference, Value::Null) => {
                DownwardValue::Field(FieldPath::of_volume(&format!("{here}.fieldRef"), reference)?)
            }
            (Value::Null, reference) => {
                let here = format!("{here}.resourceFieldRef");
                let resource = ResourceField::new(&here, reference)?;
                // A volume belongs to no container.
                if resource.container.is_none() {
                    return Err(FieldError::required(format!("{here}.containerName"), ""));
                }
                DownwardValue::Resource(resource)
            }
            _ => {
                let text = "fieldRef and resourceFieldRef can not be specified simultaneously";
                return Err(FieldError::invalid(here, &"resource".into(), text));
            }
        };
        Ok(DownwardFile { path, mode: mode(item, &here, "mode")?, value })
    });
    files.collect()
}

fn trust_bundle(field: &str, value: &Value) -> Parsed<TrustBundleSource> {
    let bundles = match (text(value, "name"), text(value, "signerName")) {
        ("", "") => {
            return Err(FieldError::required(field, "either name or signerName must be specified"));
        }
        ("", signer) => TrustBundles::Signer {
            signer_name: name(&format!("{field}.signerName"), signer, signer_name)?,
            labels: match &value["labelSelector"] {
                Value::Null => None,
                selector => {
                    let read = LabelSelector::from_value(selector);
                    let invalid =
                        |cause| FieldError::invalid(format!("{field}.labelSelector"), selector, cause);
                    Some(read.map_err(invalid)?)
                }
            },
        },
        (bundle, "") if value["labelSelector"].is_null() => {
            TrustBundles::Name(name(&format!("{field}.name"), bundle, bundle_name)?)
        }
        (bundle, "") => {
            let text = "labelSelector must be unset if name is specified";
            return Err(FieldError::invalid(format!("{field}.labelSelector"), &bundle.into(), text));
        }
        _ => return Err(FieldError::invalid(field, value, "only one of name and signerName may be used")),
    };
    let path = local_path(&format!("{field}.path"), text(value, "path"))?;
    Ok(TrustBundleSource { bundles, optional: flag(value, "optional"), path })
}

/// It goes into a field selector: no comma, no equals sign.
fn signer_name(name: &str) -> Vec<String> {
    let parts = name.split_once('/').filter(|(domain, path)| {
        let path = path.split('.').all(|part| names::label(part).is_empty());
        domain.contains('.') && names::subdomain(domain).is_empty() && path
    });
    match parts {
        Some(_) => Vec::new(),
        None => {
            vec!["must be a fully qualified domain and path of the form 'example.com/signer-name'".into()]
        }
    }
}

/// A subdomain, or the signer's name with a colon for its slash, a colon, and a subdomain.
fn bundle_name(name: &str) -> Vec<String> {
    name.split(':').flat_map(names::subdomain).take(1).collect()
}
