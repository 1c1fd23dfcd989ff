//! Tokens from an API server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use time::OffsetDateTime;
use tokensmith_agent::api::{ApiError, PodRef};
use tokensmith_agent::refresh::RefreshError;
use tokensmith_agent::source::{TokenError, TokenRequestTemplate, TokenSource};
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;

use crate::world::*;

const HOUR: Duration = Duration::from_secs(3600);

struct Place {
    clock: Arc<ManualClock>,
    api: Arc<FakeApi>,
    source: TokenSource,
}

fn place() -> Place {
    let clock = Arc::new(ManualClock::new(START));
    place_by(clock.clone(), clock)
}

/// The source goes by `seen`, which shows `clock`.
fn place_by(clock: Arc<ManualClock>, seen: Arc<dyn Clock>) -> Place {
    let api = FakeApi::new(clock.clone());
    let source = TokenSource::api(api.clone(), template(), seen);
    Place { clock, api, source }
}

/// A clock that may be bad.
#[derive(Debug)]
struct BadClock {
    clock: Arc<ManualClock>,
    /// Who waits for it next, as the keeper does, panics.
    panics: AtomicBool,
    /// What it shows may be a second less than it was a moment ago. `None`: it shows the time.
    trembles: Option<Mutex<u64>>,
}

impl BadClock {
    fn place(trembles: bool) -> (Place, Arc<Self>) {
        let clock = Arc::new(ManualClock::new(START));
        let trembles = trembles.then(|| Mutex::new(1));
        let bad = Arc::new(BadClock { clock: clock.clone(), panics: AtomicBool::new(false), trembles });
        (place_by(clock, bad.clone()), bad)
    }

    /// The keeper panics, and rests.
    async fn fell_the_keeper(&self) {
        self.panics.store(true, Ordering::SeqCst);
        self.clock.advance(Duration::from_secs(1));
        until("a panic", || async { !self.panics.load(Ordering::SeqCst) }).await;
    }
}

impl Clock for BadClock {
    fn now(&self) -> OffsetDateTime {
        let Some(state) = &self.trembles else { return self.clock.now() };
        let mut state = state.lock().unwrap();
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.clock.now() - Duration::from_secs(*state >> 63)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep_until(&self, deadline: OffsetDateTime) -> BoxFuture<'_, ()> {
        self.clock.sleep_until(deadline)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        self.clock.sleep(span)
    }

    fn look_again(&self, _: OffsetDateTime, after: Duration) -> BoxFuture<'_, ()> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "told to panic");
        self.clock.look_again(self.clock.now(), after)
    }
}

impl Place {
    async fn token(&self, audience: &str) -> Result<String, TokenError> {
        let token = self.source.token(Some(audience)).await?;
        Ok(token.token.expose_str().unwrap().to_owned())
    }

    fn refreshes(&self, audience: &str) -> u64 {
        let wanted = Some(audience.to_owned()).filter(|a| !a.is_empty());
        self.source.status().iter().find(|t| t.audience == wanted).map_or(0, |t| t.refreshes)
    }
}

#[tokio::test]
async fn one_request_for_a_thousand_callers() {
    let place = place();
    let asked = futures::future::join_all((0..1000).map(|_| place.token("a"))).await;
    assert!(asked.iter().all(|token| *token.as_ref().unwrap() == jwt("a", START + HOUR, 0)));
    assert_eq!(place.api.calls(), 1);
    place.token("b").await.unwrap();
    assert_eq!(place.api.calls(), 2);
}

#[tokio::test]
async fn the_request_says_for_whom() {
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    let pod = Some(PodRef { name: "web-0".into(), uid: "u".into() });
    let template = TokenRequestTemplate { pod: pod.clone(), expiration_seconds: Some(600), ..template() };
    let source = TokenSource::api(api.clone(), template, clock);
    source.token(Some("vault")).await.unwrap();
    source.token(None).await.unwrap();
    let specs = api.specs.lock().unwrap().clone();
    assert_eq!((specs[0].namespace.as_str(), specs[0].account.as_str()), ("team-a", "web"));
    assert_eq!((&specs[0].audiences, &specs[1].audiences), (&vec!["vault".to_owned()], &vec![]));
    assert_eq!((specs[0].expiration_seconds, &specs[0].pod), (Some(600), &pod));
}

#[tokio::test]
async fn a_token_is_replaced_in_the_background_by_80_percent() {
    let place = place();
    place.token("a").await.unwrap();
    for refreshes in 2..5 {
        // Anywhere in the first period, then at 76 to 80 %.
        place.clock.advance(Duration::from_secs(2880));
        until("a refresh", || async { place.refreshes("a") == refreshes }).await;
        assert_eq!(place.api.calls() as u64, refreshes);
        // Who asks keeps it alive; nobody waits.
        assert!(place.source.cached(Some("a")).is_some());
    }
}

#[tokio::test]
async fn the_last_good_token_is_served_while_it_is_good() {
    let place = place();
    let first = place.token("a").await.unwrap();
    place.api.fail("a", Some(ApiError::Unreachable("down".into())));
    for _ in 0..35 {
        place.clock.advance(Duration::from_secs(100));
        assert_eq!(place.token("a").await.unwrap(), first);
    }
    until("a failure", || async { place.source.status()[0].failures > 0 }).await;
    place.source.healthy().await.unwrap();
    place.clock.advance(Duration::from_secs(100));
    let error = place.token("a").await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get a token: down");
    assert!(place.source.healthy().await.is_err());
    place.api.fail("a", None);
    place.clock.advance(Duration::from_secs(240));
    assert_ne!(place.token("a").await.unwrap(), first);
    place.source.healthy().await.unwrap();
}

#[tokio::test]
async fn failures_are_not_hammered() {
    let place = place();
    place.api.fail("a", Some(status(403, "forbidden")));
    // Until the back-off has passed the last answer stands. It may be short by chance.
    for _ in 0..1000 {
        let error = place.token("a").await.unwrap_err();
        assert_eq!(error.to_string(), "cannot get a token: forbidden");
    }
    assert!(place.api.calls() <= 3, "{}", place.api.calls());
    place.api.fail("a", None);
    place.clock.advance(Duration::from_secs(60));
    place.token("a").await.unwrap();
}

#[tokio::test]
async fn audiences_that_get_no_answer_leave_room_for_others() {
    let place = place();
    for n in 0..8 {
        let bad = format!("bad{n}");
        place.api.fail(&bad, Some(status(503, "busy")));
        place.token(&bad).await.unwrap_err();
    }
    place.api.answers.forget_permits(1 << 20);
    let before = place.api.calls();
    place.clock.advance(Duration::from_secs(60));
    until("requests for those that have failed", || async { place.api.calls() == before + 2 }).await;
    let last = || place.api.specs.lock().unwrap().last().unwrap().audiences.clone();
    tokio::select! {
        _ = place.token("good") => panic!("nothing is answered"),
        () = until("a request for another", || async { last() == ["good"] }) => {}
    }
    assert_eq!(place.api.calls(), before + 3);
}

#[tokio::test]
async fn an_audience_that_came_to_nothing_is_left_alone() {
    let place = place();
    place.api.fail("a", Some(status(422, "no such audience")));
    place.token("a").await.unwrap_err();
    let calls = place.api.calls();
    for _ in 0..60 {
        place.clock.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    assert!(place.api.calls() <= calls + 1, "nobody asks for it any more");
    place.clock.advance(Duration::from_secs(60));
    until("given up", || async { place.source.status().is_empty() }).await;
}

#[tokio::test]
async fn the_number_of_audiences_is_bounded() {
    let place = place();
    for n in 0..16 {
        place.token(&format!("a{n}")).await.unwrap();
    }
    let refused = place.token("more").await.unwrap_err();
    assert!(matches!(refused, TokenError::TooManyAudiences(16)), "{refused}");
    assert_eq!(place.api.calls(), 16);
    // Who was not used for an hour gives way to who is asked for.
    place.clock.advance(Duration::from_secs(1800));
    for n in 1..16 {
        place.token(&format!("a{n}")).await.unwrap();
    }
    place.clock.advance(Duration::from_secs(1801));
    place.token("more").await.unwrap();
    let held = place.source.status();
    assert!(held.len() <= 16 && !held.iter().any(|t| t.audience.as_deref() == Some("a0")));
}

#[tokio::test]
async fn those_that_came_to_nothing_give_way_first() {
    let place = place();
    for n in 0..15 {
        place.token(&format!("a{n}")).await.unwrap();
    }
    place.api.fail("bad", Some(status(422, "no")));
    place.token("bad").await.unwrap_err();
    place.clock.advance(Duration::from_secs(60));
    place.token("good").await.unwrap();
    assert!(!place.source.status().iter().any(|t| t.audience.as_deref() == Some("bad")));
}

#[tokio::test]
async fn an_audience_that_nobody_wants_is_given_up() {
    let place = place();
    place.token("a").await.unwrap();
    for _ in 0..20 {
        place.clock.advance(Duration::from_secs(600));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    until("given up", || async { place.source.status().is_empty() }).await;
    let calls = place.api.calls();
    assert!(calls <= 4, "{calls}");
    place.token("a").await.unwrap();
    assert_eq!(place.api.calls(), calls + 1);
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let place = place();
    let token = place.source.token(Some("a")).await.unwrap();
    for _ in 0..100 {
        place.source.rejected(Some("a"), &token);
    }
    until("a new token", || async { place.refreshes("a") == 2 }).await;
    let second = place.source.token(Some("a")).await.unwrap();
    assert_ne!(second.token, token.token);
    // An old one says nothing of the new one, and the new one is not asked for again so soon.
    place.source.rejected(Some("a"), &token);
    place.source.rejected(Some("a"), &second);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.api.calls(), 2);
    place.clock.advance(Duration::from_secs(31));
    place.source.rejected(Some("a"), &second);
    until("another", || async { place.api.calls() == 3 }).await;
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_no_token_live_longer() {
    let place = place();
    let first = place.token("a").await.unwrap();
    place.clock.set(START - 3 * HOUR);
    // Real time goes on, from there: by now the token should have been replaced, and it still is good.
    place.clock.advance(Duration::from_secs(3000));
    assert_eq!(place.token("a").await.unwrap(), first);
    until("a new token, without waiting for it", || async { place.refreshes("a") == 2 }).await;
    assert!(place.clock.now() < START);
    // And this is its end, though the clock says that there are hours left.
    let place = self::place();
    place.token("a").await.unwrap();
    place.api.fail("a", Some(status(500, "out of order")));
    place.clock.set(START - 3 * HOUR);
    place.clock.advance(Duration::from_secs(3600));
    assert!(place.token("a").await.is_err());
}

#[tokio::test]
async fn a_clock_that_goes_back_while_nobody_looks_makes_no_token_live_longer() {
    let (place, clock) = BadClock::place(false);
    place.token("a").await.unwrap();
    clock.fell_the_keeper().await;
    place.clock.jump(START - 3 * HOUR);
    place.clock.advance(Duration::from_secs(3000));
    until("a new token", || async { place.refreshes("a") == 2 }).await;
}

#[tokio::test]
async fn a_token_that_has_ended_is_replaced_though_the_clock_has_crept_back() {
    let place = place();
    let first = place.token("a").await.unwrap();
    for n in 0..900 {
        place.clock.advance(Duration::from_secs(4));
        // Another time each time: the keeper looks.
        place.clock.jump(START + Duration::from_millis(n));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    let another = tokio::time::timeout(Duration::from_secs(10), place.token("a")).await.unwrap();
    assert_ne!(another.unwrap(), first);
}

#[tokio::test]
async fn a_clock_that_trembles_loses_no_token() {
    let (place, _) = BadClock::place(true);
    let audiences: Vec<_> = (0..16).map(|n| format!("a{n}")).collect();
    for audience in &audiences {
        place.token(audience).await.unwrap();
    }
    for _ in 0..2 * 2881 {
        place.clock.advance(Duration::from_millis(500));
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    let all = || audiences.iter().all(|audience| place.refreshes(audience) >= 2);
    until("all replaced", || async { all() }).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_puts_off_no_retry() {
    let place = place();
    place.api.fail("a", Some(status(403, "forbidden")));
    place.token("a").await.unwrap_err();
    place.api.fail("a", None);
    place.clock.jump(START - 30 * 24 * HOUR);
    place.clock.advance(Duration::from_secs(60));
    place.token("a").await.unwrap();
}

#[tokio::test]
async fn a_token_that_was_asked_for_before_the_clock_was_set_back_is_replaced_in_time() {
    let place = place();
    place.api.answers.forget_permits(1 << 20);
    let answered = async {
        until("a request", || async { place.api.calls() == 1 }).await;
        place.clock.jump(START - 2 * HOUR);
        // The keeper sees the jump before the answer comes, or after it.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        place.api.answers.add_permits(10);
    };
    tokio::join!(place.token("a"), answered).0.unwrap();
    place.clock.advance(Duration::from_secs(2880));
    until("another token", || async { place.refreshes("a") == 2 }).await;
}

#[tokio::test]
async fn nothing_goes_on_when_the_source_is_gone() {
    let Place { clock, api, source } = place();
    source.token(Some("a")).await.unwrap();
    drop(source);
    for _ in 0..50 {
        clock.advance(Duration::from_secs(600));
        tokio::task::yield_now().await;
    }
    assert_eq!(api.calls(), 1);
    until("all is let go", || async { Arc::strong_count(&api) == 1 }).await;
}

#[tokio::test]
async fn who_gives_up_waiting_stops_nothing() {
    let place = place();
    place.api.answers.forget_permits(1 << 20);
    let impatient = tokio::time::timeout(Duration::from_millis(20), place.token("a")).await;
    assert!(impatient.is_err());
    place.api.answers.add_permits(10);
    place.token("a").await.unwrap();
    assert_eq!(place.api.calls(), 1);
}

#[tokio::test]
async fn a_request_that_panics_is_a_failure_of_its_own_audience() {
    let place = place();
    place.api.answers.forget_permits(1 << 20);
    *place.api.panics.lock().unwrap() = Some("bad".into());
    let bad = async {
        until("a request", || async { place.api.calls() == 1 }).await;
        let error = place.token("bad").await.unwrap_err();
        place.api.answers.add_permits(1);
        error.to_string()
    };
    let (good, bad) = tokio::join!(place.token("good"), bad);
    assert_eq!(bad, "cannot get a token: the request has panicked");
    good.unwrap();
    let asked = |name: &str| place.api.specs.lock().unwrap().iter().filter(|s| s.audiences == [name]).count();
    assert_eq!(asked("good"), 1);
}

#[tokio::test]
async fn who_waits_is_served_though_the_keeper_panics() {
    let (place, clock) = BadClock::place(false);
    place.api.answers.forget_permits(1 << 20);
    let panics = async {
        until("a request", || async { place.api.calls() == 1 }).await;
        clock.fell_the_keeper().await;
        place.api.answers.add_permits(10);
        until("another request", || async {
            // No longer than the keeper rests: much later the audience is given up, and made anew.
            if place.clock.monotonic() < Duration::from_secs(60) {
                place.clock.advance(Duration::from_secs(1));
            }
            place.api.calls() > 1
        })
        .await;
    };
    tokio::join!(place.token("a"), panics).0.unwrap();
}

#[tokio::test]
async fn nonsense_is_no_token() {
    let clock = Arc::new(ManualClock::new(START));
    let mut api = FakeApi::new(clock.clone());
    Arc::get_mut(&mut api).unwrap().lifetime = 0;
    let source = TokenSource::api(api, template(), clock);
    let error = source.token(None).await.unwrap_err();
    assert!(matches!(error, TokenError::Refresh(RefreshError::Reply(_))), "{error}");
}
