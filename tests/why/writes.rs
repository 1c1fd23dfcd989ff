//! Writes that roles allow and admission refuses (403).

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::world::{API, NODE, RBAC, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_admission_refuses() -> Result<()> {
    let world = World::start(&[]).await?;
    let token = world.new_account("writer").await?;
    let everything = json!({"apiGroups": ["*"], "resources": ["configmaps", "namespaces", "roles", "rolebindings", "clusterroles", "serviceaccounts"], "verbs": ["*"]});
    world.cluster_role("writer", everything).await?;
    let subject = json!({"kind": "ServiceAccount", "name": "writer", "namespace": "payments"});
    world.bind("", "writer", ("ClusterRole", "writer"), subject).await?;

    let role = json!({"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let roles = format!("{RBAC}/namespaces/payments/roles");
    let args = ["--verb=create", "--resource=roles.rbac.authorization.k8s.io", "--namespace=payments"];
    let told = world.told("without its object", Some(&token), None, &args, 0)?;
    ensure!(
        told["layers"].to_string().contains("it can still refuse (")
            && told["layers"].to_string().contains("RbacEscalation"),
        "{told:#}"
    );
    let says = "RbacEscalation: roles.rbac.authorization.k8s.io \\\"more\\\" is forbidden".replace('\\', "");
    let says = (403, "admission", says.as_str());
    // `escalate` is one of all verbs: of roles it has it, and of what it may not read it has nothing.
    let limited = world.new_account("limited").await?;
    world.cluster_role("limited", json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "update"]})).await?;
    let subject = json!({"kind": "ServiceAccount", "name": "limited", "namespace": "payments"});
    world.bind("", "limited", ("ClusterRole", "limited"), subject).await?;
    world.refused("escalate", &limited, ("POST", &roles, Some(role)), says, &args).await?;
    let binding = json!({"metadata": {"name": "more"}, "subjects": [], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let args = ["--verb=create", "--resource=rolebindings", "--namespace=payments"];
    let says =
        (403, "admission", "RbacEscalation: rolebindings.rbac.authorization.k8s.io \"more\" is forbidden");
    world
        .refused(
            "bind",
            &limited,
            ("POST", &format!("{RBAC}/namespaces/payments/rolebindings"), Some(binding)),
            says,
            &args,
        )
        .await?;

    world.make("/api/v1/namespaces", json!({"metadata": {"name": "going"}})).await?;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/held"]}});
    world.make("/api/v1/namespaces/going/configmaps", held).await?;
    world.delete("/api/v1/namespaces/going").await?;
    let map = json!({"metadata": {"name": "new"}});
    let args = ["--verb=create", "--resource=configmaps", "--namespace=going"];
    let says = (
        403,
        "admission",
        "NamespaceLifecycle: configmaps \"new\" is forbidden: unable to create new content",
    );
    world
        .refused(
            "a namespace that goes",
            &token,
            ("POST", "/api/v1/namespaces/going/configmaps", Some(map)),
            says,
            &args,
        )
        .await?;
    let args = ["--verb=delete", "--resource=ns", "--name=kube-system"];
    let says = (
        403,
        "admission",
        "NamespaceLifecycle: namespaces \"kube-system\" is forbidden: this namespace may not be deleted",
    );
    world
        .refused(
            "a namespace that stays",
            &token,
            ("DELETE", "/api/v1/namespaces/kube-system", None),
            says,
            &args,
        )
        .await?;

    world
        .make(
            &format!("{API}/resourcequotas"),
            json!({"metadata": {"name": "few"}, "spec": {"hard": {"count/configmaps": "1"}}}),
        )
        .await?;
    world.clock(json!({"advance": "5s"})).await?;
    let quota = format!("{API}/resourcequotas/few");
    world
        .until(&quota, |answer| {
            answer.json().is_ok_and(|q| q["status"]["used"]["count/configmaps"].is_string())
        })
        .await?;
    let map = json!({"metadata": {"name": "second"}});
    let args = ["--verb=create", "--resource=configmaps", "--namespace=payments"];
    let says = (403, "admission", "exceeded quota: few");
    world.refused("a quota", &token, ("POST", &format!("{API}/configmaps"), Some(map)), says, &args).await?;

    let account =
        json!({"metadata": {"name": "team", "annotations": {"tokensmith.dev/claims": "{\"team\": 1}"}}});
    world
        .cluster_role(
            "accounts",
            json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["create"]}),
        )
        .await?;
    let subject = json!({"kind": "ServiceAccount", "name": "limited", "namespace": "payments"});
    world.bind("", "accounts", ("ClusterRole", "accounts"), subject).await?;
    let args = ["--verb=create", "--resource=sa", "--namespace=payments"];
    let says = (403, "admission", "TokenClaims: serviceaccounts \"team\" is forbidden");
    world
        .refused("claims", &limited, ("POST", &format!("{API}/serviceaccounts"), Some(account)), says, &args)
        .await?;
    ensure!(world.asked.0.get() == 6);
    world.server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_may_not_write() -> Result<()> {
    let world = World::start(&[]).await?;
    for name in ["w1", "w2"] {
        world.make("/api/v1/nodes", json!({"metadata": {"name": name}})).await?;
    }
    world.account("api").await?;
    let label = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/team": "a"}}});
    let args = ["--verb=patch", "--resource=node", "--name=w1"];
    let says = (
        403,
        "admission",
        "NodeRestriction: nodes \"w1\" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/team",
    );
    let told =
        world.refused("a label", NODE, ("PATCH", "/api/v1/nodes/w1", Some(label)), says, &args).await?;
    let node =
        told["layers"].as_array().and_then(|all| all.iter().find(|layer| layer["layer"] == "Node").cloned());
    ensure!(node.is_some_and(|layer| layer["holds"] == true), "{told:#}");
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    let says = (403, "admission", "is not allowed to modify taints");
    world.refused("a taint", NODE, ("PATCH", "/api/v1/nodes/w1", Some(taint)), says, &args).await?;
    let args = ["--verb=patch", "--resource=nodes", "--name=w2"];
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let says = (403, "admission", "node \"w1\" is not allowed to modify node \"w2\"");
    world.refused("another node", NODE, ("PATCH", "/api/v1/nodes/w2", Some(label)), says, &args).await?;

    let pod = json!({"metadata": {"name": "web"}, "spec": {"serviceAccountName": "api", "nodeName": "w1", "containers": [{"name": "c", "image": "i"}]}});
    let pod = world.make(&format!("{API}/pods"), pod).await?;
    let token = format!("{API}/serviceaccounts/api/token");
    let args = [
        "--verb=create",
        "--resource=serviceaccounts",
        "--subresource=token",
        "--name=api",
        "--namespace=payments",
    ];
    let says = (
        403,
        "admission",
        "NodeRestriction: serviceaccounts \"api\" is forbidden: node requested token not bound to a pod",
    );
    let bare =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
    world.refused("a token of no pod", NODE, ("POST", &token, Some(bare.clone())), says, &args).await?;
    let mut bound = bare;
    bound["spec"]["boundObjectRef"] =
        json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": pod["metadata"]["uid"]});
    bound["spec"]["audiences"] = json!(["vault"]);
    let says = (403, "admission", "audience \"vault\" not found in pod spec volume");
    world.refused("an audience of no volume", NODE, ("POST", &token, Some(bound)), says, &args).await?;
    let status = json!({"metadata": {"labels": {"a": "b"}}});
    let args =
        ["--verb=patch", "--resource=pods", "--subresource=status", "--name=web", "--namespace=payments"];
    let says = (403, "admission", "cannot update labels through pod status");
    world
        .refused(
            "labels through a status",
            NODE,
            ("PATCH", &format!("{API}/pods/web/status"), Some(status)),
            says,
            &args,
        )
        .await?;
    ensure!(world.asked.0.get() == 6);

    // What is let in leaves nothing behind.
    let before: Value = world.client.get("/api/v1/nodes/w1", Some(tokensmith_tests::server::ADMIN)).await?;
    let ready = json!({"metadata": {"labels": {"kubernetes.io/os": "linux"}}});
    let told = world.told(
        "a label of its own",
        Some(NODE),
        Some(&ready),
        &["--verb=patch", "--resource=nodes", "--name=w1"],
        0,
    )?;
    ensure!(told["decidedBy"] == "admission", "{told:#}");
    let after = world.client.get("/api/v1/nodes/w1", Some(tokensmith_tests::server::ADMIN)).await?;
    ensure!(before == after, "{after:#}");
    world.server.stop().await
}
