//! `POST /admin/v1/backup`.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tokensmith_core::backup::{Decoder, Finished, ReadError, Record};
use tokensmith_core::store::Expect;
use tower::ServiceExt;

use crate::world::{ADMIN, JANE, World};

const PATH: &str = "/admin/v1/backup";

fn read(bytes: &[u8]) -> Result<(Vec<Record>, Finished), ReadError> {
    let (mut decoder, mut records) = (Decoder::default(), Vec::new());
    decoder.push(bytes);
    while let Some(record) = decoder.record()? {
        records.push(record);
    }
    Ok((records, decoder.finish()?))
}

/// More than waits for a reader who does not read.
async fn fill(world: &World) {
    for n in 0..40 {
        let key = format!("/registry/configmaps/default/{n}");
        world.store.put(&key, vec![b'x'; 100_000].into(), Expect::Any).await.unwrap();
    }
}

/// The first line about a backup, once it is there.
async fn line(world: &World) -> Value {
    let about = || world.audit().into_iter().find(|line| line["action"] == "backup");
    world.until("a line", || async { about().is_some() }).await;
    about().unwrap()
}

/// A response that nobody has read yet.
async fn begun(world: &World) -> axum::response::Response {
    let request =
        Request::builder().method("POST").uri(PATH).header("authorization", format!("Bearer {ADMIN}"));
    world.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_backup_is_whole_and_leaves_an_audit_line() {
    let world = World::new().await;
    fill(&world).await;
    let answer = world.send("POST", PATH, Some(ADMIN), &[], br#"{"reason":"nightly"}"#.to_vec()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/vnd.tokensmith.backup")
    );
    let (records, finished) = read(&answer.bytes).unwrap();
    // The server's own tasks write meanwhile.
    assert!(finished.trailer.revision >= finished.header.revision && finished.header.revision >= 40);
    let filled = |r: &&Record| matches!(r, Record::Entry(entry) if entry.value.len() == 100_000);
    assert_eq!(records.iter().filter(filled).count(), 40);
    let line = line(&world).await;
    assert_eq!(
        (&line["user"], &line["decision"], &line["reason"], &line["code"]),
        (&Value::from("admin"), &"allow".into(), &"nightly".into(), &200.into())
    );
}

#[tokio::test]
async fn who_may_not_is_refused_and_that_is_audited_too() {
    let world = World::new().await;
    assert_eq!(world.send("POST", PATH, Some(JANE), &[], Vec::new()).await.status, 403);
    let line = line(&world).await;
    assert_eq!((&line["user"], &line["decision"]), (&Value::from("jane"), &"deny".into()));
    let wrong = world.send("POST", PATH, Some(ADMIN), &[], br#"{"reasn":"x"}"#.to_vec()).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn one_backup_is_made_at_a_time() {
    let world = World::new().await;
    fill(&world).await;
    let first = begun(&world).await;
    let second = world.send("POST", PATH, Some(ADMIN), &[], Vec::new()).await;
    assert_eq!((second.status.as_u16(), second.header("retry-after")), (429, "10"));
    let bytes = first.into_body().collect().await.unwrap().to_bytes();
    read(&bytes).unwrap();
    let third = world.send("POST", PATH, Some(ADMIN), &[], Vec::new()).await;
    assert_eq!(third.status, 200);
}

#[tokio::test]
async fn a_reader_who_goes_away_frees_the_turn() {
    let world = World::new().await;
    fill(&world).await;
    drop(begun(&world).await);
    for _ in 0..1000 {
        if world.send("POST", PATH, Some(ADMIN), &[], Vec::new()).await.status == 200 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the turn is never free again");
}

#[tokio::test]
async fn a_stop_breaks_a_backup_off_and_nobody_takes_the_half_for_the_whole() {
    let world = World::new().await;
    fill(&world).await;
    let begun = begun(&world).await;
    world.stop.send_replace(true);
    let mut body = begun.into_body();
    let mut half = Vec::new();
    let ended = loop {
        match body.frame().await {
            Some(Ok(frame)) => half.extend_from_slice(&frame.into_data().unwrap_or_default()),
            ended => break ended,
        }
    };
    assert!(matches!(ended, Some(Err(_))), "the connection is not ended as if all were there");
    assert!(matches!(read(&half), Err(ReadError::Cut { .. })));
}
