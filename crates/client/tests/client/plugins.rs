//! Exec plugins: when they are run, and what becomes of what they give.

use std::fs;

use http::StatusCode;
use http::header::AUTHORIZATION;
use tokensmith_client::Client;

use crate::world::{TOKEN, World, read, told, whoami};

/// A plugin that counts its runs and gives token 1, 2, … with these fields besides.
fn plugin(world: &World, fields: &str) -> String {
    let path = world.path("counting");
    let text = format!(
        "#!/bin/sh\necho run >>\"$(dirname \"$0\")/runs\"\nn=$(wc -l <\"$(dirname \"$0\")/runs\" | tr -d ' ')\nprintf '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"s3cret-%s\"{fields}}}}}' \"$n\"\n"
    );
    fs::write(&path, text).unwrap();
    // Read by a shell, not run: a program that was just written cannot be while another thread starts one (ETXTBSY).
    format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['{}'], interactiveMode: Never}}",
        path.display()
    )
}

fn runs(world: &World) -> usize {
    fs::read_to_string(world.path("runs")).map(|text| text.lines().count()).unwrap_or_default()
}

/// Takes each token but `refused`.
async fn world(refused: &'static str) -> World {
    World::answering(move |seen| match seen.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()) {
        Some(own) if own.strip_prefix("Bearer ").is_some_and(|token| token != refused) => {
            told(StatusCode::OK, "x")
        }
        _ => told(StatusCode::UNAUTHORIZED, "Unauthorized"),
    })
    .await
}

#[tokio::test]
async fn it_is_run_once_for_as_long_as_its_credentials_last() {
    for (fields, want) in [
        ("", 1),
        (r#","expirationTimestamp":"2999-01-01T00:00:00Z""#, 1),
        (r#","expirationTimestamp":null"#, 1),
        (r#","expirationTimestamp":"2020-01-01T00:00:00Z""#, 3),
    ] {
        let world = world("none").await;
        let client = Client::new(&world.target("", &plugin(&world, fields))).unwrap();
        assert_eq!(runs(&world), 0, "not before it is needed");
        for _ in 0..3 {
            whoami(&client).await.unwrap().unwrap();
        }
        assert_eq!(runs(&world), want, "{fields}");
    }
}

#[tokio::test]
async fn it_is_run_again_when_a_server_refuses_what_it_gave() {
    let world = world("s3cret-1").await;
    let client = Client::new(&world.target("", &plugin(&world, ""))).unwrap();
    whoami(&client).await.unwrap().unwrap();
    assert_eq!((runs(&world), world.seen.lock().unwrap().len()), (2, 2));
    whoami(&client).await.unwrap().unwrap();
    assert_eq!(runs(&world), 2);
}

#[tokio::test]
async fn it_is_not_run_where_credentials_are_at_hand_or_nobody_may_see_them() {
    let world = World::new().await;
    let user = format!("token: {TOKEN}, {}", plugin(&world, ""));
    assert_eq!(whoami(&Client::new(&world.target("", &user)).unwrap()).await.unwrap().unwrap(), "admin");
    let mut plain = world.target("", &plugin(&world, ""));
    plain.server.set_scheme("http").unwrap();
    let _ = whoami(&Client::new(&plain).unwrap()).await;
    assert_eq!(runs(&world), 0);
}

#[tokio::test]
async fn nothing_of_it_is_shown() {
    let world = world("none").await;
    let target = world.target(
        "",
        &plugin(&world, "").replace("counting']", "counting', s3cret], env: [{name: a, value: s3cret}]"),
    );
    let client = Client::new(&target).unwrap();
    whoami(&client).await.unwrap().unwrap();
    assert!(!format!("{target:?}").contains("s3cret"));
    assert_eq!(world.last().headers[AUTHORIZATION], "Bearer s3cret-1");
}

#[tokio::test]
async fn a_certificate_that_it_gives_is_shown_and_a_new_one_instead() {
    let world = World::answering(|seen| match seen.certificate.as_deref() {
        Some(name) => told(StatusCode::OK, name),
        None => told(StatusCode::UNAUTHORIZED, "Unauthorized"),
    })
    .await;
    let line = |name: &str| read(&world.path(name)).replace('\n', "\\\\n");
    let pair = |name: &str| {
        format!(
            r#","clientCertificateData":"{}","clientKeyData":"{}","expirationTimestamp":"2020-01-01T00:00:00Z""#,
            line(&format!("{name}.crt")),
            line(&format!("{name}.key"))
        )
    };
    let client = Client::new(&world.target("", &plugin(&world, &pair("client")))).unwrap();
    assert_eq!(whoami(&client).await.unwrap().unwrap(), "cert");
    plugin(&world, &pair("v1"));
    assert_eq!(whoami(&client).await.unwrap().unwrap(), "cert-v1");
}

#[tokio::test]
async fn one_that_hangs_is_given_up_in_time() {
    use std::time::Duration;
    let world = World::new().await;
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1, command: sleep, args: ['60'], interactiveMode: Never}";
    let mut target = world.target("", user);
    target.request_timeout = Some(Duration::from_millis(50));
    let error = whoami(&Client::new(&target).unwrap()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "getting credentials: exec: executable sleep gave no answer within 50ms: --request-timeout lets it take longer"
    );
    // Zero is for ever.
    let mut target = world.target("", &plugin(&world, ""));
    target.request_timeout = Some(Duration::ZERO);
    assert_eq!(whoami(&Client::new(&target).unwrap()).await.unwrap().unwrap_err().code, 401);
}
