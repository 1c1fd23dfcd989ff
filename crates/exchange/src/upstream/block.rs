//! The `upstream:` block of a rule. Every name that nobody knows is refused; every address is checked when it is read.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::UpstreamError;
use super::kinds::Kind;
use super::web::Poster;

/// A block that was read.
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) poster: Poster,
    /// What `caFile` holds.
    pub(super) cas: Option<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Raw {
    Aws {
        endpoint: String,
        role_arn: String,
        session_name: Option<String>,
        duration_seconds: Option<u32>,
    },
    Azure {
        endpoint: String,
        client_id: String,
        scope: Option<String>,
    },
    Gcp {
        endpoint: String,
        audience: String,
        #[serde(default)]
        scopes: Vec<String>,
        impersonate: Option<RawImpersonate>,
    },
    Oauth {
        endpoint: String,
        client_id: Option<String>,
        requested_token_type: Option<String>,
    },
    Vault {
        endpoint: String,
        role: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawImpersonate {
    endpoint: String,
    scopes: Vec<String>,
    lifetime_seconds: Option<u32>,
}

/// How a service is reached.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reach {
    /// CAs (PEM) besides the system's.
    ca_file: Option<PathBuf>,
    /// Plain http to this very machine.
    #[serde(default)]
    allow_loopback_http: bool,
}

impl Block {
    /// Paths in it are relative to `folder`.
    pub(super) fn read(block: &Value, folder: &Path) -> Result<Block, UpstreamError> {
        let wrong = |e: serde_json::Error| UpstreamError::Block(e.to_string());
        // What all kinds have; what is left over is a kind's own, or nobody's.
        let Value::Object(mut own) = block.clone() else {
            return Err(UpstreamError::Block("must be an object with `kind` and `endpoint`".into()));
        };
        let shared = ["allowLoopbackHttp", "caFile"].into_iter();
        let shared: Map<_, _> = shared.filter_map(|name| own.remove_entry(name)).collect();
        let reach = Reach::deserialize(Value::Object(shared)).map_err(wrong)?;
        let kind = match Raw::deserialize(Value::Object(own)).map_err(wrong)? {
            Raw::Aws { endpoint, role_arn, session_name, duration_seconds } => {
                needs(&[("roleArn", &role_arn)])?;
                let endpoint = reach.address("endpoint", &endpoint)?;
                Kind::Aws { endpoint, role_arn, session_name, duration_seconds }
            }
            Raw::Azure { endpoint, client_id, scope } => {
                needs(&[("clientId", &client_id)])?;
                let endpoint = reach.address("endpoint", &endpoint)?;
                Kind::Azure { endpoint, client_id, scope }
            }
            Raw::Gcp { endpoint, audience, scopes, impersonate } => {
                needs(&[("audience", &audience)])?;
                let endpoint = reach.address("endpoint", &endpoint)?;
                let impersonate = impersonate.map(|raw| {
                    let endpoint = reach.address("impersonate.endpoint", &raw.endpoint)?;
                    let (scopes, lifetime_seconds) = (raw.scopes, raw.lifetime_seconds.unwrap_or(3600));
                    Ok(super::kinds::Impersonate { endpoint, scopes, lifetime_seconds })
                });
                Kind::Gcp { endpoint, audience, scopes, impersonate: impersonate.transpose()? }
            }
            Raw::Oauth { endpoint, client_id, requested_token_type } => {
                let endpoint = reach.address("endpoint", &endpoint)?;
                Kind::Oauth { endpoint, client_id, requested_token_type }
            }
            Raw::Vault { endpoint, role } => {
                needs(&[("role", &role)])?;
                let endpoint = reach.address("endpoint", &endpoint)?;
                Kind::Vault { endpoint, role }
            }
        };
        let broken = |e: std::io::Error| UpstreamError::Block(format!("caFile: {e}"));
        let cas = reach.ca_file.map(|path| std::fs::read(folder.join(path))).transpose().map_err(broken)?;
        Ok(Block { kind, poster: Poster::new(cas.as_deref())?, cas })
    }
}

fn needs(fields: &[(&str, &str)]) -> Result<(), UpstreamError> {
    match fields.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => Err(UpstreamError::Block(format!("{name} is empty"))),
        None => Ok(()),
    }
}

impl Reach {
    /// An https URL without a user and a fragment; http only to this machine, and only where the block says so.
    fn address(&self, field: &str, text: &str) -> Result<Url, UpstreamError> {
        let wrong = |why: &str| UpstreamError::Block(format!("{field} {why}"));
        let url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(wrong("must have no user and no fragment"));
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(wrong("must be an https URL")),
        };
        match url.scheme() {
            "https" => Ok(url),
            "http" if loopback && self.allow_loopback_http => Ok(url),
            "http" if loopback => {
                Err(wrong("must be an https URL; allowLoopbackHttp: true lets this one be"))
            }
            _ => Err(wrong("must be an https URL")),
        }
    }
}
