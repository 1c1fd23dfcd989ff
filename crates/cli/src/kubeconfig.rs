//! The kubeconfigs that tokensmith writes, and how it knows them again.
//!
//! A file is ours when it carries our mark and holds nothing but our own entries: who has since merged another
//! cluster into it (`kubectl config set-cluster`, kind, minikube) would lose that, so it is no longer ours.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use tokensmith_client::kubeconfig::{
    Cluster, Context, Extension, Kubeconfig, Named, NamedCluster, NamedContext, NamedUser, User, load,
};

use crate::failure::Failure;
use crate::files;
use crate::files::modes::Others;
use crate::output;

/// The name of the cluster and the context in files of our own.
pub const NAME: &str = "tokensmith";

const MARK: &str = "tokensmith/written-by";
const HEAD: &str = "# Written by tokensmith, and anew by each `serve` with this path. It holds a credential: keep it private.\n";

/// A kubeconfig with one cluster, one user and one context. `ca_pem` is embedded; without it the system's
/// certificates count.
pub fn own(
    server: &str,
    ca_pem: Option<&[u8]>,
    user: &str,
    token: &str,
    namespace: Option<&str>,
) -> Kubeconfig {
    Kubeconfig {
        api_version: "v1".into(),
        kind: "Config".into(),
        clusters: vec![NamedCluster {
            name: NAME.into(),
            cluster: Cluster {
                server: server.into(),
                certificate_authority_data: ca_pem.map(|pem| BASE64_STANDARD.encode(pem)),
                ..Cluster::default()
            },
        }],
        contexts: vec![NamedContext {
            name: NAME.into(),
            context: Context {
                cluster: NAME.into(),
                namespace: namespace.map(Into::into),
                user: user.into(),
                ..Context::default()
            },
        }],
        current_context: NAME.into(),
        users: vec![NamedUser {
            name: user.into(),
            user: User { token: Some(token.into()), ..User::default() },
        }],
        extensions: vec![Extension {
            name: MARK.into(),
            extension: json!({ "user": user, "version": env!("CARGO_PKG_VERSION") }),
        }],
    }
}

/// Refuses if a file is at `path` that tokensmith did not write, or that has gained entries since.
///
/// # Errors
/// A guard's refusal; or the file cannot be read.
pub fn check_ours(path: &Path, flag: &str) -> Result<(), Failure> {
    let found = match load(path) {
        Ok(None) => return Ok(()),
        Ok(Some(config)) => Some(config),
        // Unreadable is not ours either, but then the reason is more useful than a guess.
        Err(e) if path.is_dir() || std::fs::File::open(path).is_err() => return Err(e.into()),
        Err(_) => None,
    };
    if found.is_some_and(|config| is_ours(&config)) {
        return Ok(());
    }
    Err(Failure::guard(format!(
        "{} holds something that tokensmith did not write: it stays as it is; give another path with {flag}",
        path.display()
    )))
}

/// Writes a kubeconfig of our own, private (mode 0600, or 0660 where a group shares it), unless what is there says the same or is not ours.
///
/// # Errors
/// As [`check_ours`]; or the file cannot be written.
pub fn write_ours(path: &Path, config: &Kubeconfig, flag: &str, others: Others) -> Result<(), Failure> {
    check_ours(path, flag)?;
    let text = render(config)?;
    // A file that has become readable for others is written anew, with its proper mode.
    if files::read_if_there(path)?.as_deref() == Some(text.as_bytes()) && is_private(path, others) {
        return Ok(());
    }
    Ok(files::write(path, text.as_bytes(), others.into())?)
}

/// The file's text.
fn render(config: &Kubeconfig) -> Result<String, Failure> {
    Ok(format!("{HEAD}{}", output::yaml(config)?))
}

fn is_private(path: &Path, others: Others) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & others.forbidden() == 0)
}

fn is_ours(config: &Kubeconfig) -> bool {
    let Some(mark) = config.extensions.iter().find(|e| e.name == MARK) else { return false };
    let user = mark.extension.get("user").and_then(|v| v.as_str()).unwrap_or_default();
    only(&config.clusters, NAME) && only(&config.contexts, NAME) && only(&config.users, user)
}

fn only<T: Named>(list: &[T], name: &str) -> bool {
    list.iter().all(|entry| entry.name() == name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ours(server: &str) -> Kubeconfig {
        own(server, Some(b"PEM"), "admin", "a-token", None)
    }

    #[test]
    fn ours_is_private_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        write_ours(&path, &ours("https://127.0.0.1:1"), "--kubeconfig", Others::Nobody).unwrap();
        write_ours(&path, &ours("https://127.0.0.1:2"), "--kubeconfig", Others::Nobody).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("https://127.0.0.1:2"));
        assert!(text.lines().any(|l| l.trim() == "certificate-authority-data: UEVN"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_ours(&path, &ours("https://127.0.0.1:2"), "--kubeconfig", Others::Nobody).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn foreign_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let mut merged = ours("https://127.0.0.1:1");
        merged.clusters.push(NamedCluster { name: "kind".into(), cluster: Cluster::default() });
        let merged = render(&merged).unwrap();
        for foreign in ["", "not: [yaml", "apiVersion: v1\nkind: Config\n", merged.as_str()] {
            fs::write(&path, foreign).unwrap();
            let refused =
                write_ours(&path, &ours("https://127.0.0.1:2"), "--kubeconfig", Others::Nobody).unwrap_err();
            assert!(matches!(refused, Failure::Guard(_)), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
        }
    }
}
