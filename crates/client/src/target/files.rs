//! Which kubeconfig counts.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::TargetOptions;
use crate::Error;
use crate::kubeconfig::{self, Cluster, Context, Kubeconfig, NamedCluster, NamedContext, NamedUser, User};

/// Where a pod finds its own account (`client-go/rest`, `InClusterConfig`).
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the process was started with.
pub(super) struct Environment {
    /// The files of `KUBECONFIG`.
    pub(super) kubeconfig: Vec<PathBuf>,
    /// `~/.kube/config`
    pub(super) home: Option<PathBuf>,
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, inside a pod.
    pub(super) service: Option<(String, String)>,
    /// Where the pod's account is.
    pub(super) account: PathBuf,
}

impl Environment {
    pub(super) fn of_the_process() -> Self {
        let list = env::var_os("KUBECONFIG");
        let list = list.as_deref().map(env::split_paths).into_iter().flatten();
        let service = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let home = env::var_os("HOME").filter(|home| !home.is_empty());
        Environment {
            kubeconfig: list.filter(|p| !p.as_os_str().is_empty()).collect(),
            home: home.map(|home| PathBuf::from(home).join(".kube/config")),
            service: service("KUBERNETES_SERVICE_HOST").zip(service("KUBERNETES_SERVICE_PORT")),
            account: IN_CLUSTER.into(),
        }
    }
}

/// Where a kubeconfig came from, for error texts.
#[derive(Debug)]
pub(super) enum Origin {
    /// A file that is there.
    File(PathBuf),
    /// The files of `KUBECONFIG`, of which these are not there; `none` if none is.
    List { missing: Vec<PathBuf>, none: bool },
    /// Nowhere: not even this file is there.
    Nowhere(PathBuf),
    /// The account of the pod that this runs in.
    Pod,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::List { missing, .. } if missing.is_empty() => f.write_str("KUBECONFIG"),
            Origin::List { missing, .. } => {
                let names: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
                write!(f, "KUBECONFIG (not there: {})", names.join(", "))
            }
            Origin::Nowhere(path) => write!(f, "{}, which is not there", path.display()),
            Origin::Pod => f.write_str("this pod's account"),
        }
    }
}

/// The merged kubeconfig and where it came from.
pub(super) fn read(wanted: &TargetOptions, environment: &Environment) -> Result<(Kubeconfig, Origin), Error> {
    if let Some(path) = &wanted.kubeconfig {
        let config = kubeconfig::load(path)?;
        let config = config.ok_or_else(|| {
            Error::failed(format!("--kubeconfig {}: there is no such file", path.display()))
        })?;
        return Ok((config, Origin::File(path.clone())));
    }
    if !environment.kubeconfig.is_empty() {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for path in &environment.kubeconfig {
            // kubectl passes over files of the list that are not there.
            match kubeconfig::load(path)? {
                Some(config) => found.push(config),
                None => missing.push(path.clone()),
            }
        }
        let none = found.is_empty();
        return Ok((kubeconfig::merge(found), Origin::List { missing, none }));
    }
    if let Some(config) = kubeconfig::load(&wanted.fallback)? {
        return Ok((config, Origin::File(wanted.fallback.clone())));
    }
    if let Some(home) = &environment.home
        && let Some(config) = kubeconfig::load(home)?
        // An empty one is as none (`IsConfigEmpty`).
        && !(config.clusters.is_empty() && config.contexts.is_empty() && config.users.is_empty())
    {
        return Ok((config, Origin::File(home.clone())));
    }
    Ok(match in_cluster(environment) {
        Some(config) => (config, Origin::Pod),
        None => (Kubeconfig::default(), Origin::Nowhere(wanted.fallback.clone())),
    })
}

/// The configuration inside a pod, as a kubeconfig. Its token file is one that the kubelet renews.
fn in_cluster(environment: &Environment) -> Option<Kubeconfig> {
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
    let context = Context { cluster: name.clone(), namespace, user: name.clone(), ..Context::default() };
    Some(Kubeconfig {
        clusters: vec![NamedCluster { name: name.clone(), cluster }],
        contexts: vec![NamedContext { name: name.clone(), context }],
        users: vec![NamedUser { name: name.clone(), user }],
        current_context: name,
        ..Kubeconfig::default()
    })
}
