//! Clocks that jump, and clocks that differ.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::world::{START, World};

fn minutes(m: i64) -> time::Duration {
    time::Duration::minutes(m)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_forwards_makes_due_what_is_due() {
    let mut world = World::new().await;
    let token = world.jti("web");
    world.clock.jump(START + minutes(10));
    world.settle().await;
    world.pass(1).await;
    // Nobody is alarmed by a machine that slept: one request and all is well.
    world.clock.jump(world.now() + minutes(600));
    world.settle().await;
    assert_ne!(world.jti("web"), token);
    assert!(world.left() > 3590);
    assert!(world.healthy());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_with_the_servers_has_tokens_of_the_future_replaced() {
    let mut world = World::new().await;
    let token = world.jti("web");
    world.pass(60).await;
    // The tests' server shows the same clock.
    world.clock.jump(world.now() - minutes(30));
    world.settle().await;
    assert_ne!(world.jti("web"), token);
    let claims = world.claims("web", "token").unwrap();
    assert!(claims["iat"].as_i64().unwrap() <= world.now().unix_timestamp());
    assert_eq!(world.asked(), 2);
    world.pass(7200).await;
    assert!(world.least > 0 && world.healthy());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_makes_no_token_younger() {
    let mut world = World::new().await;
    // The agent's clock is half an hour ahead of the server's, until someone sets it right.
    world.api.set_ahead(minutes(-30));
    world.pass_first_period().await;
    world.pass(2400).await;
    world.asked();
    let token = world.jti("web");
    let due = world.due();
    world.clock.jump(world.now() - minutes(30));
    world.api.set_ahead(minutes(0));
    world.settle().await;
    assert_eq!((world.jti("web"), world.asked()), (token, 0));
    world.least = i64::MAX;
    assert!((world.due() - (due - minutes(30))).abs() < Duration::from_secs(1));
    world.pass(1000).await;
    assert_eq!(world.asked(), 1);
    assert!(world.least >= 0, "{}", world.least);
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_make_no_loop() {
    for ahead in [-600, -10, 10, 600] {
        let mut world = World::new().await;
        world.api.set_ahead(minutes(ahead));
        world.pass_first_period().await;
        world.pass(86400).await;
        let asked = world.asked();
        assert!((30..=33).contains(&asked), "{ahead}: {asked}");
        assert!(world.healthy());
        // By the agent's clock the file's times are off by so much, and no more.
        let left = world.left() - ahead * 60;
        assert!((600..=3600).contains(&left), "{ahead}: {left}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_puts_off_no_retry() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    world.disk.full.store(true, Ordering::Relaxed);
    world.pass(3300).await;
    world.clock.jump(world.now() - minutes(30));
    world.settle().await;
    world.disk.full.store(false, Ordering::Relaxed);
    world.pass(121).await;
    assert!(world.healthy() && world.left() > 3400, "{:?}", world.projector.health());
}
