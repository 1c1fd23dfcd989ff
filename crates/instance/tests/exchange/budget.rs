//! What a stranger's claims may cost: all expressions of a request together, and no rule is passed over because of it.

use http::Method;
use serde_json::{Value, json};

use crate::world::{ASSERTION, JWT, World};

/// Some 60,000 steps for sixty groups, twice as many for twice as many terms, and false.
fn costly(times: usize) -> String {
    vec!["claims.groups.exists(a, claims.groups.exists(b, a == b + 'x'))"; times].join(" || ")
}

fn groups(count: usize) -> Value {
    json!((0..count).map(|n| format!("g{n}")).collect::<Vec<_>>())
}

fn policy(rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(name, condition)| {
        let conditions = if condition.is_empty() { String::new() } else { format!(", conditions: [{condition:?}]") };
        format!("- {{name: {name}, from: {{issuer: 'https://ci.example.com', subject: '*'{conditions}}}, audiences: [x]}}\n")
    });
    let head = "issuers: [{issuer: 'https://ci.example.com', keysFile: jwks.json}]
clients:
- {name: costly, from: {issuer: 'https://ci.example.com', subject: '*', conditions: [\"CONDITION\"]}, may: [introspect]}
- {name: any, from: {issuer: 'https://ci.example.com', subject: '*'}, may: [introspect]}
rules:
";
    format!("{}{}", head.replace("CONDITION", &costly(5)), rules.collect::<String>())
}

const WHY: &str = "the expressions of the policy take more than 100000 steps for these claims";

#[tokio::test]
async fn all_expressions_of_a_request_share_a_budget_and_no_later_rule_gives_what_it_withholds() {
    let (one, much) = (costly(1), costly(5));
    for (rules, decided) in [
        // Each would be cheap enough alone.
        (vec![("a", one.as_str()), ("b", &one), ("c", &one), ("open", "")], "b"),
        (vec![("a", &*much), ("open", "")], "a"),
        (vec![("a", &format!("!({much})")), ("open", "")], "a"),
    ] {
        let world = World::with(&policy(&rules), |_| {}).await;
        let token = world.other_token(json!({"groups": groups(60)})).await;
        let answer = world.exchange(&token, &[]).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{rules:?}");
        assert_eq!(answer.body["error_description"], "the request is not granted");
        let line = &world.lines("exchange", 1).await[0];
        assert_eq!((&line["rule"], &line["reason"]), (&json!(decided), &json!(WHY)));
        // Who says less is judged as ever.
        let token = world.other_token(json!({"groups": groups(3)})).await;
        let last = rules.len() - 1;
        let by = if rules[0].1.starts_with('!') { "a" } else { rules[last].0 };
        world.exchange(&token, &[]).await.ok();
        assert_eq!(world.lines("exchange", 2).await[1]["rule"], by);
    }
}

/// More than a worker has time for, and less than there is.
#[tokio::test]
async fn what_takes_long_is_worked_out_aside() {
    let world = World::with(&policy(&[("a", &costly(1)), ("open", "")]), |_| {}).await;
    let token = world.other_token(json!({"groups": groups(60)})).await;
    world.exchange(&token, &[]).await.ok();
    assert_eq!(world.lines("exchange", 1).await[0]["rule"], "open");
}

#[tokio::test]
async fn a_condition_on_actors_that_is_cut_off_lets_nobody_act() {
    let from = |conditions: &str| format!("{{issuer: 'https://ci.example.com', subject: '*'{conditions}}}");
    let costly = from(&format!(", conditions: [{:?}]", costly(5)));
    let actors = format!("  actors: {{mayAct: optional, from: [{costly}, {}]}}\n", from(""));
    let world = World::with(
        &(policy(&[("open", "")])
            .replace("{name: open, from", "name: open\n  from")
            .replace(", audiences: [x]}\n", "\n  audiences: [x]\n")
            + &actors),
        |_| {},
    )
    .await;
    let ask = async |count: usize| {
        let (subject, actor) =
            (world.other_token(json!({})).await, world.other_token(json!({"groups": groups(count)})).await);
        world.exchange(&subject, &[("actor_token", &*actor), ("actor_token_type", JWT)]).await.status
    };
    assert_eq!((ask(3).await, ask(60).await), (200, 400));
    assert_eq!(world.lines("exchange", 2).await[1]["reason"], WHY);
}

#[tokio::test]
async fn a_client_whose_condition_is_cut_off_is_no_other_one() {
    let world = World::with(&policy(&[("open", "")]), |_| {}).await;
    let ask = async |count: usize| {
        let assertion = world.other_token(json!({"groups": groups(count)})).await;
        let form = [("token", "x"), ("client_assertion_type", ASSERTION), ("client_assertion", &*assertion)];
        world.post("/oauth2/introspect", &form).await.status
    };
    assert_eq!((ask(3).await, ask(60).await), (200, 401));
    assert_eq!(world.lines("introspect", 2).await[1]["reason"], WHY);
}

/// Labels of a size that no expression takes, under rules of which the one that decides reads none.
#[tokio::test]
async fn what_is_known_is_made_ready_for_rules_that_read_it_alone() {
    let rule = |name: &str, conditions: &str| {
        format!(
            "- {{name: {name}, from: {{serviceAccount: {{namespace: pay}}{conditions}}}, audiences: [x]}}\n"
        )
    };
    for (conditions, status) in [("", 200), (", conditions: [\"claims.sub == 'x'\"]", 400)] {
        let world = World::with(&format!("rules:\n{}{}", rule("a", conditions), rule("b", "")), |_| {}).await;
        let subject = world.account("pay/api").await;
        let path = "/api/v1/namespaces/pay/serviceaccounts/api";
        let mut account = world.admin(Method::GET, path, None).await;
        let labels = (0..1000).map(|n| (format!("l{n:062}"), json!("x".repeat(63))));
        account["metadata"]["labels"] = Value::Object(labels.collect());
        world.admin(Method::PUT, path, Some(&account)).await;
        assert_eq!(world.exchange(&subject, &[]).await.status, status, "{conditions}");
    }
}
