//! What a kubeconfig's cluster says about trust.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use url::Url;

use super::{TargetOptions, Trust, read_file};
use crate::Error;
use crate::kubeconfig::{self, Cluster};
use crate::plugin::ClusterInfo;
use crate::proxy::Route;

/// Where a cluster's own configuration of an exec plugin is.
const FOR_PLUGINS: &str = "client.authentication.k8s.io/exec";

/// Whom to trust, and by which name.
pub(super) fn trust(wanted: &TargetOptions, cluster: &Cluster) -> Result<(Trust, Option<String>), Error> {
    // A server that is given takes the cluster's name away (getCluster): it is another's.
    let name = match &wanted.server {
        Some(server) if !server.is_empty() => None,
        _ => cluster.tls_server_name.clone(),
    };
    let name = wanted.tls_server_name.clone().or(name).filter(|name| !name.is_empty());
    let trust = match (&wanted.certificate_authority, wanted.insecure_skip_tls_verify) {
        (Some(_), true) => {
            return Err(Error::usage(
                "--certificate-authority and --insecure-skip-tls-verify say opposite things: give one of them",
            ));
        }
        (Some(path), false) => Trust::Authority(read_file(path)?),
        (None, true) => Trust::Anyone,
        (None, false) => of_cluster(cluster)?,
    };
    Ok((trust, name))
}

fn of_cluster(cluster: &Cluster) -> Result<Trust, Error> {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let authority = match (given(&cluster.certificate_authority_data), given(&cluster.certificate_authority))
    {
        (Some(_), Some(_)) => {
            return Err(Error::failed(
                "the kubeconfig's cluster has both certificate-authority-data and certificate-authority: only one may be there",
            ));
        }
        (Some(data), None) => Some(
            kubeconfig::data(&data)
                .ok_or_else(|| Error::failed("the kubeconfig's certificate-authority-data is not base64"))?,
        ),
        (None, Some(path)) => Some(read_file(Path::new(&path))?),
        (None, None) => None,
    };
    match (authority, cluster.insecure_skip_tls_verify) {
        (Some(_), true) => Err(Error::failed(
            "the kubeconfig's cluster has a certificate-authority and insecure-skip-tls-verify: only one may be there",
        )),
        (Some(pem), false) => Ok(Trust::Authority(pem)),
        (None, true) => Ok(Trust::Anyone),
        (None, false) => Ok(Trust::System),
    }
}

/// What a plugin is told (`rest.ConfigToExecCluster`).
pub(super) fn info(
    server: &Url,
    cluster: &Cluster,
    trust: &Trust,
    server_name: Option<&str>,
    route: &Route,
) -> ClusterInfo {
    let config = cluster.extensions.iter().find(|extension| extension.name == FOR_PLUGINS);
    ClusterInfo {
        server: server.as_str().trim_end_matches('/').to_owned(),
        tls_server_name: server_name.map(str::to_owned),
        insecure_skip_tls_verify: *trust == Trust::Anyone,
        certificate_authority_data: match trust {
            Trust::Authority(pem) => Some(BASE64_STANDARD.encode(pem)),
            _ => None,
        },
        proxy_url: match route {
            Route::Proxy(proxy) => Some(proxy.with_password()),
            _ => None,
        },
        disable_compression: cluster.disable_compression,
        config: config.map_or(Value::Null, |extension| extension.extension.clone()),
    }
}
