//! Values as messages show them that print one of Go's own structs: upstream's internal types have no names for JSON, so each
//! field is there, under the name that it has in Go.

use serde_json::{Map, Value};

use crate::schema::{Shape, TypeRef, type_of};

/// A field: its name in JSON, that in Go, and what it is when nobody has set it.
pub(crate) type Row = (&'static str, &'static str, Zero);

/// What a field is.
#[derive(Clone, Copy)]
pub(crate) enum Zero {
    /// A pointer, a list or a map.
    Null,
    /// A pointer to a struct.
    Of(&'static [Row]),
    /// A text.
    Text,
}

/// Shows a struct.
pub(crate) fn shown(value: &Value, rows: &[Row]) -> Value {
    let field = |(name, go, zero): &Row| {
        let value = match (&value[*name], zero) {
            (Value::Null, Zero::Text) => "".into(),
            (Value::Null, _) => Value::Null,
            (value, Zero::Of(rows)) => shown(value, rows),
            (value, _) => value.clone(),
        };
        ((*go).to_owned(), value)
    };
    Value::Object(rows.iter().map(field).collect::<Map<_, _>>())
}

/// `rbac.RoleRef`.
pub(crate) const ROLE_REF: &[Row] =
    &[("apiGroup", "APIGroup", Zero::Text), ("kind", "Kind", Zero::Text), ("name", "Name", Zero::Text)];
/// `core.Taint`.
pub(crate) const TAINT: &[Row] = &[
    ("key", "Key", Zero::Text),
    ("value", "Value", Zero::Text),
    ("effect", "Effect", Zero::Text),
    ("timeAdded", "TimeAdded", Zero::Null),
];
/// `core.NodeAddress`.
pub(crate) const NODE_ADDRESS: &[Row] = &[("type", "Type", Zero::Text), ("address", "Address", Zero::Text)];
/// `core.PodResourceClaim`.
pub(crate) const POD_RESOURCE_CLAIM: &[Row] = &[
    ("name", "Name", Zero::Text),
    ("resourceClaimName", "ResourceClaimName", Zero::Null),
    ("resourceClaimTemplateName", "ResourceClaimTemplateName", Zero::Null),
];
/// `core.SeccompProfile`, and `core.AppArmorProfile`.
pub(crate) const PROFILE: &[Row] =
    &[("type", "Type", Zero::Text), ("localhostProfile", "LocalhostProfile", Zero::Null)];
/// `core.SecurityContext`.
pub(crate) const SECURITY_CONTEXT: &[Row] = &[
    ("capabilities", "Capabilities", Zero::Of(&[("add", "Add", Zero::Null), ("drop", "Drop", Zero::Null)])),
    ("privileged", "Privileged", Zero::Null),
    ("seLinuxOptions", "SELinuxOptions", Zero::Of(SE_LINUX)),
    ("windowsOptions", "WindowsOptions", Zero::Of(WINDOWS)),
    ("runAsUser", "RunAsUser", Zero::Null),
    ("runAsGroup", "RunAsGroup", Zero::Null),
    ("runAsNonRoot", "RunAsNonRoot", Zero::Null),
    ("readOnlyRootFilesystem", "ReadOnlyRootFilesystem", Zero::Null),
    ("allowPrivilegeEscalation", "AllowPrivilegeEscalation", Zero::Null),
    ("procMount", "ProcMount", Zero::Null),
    ("seccompProfile", "SeccompProfile", Zero::Of(PROFILE)),
    ("appArmorProfile", "AppArmorProfile", Zero::Of(PROFILE)),
];
const SE_LINUX: &[Row] = &[
    ("user", "User", Zero::Text),
    ("role", "Role", Zero::Text),
    ("type", "Type", Zero::Text),
    ("level", "Level", Zero::Text),
];
const WINDOWS: &[Row] = &[
    ("gmsaCredentialSpecName", "GMSACredentialSpecName", Zero::Null),
    ("gmsaCredentialSpec", "GMSACredentialSpec", Zero::Null),
    ("runAsUserName", "RunAsUserName", Zero::Null),
    ("hostProcess", "HostProcess", Zero::Null),
];

/// Shows a value of a type of the table, by what Go declares of it.
pub(crate) fn of_type(name: &str, value: &Value) -> Value {
    type_of(name).map_or_else(|| value.clone(), |of| of_message(of, value))
}

fn of_message(of: TypeRef<'_>, value: &Value) -> Value {
    let mut shown = Map::new();
    for field in of.fields() {
        if field.name.is_empty() || field.inline {
            continue;
        }
        let value = value.get(&*field.name).unwrap_or(&Value::Null);
        let value = match (value.is_null(), field.pointer) {
            (true, true) => Value::Null,
            _ => of_shape(of, &field.shape, value),
        };
        shown.insert(go_name(&field.name), value);
    }
    shown.into()
}

fn of_shape(of: TypeRef<'_>, shape: &Shape, value: &Value) -> Value {
    match (shape, value) {
        // Types of `meta/v1` have names for JSON upstream, too.
        (Shape::Message(id), _) if of.at(*id).name().starts_with("apis/meta/v1.") => value.clone(),
        (Shape::Message(id), _) => of_message(of.at(*id), value),
        (Shape::List(item), Value::Array(all)) => all.iter().map(|one| of_shape(of, item, one)).collect(),
        (Shape::Map(item), Value::Object(all)) => {
            all.iter().map(|(key, one)| (key.clone(), of_shape(of, item, one))).collect::<Map<_, _>>().into()
        }
        (Shape::Bool, Value::Null) => false.into(),
        (Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::IntOrString, Value::Null) => 0.into(),
        (Shape::Quantity, Value::Null) => "0".into(),
        (Shape::String, Value::Null) => "".into(),
        _ => value.clone(),
    }
}

/// A field's name in Go: that in JSON with a capital, or several where it begins with an abbreviation.
fn go_name(name: &str) -> String {
    let start = name.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(name.len());
    let (head, tail) = name.split_at(start);
    if CAPITALS.contains(&head) {
        return head.to_ascii_uppercase() + tail;
    }
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), chars.as_str()))
}

const CAPITALS: [&str; 19] = [
    "api", "aws", "csi", "fc", "fs", "gce", "grpc", "http", "https", "id", "ip", "iscsi", "nfs", "rbd",
    "tcp", "tls", "ttl", "uid", "url",
];
