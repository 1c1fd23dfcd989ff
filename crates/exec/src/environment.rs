//! What a command that stands for a container finds: its volumes and its environment.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokensmith_agent::api::{ApiServer, Resource};
use tokensmith_agent::disk::VOLUMES;
use tokensmith_agent::pod::{
    ContainerKind, ContainerPlan, Lookup, MountPlan, NodeResources, Objects, PodPlan, Reference, Source,
    Unread,
};
use tokensmith_client::kubeconfig::{
    Cluster, Context as KubeContext, Kubeconfig, NamedCluster, NamedContext, NamedUser, User,
};
use tokensmith_client::{Route, Target};
use tokensmith_objects::Object;

use crate::namespace::Placement;
use crate::{EnvPlan, ExecError, Spec};

/// Where clients look for their account inside a pod (client-go `rest.InClusterConfig`).
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// By audience, the variable that names a token's file to a vendor's SDK: what the webhooks of EKS and of Azure's workload
/// identity set.
const BY_AUDIENCE: [(&str, &str); 2] = [
    ("api://AzureADTokenExchange", "AZURE_FEDERATED_TOKEN_FILE"),
    ("sts.amazonaws.com", "AWS_WEB_IDENTITY_TOKEN_FILE"),
];

/// What it takes to know.
pub struct Context<'a> {
    /// Where objects come from.
    pub api: &'a dyn ApiServer,
    /// The same server, as clients find it.
    pub target: &'a Target,
    /// The agent's folder, as it was named: where the volumes are.
    pub root: &'a Path,
    /// The machine.
    pub node: &'a NodeResources,
}

/// A command that is ready to be started. Its `Debug` shows no value of the environment and nothing of the kubeconfig.
pub struct Prepared {
    /// What to run, and how.
    pub spec: Spec,
    /// A file that must be there before it, readable by its owner alone: it stands for the account that clients look for
    /// where the volumes are not in their places.
    pub kubeconfig: Option<(PathBuf, Kubeconfig)>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kubeconfig = self.kubeconfig.as_ref().map(|(path, _)| path);
        f.debug_struct("Prepared").field("spec", &self.spec).field("kubeconfig", &kubeconfig).finish()
    }
}

impl Context<'_> {
    /// The command as the container of that name, or as the pod's first.
    ///
    /// # Errors
    /// There is no such container, or its environment needs what is not there.
    pub async fn prepare(
        &self,
        pod: &Object,
        name: Option<&str>,
        command: Vec<OsString>,
    ) -> Result<Prepared, ExecError> {
        let plan = PodPlan::new(pod)?;
        let container = match name {
            Some(name) => plan.container(name),
            None => plan.containers.iter().find(|c| c.kind == ContainerKind::Regular),
        };
        let container = container.ok_or_else(|| ExecError::Container {
            pod: format!("{}/{}", plan.namespace, plan.name),
            container: name.unwrap_or_default().to_owned(),
        })?;
        let env = EnvPlan::new(pod, &container.name)?;
        let objects = self.fetch(&env).await;
        let variables = env.variables(pod, &objects, self.node)?;
        let mut env = self.implied(&plan, container);
        for (name, value) in &variables {
            let value = value.expose_str().ok_or_else(|| ExecError::Text(name.clone()))?;
            env.insert(name.clone(), value.to_owned());
        }
        let mut elsewhere = self.elsewhere(&plan, container, &env);
        let kubeconfig = container.mounts.iter().find(|mount| mount.path == IN_CLUSTER).map(|mount| {
            let path = self.pod(&plan).join("kubeconfig");
            elsewhere.insert("KUBECONFIG".into(), path.to_string_lossy().into_owned());
            (path, self.kubeconfig(&plan, &self.source(&plan, mount)))
        });
        let placements = self.placements(&plan, container)?;
        Ok(Prepared { spec: Spec { placements, command, env, elsewhere }, kubeconfig })
    }

    /// What the command's own mount namespace needs.
    fn placements(&self, plan: &PodPlan, container: &ContainerPlan) -> Result<Vec<Placement>, ExecError> {
        let root = std::fs::canonicalize(self.root);
        let root = root.map_err(|cause| ExecError::Root { path: self.root.to_owned(), cause })?;
        let volumes = root.join(&plan.namespace).join(&plan.name).join(VOLUMES);
        let placement = |mount: &MountPlan| Placement {
            volume: volumes.join(&mount.volume),
            sub_path: mount.sub_path.as_ref().map(|path| path.as_str().to_owned()),
            target: mount.path.clone().into(),
        };
        Ok(container.mounts.iter().map(placement).collect())
    }

    /// What a cluster adds to every container, and what vendors' SDKs look for.
    fn implied(&self, plan: &PodPlan, container: &ContainerPlan) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        if container.mounts.iter().any(|mount| mount.path == IN_CLUSTER)
            && let Some(host) = self.target.server.host_str()
        {
            let port = self.target.server.port_or_known_default().unwrap_or(443).to_string();
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            env.insert("KUBERNETES_SERVICE_HOST".into(), host);
            env.insert("KUBERNETES_SERVICE_PORT_HTTPS".into(), port.clone());
            env.insert("KUBERNETES_SERVICE_PORT".into(), port);
        }
        for mount in container.mounts.iter().filter(|mount| mount.sub_path.is_none()) {
            for source in plan.volume(&mount.volume).into_iter().flat_map(|volume| &volume.sources) {
                let Source::ServiceAccountToken(token) = source else { continue };
                let known =
                    BY_AUDIENCE.iter().find(|(audience, _)| Some(*audience) == token.audience.as_deref());
                if let Some((_, variable)) = known {
                    env.insert((*variable).into(), format!("{}/{}", mount.path, token.path));
                }
            }
        }
        env
    }

    /// The same environment where the volumes could not be put in their places: a value that is a path of the container's
    /// names the place where the file is.
    fn elsewhere(
        &self,
        plan: &PodPlan,
        container: &ContainerPlan,
        env: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let moved = |value: &str| {
            container.mounts.iter().find_map(|mount| {
                let below = Path::new(value).strip_prefix(&mount.path).ok()?;
                Some(self.source(plan, mount).join(below).to_string_lossy().trim_end_matches('/').to_owned())
            })
        };
        env.iter()
            .map(|(name, value)| (name.clone(), moved(value).unwrap_or_else(|| value.clone())))
            .collect()
    }

    fn kubeconfig(&self, plan: &PodPlan, dir: &Path) -> Kubeconfig {
        let name = "pod".to_owned();
        let file = |file: &str| Some(dir.join(file).to_string_lossy().into_owned());
        let cluster = Cluster {
            server: self.target.server.as_str().trim_end_matches('/').to_owned(),
            certificate_authority: file("ca.crt"),
            tls_server_name: self.target.server_name.clone(),
            proxy_url: match &self.target.route {
                Route::Proxy(proxy) => Some(proxy.with_password()),
                _ => None,
            },
            ..Cluster::default()
        };
        let context = KubeContext {
            cluster: name.clone(),
            namespace: Some(plan.namespace.clone()),
            user: name.clone(),
            ..KubeContext::default()
        };
        let user = User { token_file: file("token"), ..User::default() };
        Kubeconfig {
            api_version: "v1".into(),
            kind: "Config".into(),
            clusters: vec![NamedCluster { name: name.clone(), cluster }],
            contexts: vec![NamedContext { name: name.clone(), context }],
            users: vec![NamedUser { name: name.clone(), user }],
            current_context: name,
            ..Kubeconfig::default()
        }
    }

    /// Where a mount's files are.
    fn source(&self, plan: &PodPlan, mount: &MountPlan) -> PathBuf {
        let volume = self.pod(plan).join(VOLUMES).join(&mount.volume);
        match &mount.sub_path {
            Some(part) => volume.join(part.as_str()),
            None => volume,
        }
    }

    fn pod(&self, plan: &PodPlan) -> PathBuf {
        self.root.join(&plan.namespace).join(&plan.name)
    }

    /// The objects that the environment is made of.
    async fn fetch(&self, env: &EnvPlan) -> Fetched {
        let mut fetched = Fetched::default();
        for reference in env.references() {
            let Reference::Named { resource, namespace, name } = reference else { continue };
            let lookup = match self.api.get(resource, namespace.as_deref(), &name).await {
                Ok(Some(object)) => Lookup::Found(Arc::new(object)),
                Ok(None) => Lookup::Missing,
                Err(error) => Lookup::Unknown(Unread::Api(error)),
            };
            fetched.0.insert((resource, name), lookup);
        }
        fetched
    }
}

/// What was read, all of one namespace.
#[derive(Default)]
struct Fetched(HashMap<(Resource, String), Lookup>);

impl Objects for Fetched {
    fn get(&self, resource: Resource, _: Option<&str>, name: &str) -> Lookup {
        self.0.get(&(resource, name.to_owned())).cloned().unwrap_or(Lookup::Missing)
    }

    fn trust_bundles(&self, _: &str) -> Result<Vec<Arc<Object>>, Unread> {
        Ok(Vec::new())
    }
}
