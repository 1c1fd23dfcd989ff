//! Requests of good tokens that are refused (403): by roles and bindings, by the Node authorizer, by a route's own rule.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;

use super::world::{API, NODE, World};

fn account(name: &str, namespace: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

fn pods(verb: &str) -> Value {
    json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_binding_allows_and_which_comes_nearest() -> Result<()> {
    let world = World::start(&[]).await?;
    let list = "/api/v1/namespaces/payments/pods";
    let list_args = &["--verb=list", "--resource=pods", "--namespace=payments"][..];

    let token = world.new_account("none").await?;
    let told = world
        .refused(
            "no binding",
            &token,
            ("GET", list, None),
            (403, "RBAC", "no binding allows list on pods in namespace payments"),
            list_args,
        )
        .await?;
    let change = "kubectl create role none-list-pods --namespace payments --verb list --resource pods && kubectl create rolebinding none-list-pods --namespace payments --role none-list-pods --serviceaccount payments:none";
    ensure!(told["change"] == json!([change]), "{told:#}");

    let token = world.new_account("reader").await?;
    world.grant("reader", pods("get")).await?;
    let nearest = "nearest is RoleBinding \"reader/payments\" of Role \"reader\" to ServiceAccount \"reader/payments\": its rule {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]} lacks the verb delete";
    let delete = ["--verb=delete", "--resource=po", "--name=web", "--namespace=payments"];
    world
        .refused(
            "another verb",
            &token,
            ("DELETE", &format!("{list}/web"), None),
            (403, "RBAC", nearest),
            &delete,
        )
        .await?;
    let log = ["--verb=get", "--resource=pods", "--subresource=log", "--name=web", "--namespace=payments"];
    let gives = "gives pods, and not pods/log, which has to be named";
    world
        .refused(
            "a subresource",
            &token,
            ("GET", &format!("{list}/web/log"), None),
            (403, "RBAC", gives),
            &log,
        )
        .await?;
    let other = ["--verb=get", "--resource=pods", "--name=web", "--namespace=other"];
    let elsewhere = "RoleBinding \"reader/payments\" of Role \"reader\" allows it in namespace payments, and not in namespace other";
    world
        .refused(
            "another namespace",
            &token,
            ("GET", "/api/v1/namespaces/other/pods/web", None),
            (403, "RBAC", elsewhere),
            &other,
        )
        .await?;

    let token = world.new_account("lister").await?;
    world.grant("lister", pods("list")).await?;
    let all = ["--verb=list", "--resource=pods", "--all-namespaces"];
    world
        .refused(
            "all namespaces",
            &token,
            ("GET", "/api/v1/pods", None),
            (403, "RBAC", "and not at the cluster scope"),
            &all,
        )
        .await?;

    let token = world.new_account("groups").await?;
    world
        .grant(
            "groups",
            json!({"apiGroups": ["extensions"], "resources": ["deployments"], "verbs": ["list"]}),
        )
        .await?;
    let deployments = ("GET", "/apis/apps/v1/namespaces/payments/deployments", None);
    let args = ["--verb=list", "--resource=deployments.apps", "--namespace=payments"];
    world
        .refused(
            "another API group",
            &token,
            deployments,
            (403, "RBAC", "is for other API groups than \"apps\""),
            &args,
        )
        .await?;

    let token = world.new_account("named").await?;
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["settings"], "verbs": ["*"]});
    world.grant("named", rule).await?;
    let maps = format!("{API}/configmaps");
    let args = ["--verb=get", "--resource=cm", "--name=others", "--namespace=payments"];
    world
        .refused(
            "another name",
            &token,
            ("GET", &format!("{maps}/others"), None),
            (403, "RBAC", "is for settings alone, not others"),
            &args,
        )
        .await?;
    let args = ["--verb=list", "--resource=configmaps", "--namespace=payments"];
    world
        .refused(
            "a list names none",
            &token,
            ("GET", &maps, None),
            (403, "RBAC", "this request names none"),
            &args,
        )
        .await?;
    let args = ["--verb=create", "--resource=configmaps", "--name=settings", "--namespace=payments"];
    let settings = json!({"metadata": {"name": "settings"}});
    let told = world
        .refused(
            "nor does a create",
            &token,
            ("POST", &maps, Some(settings)),
            (403, "RBAC", "this request names none"),
            &args,
        )
        .await?;
    ensure!(told["notes"].to_string().contains("a create names nothing in its path"), "{told:#}");

    let token = world.new_account("early").await?;
    world.bind("payments", "early", ("Role", "later"), account("early", "payments")).await?;
    let missing = "role.rbac.authorization.k8s.io \"later\" not found";
    let told = world
        .refused("a role that is missing", &token, ("GET", list, None), (403, "RBAC", missing), list_args)
        .await?;
    let change = "kubectl create role later --namespace payments --verb list --resource pods";
    ensure!(told["change"] == json!([change]), "{told:#}");

    let token = world.new_account("twin").await?;
    world.role("twin", pods("list")).await?;
    world.bind("payments", "twin", ("Role", "twin"), account("twin", "other")).await?;
    let says = "RoleBinding \"twin\" allows it to ServiceAccount \"twin/other\", and not to ServiceAccount \"twin/payments\"";
    world
        .refused(
            "an account of another namespace",
            &token,
            ("GET", list, None),
            (403, "RBAC", says),
            list_args,
        )
        .await?;
    let token = world.new_account("person").await?;
    world.bind("payments", "person", ("Role", "twin"), json!({"kind": "User", "name": "person"})).await?;
    let says = "RoleBinding \"person\" allows it to User \"person\"";
    world.refused("a user of that name", &token, ("GET", list, None), (403, "RBAC", says), list_args).await?;
    let token = world.new_account("grouped").await?;
    let group = json!({"kind": "Group", "name": "system:serviceaccounts:other"});
    world.bind("payments", "grouped", ("Role", "twin"), group).await?;
    world
        .refused(
            "a group of others",
            &token,
            ("GET", list, None),
            (403, "RBAC", "no binding allows"),
            list_args,
        )
        .await?;

    let token = world.new_account("cluster").await?;
    world
        .cluster_role("nodes", json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}))
        .await?;
    world.bind("payments", "cluster", ("ClusterRole", "nodes"), account("cluster", "payments")).await?;
    let args = ["--verb=list", "--resource=nodes", "--namespace=payments"];
    let says = "allows it in namespace payments, and not at the cluster scope";
    world
        .refused("what no namespace has", &token, ("GET", "/api/v1/nodes", None), (403, "RBAC", says), &args)
        .await?;
    world.cluster_role("readers", pods("list")).await?;
    world.bind("other", "readers", ("ClusterRole", "readers"), account("cluster", "payments")).await?;
    let told = world
        .refused(
            "a ClusterRole that is bound elsewhere",
            &token,
            ("GET", list, None),
            (403, "RBAC", "in namespace other"),
            list_args,
        )
        .await?;
    let change = "kubectl create rolebinding cluster-readers --namespace payments --clusterrole readers --serviceaccount payments:cluster";
    ensure!(told["change"][0] == change, "{told:#}");

    let args = ["--non-resource-url=/metrics", "--verb=get"];
    let told = world
        .refused("a path", &token, ("GET", "/metrics", None), (403, "RBAC", "get on path /metrics"), &args)
        .await?;
    ensure!(
        told["change"][0].as_str().is_some_and(|c| c.contains("--verb get --non-resource-url /metrics")),
        "{told:#}"
    );
    let token = world.new_account("scopes").await?;
    world.cluster_role("paths", json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]})).await?;
    world.bind("payments", "paths", ("ClusterRole", "paths"), account("scopes", "payments")).await?;
    world
        .refused(
            "a path by a RoleBinding",
            &token,
            ("GET", "/metrics", None),
            (403, "RBAC", "no binding allows"),
            &args,
        )
        .await?;

    // Somebody else's name: it is a right as any other.
    let headers = [("impersonate-user", "jane")];
    let answer = world.client.send("GET", list, Some(&token), &headers, None).await?;
    ensure!(answer.status == 403, "{:?}", answer.json());
    let told = world.told(
        "impersonation",
        Some(&token),
        None,
        &["--verb=impersonate", "--resource=users", "--name=jane"],
        1,
    )?;
    ensure!(
        told["decidedBy"] == "RBAC" && told["notes"].to_string().contains("no resource type"),
        "{told:#}"
    );
    ensure!(world.asked.0.get() == 17, "{}", world.asked.0.get());
    the_commands_find_free_names(&world, list_args).await?;
    nothing_is_granted_in_vain(&world).await?;
    world.server.stop().await
}

/// A role of that name that gives just this is bound; of another one, or of a binding, the name is left alone.
async fn the_commands_find_free_names(world: &World, args: &[&str]) -> Result<()> {
    let (space, make) = ("--namespace payments", "--verb list --resource pods");
    let change = async |token: &str| -> Result<String> {
        let told = world.told("names", Some(token), None, args, 1)?;
        Ok(told["change"][0].as_str().unwrap_or_default().to_owned())
    };
    let (token, who) = (world.new_account("half").await?, "--serviceaccount payments:half");
    world.role("half-list-pods", pods("list")).await?;
    let want = format!("kubectl create rolebinding half-list-pods {space} --role half-list-pods {who}");
    ensure!(change(&token).await? == want, "{}", change(&token).await?);
    world.bind("payments", "half-list-pods", ("Role", "half-list-pods"), account("else", "payments")).await?;
    let want = format!("kubectl create rolebinding half-list-pods-2 {space} --role half-list-pods {who}");
    ensure!(change(&token).await? == want, "{}", change(&token).await?);

    let (token, who) = (world.new_account("taken").await?, "--serviceaccount payments:taken");
    world.role("taken-list-pods", pods("get")).await?;
    world.role("taken-list-pods-2", pods("*")).await?;
    let name = "taken-list-pods-3";
    let want = format!(
        "kubectl create role {name} {space} {make} && kubectl create rolebinding {name} {space} --role {name} {who}"
    );
    ensure!(change(&token).await? == want, "{}", change(&token).await?);
    Ok(())
}

/// For what is not there no grant is proposed: it is said what is odd.
async fn nothing_is_granted_in_vain(world: &World) -> Result<()> {
    let token = world.new_account("vain").await?;
    for (verb, resource, namespace, note) in [
        ("list", "podz", "payments", "this server has no resource type \"podz\"; do you mean pods?"),
        ("lst", "pods", "payments", "has the verb \"lst\", so no rule can help; do you mean list?"),
        ("GET", "pods", "payments", "has the verb \"GET\", so no rule can help; do you mean get?"),
        ("list", "pods", "nowhere", "there is no namespace \"nowhere\""),
    ] {
        let args = ["--verb", verb, "--resource", resource, "--namespace", namespace];
        let told = world.told("in vain", Some(&token), None, &args, 1)?;
        let mut notes = told["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        ensure!(notes.any(|said| said.contains(note)), "{told:#}");
        ensure!(told["change"] == json!([]) && told["decidedBy"] == "RBAC", "{told:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_routes_and_who_shows_nothing() -> Result<()> {
    let world = World::start(&[]).await?;
    world.make(&format!("{API}/secrets"), json!({"metadata": {"name": "s"}})).await?;
    for name in ["w1", "w2"] {
        world.make("/api/v1/nodes", json!({"metadata": {"name": name}})).await?;
    }
    let secret = ["--verb=get", "--resource=secrets", "--name=s", "--namespace=payments"];
    let says = "no relationship found between node 'w1' and this object";
    world
        .refused(
            "a secret of no pod of its own",
            NODE,
            ("GET", &format!("{API}/secrets/s"), None),
            (403, "Node", says),
            &secret,
        )
        .await?;
    let args = ["--verb=list", "--resource=pods", "--all-namespaces"];
    world
        .refused(
            "all pods",
            NODE,
            ("GET", "/api/v1/pods", None),
            (403, "Node", "spec.nodeName field selector"),
            &args,
        )
        .await?;
    let args = ["--verb=get", "--resource=nodes", "--name=w2"];
    world
        .refused(
            "another node",
            NODE,
            ("GET", "/api/v1/nodes/w2", None),
            (403, "Node", "only its own Node object"),
            &args,
        )
        .await?;
    let args = ["--verb=list", "--resource=deployments"];
    let request = ("GET", "/apis/apps/v1/namespaces/default/deployments", None);
    world.refused("what no node may", NODE, request, (403, "Node", "nodes may not do this"), &args).await?;

    let token = world.new_account("clock").await?;
    world.cluster_role("clock", json!({"nonResourceURLs": ["/testing/*"], "verbs": ["*"]})).await?;
    world.bind("", "clock", ("ClusterRole", "clock"), account("clock", "payments")).await?;
    let args = ["--verb=get", "--non-resource-url=/testing/v1/clock"];
    let told = world
        .refused(
            "a path for masters alone",
            &token,
            ("GET", "/testing/v1/clock", None),
            (403, "route", "whatever RBAC allows"),
            &args,
        )
        .await?;
    ensure!(told["layers"].to_string().contains("ClusterRoleBinding \\\"clock\\\""), "{told:#}");

    // Nobody.
    let list = "/api/v1/namespaces/payments/pods";
    ensure!(world.send(None, ("GET", list, None)).await?.status == 403);
    let told = world.told(
        "nobody",
        None,
        None,
        &["--anonymous", "--verb=list", "--resource=pods", "--namespace=payments"],
        1,
    )?;
    ensure!(told["decidedBy"] == "RBAC" && told["user"]["username"] == "system:anonymous", "{told:#}");
    ensure!(world.asked.0.get() == 5);
    world.server.stop().await?;

    let world = World::start(&["--anonymous-auth=false"]).await?;
    ensure!(world.send(None, ("GET", list, None)).await?.status == 401);
    let told =
        world.told("nobody at all", None, None, &["--anonymous", "--verb=list", "--resource=pods"], 1)?;
    ensure!(told["decidedBy"] == "anonymous" && told["code"] == 401, "{told:#}");
    world.server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_ask_and_what_they_are_told() -> Result<()> {
    let world = World::start(&[]).await?;
    let token = world.new_account("api").await?;
    let asker = world.new_account("asker").await?;
    let asker_file = world.server.home().join("asker");
    std::fs::write(&asker_file, &asker)?;
    let by = format!("--bearer-token-file={}", asker_file.display());
    let args = ["--verb=list", "--resource=pods", "--namespace=payments", &by];
    let (code, out, err) = world.why(Some(&token), None, &args)?;
    ensure!(
        code == 1
            && out.is_empty()
            && err.contains("`post` on the path /admin/v1/why")
            && err.contains("--self"),
        "{code} {out}{err}"
    );

    // Reviews and roles are what any server has.
    world.cluster_role("reviewer", json!({"apiGroups": ["authentication.k8s.io", "authorization.k8s.io"], "resources": ["tokenreviews", "subjectaccessreviews"], "verbs": ["create"]})).await?;
    world.bind("", "reviewer", ("ClusterRole", "reviewer"), account("asker", "payments")).await?;
    world.role("api", pods("get")).await?;
    world.bind("payments", "api", ("Role", "api"), account("api", "payments")).await?;
    let told = world.told("without roles", Some(&token), None, &args, 1)?;
    ensure!(
        told["decidedBy"] == "RBAC" && told["detail"].to_string().contains("who may list clusterroles"),
        "{told:#}"
    );
    world
        .cluster_role(
            "roles",
            json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["list"]}),
        )
        .await?;
    world.bind("", "roles", ("ClusterRole", "roles"), account("asker", "payments")).await?;
    let told = world.told("by roles", Some(&token), None, &args, 1)?;
    ensure!(told["detail"].to_string().contains("lacks the verb list"), "{told:#}");
    ensure!(told["notes"].to_string().contains("is not open to you"), "{told:#}");
    // What is not there is said as the server itself says it, and no grant is proposed.
    world
        .cluster_role("looks", json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}))
        .await?;
    world.bind("", "looks", ("ClusterRole", "looks"), account("asker", "payments")).await?;
    for (args, note) in [
        (
            &["--verb=list", "--resource=podz", "--namespace=payments"][..],
            "this server has no resource type \"podz\"; do you mean pods?",
        ),
        (
            &["--verb=list", "--resource=pods.apps", "--namespace=payments"],
            "this server has no resource type \"pods\"",
        ),
        (&["--verb=gett", "--resource=pods", "--namespace=payments"], "do you mean get?"),
        (
            &["--verb=list", "--resource=pods", "--namespace=nowhere"],
            "there is no namespace \"nowhere\": a role in it can be made when there is",
        ),
        (&["--verb=reed", "--non-resource-url=/metrics"], "reed"),
    ] {
        let told =
            world.told("what is not there", Some(&token), None, &[args, &[by.as_str()]].concat(), 1)?;
        let noted = told["notes"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one.as_str().is_some_and(|one| one.contains(note))));
        ensure!(noted && told["change"] == json!([]), "{args:?}: {told:#}");
        let itself = world.told("by itself", Some(&token), None, &[args, &["--self"]].concat(), 1)?;
        // Whether there is a namespace is not told to who may not read it.
        ensure!(!itself["notes"].to_string().contains("there is no namespace"), "{itself:#}");
    }
    let args_of_log =
        ["--verb=get", "--resource=pods", "--subresource=logs", "--name=x", "--namespace=payments", &by];
    let told = world.told("no such subresource", Some(&token), None, &args_of_log, 1)?;
    ensure!(told["notes"].to_string().contains("this server has no pods/logs"), "{told:#}");
    let get = ["--verb=get", "--resource=po", "--name=x", "--namespace=payments", &by];
    let told = world.told("by a review", Some(&token), None, &get, 0)?;
    ensure!(
        told["decidedBy"] == "authorization" && told["detail"].to_string().contains("RoleBinding"),
        "{told:#}"
    );
    let vault = world.mint("api", json!({"audiences": ["vault"]})).await?;
    let told = world.told("by a review of the token", Some(&vault), None, &get, 1)?;
    ensure!(told["decidedBy"] == "audience" && told["code"] == 401, "{told:#}");

    // The server's own endpoint tells no more than who asks may read.
    world.cluster_role("why", json!({"nonResourceURLs": ["/admin/v1/why"], "verbs": ["post"]})).await?;
    let subject = account("narrow", "payments");
    let narrow = world.new_account("narrow").await?;
    std::fs::write(&asker_file, &narrow)?;
    world.bind("", "why", ("ClusterRole", "why"), subject).await?;
    let told = world.told("of its own", Some(&token), None, &args, 1)?;
    let detail = told["detail"].to_string();
    ensure!(detail.contains("no binding allows list on pods") && !detail.contains("nearest"), "{told:#}");
    world
        .make("/admin/v1/tokens/revoke", json!({"account": "payments/api", "reason": "secret reasons"}))
        .await?;
    let told = world.told("a revocation", Some(&token), None, &args, 1)?;
    ensure!(told["decidedBy"] == "revocation" && !told.to_string().contains("secret reasons"), "{told:#}");
    let told = world.told("to the administrator", Some(&token), None, &args[..3], 1)?;
    ensure!(told.to_string().contains("secret reasons"), "{told:#}");

    // With nothing but the token.
    let token = world.mint("api", json!({})).await?;
    let own = |verb| ["--self", verb, "--resource=pods", "--name=web", "--namespace=payments"];
    let told = world.told("self", Some(&token), None, &own("--verb=get"), 0)?;
    ensure!(told["user"]["username"] == "system:serviceaccount:payments:api", "{told:#}");
    let told = world.told("self, refused", Some(&token), None, &own("--verb=delete"), 1)?;
    ensure!(told["detail"].to_string().contains("lacks the verb delete"), "{told:#}");
    world.make("/admin/v1/tokens/revoke", json!({"account": "payments/api"})).await?;
    let told = world.told("self, refused as such", Some(&token), None, &own("--verb=get"), 1)?;
    ensure!(told["code"] == 401 && told["decidedBy"] == "authentication", "{told:#}");

    // In words.
    let (code, out, _) = world.why(Some(ADMIN), None, &["--verb=list", "--resource=pods"])?;
    ensure!(code == 0 && out.starts_with("allowed, by system:masters: its members may do everything\nGET /api/v1/namespaces/default/pods, as admin\n"), "{out}");
    world.server.stop().await
}
