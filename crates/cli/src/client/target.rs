//! From flags and kubeconfigs to one server, its CA and the caller's credentials, by kubectl's rules.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;

use super::flags::ClientFlags;
use crate::failure::Failure;
use crate::kubeconfig::{self, Cluster, Kubeconfig, User};

/// A server and who one is there.
#[derive(Debug)]
pub struct Target {
    /// The base URL.
    pub server: Url,
    /// What to trust.
    pub trust: Trust,
    /// Who one is.
    pub credentials: Credentials,
    /// The user's name in the kubeconfig; empty without one.
    pub user: String,
    /// The namespace to use.
    pub namespace: String,
}

/// Whose signature under the server's certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// These certificates, PEM.
    Authority(Vec<u8>),
    /// Anyone's (`insecure-skip-tls-verify`).
    Anyone,
    /// No one's: the server shows the first certificate in here, PEM, whatever its names and chain.
    Leaf(Vec<u8>),
    /// The system's.
    System,
}

/// Who one is. `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A bearer token.
    pub token: Option<String>,
    /// A client certificate and its key, PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Target {
    /// Resolves the flags.
    ///
    /// # Errors
    /// Nothing names a server, a name is not in the kubeconfig, a file cannot be read.
    pub fn resolve(flags: &ClientFlags) -> Result<Target, Failure> {
        Self::resolve_with(flags, env::var_os("KUBECONFIG").as_deref().map(env::split_paths))
    }

    fn resolve_with(
        flags: &ClientFlags,
        list: Option<impl Iterator<Item = PathBuf>>,
    ) -> Result<Target, Failure> {
        let (config, origin) = read(flags, list)?;
        let name = flags.context.as_deref().unwrap_or(&config.current_context);
        let context = kubeconfig::find(&config.contexts, name).map(|named| &named.context);
        if context.is_none() && (flags.context.is_some() || (!name.is_empty() && flags.server.is_none())) {
            return Err(Failure::failed(format!("there is no context {name:?} in {origin}")));
        }
        let cluster = match context {
            Some(c) => kubeconfig::find(&config.clusters, &c.cluster).map(|named| &named.cluster),
            None => None,
        };
        let user = match context {
            Some(c) => kubeconfig::find(&config.users, &c.user),
            None => None,
        };
        let server = flags.server.as_deref().filter(|s| !s.is_empty());
        let Some(server) = server.or(cluster.map(|c| c.server.as_str()).filter(|s| !s.is_empty())) else {
            return Err(Failure::failed(no_server(flags, &origin)));
        };
        Ok(Target {
            server: parse_url(server)?,
            trust: trust(flags, cluster)?,
            credentials: credentials(flags, user.map(|named| &named.user))?,
            user: user.map(|named| named.name.clone()).unwrap_or_default(),
            namespace: flags
                .namespace
                .clone()
                .or_else(|| context.and_then(|c| c.namespace.clone()))
                .filter(|n| !n.is_empty())
                .unwrap_or_else(|| "default".into()),
        })
    }
}

/// The merged kubeconfig and where it came from, for error texts.
fn read(
    flags: &ClientFlags,
    list: Option<impl Iterator<Item = PathBuf>>,
) -> Result<(Kubeconfig, String), Failure> {
    if let Some(path) = &flags.kubeconfig {
        let config = kubeconfig::load(path)?;
        let config = config.ok_or_else(|| {
            Failure::failed(format!("--kubeconfig {}: there is no such file", path.display()))
        })?;
        return Ok((config, path.display().to_string()));
    }
    let list: Vec<PathBuf> = list.into_iter().flatten().filter(|p| !p.as_os_str().is_empty()).collect();
    if !list.is_empty() {
        let mut found = Vec::new();
        for path in &list {
            // kubectl passes over files of the list that are not there.
            found.extend(kubeconfig::load(path)?);
        }
        return Ok((kubeconfig::merge(found), "KUBECONFIG".into()));
    }
    let path = flags.data_dir.join("admin.kubeconfig");
    let config = kubeconfig::load(&path)?.unwrap_or_default();
    Ok((config, path.display().to_string()))
}

fn no_server(flags: &ClientFlags, origin: &str) -> String {
    if flags.kubeconfig.is_some() || origin == "KUBECONFIG" {
        return format!("{origin} names no server: choose a context with --context, or give --server");
    }
    format!(
        "no server to talk to: there is no {origin}; start `tokensmith serve` here, or give --server, --kubeconfig or --data-dir, or set KUBECONFIG"
    )
}

/// A server's base URL.
///
/// # Errors
/// It is not `http` or `https` with a host.
pub fn parse_url(text: &str) -> Result<Url, Failure> {
    // kubectl takes `host:port` for plain HTTP; here a scheme is asked for, which is clearer.
    let url = Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    url.ok_or_else(|| {
        Failure::usage(format!("{text:?} is not the URL of a server: give one like https://127.0.0.1:6443"))
    })
}

fn trust(flags: &ClientFlags, cluster: Option<&Cluster>) -> Result<Trust, Failure> {
    if let Some(path) = &flags.certificate_authority {
        return Ok(Trust::Authority(read_file(path)?));
    }
    let Some(cluster) = cluster else { return Ok(Trust::System) };
    if cluster.tls_server_name.is_some() {
        return Err(Failure::failed(
            "the kubeconfig sets tls-server-name, which tokensmith does not support",
        ));
    }
    if cluster.insecure_skip_tls_verify {
        return Ok(Trust::Anyone);
    }
    Ok(match inline_or_file(&cluster.certificate_authority_data, &cluster.certificate_authority)? {
        Some(pem) => Trust::Authority(pem),
        None => Trust::System,
    })
}

fn credentials(flags: &ClientFlags, user: Option<&User>) -> Result<Credentials, Failure> {
    if let Some(token) = &flags.token {
        return Ok(Credentials { token: Some(token.trim().to_owned()), certificate: None });
    }
    let Some(user) = user else { return Ok(Credentials::default()) };
    let certificate = inline_or_file(&user.client_certificate_data, &user.client_certificate)?;
    let key = inline_or_file(&user.client_key_data, &user.client_key)?;
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(Failure::failed(
                "the kubeconfig's user has a client certificate without key, or a key without certificate",
            ));
        }
    };
    // The file wins over the value (client-go): it is the one that someone renews.
    let token = match &user.token_file {
        Some(path) => Some(String::from_utf8_lossy(&read_file(Path::new(path))?).trim().to_owned()),
        None => user.token.clone(),
    };
    if token.is_none() && certificate.is_none() && (user.exec.is_some() || user.auth_provider.is_some()) {
        return Err(Failure::failed(
            "the kubeconfig's user gets credentials from a plugin, which tokensmith does not run: give --token",
        ));
    }
    if token.is_none() && certificate.is_none() && user.username.is_some() {
        return Err(Failure::failed(
            "the kubeconfig's user has a password, which no Kubernetes server accepts: give --token",
        ));
    }
    Ok(Credentials { token: token.filter(|t| !t.is_empty()), certificate })
}

fn inline_or_file(inline: &Option<String>, file: &Option<String>) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(text) = inline.as_ref().filter(|t| !t.is_empty()) {
        let bytes = BASE64_STANDARD.decode(text.trim());
        return bytes.map(Some).map_err(|_| Failure::failed("the kubeconfig holds data that is not base64"));
    }
    file.as_ref().filter(|p| !p.is_empty()).map(|p| read_file(Path::new(p))).transpose()
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, server: &str) -> PathBuf {
        let path = dir.join(name);
        let mut config = kubeconfig::own(server, Some(b"CA"), "admin", "t0ken", Some("team"));
        config.extensions.clear();
        fs::write(&path, crate::output::yaml(&config).unwrap()).unwrap();
        path
    }

    #[test]
    fn flags_then_kubeconfig_then_data_dir() {
        let dir = tempfile::tempdir().unwrap();
        let flagged = write(dir.path(), "flagged", "https://flagged:1");
        let listed = write(dir.path(), "listed", "https://listed:1");
        write(dir.path(), "admin.kubeconfig", "https://data:1");
        let mut flags = ClientFlags { data_dir: dir.path().into(), ..ClientFlags::default() };
        let none: Option<std::vec::IntoIter<PathBuf>> = None;
        let host = |t: Target| t.server.host_str().unwrap().to_owned();

        assert_eq!(host(Target::resolve_with(&flags, none.clone()).unwrap()), "data");
        let list = vec![dir.path().join("absent"), listed];
        assert_eq!(host(Target::resolve_with(&flags, Some(list.clone().into_iter())).unwrap()), "listed");
        flags.kubeconfig = Some(flagged);
        assert_eq!(host(Target::resolve_with(&flags, Some(list.clone().into_iter())).unwrap()), "flagged");
        flags.server = Some("https://given:1".into());
        let target = Target::resolve_with(&flags, none).unwrap();
        assert_eq!(target.trust, Trust::Authority(b"CA".to_vec()));
        assert_eq!((target.namespace.as_str(), target.credentials.token.as_deref()), ("team", Some("t0ken")));
        assert_eq!(host(target), "given");
    }

    #[test]
    fn says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut flags = ClientFlags { data_dir: dir.path().into(), ..ClientFlags::default() };
        let none: Option<std::vec::IntoIter<PathBuf>> = None;
        let error = Target::resolve_with(&flags, none.clone()).unwrap_err().to_string();
        assert!(error.starts_with("no server to talk to: there is no "), "{error}");
        write(dir.path(), "admin.kubeconfig", "https://data:1");
        flags.context = Some("prod".into());
        let error = Target::resolve_with(&flags, none.clone()).unwrap_err().to_string();
        assert!(error.starts_with("there is no context \"prod\" in "), "{error}");
        flags.context = None;
        flags.server = Some("localhost:8080".into());
        assert!(matches!(Target::resolve_with(&flags, none), Err(Failure::Usage(_))));
    }
}
