//! The file's structure. Unknown fields are ignored when read; lists may be `null`, as kubectl writes them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A kubeconfig, or several merged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Kubeconfig {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Config`.
    pub kind: String,
    /// Where servers are.
    #[serde(deserialize_with = "null_is_empty")]
    pub clusters: Vec<NamedCluster>,
    /// Who uses what.
    #[serde(deserialize_with = "null_is_empty")]
    pub contexts: Vec<NamedContext>,
    /// The context to use when none is named.
    #[serde(deserialize_with = "null_is_empty")]
    pub current_context: String,
    /// Who one is.
    #[serde(deserialize_with = "null_is_empty")]
    pub users: Vec<NamedUser>,
    /// What other programs left; kubectl keeps it.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// Something with a name to find it by.
pub trait Named {
    /// The name.
    fn name(&self) -> &str;
}

/// A list's entry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NamedCluster {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(deserialize_with = "null_is_empty")]
    pub cluster: Cluster,
}

/// A list's entry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NamedContext {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(deserialize_with = "null_is_empty")]
    pub context: Context,
}

/// A list's entry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NamedUser {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(deserialize_with = "null_is_empty")]
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

/// A server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Cluster {
    /// A file with the CA's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// The CA's certificate itself, base64 of PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// Whether any certificate will do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_tls_verify: bool,
    /// The base URL.
    pub server: String,
    /// Another name to expect in the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
}

/// A cluster, a user and a namespace.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Context {
    /// The cluster's name.
    pub cluster: String,
    /// The namespace to use when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The user's name.
    pub user: String,
}

/// Credentials. Their `Debug` shows none.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct User {
    /// A provider that is asked for credentials; not supported.
    #[serde(rename = "auth-provider", skip_serializing_if = "Option::is_none")]
    pub auth_provider: Option<Value>,
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
    /// A program that is run for credentials; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Value>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file with a bearer token; read each time.
    #[serde(rename = "tokenFile", skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// For basic authentication; not supported, here to say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(…)")
    }
}

/// What another program left in the file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Extension {
    /// Whose it is.
    pub name: String,
    /// What it says.
    pub extension: Value,
}

fn null_is_empty<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}
