//! `run`, as the command uses it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use tokensmith_agent::observe::Observed;
use tokensmith_agent::projector::Kept;

use crate::world::{World, all, config, name};

#[tokio::test(start_paused = true)]
async fn a_run_keeps_the_volumes_until_it_is_told_to_stop() {
    let World { clock, api, disk, mut projector, .. } = World::new().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let run = projector.run(async { stopped.await.unwrap_or_default() });
    let drive = async {
        for n in 2..10 {
            clock.advance(std::time::Duration::from_secs(3000));
            let mut turns = 0;
            while api.asked().len() < n {
                turns += 1;
                assert!(turns < 100_000, "no request {n}");
                tokio::task::yield_now().await;
            }
        }
        stop.send(()).unwrap();
    };
    tokio::join!(run, drive);
    let state = disk.state(&name("web")).unwrap();
    let state = tokensmith_agent::projector::state::State::read(&state).unwrap();
    assert!(state.updated > crate::world::START + std::time::Duration::from_secs(8 * 3000 - 1));
}

/// Meanwhile it is not well, and the next one has the token renewed that the first one could not write.
#[tokio::test(start_paused = true)]
async fn a_run_that_panics_shows_and_is_followed_by_another() {
    let World { clock, api, disk, projector, .. } = World::new().await;
    drop(projector);
    let (kept, projector) = Kept::new(config(&clock, &api, &disk, all())).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (stopped, mut runs) = (stopped.map(drop).boxed().shared(), 0);
    let run = kept.run(projector, stopped.clone(), async |projector| {
        runs += 1;
        projector.run(stopped.clone()).await;
    });
    let until = async |well: bool, advance: Duration| {
        // The disk works on a thread of its own: time must not run to the token's alarm while it does.
        let mut left = Duration::from_secs(49 * 60);
        for _ in 0..1_000_000 {
            if kept.health().await.is_ok() == well {
                return;
            }
            clock.advance(advance.min(left));
            left = left.saturating_sub(advance);
            tokio::task::yield_now().await;
        }
        panic!("never");
    };
    let drive = async {
        disk.panics.store(true, Ordering::Relaxed);
        until(false, Duration::from_secs(10)).await;
        let before = api.asked().len();
        let why = kept.health().await.unwrap_err().to_string();
        assert!(why.contains("has panicked"), "{why}");
        until(true, Duration::from_millis(100)).await;
        for _ in 0..100_000 {
            if api.asked().len() > before {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(api.asked().len() > before, "no token was asked for again");
        stop.send(()).unwrap();
    };
    let (ended, ()) = tokio::join!(run, drive);
    assert_eq!(ended.unwrap(), Some(()));
    assert_eq!(runs, 2);
}

/// Once while it rests, and once while what the first one was writing hangs.
#[tokio::test(start_paused = true)]
async fn an_end_is_seen_while_the_next_one_is_waited_for() {
    for hangs in [false, true] {
        let World { clock, api, disk, projector, .. } = World::new().await;
        drop(projector);
        let (kept, projector) = Kept::new(config(&clock, &api, &disk, all())).unwrap();
        let _writes = hangs.then(|| disk.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = stopped.map(drop).boxed().shared();
        let mut runs = 0;
        let mut run = Box::pin(kept.run(projector, stopped, async |_| {
            runs += 1;
            panic!("a test's");
        }));
        assert!(run.as_mut().now_or_never().is_none());
        if hangs {
            clock.advance(Duration::from_secs(1));
            assert!(run.as_mut().now_or_never().is_none());
        }
        stop.send(()).unwrap();
        let mut seconds = 0;
        let ended = loop {
            match run.as_mut().now_or_never() {
                Some(ended) => break ended,
                None => clock.advance(Duration::from_secs(1)),
            }
            seconds += 1;
            assert!(seconds < 10, "it waits for the disk");
        };
        assert_eq!(ended.unwrap(), None::<()>);
        assert_eq!(seconds, if hangs { 5 } else { 0 });
        drop(run);
        assert_eq!(runs, 1, "no other was begun");
    }
}

/// What is written last panics: the end has come all the same, and is not asked for again.
#[tokio::test(start_paused = true)]
async fn a_panic_after_the_end_is_the_end() {
    let World { clock, api, disk, projector, .. } = World::new().await;
    drop(projector);
    let (kept, projector) = Kept::new(config(&clock, &api, &disk, all())).unwrap();
    let end = async {}.boxed().shared();
    let mut runs = 0;
    let ended = kept.run(projector, end.clone(), async |projector| {
        runs += 1;
        projector.run(end.clone()).await;
        panic!("a test's");
    });
    assert_eq!(ended.now_or_never().expect("it has ended").unwrap(), None::<()>);
    assert_eq!(runs, 1);
}
