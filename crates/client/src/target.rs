//! From flags and kubeconfigs to one server, its CA and the caller's credentials, by kubectl's rules.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;

use crate::Error;
use crate::kubeconfig::{self, Cluster, Kubeconfig, User};

/// How a server is asked for. In this order: what is named here, the files of `KUBECONFIG`, the file of `fallback`, the
/// configuration of the pod that this runs in.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// This kubeconfig instead of those in `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// This context instead of the current one.
    pub context: Option<String>,
    /// This server instead of the context's.
    pub server: Option<String>,
    /// This bearer token instead of the context's credentials.
    pub token: Option<Bearer>,
    /// This file's certificates instead of the context's.
    pub certificate_authority: Option<PathBuf>,
    /// This namespace instead of the context's.
    pub namespace: Option<String>,
    /// A kubeconfig to use when nothing else names a server.
    pub fallback: PathBuf,
}

/// A server and who one is there.
///
/// ```
/// use tokensmith_client::target::{Bearer, Target, TargetOptions};
///
/// let target = Target::resolve(&TargetOptions {
///     server: Some("https://127.0.0.1:6443".into()),
///     token: Some(Bearer::Fixed("secret".into())),
///     ..TargetOptions::default()
/// })?;
/// assert_eq!(target.server.as_str(), "https://127.0.0.1:6443/");
/// # Ok::<_, tokensmith_client::Error>(())
/// ```
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

/// A bearer token. `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub enum Bearer {
    /// A file that someone renews: it is read again and again.
    File(PathBuf),
    /// The token itself.
    Fixed(String),
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bearer::File(path) => write!(f, "Bearer({})", path.display()),
            Bearer::Fixed(_) => f.write_str("Bearer(…)"),
        }
    }
}

impl Bearer {
    /// The token as it is now; `None` when it is empty.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn read(&self) -> Result<Option<String>, Error> {
        let text = match self {
            Bearer::File(path) => String::from_utf8_lossy(&read_file(path)?).trim().to_owned(),
            Bearer::Fixed(text) => text.trim().to_owned(),
        };
        Ok(Some(text).filter(|t| !t.is_empty()))
    }
}

/// Who one is. `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A bearer token.
    pub token: Option<Bearer>,
    /// A client certificate and its key, PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Where a pod finds its own account (`client-go/rest`, `InClusterConfig`).
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the process was started with.
struct Environment {
    /// The files of `KUBECONFIG`.
    kubeconfig: Vec<PathBuf>,
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, inside a pod.
    service: Option<(String, String)>,
    /// Where the pod's account is.
    account: PathBuf,
}

impl Environment {
    fn of_the_process() -> Self {
        let list = env::var_os("KUBECONFIG");
        let list = list.as_deref().map(env::split_paths).into_iter().flatten();
        let service = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Environment {
            kubeconfig: list.filter(|p| !p.as_os_str().is_empty()).collect(),
            service: service("KUBERNETES_SERVICE_HOST").zip(service("KUBERNETES_SERVICE_PORT")),
            account: IN_CLUSTER.into(),
        }
    }
}

impl Target {
    /// Finds the server that is wanted.
    ///
    /// # Errors
    /// Nothing names a server, a name is not in the kubeconfig, a file cannot be read.
    pub fn resolve(wanted: &TargetOptions) -> Result<Target, Error> {
        Self::resolve_with(wanted, &Environment::of_the_process())
    }

    fn resolve_with(wanted: &TargetOptions, environment: &Environment) -> Result<Target, Error> {
        let (config, origin) = read(wanted, environment)?;
        let name = wanted.context.as_deref().unwrap_or(&config.current_context);
        let context = kubeconfig::find(&config.contexts, name).map(|named| &named.context);
        if context.is_none() && (wanted.context.is_some() || (!name.is_empty() && wanted.server.is_none())) {
            return Err(Error::failed(format!("there is no context {name:?} in {origin}")));
        }
        let cluster = match context {
            Some(c) => kubeconfig::find(&config.clusters, &c.cluster).map(|named| &named.cluster),
            None => None,
        };
        let user = match context {
            Some(c) => kubeconfig::find(&config.users, &c.user),
            None => None,
        };
        let server = wanted.server.as_deref().filter(|s| !s.is_empty());
        let Some(server) = server.or(cluster.map(|c| c.server.as_str()).filter(|s| !s.is_empty())) else {
            return Err(Error::failed(no_server(wanted, environment, &origin)));
        };
        let credentials = match &wanted.token {
            Some(token) => Credentials { token: Some(token.clone()), certificate: None },
            None => credentials(user.map(|named| &named.user))?,
        };
        // What cannot be read now is told now, not at the first request.
        credentials.token.as_ref().map(Bearer::read).transpose()?;
        Ok(Target {
            server: parse_url(server)?,
            trust: trust(wanted, cluster)?,
            credentials,
            user: user.map(|named| named.name.clone()).unwrap_or_default(),
            namespace: wanted
                .namespace
                .clone()
                .or_else(|| context.and_then(|c| c.namespace.clone()))
                .filter(|n| !n.is_empty())
                .unwrap_or_else(|| "default".into()),
        })
    }
}

/// The merged kubeconfig and where it came from, for error texts.
fn read(wanted: &TargetOptions, environment: &Environment) -> Result<(Kubeconfig, String), Error> {
    if let Some(path) = &wanted.kubeconfig {
        let config = kubeconfig::load(path)?;
        let config = config.ok_or_else(|| {
            Error::failed(format!("--kubeconfig {}: there is no such file", path.display()))
        })?;
        return Ok((config, path.display().to_string()));
    }
    if !environment.kubeconfig.is_empty() {
        let mut found = Vec::new();
        for path in &environment.kubeconfig {
            // kubectl passes over files of the list that are not there.
            found.extend(kubeconfig::load(path)?);
        }
        return Ok((kubeconfig::merge(found), "KUBECONFIG".into()));
    }
    let path = wanted.fallback.display().to_string();
    if let Some(config) = kubeconfig::load(&wanted.fallback)? {
        return Ok((config, path));
    }
    Ok((in_cluster(environment).unwrap_or_default(), path))
}

/// The configuration inside a pod, as a kubeconfig. Its token file is one that the kubelet renews.
fn in_cluster(environment: &Environment) -> Option<Kubeconfig> {
    use kubeconfig::{Context, NamedCluster, NamedContext, NamedUser};
    let (host, port) = environment.service.as_ref()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let path = |name: &str| Some(environment.account.join(name)).filter(|p| p.exists());
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let token_file = path("token").map(text)?;
    let namespace = path("namespace").and_then(|p| fs::read_to_string(p).ok()).map(|n| n.trim().to_owned());
    let name = "in-cluster".to_owned();
    let cluster = Cluster {
        server: format!("https://{host}:{port}"),
        certificate_authority: path("ca.crt").map(text),
        ..Cluster::default()
    };
    let user = User { token_file: Some(token_file), ..User::default() };
    let context = Context { cluster: name.clone(), namespace, user: name.clone() };
    Some(Kubeconfig {
        clusters: vec![NamedCluster { name: name.clone(), cluster }],
        contexts: vec![NamedContext { name: name.clone(), context }],
        users: vec![NamedUser { name: name.clone(), user }],
        current_context: name,
        ..Kubeconfig::default()
    })
}

fn no_server(wanted: &TargetOptions, environment: &Environment, origin: &str) -> String {
    if wanted.kubeconfig.is_some() || !environment.kubeconfig.is_empty() {
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
pub fn parse_url(text: &str) -> Result<Url, Error> {
    // kubectl takes `host:port` for plain HTTP; here a scheme is asked for, which is clearer.
    let url = Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    url.ok_or_else(|| {
        Error::usage(format!("{text:?} is not the URL of a server: give one like https://127.0.0.1:6443"))
    })
}

fn trust(wanted: &TargetOptions, cluster: Option<&Cluster>) -> Result<Trust, Error> {
    if let Some(path) = &wanted.certificate_authority {
        return Ok(Trust::Authority(read_file(path)?));
    }
    let Some(cluster) = cluster else { return Ok(Trust::System) };
    if cluster.tls_server_name.is_some() {
        return Err(Error::failed("the kubeconfig sets tls-server-name, which tokensmith does not support"));
    }
    if cluster.insecure_skip_tls_verify {
        return Ok(Trust::Anyone);
    }
    Ok(match inline_or_file(&cluster.certificate_authority_data, &cluster.certificate_authority)? {
        Some(pem) => Trust::Authority(pem),
        None => Trust::System,
    })
}

fn credentials(user: Option<&User>) -> Result<Credentials, Error> {
    let Some(user) = user else { return Ok(Credentials::default()) };
    let certificate = inline_or_file(&user.client_certificate_data, &user.client_certificate)?;
    let key = inline_or_file(&user.client_key_data, &user.client_key)?;
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(Error::failed(
                "the kubeconfig's user has a client certificate without key, or a key without certificate",
            ));
        }
    };
    // The file wins over the value (client-go): it is the one that someone renews.
    let token = match &user.token_file {
        Some(path) => Some(Bearer::File(path.into())),
        None => user.token.clone().filter(|t| !t.is_empty()).map(Bearer::Fixed),
    };
    if token.is_none() && certificate.is_none() && (user.exec.is_some() || user.auth_provider.is_some()) {
        return Err(Error::failed(
            "the kubeconfig's user gets credentials from a plugin, which tokensmith does not run: give --token",
        ));
    }
    if token.is_none() && certificate.is_none() && user.username.is_some() {
        return Err(Error::failed(
            "the kubeconfig's user has a password, which no Kubernetes server accepts: give --token",
        ));
    }
    Ok(Credentials { token, certificate })
}

fn inline_or_file(inline: &Option<String>, file: &Option<String>) -> Result<Option<Vec<u8>>, Error> {
    if let Some(text) = inline.as_ref().filter(|t| !t.is_empty()) {
        let bytes = BASE64_STANDARD.decode(text.trim());
        return bytes.map(Some).map_err(|_| Error::failed("the kubeconfig holds data that is not base64"));
    }
    file.as_ref().filter(|p| !p.is_empty()).map(|p| read_file(Path::new(p))).transpose()
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| Error::failed(format!("cannot read {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "admin.kubeconfig";

    fn write(dir: &Path, name: &str, server: &str) -> PathBuf {
        let path = dir.join(name);
        let text = format!(
            "clusters: [{{name: a, cluster: {{server: {server}, certificate-authority-data: Q0E=}}}}]\nusers: [{{name: u, user: {{token: t0ken}}}}]\ncontexts: [{{name: c, context: {{cluster: a, user: u, namespace: team}}}}]\ncurrent-context: c\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn wanted(dir: &Path) -> TargetOptions {
        TargetOptions { fallback: dir.join(DATA), ..TargetOptions::default() }
    }

    fn environment(dir: &Path, kubeconfig: &[PathBuf]) -> Environment {
        Environment { kubeconfig: kubeconfig.to_vec(), service: None, account: dir.to_path_buf() }
    }

    #[test]
    fn what_is_named_then_kubeconfig_then_the_fallback() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let flagged = write(dir, "flagged", "https://flagged:1");
        let listed = write(dir, "listed", "https://listed:1");
        write(dir, DATA, "https://data:1");
        let mut wanted = wanted(dir);
        let host = |t: Target| t.server.host_str().unwrap().to_owned();

        assert_eq!(host(Target::resolve_with(&wanted, &environment(dir, &[])).unwrap()), "data");
        let list = environment(dir, &[dir.join("absent"), listed]);
        assert_eq!(host(Target::resolve_with(&wanted, &list).unwrap()), "listed");
        wanted.kubeconfig = Some(flagged);
        assert_eq!(host(Target::resolve_with(&wanted, &list).unwrap()), "flagged");
        wanted.server = Some("https://given:1".into());
        let target = Target::resolve_with(&wanted, &list).unwrap();
        assert_eq!(target.trust, Trust::Authority(b"CA".to_vec()));
        assert_eq!(target.credentials.token, Some(Bearer::Fixed("t0ken".into())));
        assert_eq!(target.namespace, "team");
        assert_eq!(host(target), "given");
    }

    #[test]
    fn inside_a_pod_its_own_account_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (name, text) in [("token", "t0ken\n"), ("ca.crt", "CA"), ("namespace", "payments")] {
            fs::write(dir.join(name), text).unwrap();
        }
        let mut inside = environment(dir, &[]);
        inside.service = Some(("fd00::1".into(), "443".into()));
        let target = Target::resolve_with(&wanted(dir), &inside).unwrap();
        assert_eq!(target.server.as_str(), "https://[fd00::1]/");
        assert_eq!(target.credentials.token, Some(Bearer::File(dir.join("token"))));
        assert_eq!(target.credentials.token.unwrap().read().unwrap().as_deref(), Some("t0ken"));
        assert_eq!((target.trust, target.namespace.as_str()), (Trust::Authority(b"CA".to_vec()), "payments"));
        // What someone started here comes first.
        write(dir, DATA, "https://data:1");
        let target = Target::resolve_with(&wanted(dir), &inside).unwrap();
        assert_eq!(target.server.as_str(), "https://data:1/");
    }

    #[test]
    fn says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut wanted = wanted(dir);
        let none = environment(dir, &[]);
        let error = Target::resolve_with(&wanted, &none).unwrap_err().to_string();
        assert!(error.starts_with("no server to talk to: there is no "), "{error}");
        write(dir, DATA, "https://data:1");
        wanted.context = Some("prod".into());
        let error = Target::resolve_with(&wanted, &none).unwrap_err().to_string();
        assert!(error.starts_with("there is no context \"prod\" in "), "{error}");
        wanted.context = None;
        wanted.token = Some(Bearer::File(dir.join("absent")));
        let error = Target::resolve_with(&wanted, &none).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        wanted.token = None;
        wanted.server = Some("localhost:8080".into());
        assert!(matches!(Target::resolve_with(&wanted, &none), Err(Error::Usage(_))));
    }
}
