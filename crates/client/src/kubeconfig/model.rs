//! The file's structure, as it is written; [`read`](super::read) says how it is read.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A kubeconfig, or several merged.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kubeconfig {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Config`.
    pub kind: String,
    /// Where servers are.
    pub clusters: Vec<NamedCluster>,
    /// Who uses what.
    pub contexts: Vec<NamedContext>,
    /// The context to use when none is named.
    pub current_context: String,
    /// Who one is.
    pub users: Vec<NamedUser>,
    /// What other programs left; kubectl keeps it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// Something with a name to find it by.
pub trait Named {
    /// The name.
    fn name(&self) -> &str;
}

/// A list's entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NamedCluster {
    /// Its name.
    pub name: String,
    /// What it is.
    pub cluster: Cluster,
}

/// A list's entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NamedContext {
    /// Its name.
    pub name: String,
    /// What it is.
    pub context: Context,
}

/// A list's entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NamedUser {
    /// Its name.
    pub name: String,
    /// What it is.
    pub user: User,
}

impl Named for NamedCluster {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for NamedContext {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for NamedUser {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Extension {
    fn name(&self) -> &str {
        &self.name
    }
}

/// A server. Its `Debug` shows no password of a proxy.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// A file with the CA's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// The CA's certificate itself, base64 of PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// Whether answers must not be compressed. None ever is: we ask for none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_compression: bool,
    /// What other programs left, the configuration of an exec plugin for this cluster among it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// Whether any certificate will do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_tls_verify: bool,
    /// The proxy to go through, instead of those of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<String>,
    /// The base URL.
    pub server: String,
    /// Another name to ask for, and to expect in the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// Fields that Kubernetes does not have.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.server)
    }
}

/// A cluster, a user and a namespace.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Context {
    /// The cluster's name.
    pub cluster: String,
    /// The namespace to use when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The user's name.
    pub user: String,
    /// Fields that Kubernetes does not have.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// Credentials. Their `Debug` shows none.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    /// As whom to ask.
    #[serde(flatten)]
    pub impersonate: Impersonate,
    /// The name of a provider that is asked for credentials; not supported.
    #[serde(skip)]
    pub auth_provider: Option<String>,
    /// A file with a client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// A client certificate itself, base64 of PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    /// A file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// Its private key itself, base64 of PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    /// A program that is run for credentials.
    #[serde(skip)]
    pub exec: Option<ExecConfig>,
    /// For basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file with a bearer token; read each time.
    #[serde(rename = "tokenFile", skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// For basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Fields that Kubernetes does not have.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// As whom to ask, if not as oneself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Impersonate {
    /// The user's name; nothing else may be set without it.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The groups.
    #[serde(rename = "as-groups", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The UID.
    #[serde(rename = "as-uid", skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whatever else is known of the user.
    #[serde(rename = "as-user-extra", skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A program that is run for credentials (`ExecConfig`). Its `Debug` shows no argument and no variable.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Which version of `client.authentication.k8s.io` it speaks.
    pub api_version: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The program: a path, or a name to be found in `PATH`.
    pub command: String,
    /// Variables that it gets besides ours.
    pub env: Vec<(String, String)>,
    /// How one gets it.
    pub install_hint: String,
    /// Whether it may talk to the user: `Never`, `IfAvailable` or `Always`.
    pub interactive_mode: String,
    /// Whether it is told about the cluster.
    pub provide_cluster_info: bool,
}

impl fmt::Debug for ExecConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecConfig({})", self.command)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(…)")
    }
}

/// What another program left in the file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Extension {
    /// Whose it is.
    pub name: String,
    /// What it says.
    pub extension: Value,
}
