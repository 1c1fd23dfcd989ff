//! Manifests as people have them: whole files, folders, templates, files that change, servers that are away.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Agent, Server, agent};

use super::{ACCOUNTS, PODS, Root, claims, done, eventually, pod, project, read, token_source};

/// A manifest's folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Result<Folder> {
        Ok(Folder(tempfile::tempdir()?))
    }

    fn write(&self, name: &str, objects: &[Value]) -> Result<String> {
        let text: Vec<String> = objects.iter().map(ToString::to_string).collect();
        self.text(name, &text.join("\n---\n"))
    }

    fn text(&self, name: &str, text: &str) -> Result<String> {
        std::fs::write(self.0.path().join(name), text)?;
        Ok(self.flag(name))
    }

    fn flag(&self, name: &str) -> String {
        format!("--filename={}", self.0.path().join(name).display())
    }
}

fn deployment(name: &str, account: &str) -> Value {
    let pod = pod(name, json!([token_source(3600)]));
    let mut spec = pod["spec"].clone();
    spec["serviceAccountName"] = account.into();
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
}

/// `project status`: its alarms, and its exit code.
async fn alarms(server: &Server, root: &Root) -> Result<(Vec<String>, Option<i32>)> {
    let output = project(server, &["status", &root.flag(), "--output=json"]).await?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    let alarms = status["alarms"].as_array().context("no alarms")?;
    let text = |alarm: &Value| alarm["message"].as_str().unwrap_or_default().to_owned();
    Ok((alarms.iter().map(text).collect(), output.status.code()))
}

async fn token(root: &Root, pod: &str) -> Result<String> {
    let file = root.file(pod, "tokens", "token");
    eventually(&format!("the token of {pod}"), async || read(&file)).await
}

#[tokio::test]
async fn other_kinds_do_not_refuse_a_file_and_once_sums_up() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    let mut web = pod("web", json!([token_source(3600), {"configMap": {"name": "ca"}}]));
    web["metadata"]["namespace"] = "shop".into();
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"ca.crt": "CA"}});
    let role =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}});
    let space =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}});
    let objects = [space, role, map("ca"), map("other"), web, deployment("api", "robot")];
    let file = folder.write("all.json", &objects)?;
    let said = done(&server, &[&file, "--ensure", "--once", &root.flag()]).await?;
    let at = folder.0.path().join("all.json").display().to_string();
    let path = root.path().join("shop/web/volumes/tokens");
    for line in [
        format!("{at}:3: Role r is left out: no volume is made of it"),
        format!("{at}:7: ConfigMap shop/other is left out: no pod refers to it"),
        format!("{at}:11: Deployment api is left out: --from-templates takes the pod of its template"),
    ] {
        ensure!(said.lines().any(|found| found == line), "{line:?} is missing: {said}");
    }
    let row = said.lines().find(|line| line.starts_with("shop/web ")).context("no row")?;
    let cells: Vec<&str> = row.split_whitespace().collect();
    ensure!(cells[1..4] == ["tokens", "2", "1"] && row.ends_with(&path.display().to_string()), "{row}");
    let last = said.lines().last().context("nothing")?;
    let begin = format!("1 volume of 1 pod with 1 token below {}; 3 left out; ", root.path().display());
    ensure!(last.starts_with(&begin) && last.contains("the next refresh is due in "), "{last}");
    ensure!(read(&path.join("ca.crt")).as_deref() == Some("CA"));
    let made = client.get("/api/v1/namespaces/shop", Some(ADMIN)).await?;
    ensure!(made["metadata"]["labels"]["a"] == "b", "as it stands in the file: {made}");
    let maps = client.get("/api/v1/namespaces/shop/configmaps", Some(ADMIN)).await?;
    ensure!(!maps.to_string().contains("\"other\""), "{maps}");
    Ok(())
}

#[tokio::test]
async fn templates_give_one_pod_each() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    let file = folder.write("all.json", &[deployment("api", "robot")])?;
    let refused = project(&server, &[&file, "--ensure", "--once", &root.flag()]).await?;
    let error = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1)
            && error == "error: the manifest holds no pod: --from-templates takes that of Deployment api\n",
        "{error}"
    );
    done(&server, &[&file, "--from-templates", "--ensure", "--once", &root.flag()]).await?;
    let token = read(&root.file("api", "tokens", "token")).context("no token")?;
    ensure!(claims(&token)?["sub"] == "system:serviceaccount:default:robot");
    Ok(())
}

#[tokio::test]
async fn refusals_name_the_place() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    let at = |name: &str| folder.0.path().join(name).display().to_string();
    let says = async |args: &[&str], code: i32, text: &str| {
        let output = project(&server, &[args, &["--ensure", "--once", &root.flag()]].concat()).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code) && error == format!("error: {text}\n"), "{error}");
        Ok(())
    };
    let one = folder.write("a.json", &[pod("a", json!([token_source(3600)]))])?;
    let two = folder.write(
        "b.json",
        &[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}), pod("a", json!([]))],
    )?;
    let twice = format!("Pod default/a stands twice: {}:1 and {}:3", at("a.json"), at("b.json"));
    says(&[&one, &two], 1, &twice).await?;
    let dir = format!("--filename={}", folder.0.path().display());
    says(&[&dir], 1, &twice).await?;
    let mut unnamed = pod("a", json!([token_source(3600)]));
    unnamed["metadata"] = json!({"generateName": "web-"});
    let file = folder.write("c.json", &[unnamed])?;
    let text = format!(
        "{}: Pod web-… has a generateName: each start would make another one and find no volume again; give it a metadata.name",
        at("c.json")
    );
    says(&[&file], 1, &text).await?;
    let short = folder.write("short.json", &[pod("s", json!([token_source(300)]))])?;
    let text = "Pod \"s\" is invalid: [spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes, spec.containers[0].volumeMounts[0].name: Not found: \"tokens\"]: give a longer expirationSeconds, or start the server with a shorter --min-token-expiration";
    says(&[&short], 1, text).await?;
    let none = folder.flag("none.yaml");
    says(&[&none], 1, &format!("cannot read {}: No such file or directory", at("none.yaml"))).await?;
    says(&["-f", "-", "-f", "-"], 2, "--filename - was given twice: standard input can be read once").await?;
    let file = folder.text("d.yaml", "a: [\n")?;
    let output = project(&server, &[&file, "--once", &root.flag()]).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        error.starts_with(&format!("error: {}: error converting YAML to JSON: ", at("d.yaml"))),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn files_that_change_are_applied() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    folder.write("a.json", &[pod("a", json!([token_source(3600)]))])?;
    let dir = format!("--filename={}", folder.0.path().display());
    let agent = Agent::start(&server, &["project", &dir, "--ensure", &root.flag()]).await?;
    let first = read(&root.file("a", "tokens", "token")).with_context(|| agent.log())?;

    // Added, in a file of its own.
    folder.write("b.json", &[pod("b", json!([token_source(3600)]))])?;
    token(&root, "b").await?;
    ensure!(read(&root.file("a", "tokens", "token")).as_ref() == Some(&first), "who stays is left alone");

    // Broken: what it said before is kept, others are applied.
    folder.text("b.json", "{\"kind\": ")?;
    let (said, code) = eventually("an alarm", async || {
        alarms(&server, &root).await.ok().filter(|(alarms, _)| !alarms.is_empty())
    })
    .await?;
    let at = folder.0.path().join("b.json").display().to_string();
    ensure!(code == Some(3) && said[0].starts_with(&format!("{at}: json parse error: ")), "{said:?}");
    folder.write("c.json", &[pod("c", json!([token_source(3600)]))])?;
    token(&root, "c").await?;
    ensure!(read(&root.file("b", "tokens", "token")).is_some());
    ensure!(agent.log().matches("the manifests are not followed").count() == 1, "{}", agent.log());

    // Changed: the pod was made for its tokens alone, so it is made again.
    let mut source = token_source(3600);
    source["serviceAccountToken"]["path"] = "other".into();
    folder.write("b.json", &[pod("b", json!([source]))])?;
    let other = root.file("b", "tokens", "other");
    eventually("the changed pod", async || read(&other)).await?;
    ensure!(read(&root.file("b", "tokens", "token")).is_none());
    eventually("no alarm", async || alarms(&server, &root).await.ok().filter(|(_, code)| *code == Some(0)))
        .await?;

    // Removed: its volumes go, the pod is the server's.
    std::fs::remove_file(folder.0.path().join("c.json"))?;
    let gone = root.path().join("default/c");
    eventually("the end of c", async || (!gone.exists()).then_some(())).await?;
    client.get(&format!("{PODS}/c"), Some(ADMIN)).await?;
    ensure!(agent.stop().await?.success());
    Ok(())
}

/// A folder that is away, also for good, takes no volume away; one that was emptied does.
#[tokio::test]
async fn a_folder_that_is_away_keeps_its_pods() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    let (a, x) = (folder.0.path().join("a"), folder.0.path().join("x"));
    std::fs::create_dir(&a)?;
    let file = |pod: &str| format!("a/{pod}.json");
    for name in ["one", "two"] {
        folder.write(&file(name), &[pod(name, json!([token_source(3600)]))])?;
    }
    let other = folder.write("b.json", &[pod("b", json!([token_source(3600)]))])?;
    let args = ["project", &folder.flag("a"), &other, "--ensure", &root.flag()];
    let agent = Agent::start(&server, &args).await?;
    let tokens = || ["one", "two"].map(|name| read(&root.file(name, "tokens", "token")));
    let before = tokens();
    ensure!(before.iter().all(Option::is_some), "{}", agent.log());

    std::fs::rename(&a, &x)?;
    let (said, code) = eventually("an alarm", async || {
        alarms(&server, &root).await.ok().filter(|(alarms, _)| !alarms.is_empty())
    })
    .await?;
    let away = format!("cannot read {}: No such file or directory", a.display());
    ensure!(code == Some(3) && said == [away], "{said:?}");
    // Meanwhile the others are followed.
    let mut source = token_source(3600);
    source["serviceAccountToken"]["path"] = "other".into();
    folder.write("b.json", &[pod("b", json!([source]))])?;
    let changed = root.file("b", "tokens", "other");
    eventually("the changed pod", async || read(&changed)).await?;
    ensure!(tokens() == before, "{}", agent.log());

    std::fs::rename(&x, &a)?;
    eventually("no alarm", async || alarms(&server, &root).await.ok().filter(|(_, code)| *code == Some(0)))
        .await?;
    ensure!(tokens() == before, "{}", agent.log());
    ensure!(!agent.log().contains("in no manifest any more"), "{}", agent.log());

    for name in ["one", "two"] {
        std::fs::remove_file(folder.0.path().join(file(name)))?;
    }
    let gone = ["one", "two"].map(|name| root.path().join("default").join(name));
    eventually("the end of both", async || gone.iter().all(|path| !path.exists()).then_some(())).await?;
    ensure!(read(&changed).is_some());
    let (said, code) = alarms(&server, &root).await?;
    ensure!(code == Some(0), "{said:?}");
    ensure!(agent.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_pod_that_others_run_is_not_made_again() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    client.post(ACCOUNTS, Some(ADMIN), &json!({"metadata": {"name": "a"}})).await?;
    let a = pod("a", json!([token_source(3600)]));
    let made = client.post(PODS, Some(ADMIN), &a).await?;
    let file = folder.write("a.json", &[a])?;
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag()]).await?;
    let mut source = token_source(3600);
    source["serviceAccountToken"]["audience"] = "other".into();
    folder.write("a.json", &[pod("a", json!([source]))])?;
    let (said, _) = eventually("an alarm", async || {
        alarms(&server, &root).await.ok().filter(|(alarms, _)| !alarms.is_empty())
    })
    .await?;
    ensure!(
        said == [
            "pods \"a\" is there already, and its volume \"tokens\" differs from the manifest's: delete the pod, or leave the manifest away and take it with --pod"
        ],
        "{said:?}"
    );
    let now = client.get(&format!("{PODS}/a"), Some(ADMIN)).await?;
    ensure!(now["metadata"]["uid"] == made["metadata"]["uid"]);
    ensure!(read(&root.file("a", "tokens", "token")).is_some());
    ensure!(agent.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() -> Result<()> {
    let (folder, root) = (Folder::new()?, Root::new()?);
    let mut server = Server::start(&[]).await?;
    server.kill()?;
    let file = folder.write("a.json", &[pod("a", json!([token_source(3600)]))])?;
    let ready = folder.0.path().join("ready");
    let log = folder.0.path().join("log");
    let mut command = agent::command(&server, &["project", &file, "--ensure", &root.flag()])?;
    let out = std::fs::File::create(&log)?;
    let mut child = command.arg(format!("--ready-file={}", ready.display())).stderr(out).spawn()?;
    let ended = async {
        let (said, code) = eventually("an alarm", async || {
            alarms(&server, &root).await.ok().filter(|(alarms, _)| !alarms.is_empty())
        })
        .await?;
        ensure!(code == Some(3) && said.len() == 1, "{said:?}");
        ensure!(said[0].starts_with("the API server is waited for: cannot reach https://"), "{said:?}");
        ensure!(!ready.exists(), "it is not ready");
        // The same with `--once`, for as long as it may take.
        let elsewhere = Root::new()?;
        let once =
            project(&server, &[&file, "--ensure", "--once", "--timeout=1s", &elsewhere.flag()]).await?;
        let error = String::from_utf8_lossy(&once.stderr).into_owned();
        let lines: Vec<&str> = error.lines().collect();
        ensure!(once.status.code() == Some(1) && lines.len() == 2, "{error}");
        ensure!(lines[0].starts_with("note: the API server is waited for: cannot reach https://"), "{error}");
        ensure!(
            lines[1].starts_with("error: the API server did not come within --timeout: cannot reach "),
            "{error}"
        );
        let server = server.kill_and_restart(&[]).await?;
        token(&root, "a").await?;
        eventually("readiness", async || ready.exists().then_some(())).await?;
        eventually("no alarm", async || {
            alarms(&server, &root).await.ok().filter(|(_, code)| *code == Some(0))
        })
        .await?;
        Ok(())
    };
    let ended = ended.await;
    child.kill()?;
    child.wait()?;
    let said = std::fs::read_to_string(&log)?;
    ended.with_context(|| said.clone())?;
    ensure!(said.matches("the manifests are not followed").count() == 1, "once: {said}");
    Ok(())
}

/// A shell's `<(…)` gives its text once, and is not looked at again.
#[tokio::test]
async fn a_pipe_is_read_once() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (folder, root) = (Folder::new()?, Root::new()?);
    let path = folder.0.path().join("pipe");
    ensure!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    let text = pod("a", json!([token_source(3600)])).to_string();
    let writer = std::thread::spawn(move || std::fs::write(path, text));
    let agent = Agent::start(&server, &["project", &folder.flag("pipe"), "--ensure", &root.flag()]).await?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer has panicked"))??;
    tokensmith_tests::server::pause(std::time::Duration::from_secs(3)).await;
    let (said, code) = alarms(&server, &root).await?;
    ensure!(code == Some(0), "{said:?}");
    ensure!(agent.stop().await?.success());
    Ok(())
}
