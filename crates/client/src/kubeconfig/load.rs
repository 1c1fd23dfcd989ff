//! Reading kubeconfigs: the rules of `client-go/tools/clientcmd` for `KUBECONFIG` lists.

use std::path::Path;
use std::{fs, io};

use super::model::{Kubeconfig, Named};
use crate::Error;

/// Reads one file; `None` if it is not there. Paths in it become relative to its directory.
///
/// # Errors
/// It cannot be read or is no kubeconfig.
pub fn load(path: &Path) -> Result<Option<Kubeconfig>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::failed(format!("cannot read {}: {e}", path.display()))),
    };
    let mut config = super::read::parse(&bytes)
        .map_err(|why| Error::failed(format!("{} is not a kubeconfig: {why}", path.display())))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    for named in &mut config.clusters {
        anchor(&mut named.cluster.certificate_authority, dir);
    }
    for named in &mut config.users {
        anchor(&mut named.user.client_certificate, dir);
        anchor(&mut named.user.client_key, dir);
        anchor(&mut named.user.token_file, dir);
        // A name alone is looked for in PATH.
        if let Some(exec) = named.user.exec.as_mut().filter(|exec| exec.command.contains('/')) {
            anchor_text(&mut exec.command, dir);
        }
    }
    Ok(Some(config))
}

/// Merges as kubectl does: the first file that sets a name, or the current context, wins.
pub fn merge(files: impl IntoIterator<Item = Kubeconfig>) -> Kubeconfig {
    files.into_iter().fold(Kubeconfig::default(), |mut all, next| {
        add(&mut all.clusters, next.clusters);
        add(&mut all.contexts, next.contexts);
        add(&mut all.users, next.users);
        if all.current_context.is_empty() {
            all.current_context = next.current_context;
        }
        all
    })
}

/// The entry of that name.
pub fn find<'a, T: Named>(list: &'a [T], name: &str) -> Option<&'a T> {
    list.iter().find(|entry| entry.name() == name)
}

fn add<T: Named>(all: &mut Vec<T>, next: Vec<T>) {
    for entry in next {
        if find(all, entry.name()).is_none() {
            all.push(entry);
        }
    }
}

fn anchor(path: &mut Option<String>, dir: &Path) {
    if let Some(text) = path {
        anchor_text(text, dir);
    }
}

fn anchor_text(text: &mut String, dir: &Path) {
    if !text.is_empty() && Path::new(text).is_relative() {
        *text = dir.join(&*text).to_string_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {server: https://one, certificate-authority: ca.crt}\nusers: null\n";
    const SECOND: &str = "clusters:\n- {name: a, cluster: {server: https://two}}\n- {name: b, cluster: {server: https://b}}\ncurrent-context: c\npreferences: {}\n";

    #[test]
    fn the_first_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        fs::write(&one, FIRST).unwrap();
        fs::write(&two, SECOND).unwrap();
        let merged = merge([load(&one).unwrap().unwrap(), load(&two).unwrap().unwrap()]);
        let a = &find(&merged.clusters, "a").unwrap().cluster;
        assert_eq!(a.server, "https://one");
        assert_eq!(a.certificate_authority.as_deref(), dir.path().join("ca.crt").to_str());
        assert!(find(&merged.clusters, "b").is_some());
        assert_eq!(merged.current_context, "c");
    }

    #[test]
    fn an_error_never_quotes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, "users:\n- name: x\n  user:\n    token: [s3cret\n").unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("is not a kubeconfig") && !text.contains("s3cret"), "{text}");
        assert!(load(&dir.path().join("absent")).unwrap().is_none());
    }
}
