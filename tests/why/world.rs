//! A live server, whom it refuses and whom it lets in, and what `tokensmith why` says of that.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokensmith_tests::server::{ADMIN, JANE, binary, pause, write_secret};
use tokensmith_tests::{Answer, Client, Server};

/// The bearer token of a node; a test's own.
pub const NODE: &str = "test-only-node-token";
/// Where bound tokens of the tests come from.
pub const API: &str = "/api/v1/namespaces/payments";
pub const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

pub struct World {
    pub server: Server,
    pub client: Client,
    /// How many refusals, and how many that were let in, have been asked about.
    pub asked: (Cell<usize>, Cell<usize>),
    /// Ends after the server that stands in it.
    home: TempDir,
}

/// A request: method, target, body.
pub type Ask<'a> = (&'a str, &'a str, Option<Value>);

impl World {
    pub async fn start(args: &[&str]) -> Result<World> {
        let home = tempfile::tempdir()?;
        let users = format!(
            "{ADMIN},admin,admin-uid,\"system:masters\"\n{JANE},jane,jane-uid,\"devs\"\n{NODE},system:node:w1,node-uid,\"system:nodes\"\n"
        );
        write_secret(&home.path().join("users.csv"), users.as_bytes())?;
        let own = [
            "--ephemeral",
            "--test-clock",
            "--signing-algorithm=ES256",
            "--service-account-issuer=https://why.example",
        ];
        // It keeps nothing, so it has no data directory either.
        let server =
            Server::start_in(home.path(), &[&own[..], args].concat(), &[("TOKENSMITH_DATA_DIR", "")]).await?;
        let client = server.client()?;
        let world = World { server, client, asked: Default::default(), home };
        for namespace in ["payments", "other"] {
            world.make("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await?;
        }
        Ok(world)
    }

    /// Makes something as the administrator.
    pub async fn make(&self, path: &str, object: Value) -> Result<Value> {
        self.client.post(path, Some(ADMIN), &object).await
    }

    pub async fn delete(&self, path: &str) -> Result<()> {
        let now = json!({"gracePeriodSeconds": 0});
        let bytes = Bytes::from(serde_json::to_vec(&now)?);
        let headers = [("content-type", "application/json")];
        self.client.send("DELETE", path, Some(ADMIN), &headers, Some(bytes)).await?.success()?;
        Ok(())
    }

    pub async fn account(&self, name: &str) -> Result<()> {
        self.make(&format!("{API}/serviceaccounts"), json!({"metadata": {"name": name}})).await?;
        Ok(())
    }

    /// A new account, and a token of it.
    pub async fn new_account(&self, name: &str) -> Result<String> {
        self.account(name).await?;
        self.mint(name, json!({})).await
    }

    pub async fn mint(&self, account: &str, spec: Value) -> Result<String> {
        let path = format!("{API}/serviceaccounts/{account}/token");
        let made = self.make(&path, json!({"spec": spec})).await?;
        Ok(made["status"]["token"].as_str().context("no token")?.to_owned())
    }

    /// A role of one rule in the namespace, and a binding of it to an account.
    pub async fn grant(&self, account: &str, rule: Value) -> Result<()> {
        self.role(account, rule).await?;
        let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": "payments"});
        self.bind("payments", account, ("Role", account), subject).await
    }

    pub async fn role(&self, name: &str, rule: Value) -> Result<()> {
        let role = json!({"metadata": {"name": name}, "rules": [rule]});
        self.make(&format!("{RBAC}/namespaces/payments/roles"), role).await?;
        Ok(())
    }

    pub async fn cluster_role(&self, name: &str, rule: Value) -> Result<()> {
        self.make(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": name}, "rules": [rule]}))
            .await?;
        Ok(())
    }

    /// A binding: of the cluster where no namespace is named.
    pub async fn bind(
        &self,
        namespace: &str,
        name: &str,
        (kind, role): (&str, &str),
        subject: Value,
    ) -> Result<()> {
        let path = match namespace {
            "" => format!("{RBAC}/clusterrolebindings"),
            namespace => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
        };
        let mut subject = subject;
        if subject["kind"] != "ServiceAccount" {
            subject["apiGroup"] = "rbac.authorization.k8s.io".into();
        }
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        self.make(&path, json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})).await?;
        Ok(())
    }

    pub async fn send(&self, token: Option<&str>, (method, path, body): Ask<'_>) -> Result<Answer> {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = body.map(|body| serde_json::to_vec(&body)).transpose()?.map(Bytes::from);
        self.client.send(method, path, token, &[("content-type", media)], body).await
    }

    /// Moves the clock.
    pub async fn clock(&self, change: Value) -> Result<()> {
        self.send(Some(ADMIN), ("PUT", "/testing/v1/clock", Some(change))).await?.success()?;
        Ok(())
    }

    /// The exit code of `why`, what it prints, and what it says of its failure.
    pub fn why(
        &self,
        token: Option<&str>,
        object: Option<&Value>,
        args: &[&str],
    ) -> Result<(i32, String, String)> {
        let mut command = Command::new(binary()?);
        command.arg("why").args(args).env_clear().current_dir(self.home.path());
        command.arg("--kubeconfig").arg(self.server.home().join("kubeconfig"));
        if let Some(token) = token {
            let file = self.file("token", token)?;
            command.arg("--file").arg(file);
        }
        if let Some(object) = object {
            command.arg("--object").arg(self.file("object", &object.to_string())?);
        }
        let output = command.output()?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        for text in [&out, &err] {
            ensure!(
                token.is_none_or(|token| token.len() < 20 || !text.contains(token)),
                "the token is shown: {text}"
            );
        }
        Ok((output.status.code().context("no exit code")?, out, err))
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.home.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The very request is refused with this code; and why names this layer, and says so.
    pub async fn refused(
        &self,
        what: &str,
        token: &str,
        request: Ask<'_>,
        (code, layer, says): (u16, &str, &str),
        args: &[&str],
    ) -> Result<Value> {
        let object = request.2.clone().filter(|_| code == 403);
        let answer = self.send(Some(token), request).await?;
        ensure!(
            answer.status == code,
            "{what}: the request itself ends with {}: {:?}",
            answer.status,
            answer.json()
        );
        let told = self.told(what, Some(token), object.as_ref(), args, 1)?;
        ensure!(told["allowed"] == false && told["code"] == code, "{what}: {told:#}");
        ensure!(told["decidedBy"] == layer, "{what}: not by {layer}: {told:#}");
        let detail = told["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains(says), "{what}: {detail:?} does not say {says:?}");
        let change = told["change"].as_array().map_or(0, Vec::len);
        ensure!(
            change > 0 || layer == "admission" || layer == "Node",
            "{what}: nothing would change it: {told:#}"
        );
        self.asked.0.set(self.asked.0.get() + 1);
        Ok(told)
    }

    /// The very request is not refused; and why names this layer, and says so.
    pub async fn allowed(
        &self,
        what: &str,
        token: &str,
        request: Ask<'_>,
        (layer, says): (&str, &str),
        args: &[&str],
    ) -> Result<()> {
        let object = request.2.clone();
        // It is asked before the request: what that makes would be there then.
        let told = self.told(what, Some(token), object.as_ref(), args, 0)?;
        let answer = self.send(Some(token), request).await?;
        ensure!(
            answer.status < 400 || answer.status == 404,
            "{what}: the request itself ends with {}: {:?}",
            answer.status,
            answer.json()
        );
        ensure!(told["allowed"] == true && told["decidedBy"] == layer, "{what}: {told:#}");
        let detail = told["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains(says), "{what}: {detail:?} does not say {says:?}");
        self.asked.1.set(self.asked.1.get() + 1);
        Ok(())
    }

    pub fn told(
        &self,
        what: &str,
        token: Option<&str>,
        object: Option<&Value>,
        args: &[&str],
        code: i32,
    ) -> Result<Value> {
        let args = [args, &["--output=json"]].concat();
        let (ended, out, err) = self.why(token, object, &args)?;
        ensure!(ended == code, "{what}: why ends with {ended}: {out}{err}");
        serde_json::from_str(&out).with_context(|| format!("{what}: {out}{err}"))
    }

    /// Waits until something is so, as the administrator sees it.
    pub async fn until(&self, path: &str, holds: impl Fn(&Answer) -> bool) -> Result<()> {
        for _ in 0..1000 {
            if holds(&self.send(Some(ADMIN), ("GET", path, None)).await?) {
                return Ok(());
            }
            pause(std::time::Duration::from_millis(10)).await;
        }
        anyhow::bail!("{path} has not become what it should")
    }
}

/// A token's parts.
pub fn parts(token: &str) -> Result<[&str; 3]> {
    token.split('.').collect::<Vec<_>>().try_into().ok().context("no three parts")
}

pub fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

pub fn decoded(part: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part)?)?)
}
