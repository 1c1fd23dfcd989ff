//! Programs that are run for credentials (`client.authentication.k8s.io`; client-go `plugin/pkg/client/auth/exec`): those of EKS,
//! GKE and AKS, and any other.
//!
//! What one gives is kept in memory until it expires or a server refuses it, and is never shown. The program's errors go to
//! ours, as its user expects who has to follow a link there; its standard input is ours where it may talk to the user.

mod answer;
mod run;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::sign::CertifiedKey;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokio::sync::Mutex;

use crate::Error;
use crate::kubeconfig::ExecConfig;

const GROUP: &str = "client.authentication.k8s.io";

/// A program, and what it gave last. Its `Debug` shows neither arguments nor credentials.
pub struct Plugin {
    config: ExecConfig,
    /// What it is told about the cluster, if it is.
    cluster: Option<Value>,
    clock: SystemClock,
    // Held while it runs: it may talk to the user, so it runs once at a time.
    kept: Mutex<Option<Arc<Issued>>>,
}

/// Credentials that a program gave.
pub(crate) struct Issued {
    pub(crate) bearer: Option<HeaderValue>,
    pub(crate) certificate: Option<Arc<CertifiedKey>>,
    expires: Option<OffsetDateTime>,
}

/// What a program may be told about the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterInfo {
    pub(crate) server: String,
    pub(crate) tls_server_name: Option<String>,
    pub(crate) insecure_skip_tls_verify: bool,
    pub(crate) certificate_authority_data: Option<String>,
    pub(crate) proxy_url: Option<String>,
    pub(crate) disable_compression: bool,
    pub(crate) config: Value,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({})", self.config.command)
    }
}

impl Plugin {
    /// # Errors
    /// It speaks a version that is not known.
    pub(crate) fn new(config: ExecConfig, cluster: ClusterInfo) -> Result<Plugin, Error> {
        let known = ["v1", "v1beta1"].map(|version| format!("{GROUP}/{version}"));
        if !known.contains(&config.api_version) {
            return Err(Error::failed(format!(
                "exec plugin: invalid apiVersion {:?}: it must be {}",
                config.api_version,
                known.join(" or ")
            )));
        }
        let cluster = config.provide_cluster_info.then(|| cluster.json());
        Ok(Plugin { config, cluster, clock: SystemClock::new(), kept: Mutex::default() })
    }

    /// Its credentials as they are now; it is run for new ones within `limit`.
    pub(crate) async fn issued(&self, limit: Option<Duration>) -> Result<Arc<Issued>, Error> {
        let mut kept = self.kept.lock().await;
        match &*kept {
            Some(issued) if issued.expires.is_none_or(|end| self.clock.now() <= end) => Ok(issued.clone()),
            _ => self.refresh(&mut kept, limit).await,
        }
    }

    /// A server has refused `sent`: what there is instead.
    pub(crate) async fn instead(
        &self,
        sent: &Arc<Issued>,
        limit: Option<Duration>,
    ) -> Result<Arc<Issued>, Error> {
        let mut kept = self.kept.lock().await;
        match &*kept {
            Some(other) if !Arc::ptr_eq(other, sent) => Ok(other.clone()),
            _ => self.refresh(&mut kept, limit).await,
        }
    }

    async fn refresh(
        &self,
        kept: &mut Option<Arc<Issued>>,
        limit: Option<Duration>,
    ) -> Result<Arc<Issued>, Error> {
        let interactive = run::interactive(&self.config)?;
        let output = run::run(&self.config, &self.info(interactive), interactive, limit).await?;
        let issued = answer::read(&output, &self.config.api_version);
        let issued = issued.map_err(|why| {
            Error::failed(format!("getting credentials: exec: executable {} {why}", self.config.command))
        })?;
        let issued = Arc::new(issued);
        *kept = Some(issued.clone());
        Ok(issued)
    }

    /// `KUBERNETES_EXEC_INFO`
    fn info(&self, interactive: bool) -> String {
        let mut spec = Map::new();
        spec.extend(self.cluster.clone().map(|cluster| ("cluster".to_owned(), cluster)));
        spec.insert("interactive".into(), Value::Bool(interactive));
        json!({ "kind": "ExecCredential", "apiVersion": self.config.api_version, "spec": spec }).to_string()
    }
}

impl ClusterInfo {
    fn json(self) -> Value {
        let mut all = Map::new();
        all.insert("server".into(), self.server.into());
        let mut set = |name: &str, value: Value| {
            if !matches!(&value, Value::Null | Value::Bool(false)) {
                all.insert(name.into(), value);
            }
        };
        set("tls-server-name", self.tls_server_name.into());
        set("insecure-skip-tls-verify", self.insecure_skip_tls_verify.into());
        set("certificate-authority-data", self.certificate_authority_data.into());
        set("proxy-url", self.proxy_url.into());
        set("disable-compression", self.disable_compression.into());
        // Go shows it always.
        all.insert("config".into(), self.config);
        Value::Object(all)
    }
}
