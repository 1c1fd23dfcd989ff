//! What a policy decides, and when it is refused.

use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokensmith::{ExchangePolicies, Server, StartError};
use tokensmith_core::keys::{Algorithm, PrivateKey};

use crate::world::{ISSUER, JWT, World, claims};

/// Rules for an account of namespace `pay`, with these lines more.
fn rule(lines: &str) -> String {
    format!(
        "rules:\n- name: r\n  from: {{serviceAccount: {{namespace: pay}}}}\n  audiences: [vault]\n  {}\n",
        lines.replace('\n', "\n  ")
    )
}

#[tokio::test]
async fn labels_count_as_they_are_now() {
    let policy = "rules:\n- name: r\n  from:\n    serviceAccount: {namespace: '*', labels: 'tier in (web)', namespaceLabels: env=prod}\n  audiences: [vault]\n  claims: {tier: account.labels.tier}\n";
    let world = World::with(policy, |_| {}).await;
    let subject = world.account("pay/api").await;
    let ask = async || world.exchange(&subject, &[]).await;
    assert_eq!(ask().await.status, 400);
    let label = async |path: &str, labels: Value| {
        let mut object = world.admin(Method::GET, path, None).await;
        object["metadata"]["labels"] = labels;
        world.admin(Method::PUT, path, Some(&object)).await;
    };
    label("/api/v1/namespaces/pay/serviceaccounts/api", json!({"tier": "web"})).await;
    assert_eq!(ask().await.status, 400);
    label("/api/v1/namespaces/pay", json!({"env": "prod"})).await;
    let token = ask().await.ok()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["tier"], "web");
    label("/api/v1/namespaces/pay/serviceaccounts/api", json!({"tier": "db"})).await;
    assert_eq!(ask().await.status, 400);
}

#[tokio::test]
async fn the_first_rule_that_gives_all_that_is_asked_decides() {
    let policy = "rules:
- {name: narrow, from: {serviceAccount: {namespace: pay}}, audiences: [vault], claims: {by: \"'narrow'\"}}
- {name: wide, from: {serviceAccount: {namespace: 'p*'}}, audiences: [vault, db], scopes: [s], claims: {by: \"'wide'\"}}
- {name: last, from: {serviceAccount: {namespace: '*'}}, audiences: ['*'], claims: {by: \"'last'\"}}
";
    let world = World::with(policy, |_| {}).await;
    let subject = world.account("pay/api").await;
    for (form, by) in [
        (vec![("audience", "vault")], "narrow"),
        (vec![("audience", "db")], "wide"),
        (vec![("audience", "vault"), ("scope", "s")], "wide"),
        (vec![("audience", "vault"), ("audience", "x")], "last"),
    ] {
        let answer = world.exchange(&subject, &form).await.ok();
        assert_eq!(claims(answer["access_token"].as_str().unwrap())["by"], by, "{form:?}");
    }
}

#[tokio::test]
async fn how_long_and_how_often() {
    let world = World::with(&rule("lifetime: 2h\nrate: {tokens: 2, per: 10m}"), |_| {}).await;
    let subject = world.account("pay/api").await;
    assert_eq!(world.exchange(&subject, &[]).await.ok()["expires_in"], 3600, "never longer than the subject");
    world.exchange(&subject, &[]).await.ok();
    let refused = world.exchange(&subject, &[]).await;
    assert_eq!((refused.error(), refused.header("retry-after")), ((429, "slow_down"), "301"));
    let other = world.account("pay/other").await;
    world.exchange(&other, &[]).await.ok();
    world.server.clock().advance(Duration::from_secs(5 * 60)).await.unwrap();
    assert_eq!(world.exchange(&subject, &[]).await.ok()["expires_in"], 3300);
    let odd = world.account("pay/odd").await;
    assert_eq!(world.exchange(&odd, &[("audience", "vault\r\nX: y")]).await.error(), (400, "invalid_target"));

    let world = World::with(&rule("lifetime: 2h\nneverLongerThanSubject: false"), |_| {}).await;
    let subject = world.account("pay/api").await;
    assert_eq!(world.exchange(&subject, &[]).await.ok()["expires_in"], 7200);
    // There is no leeway in which a dead token has a child.
    world.server.clock().advance(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(world.exchange(&subject, &[]).await.error(), (400, "invalid_request"));
    let longer = rule("lifetime: 2h\nneverLongerThanSubject: false");
    let world = World::with(&longer, |options| options.max_token_seconds = Some(3600)).await;
    let subject = world.account("pay/api").await;
    assert_eq!(world.exchange(&subject, &[]).await.ok()["expires_in"], 3600, "the server's own bound");
}

#[tokio::test]
async fn a_file_that_is_read_again_counts_from_then_on_and_a_broken_one_changes_nothing() {
    let world = World::with(&rule(""), |_| {}).await;
    let subject = world.account("pay/api").await;
    world.exchange(&subject, &[("audience", "vault")]).await.ok();
    let metrics = async || {
        let asked =
            world.http.get(format!("{}/metrics", world.server.url())).bearer_auth(world.admin_token());
        asked.send().await.unwrap().text().await.unwrap()
    };
    let broken = world.policies.reload(b"rules:\n- name: r\n  form: x\n").unwrap_err();
    assert_eq!((broken.line, world.policies.refused()), (3, true), "{broken}");
    let api = rule("").replace("vault", ISSUER);
    assert!(
        world
            .policies
            .reload(api.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("one of the audiences is the API's own")
    );
    world.exchange(&subject, &[("audience", "vault")]).await.ok();
    let text = metrics().await;
    assert!(text.contains("tokensmith_exchange_policy_refused 1"), "{text}");
    world.policies.reload(rule("").replace("vault", "db").as_bytes()).unwrap();
    assert_eq!(world.exchange(&subject, &[("audience", "vault")]).await.error(), (400, "invalid_target"));
    world.exchange(&subject, &[("audience", "db")]).await.ok();
    let text = metrics().await;
    for line in [
        "tokensmith_exchange_policy_refused 0",
        "tokensmith_exchanges_total{grant=\"token-exchange\",rule=\"r\",result=\"issued\"} 3",
        "tokensmith_exchanges_total{grant=\"token-exchange\",rule=\"r\",result=\"invalid_target\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn no_audience_has_what_readers_take_for_something_else() {
    let world = World::with(&rule("").replace("[vault]", "['*']"), |_| {}).await;
    let subject = world.account("pay/api").await;
    let long = "x".repeat(1025);
    for audience in ["evil\r\nX: y", "a\0", " a", &long] {
        assert_eq!(
            world.exchange(&subject, &[("audience", audience)]).await.error(),
            (400, "invalid_request"),
            "{audience:?}"
        );
    }
    let many: Vec<String> = (0..16).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    let many: Vec<_> = many.iter().map(|audience| ("audience", audience.as_str())).collect();
    assert_eq!(
        world.exchange(&subject, &many).await.error(),
        (400, "invalid_request"),
        "longer than verifiers take"
    );
}

/// An actor's conditions read the actor's claims, whatever the subject says.
#[tokio::test]
async fn conditions_on_actors_read_the_actors_claims() {
    let policy = "issuers: [{issuer: 'https://ci.example.com', keysFile: jwks.json}]
rules:
- name: r
  from: {issuer: 'https://ci.example.com', subject: '*'}
  audiences: [x]
  actors:
    mayAct: optional
    from: [{issuer: 'https://ci.example.com', subject: '*', conditions: [\"has(claims.role) && claims.role == 'admin'\"]}]
";
    let world = World::with(policy, |_| {}).await;
    let (plain, admin) =
        (world.other_token(json!({})).await, world.other_token(json!({"role": "admin"})).await);
    let ask = async |subject: &str, actor: &str| {
        world.exchange(subject, &[("actor_token", actor), ("actor_token_type", JWT)]).await.status
    };
    assert_eq!((ask(&admin, &plain).await, ask(&plain, &admin).await), (400, 200));
}

#[tokio::test]
async fn a_computed_subject_is_no_other_issuers() {
    let policy = "issuers:
- {issuer: 'https://ci.example.com', keysFile: jwks.json}
- {issuer: 'https://other.example.com', keysFile: jwks.json}
rules:
- {name: r, from: {issuer: 'https://ci.example.com', subject: '*'}, audiences: [x], subject: claims.as}
";
    let world = World::with(policy, |_| {}).await;
    let ask =
        async |named: &str| world.exchange(&world.other_token(json!({"as": named})).await, &[]).await.status;
    assert_eq!(ask("https://other.example.com#root").await, 400);
    assert_eq!(
        (ask("https://ci.example.com#other").await, ask("https://third.example.com#root").await),
        (200, 200)
    );
}

#[tokio::test]
async fn an_issuer_that_is_away_is_nobodys_fault() {
    let policy = "issuers: [{issuer: 'https://away.example.com', discovery: 'https://127.0.0.1:9'}]
rules:
- {name: r, from: {issuer: 'https://away.example.com', subject: '*'}, audiences: [x]}
";
    let world = World::with(policy, |_| {}).await;
    let token = world.other_token(json!({"iss": "https://away.example.com"})).await;
    let answer = world.exchange(&token, &[]).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
}

/// Its keys are away, so who is told to come again has had them asked for.
#[tokio::test]
async fn a_token_for_somebody_else_has_no_issuer_asked() {
    let policy = "issuers: [{issuer: 'https://away.example.com', discovery: 'https://127.0.0.1:9'}]
rules:
- {name: r, from: {issuer: 'https://away.example.com', subject: '*'}, audiences: [x]}
";
    let world = World::with(policy, |_| {}).await;
    for (aud, error) in [
        (json!("https://elsewhere.example.com"), (400, "invalid_request")),
        (json!([]), (400, "invalid_request")),
        (json!([1]), (400, "invalid_request")),
        (json!(["https://elsewhere.example.com", ISSUER]), (503, "temporarily_unavailable")),
    ] {
        let token = world.other_token(json!({"iss": "https://away.example.com", "aud": aud})).await;
        let answer = world.exchange(&token, &[]).await;
        assert_eq!(answer.error(), error, "{aud}");
        if error.0 == 400 {
            assert_eq!(answer.body["error_description"], "the subject_token is not accepted");
        }
    }
}

/// The server of another issuer is gone; its keys are as good as they were, as long as its documents stay where they are.
#[tokio::test]
async fn a_reload_keeps_the_keys_of_issuers_that_stay_and_reads_files_anew() {
    const THERE: &str = "https://there.example.com";
    let there = Server::ephemeral().issuer(THERE).public_discovery().start().await.unwrap();
    let policy = |place: &str, more: &str| {
        format!(
            "caFile: ca.pem
issuers:
- {{issuer: '{THERE}', discovery: '{place}'}}
- {{issuer: 'https://ci.example.com', keysFile: jwks.json}}
{more}rules:
- {{name: there, from: {{issuer: '{THERE}', subject: '*'}}, audiences: [x]}}
- {{name: ci, from: {{issuer: 'https://ci.example.com', subject: '*'}}, audiences: [x]}}
"
        )
    };
    let place = there.url().to_owned();
    let world = World::beside(&[("ca.pem", there.ca())], &policy(&place, ""), |_| {}).await;
    let token = there.token("pay/api").audience(ISSUER).await.unwrap().as_str().to_owned();
    world.exchange(&token, &[]).await.ok();
    let from_file = world.other_token(json!({})).await;
    world.exchange(&from_file, &[]).await.ok();
    there.stop().await.unwrap();

    let more = "- {issuer: 'https://new.example.com'}\n";
    world.policies.reload(policy(&place, more).as_bytes()).unwrap();
    world.exchange(&token, &[]).await.ok();
    world.policies.reload(policy(&place, "").as_bytes()).unwrap();
    world.exchange(&token, &[]).await.ok();

    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let set = format!("{{\"keys\":[{}]}}", key.public().jwk());
    std::fs::write(world.folder.path().join("jwks.json"), set).unwrap();
    world.policies.reload(policy(&place, "").as_bytes()).unwrap();
    assert_eq!(world.exchange(&from_file, &[]).await.status, 400, "the key has left the file");

    // Elsewhere, or trusted by other servers' certificates, it has to be asked.
    world.policies.reload(policy("https://127.0.0.1:9", "").as_bytes()).unwrap();
    assert_eq!(world.exchange(&token, &[]).await.status, 503);
}

#[tokio::test]
async fn an_audience_of_the_api_stops_the_start() {
    for audience in ["audiences: [X]", "audiences: [vault]\n  audiencesFrom: '[\"X\"]'", "resources: [X]"] {
        let text = rule("").replace("audiences: [vault]", &audience.replace('X', ISSUER));
        let policies = ExchangePolicies::open(text.as_bytes(), "").unwrap();
        let server = Server::ephemeral().issuer(ISSUER).with(|options| options.exchange = Some(policies));
        match server.start().await {
            Err(StartError::Exchange(e)) => {
                assert_eq!(e.line, if audience.contains("From") { 5 } else { 4 }, "{e}")
            }
            _ => panic!("{audience}"),
        }
    }
    let own = "issuers: [{issuer: 'HTTPS://tokens.example.com/', discovery: 'https://x'}]\nrules: []";
    let policies = ExchangePolicies::open(own.as_bytes(), "").unwrap();
    let server = Server::ephemeral().issuer(ISSUER).with(|options| options.exchange = Some(policies));
    assert!(
        matches!(server.start().await, Err(StartError::Exchange(e)) if e.problem.contains("the server's own issuer"))
    );
}

/// A rule with one condition.
fn conditions(condition: &str) -> String {
    rule("").replace("pay}}", &format!("pay}}, conditions: [{condition:?}]}}"))
}

/// The client learns no more than where there is no such rule; log and audit line name the rule and the condition.
#[tokio::test]
async fn a_condition_that_does_not_hold_is_named_in_the_audit_line_alone() {
    for (condition, why) in [
        ("claims.sub == 'x'", "is false"),
        ("account.nmae == 'api'", "has no value: no such key: nmae"),
        ("account.labels['tier'] == 'web'", "has no value: no such key: tier"),
        ("claims.sub", "has no value: its value is a string, where a bool is needed"),
        ("account.labels[claims.sub] == 'web'", "has no value: no such key"),
    ] {
        let world = World::with(&conditions(condition), |_| {}).await;
        let answer = world.exchange(&world.account("pay/api").await, &[]).await;
        let stranger = world.exchange(&world.account("web/api").await, &[]).await;
        assert_eq!(answer.error(), (400, "invalid_request"));
        assert_eq!(answer.text, stranger.text, "a client learns nothing of a rule's conditions");
        let lines = world.lines("exchange", 2).await;
        let want = format!("the rule does not mean the subject: condition 1, {condition:?}, {why}");
        assert_eq!((&lines[0]["rule"], &lines[0]["reason"]), (&json!("r"), &json!(want)));
        assert_eq!(lines[1]["reason"], "no rule means the subject");
    }
    let actors = "actors: {from: [{serviceAccount: {namespace: pay}, conditions: [\"account.name == 'x'\"]}], mayAct: optional}";
    let world = World::with(&rule(actors), |_| {}).await;
    let (subject, actor) = (world.account("pay/api").await, world.account("pay/actor").await);
    let form = [("actor_token", &*actor), ("actor_token_type", JWT)];
    assert_eq!(world.exchange(&subject, &form).await.status, 400);
    let line = &world.lines("exchange", 1).await[0];
    let want = "the rule lets nobody act for the subject, or not this actor: condition 1, \"account.name == 'x'\", is false";
    assert_eq!((&line["rule"], &line["reason"]), (&json!("r"), &json!(want)));
}

/// What was asked, and what is accepted, are for the operator: the answer says neither.
#[tokio::test]
async fn what_was_asked_is_in_the_audit_line_alone() {
    let world = World::with(&rule("scopes: [read]"), |_| {}).await;
    let subject = world.account("pay/api").await;
    let away = world.server.token("pay/api").audience("elsewhere").await.unwrap().as_str().to_owned();
    let long = "x".repeat(300);
    for (at, (token, form, code, why)) in [
        (
            &subject,
            vec![("audience", "vualt"), ("resource", "https://db.example.com/a")],
            "invalid_target",
            "the rule does not give what was asked: audiences \"vualt\", resources \"https://db.example.com/a\"".to_owned(),
        ),
        (
            &subject,
            vec![("audience", &*subject), ("audience", &*long)],
            "invalid_target",
            format!("the rule does not give what was asked: audiences (a token), \"{}\"…, resources none", &long[..96]),
        ),
        (
            &subject,
            vec![("scope", "read wirte")],
            "invalid_scope",
            "the rule does not give a scope that was asked: scopes \"read\", \"wirte\"".to_owned(),
        ),
        (
            &away,
            vec![],
            "invalid_request",
            format!("none of its audiences is this endpoint's: accepted are {ISSUER:?}, \"{ISSUER}/oauth2/token\", and it has \"elsewhere\""),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.exchange(token, &form).await;
        assert_eq!(answer.error(), (400, code), "{form:?}");
        for word in ["vualt", "db.example", "wirte", "elsewhere", ISSUER] {
            assert!(!answer.text.contains(word), "{}", answer.text);
        }
        assert_eq!(world.lines("exchange", at + 1).await[at]["reason"], why);
    }
    let computed = rule("audiencesFrom: account.nmae").replace("[vault]", "[]");
    let world = World::with(&computed, |_| {}).await;
    assert_eq!(world.exchange(&world.account("pay/api").await, &[]).await.error(), (400, "invalid_target"));
    let want = "no audience was asked for, and the rule names none to give instead; its audiencesFrom has no value: no such key: nmae";
    assert_eq!(world.lines("exchange", 1).await[0]["reason"], want);
}

/// A service elsewhere.
const UPSTREAM: &str = "upstream: {kind: oauth, endpoint: 'https://sts.example/token'}";

#[test]
fn a_path_in_an_upstream_block_is_relative_to_the_policys_folder() {
    let folder = tempfile::tempdir().unwrap();
    let text = rule("upstream: {kind: oauth, endpoint: 'https://sts.example/token', caFile: ca.pem}");
    let open = || ExchangePolicies::open(text.as_bytes(), folder.path()).map(drop);
    assert!(open().unwrap_err().to_string().contains("caFile: No such file"));
    let ca = rcgen::generate_simple_self_signed(["sts.example".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), ca.cert.pem()).unwrap();
    open().unwrap();
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let read = |text: &str| ExchangePolicies::open(text.as_bytes(), "").map(drop).unwrap_err().to_string();
    for (text, want) in [
        ("rules: [", "line 1, column"),
        ("{}", "missing field `rules`"),
        ("rules: []\nrule: []\n", "line 2, column 1: unknown field `rule`"),
        (&rule("lifetime: 10"), "line 5, column 13: "),
        (&rule("lifetime: -1m"), "line 5, column 13: must be a whole number of seconds"),
        (&rule("subject: claims.su b"), "line 5, column 12: the expression, at 1:"),
        (&rule("subject: nothing"), "undeclared reference to 'nothing'"),
        (&rule("subject: \"'system:admin'\""), "line 5, column 12: the subject begins with system:"),
        (
            &rule("subject: \"'serviceaccount:' + 'a:b'\""),
            "line 5, column 12: the subject begins with serviceaccount:",
        ),
        (&rule("claims: {kubernetes.io: 'true'}"), "Kubernetes"),
        (&rule("claims: {kubernetes.io/serviceaccount/namespace: 'true'}"), "Kubernetes"),
        (
            &rule("claims: {a: '{\"kubernetes.io\": 1}'}"),
            "line 5, column 15: a claim holds one of the name kubernetes.io",
        ),
        (&rule("claims: {iss: 'true'}"), "line 5, column 17: the claim \"iss\" is set by the issuer alone"),
        (&rule("claims: {client_id: 'true'}"), "the claim \"client_id\" is set by the token endpoint alone"),
        (&rule("scopes: ['a b']"), "line 5, column 12: is no scope"),
        (&rule("rate: {tokens: 0, per: 1m}"), "a rate of no tokens"),
        (&rule("grants: [password]"), "line 5, column"),
        (&rule("actors: {from: [{exchanged: {audience: x}}]}"), "who acts shows a token of its own"),
        (&rule("upstream: {x: 1}"), "line 5, column"),
        (&rule(&format!("{UPSTREAM}\nlifetime: 1m")), "upstream: lifetime has no say"),
        (&rule(&format!("{UPSTREAM}\nboundLifetime: 1m")), "upstream: boundLifetime has no say"),
        (&rule(&format!("{UPSTREAM}\nneverLongerThanSubject: true")), "neverLongerThanSubject has no say"),
        (&rule(&format!("{UPSTREAM}\nclaims: {{a: 'true'}}")), "upstream: claims has no say"),
        (&rule(&format!("{UPSTREAM}\nsubject: \"'a'\"")), "line 5, column 13: upstream: subject has no say"),
        (&rule("").replace("name: r", "name: R r"), "line 2, column 9: is no name"),
        (&(rule("") + &rule("")[7..]), "is the name of an earlier rule"),
        (&rule("").replace("vault", "''"), "line 4, column 15: there is no audience"),
        (&rule("").replace("audiences: [vault]", "scopes: [a]"), "the rule gives no audience"),
        (&rule("").replace("{namespace: pay}", "{namespace: pay, labels: 'a b'}"), "line 3, column"),
        (
            &rule("").replace("{serviceAccount: {namespace: pay}}", "{}"),
            "name exactly one of serviceAccount, issuer and exchanged",
        ),
        (
            &rule("").replace("{serviceAccount: {namespace: pay}}", "{issuer: 'https://x', subject: a}"),
            "is not among the `issuers`",
        ),
        ("issuers: [{issuer: 'https://x#y'}]\nrules: []", "an issuer has no '#'"),
        ("issuers: [{issuer: 'http://x'}]\nrules: []", "line 1, column 20: "),
        ("issuers: [{issuer: 'system:x'}]\nrules: []", "line 1, column 20: the subject begins with system:"),
        ("issuers: [{issuer: 'https://x'}, {issuer: 'https://x'}]\nrules: []", "this issuer is there twice"),
        (
            "clients: [{name: a, from: {serviceAccount: {namespace: x}}, may: []}]\nrules: []",
            "`may` lists nothing",
        ),
        ("issuers: [{issuer: 'https://x', keysFile: nothing.json}]\nrules: []", "the key set nothing.json: "),
        ("url: 'http://x.example'\nrules: []", "line 1, column 6: must be a URL of this server"),
        (&rule("actors: {from: []}"), "lists nobody"),
        (&conditions("'1'"), "the condition has no value: its value is a string, where a bool is needed"),
        (&conditions("1 / 0 == 1"), "the condition has no value: division by zero"),
        ("url: 'ftp://x'\nrules: []", "line 1, column 6: must be a URL of this server"),
    ] {
        let error = read(text);
        assert!(error.contains(want), "{text}\n{error}\nshould have\n{want}");
        assert_eq!(error.lines().count(), 1);
        let places = error.matches("line ").count() + error.matches("column ").count();
        assert_eq!(places, 2, "each place is said once: {error}");
    }
}
