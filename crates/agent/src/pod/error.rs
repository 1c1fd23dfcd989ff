//! Why there is no plan, or no payload.

use std::collections::HashSet;

use tokensmith_objects::FieldError;
use tokensmith_objects::field::go_quote;

use super::collect::Unread;

/// A pod that cannot be planned: what is wrong with it, in the words of the API server's validation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Pod {} is invalid: {}", go_quote(pod), one_line(&cause.to_string()))]
pub struct PlanError {
    /// `metadata.name`
    pub pod: String,
    /// The first finding.
    pub cause: FieldError,
}

/// A volume whose content is not to be had now; its sources tell why. What is on disk stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadError {
    /// One finding per source that failed, in the order of the sources; at least one.
    pub causes: Vec<SourceError>,
}

/// Why a source gives nothing. No text holds content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The data are not what the API promises.
    #[error("{kind} {name:?}: the value of key {key:?} is no base64")]
    Base64 {
        /// `configmap` or `secret`
        kind: &'static str,
        /// The object.
        name: String,
        /// The entry.
        key: String,
    },
    /// A path is a file, and a folder of another file.
    #[error("conflicting paths: {0:?} is a file and a folder")]
    Conflict(String),
    /// A resource of a container that the pod does not have.
    #[error("container {0} not found")]
    Container(String),
    /// The object is there, the key that a file wants is not.
    #[error("{}references non-existent {} key: {key}", if *.kind == "configmap" { "configmap " } else { "" }, if *.kind == "configmap" { "config" } else { "secret" })]
    Key {
        /// `configmap` or `secret`
        kind: &'static str,
        /// The entry.
        key: String,
    },
    /// An object that the source needs is not there.
    #[error("{}{kind} {name:?} not found", if kind.contains('.') { "while getting ClusterTrustBundle: " } else { "" })]
    NotFound {
        /// `configmap`, `secret` or `clustertrustbundle.certificates.k8s.io`
        kind: &'static str,
        /// The object.
        name: String,
    },
    /// A key that cannot be the name of a file.
    #[error("{kind} {name:?}: {cause}")]
    Path {
        /// `configmap` or `secret`
        kind: &'static str,
        /// The object.
        name: String,
        /// What is wrong with the key.
        cause: tokensmith_objects::LocalPathError,
    },
    /// No ClusterTrustBundle is selected.
    #[error("combination of signerName and labelSelector matched zero ClusterTrustBundles")]
    Selected,
    /// Another source has made the file that an exchanged token was to be.
    #[error("the path {0:?} of an exchanged token is another source's, too")]
    Taken(String),
    /// There is no token for the file.
    #[error("no token{} at {path:?} yet", audience.as_ref().map(|a| format!(" for audience {a:?}")).unwrap_or_default())]
    Token {
        /// Whom it is for; `None` is the API server.
        audience: Option<String>,
        /// The file.
        path: String,
    },
    /// A ClusterTrustBundle is not PEM.
    #[error("while normalizing trust anchors: {name:?}: {cause}")]
    TrustAnchors {
        /// The bundle.
        name: String,
        /// One line.
        cause: String,
    },
    /// Nobody knows yet whether the object is there: not the same as missing, which an optional source may be.
    #[error("{kind} {name:?} could not be read: {cause}")]
    Unknown {
        /// As in `NotFound`.
        kind: &'static str,
        /// The object, or the signer.
        name: String,
        /// Why.
        cause: Unread,
    },
}

impl std::error::Error for PayloadError {}

impl std::fmt::Display for PayloadError {
    /// One error bare, several distinct ones as `[E1, E2]` (apimachinery `util/errors`).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut seen = HashSet::new();
        let texts = self.causes.iter().map(|cause| one_line(&cause.to_string()));
        let texts: Vec<String> = texts.filter(|text| seen.insert(text.clone())).collect();
        match texts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

impl From<SourceError> for PayloadError {
    fn from(cause: SourceError) -> Self {
        PayloadError { causes: vec![cause] }
    }
}

/// Kubernetes' words do not quote keys and fields; a line break in one of them must not make a second line of a log.
pub fn one_line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
