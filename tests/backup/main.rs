//! A backup that is made while others write, put back, and started on; what is refused; what is saved of a damaged store.

mod damage;
mod restored;
mod salvage;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokensmith_tests::server::{ADMIN, binary, copy_dir};
use tokensmith_tests::{Client, Server};

const ARGS: [&str; 2] = ["--service-account-issuer=https://backup.example", "--signing-algorithm=ES256"];
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const REVOKE: &str = "/admin/v1/tokens/revoke";

/// A folder as [`Server::start_in`] has it: `data/`, `kubeconfig`.
struct Home(TempDir);

impl Home {
    fn new() -> Result<Self> {
        Ok(Home(tempfile::tempdir()?))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn copy(&self) -> Result<Self> {
        let home = Home::new()?;
        copy_dir(self.path(), home.path())?;
        Ok(home)
    }

    async fn start(&self) -> Result<Server> {
        Server::start_in(self.path(), &ARGS, &[]).await
    }

    /// A data directory with nothing but another one's sealing key.
    fn with_key_of(other: &Home) -> Result<Self> {
        let home = Home::new()?;
        std::fs::create_dir(home.data())?;
        std::fs::copy(other.data().join("seal.key"), home.data().join("seal.key"))?;
        Command::new("chmod").args(["700"]).arg(home.data()).status()?;
        Ok(home)
    }

    /// Runs a command in it.
    fn run(&self, args: &[&str]) -> Result<Output> {
        run(self.path(), args)
    }

    /// One that must succeed; gives what it prints.
    fn done(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(output.status.success(), "{args:?}: {said}");
        Ok(said)
    }

    /// One that must be refused in one line; gives it.
    fn refused(&self, args: &[&str], code: i32) -> Result<String> {
        let output = self.run(args)?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(code), "{args:?}: {}: {said}", output.status);
        let errors: Vec<_> = said.lines().filter(|l| l.starts_with("error: ")).collect();
        ensure!(errors.len() == 1, "{said}");
        Ok(errors[0].to_owned())
    }
}

fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    Ok(command.args(args).current_dir(dir).env_remove("KUBECONFIG").stdin(Stdio::null()).output()?)
}

async fn mint(client: &Client) -> Result<String> {
    let reply = client.post(TOKEN, Some(ADMIN), &json!({})).await?;
    Ok(reply["status"]["token"].as_str().context("no token")?.to_owned())
}

async fn accepted(client: &Client, token: &str) -> Result<bool> {
    let reply = client.post(REVIEW, Some(ADMIN), &json!({"spec": {"token": token}})).await?;
    Ok(reply["status"]["authenticated"] == true)
}

async fn revoke(client: &Client, what: Value) -> Result<()> {
    client.post(REVOKE, Some(ADMIN), &what).await.map(drop)
}

async fn config_map(client: &Client, name: &str, value: &str) -> Result<u64> {
    let body = json!({"metadata": {"name": name}, "data": {"k": value}});
    revision(&client.post(CONFIG_MAPS, Some(ADMIN), &body).await?)
}

fn revision(object: &Value) -> Result<u64> {
    Ok(object["metadata"]["resourceVersion"].as_str().context("no revision")?.parse()?)
}
