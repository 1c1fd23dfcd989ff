//! A data directory at rest, and what is done to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokensmith_core::store::{Entry, Expect, Store};
use tokensmith_store::{Options, SledStore};
use tokensmith_tests::server::{ADMIN, binary, copy_dir, pause};
use tokensmith_tests::{Client, Server};
use tokio::sync::{Mutex, MutexGuard};

pub const ARGS: [&str; 2] = ["--service-account-issuer=https://rest.example", "--signing-algorithm=ES256"];
pub const KEYS: &str = "/admin/v1/keys";
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const RING: &str = "/tokensmith/keys/ring";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// A data directory whose server has stopped.
pub struct Place {
    dir: TempDir,
    /// The ids of the key that signs and of its spare.
    pub active: String,
    pub spare: String,
    /// A token of the former.
    pub token: String,
    /// Both private halves, as PEM.
    pub private: Vec<String>,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// One test at a time: a child that another test forks while this process has a database open holds its lock, too, for
/// the moment until it runs its own program.
static ALONE: Mutex<()> = Mutex::const_new(());

impl Place {
    /// Where a server has run: with a token, a revoked one, an object.
    pub async fn new() -> Result<Self> {
        let alone = Some(ALONE.lock().await);
        let dir = tempfile::tempdir()?;
        let server = Server::start_in(dir.path(), &ARGS, &[]).await?;
        let client = server.client()?;
        let (active, spare) = until_spare(&client).await?;
        let body = json!({"metadata": {"name": "there"}, "data": {"k": "v"}});
        client.post(CONFIG_MAPS, Some(ADMIN), &body).await?;
        let (token, revoked) = (mint(&client).await?, mint(&client).await?);
        client.post("/admin/v1/tokens/revoke", Some(ADMIN), &json!({"jti": jti(&revoked)?})).await?;
        let mut place = Place { dir, active, spare, token, private: Vec::new(), _alone: alone };
        for id in [&place.active, &place.spare] {
            let to = place.path("exported.pem");
            let done = place.tool(&["keys", "export", id, "--private", "--to", "exported.pem"])?;
            ensure!(done.status.success(), "{done:?}");
            place.private.push(fs::read_to_string(&to)?);
            fs::remove_file(to)?;
        }
        server.stop().await?;
        Ok(place)
    }

    pub fn copy(&self) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        copy_dir(self.dir.path(), dir.path())?;
        let (active, spare) = (self.active.clone(), self.spare.clone());
        let (token, private) = (self.token.clone(), self.private.clone());
        Ok(Place { dir, active, spare, token, private, _alone: None })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn sealing_key(&self) -> PathBuf {
        self.path("data/seal.key")
    }

    pub async fn start(&self) -> Result<Server> {
        Server::start_in(self.dir.path(), &ARGS, &[]).await
    }

    /// Starts, sees that all is well, and stops.
    pub async fn works(&self) -> Result<()> {
        let server = self.start().await?;
        let client = server.client()?;
        ensure!(review(&client, &self.token).await?, "a token from before is refused");
        let token = mint(&client).await?;
        ensure!(review(&client, &token).await?, "a new token is refused");
        let keys = client.get(KEYS, Some(ADMIN)).await?;
        ensure!(keys.get("problem").is_none(), "{keys}");
        server.stop().await
    }

    /// A start that must be refused in one line, without any change; gives the line.
    pub async fn refused(&self, args: &[&str]) -> Result<String> {
        let before = self.contents().await?;
        let line = self.says_at_the_start(args)?;
        let after = self.contents().await?;
        ensure!(before.0 == after.0, "the start has changed the store: {} and {}", before.0.0, after.0.0);
        for path in before.1.keys().chain(after.1.keys()) {
            let (before, after) = (before.1.get(path), after.1.get(path));
            ensure!(before == after, "the start has changed {}", path.display());
        }
        Ok(line)
    }

    /// The one line that a start ends with.
    pub fn says_at_the_start(&self, args: &[&str]) -> Result<String> {
        let done = Command::new(binary()?)
            .args(["serve", "--data-dir=data", "--kubeconfig=kubeconfig", "--secure-port=0"])
            .args(ARGS)
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8(done.stderr)?;
        ensure!(done.status.code() == Some(1), "{}: {said}", done.status);
        let errors: Vec<_> = said.lines().filter(|l| l.starts_with("error: ")).collect();
        ensure!(errors.len() == 1 && said.ends_with(&format!("{}\n", errors[0])), "{said}");
        for secret in self.private.iter().flat_map(|pem| pem.lines()).filter(|l| !l.starts_with('-')) {
            ensure!(!said.contains(secret), "a private key is told");
        }
        Ok(errors[0].to_owned())
    }

    /// Runs one of the commands on it.
    pub fn tool(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.args(args).args(["--data-dir=data", "--kubeconfig=kubeconfig"]);
        Ok(command.current_dir(self.dir.path()).stdin(Stdio::null()).output()?)
    }

    /// Every entry of the store and its revision, and every file beside it.
    async fn contents(&self) -> Result<((u64, Vec<Entry>), BTreeMap<PathBuf, Vec<u8>>)> {
        let store = self.store()?;
        let entries = (store.revision().await?, store.list("", None, 0).await?.entries);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.path("data"))? {
            let path = entry?.path();
            if path.is_file() {
                let mode = fs::metadata(&path)?.permissions().mode();
                files.insert(path.clone(), [fs::read(&path)?, mode.to_be_bytes().to_vec()].concat());
            }
        }
        Ok((entries, files))
    }

    pub fn store(&self) -> Result<SledStore> {
        Ok(SledStore::open(&self.path("data/store"), Options::default())?)
    }

    /// Changes the bytes of the ring; without giving any, it is cut from the store.
    pub async fn change_ring(&self, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<()> {
        let store = self.store()?;
        let ring = store.get(RING).await?.context("no ring")?;
        match change(&ring.value) {
            Some(value) => drop(store.put(RING, value.into(), Expect::Any).await?),
            None => drop(store.delete(RING, Expect::Any).await?),
        }
        Ok(())
    }

    /// Cuts a record from the store.
    pub async fn cut(&self, key: &str) -> Result<()> {
        self.store()?.delete(key, Expect::Any).await?.with_context(|| format!("no {key}"))?;
        Ok(())
    }
}

/// A new token.
pub async fn mint(client: &Client) -> Result<String> {
    let reply = client.post(TOKEN, Some(ADMIN), &json!({"spec": {"audiences": ["vault"]}})).await?;
    Ok(reply["status"]["token"].as_str().context("no token")?.to_owned())
}

/// Whether a token is accepted.
pub async fn review(client: &Client, token: &str) -> Result<bool> {
    let body = json!({"spec": {"token": token, "audiences": ["vault"]}});
    let reply = client.post(REVIEW, Some(ADMIN), &body).await?;
    Ok(reply["status"]["authenticated"] == true)
}

pub fn jti(token: &str) -> Result<String> {
    use base64::Engine;
    let payload = token.split('.').nth(1).context("no payload")?;
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload)?;
    let claims: Value = serde_json::from_slice(&claims)?;
    Ok(claims["jti"].as_str().context("no jti")?.to_owned())
}

async fn until_spare(client: &Client) -> Result<(String, String)> {
    let of = |keys: &Value, phase: &str| {
        let found = keys["keys"].as_array()?.iter().find(|k| k["phase"] == phase)?;
        found["id"].as_str().map(str::to_owned)
    };
    for _ in 0..500 {
        let keys = client.get(KEYS, Some(ADMIN)).await?;
        if let Some(both) = of(&keys, "active").zip(of(&keys, "prepared")) {
            return Ok(both);
        }
        pause(Duration::from_millis(20)).await;
    }
    anyhow::bail!("there is no spare")
}

/// All bytes of the files under a folder.
pub fn bytes_under(dir: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        all.extend(if path.is_dir() { bytes_under(&path)? } else { fs::read(&path)? });
    }
    Ok(all)
}
