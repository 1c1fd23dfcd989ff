//! `run`, as the command uses it.

use futures::channel::oneshot;

use crate::world::World;

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
    let state = disk.state(&crate::world::name("web")).unwrap();
    let state = tokensmith_agent::projector::state::State::read(&state).unwrap();
    assert!(state.updated > crate::world::START + std::time::Duration::from_secs(8 * 3000 - 1));
}
