//! Values as messages show them that print one of Go's own structs: upstream's internal types have no names for JSON, so each
//! field is there, under the name that it has in Go.

use serde_json::{Map, Value};

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
