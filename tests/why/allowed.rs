//! What is let in, and by which binding, role and rule.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;

use super::world::{API, NODE, World};

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": "payments"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_what() -> Result<()> {
    let world = World::start(&["--anonymous-oidc"]).await?;
    let list = ("GET", "/api/v1/namespaces/payments/pods", None);
    let args = ["--verb=list", "--resource=pods", "--namespace=payments"];
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]});
    world.cluster_role("pods", pods.clone()).await?;

    let token = world.new_account("everywhere").await?;
    world.bind("", "everywhere", ("ClusterRole", "pods"), account("everywhere")).await?;
    let says = "allowed by ClusterRoleBinding \"everywhere\" of ClusterRole \"pods\" to ServiceAccount \"everywhere/payments\", by its rule {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}";
    world.allowed("ClusterRoleBinding", &token, list.clone(), ("RBAC", says), &args).await?;
    let token = world.new_account("here").await?;
    world.bind("payments", "here", ("ClusterRole", "pods"), account("here")).await?;
    let says = "RoleBinding \"here/payments\" of ClusterRole \"pods\"";
    world.allowed("RoleBinding to ClusterRole", &token, list.clone(), ("RBAC", says), &args).await?;
    let token = world.new_account("own").await?;
    world.grant("own", pods).await?;
    let says = "RoleBinding \"own/payments\" of Role \"own\"";
    world.allowed("RoleBinding to Role", &token, list.clone(), ("RBAC", says), &args).await?;
    let token = world.new_account("viewer").await?;
    world.bind("payments", "viewer", ("ClusterRole", "view"), account("viewer")).await?;
    let says = "of ClusterRole \"view\" to ServiceAccount \"viewer/payments\", by its rule {";
    world.allowed("an aggregated role", &token, list.clone(), ("RBAC", says), &args).await?;

    let token = world.new_account("member").await?;
    world
        .cluster_role("maps", json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}))
        .await?;
    let group = json!({"kind": "Group", "name": "system:serviceaccounts:payments"});
    world.bind("payments", "members", ("ClusterRole", "maps"), group).await?;
    let maps = format!("{API}/configmaps");
    let args = ["--verb=list", "--resource=configmaps", "--namespace=payments"];
    let says = "to Group \"system:serviceaccounts:payments\", by its rule {APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"*\"]}";
    world.allowed("a group of accounts", &token, ("GET", &maps, None), ("RBAC", says), &args).await?;
    let object = json!({"metadata": {"name": "made"}});
    let args = ["--verb=create", "--resource=configmaps", "--namespace=payments"];
    world
        .allowed(
            "a write",
            &token,
            ("POST", &maps, Some(object)),
            ("admission", "a dry run of it was taken"),
            &args,
        )
        .await?;

    let token = world.new_account("any").await?;
    world.grant("any", json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})).await?;
    let scale = ("GET", "/apis/apps/v1/namespaces/payments/deployments/web/scale", None);
    let args = [
        "--verb=get",
        "--resource=deployments.apps",
        "--subresource=scale",
        "--name=web",
        "--namespace=payments",
    ];
    let says = "by its rule {APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}";
    world.allowed("wildcards", &token, scale, ("RBAC", says), &args).await?;
    let token = world.new_account("named").await?;
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["tls"], "verbs": ["get", "list"]});
    world.grant("named", rule).await?;
    let args = ["--verb=get", "--resource=secrets", "--name=tls", "--namespace=payments"];
    world
        .allowed(
            "a name",
            &token,
            ("GET", &format!("{API}/secrets/tls"), None),
            ("RBAC", "ResourceNames:[\"tls\"]"),
            &args,
        )
        .await?;
    let args = ["--verb=list", "--resource=secrets", "--name=tls", "--namespace=payments"];
    let one = format!("{API}/secrets?fieldSelector=metadata.name%3Dtls");
    world
        .allowed(
            "a list of one name",
            &token,
            ("GET", &one, None),
            ("RBAC", "ResourceNames:[\"tls\"]"),
            &args,
        )
        .await?;
    let token = world.new_account("paths").await?;
    world
        .cluster_role("paths", json!({"nonResourceURLs": ["/metrics", "/readyz/*"], "verbs": ["get"]}))
        .await?;
    world.bind("", "paths", ("ClusterRole", "paths"), account("paths")).await?;
    let args = ["--verb=get", "--non-resource-url=/readyz/ledger"];
    world
        .allowed(
            "a path",
            &token,
            ("GET", "/readyz/ledger", None),
            ("RBAC", "NonResourceURLs:[\"/metrics\" \"/readyz/*\"]"),
            &args,
        )
        .await?;
    let args = ["--verb=get", "--resource=namespaces", "--name=payments"];
    let token = world.new_account("space").await?;
    world.grant("space", json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]})).await?;
    world
        .allowed("a namespace by a role in it", &token, ("GET", API, None), ("RBAC", "Role \"space\""), &args)
        .await?;

    world.make("/api/v1/nodes", json!({"metadata": {"name": "w1"}})).await?;
    let args = ["--verb=get", "--resource=nodes", "--name=w1"];
    world
        .allowed(
            "a node itself",
            NODE,
            ("GET", "/api/v1/nodes/w1", None),
            ("Node", "node 'w1' may do this"),
            &args,
        )
        .await?;
    let args = ["--verb=delete", "--resource=namespaces", "--name=nobodys"];
    let masters = world.told("the masters", Some(ADMIN), None, &["--verb=get", "--resource=secrets"], 0)?;
    ensure!(masters["decidedBy"] == "system:masters", "{masters:#}");
    // That there is none is no refusal.
    let told = world.told("what is not there", Some(ADMIN), None, &args, 0)?;
    ensure!(told["layers"].to_string().contains("not found"), "{told:#}");
    let args = ["--verb=get", "--non-resource-url=/openid/v1/jwks"];
    world
        .allowed(
            "an open document",
            &token,
            ("GET", "/openid/v1/jwks", None),
            ("route", "--anonymous-oidc opens"),
            &args,
        )
        .await?;
    ensure!(world.asked.1.get() == 13, "{}", world.asked.1.get());
    world.server.stop().await
}
