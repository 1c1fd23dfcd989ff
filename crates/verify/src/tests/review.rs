//! What the API server says besides.

use super::*;
use crate::{Review, ReviewConfig, ReviewError, ReviewStatus, WithoutReview};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Api {
    asked: AtomicUsize,
    answer: Mutex<Result<ReviewStatus, ReviewError>>,
    held: watch::Sender<bool>,
}

#[async_trait]
impl Review for Api {
    async fn review(&self, token: &str, audiences: &[String]) -> Result<ReviewStatus, ReviewError> {
        let for_health = token == "is-anybody-there" && audiences.is_empty();
        assert!(for_health || (token.split('.').count() == 3 && audiences == [AUDIENCE]));
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        let answer = self.answer.lock().unwrap().clone();
        assert!(
            answer.as_ref().is_ok() || answer.as_ref().is_err_and(|e| e.to_string() != "panic"),
            "told to panic"
        );
        answer
    }
}

fn accepts() -> ReviewStatus {
    ReviewStatus {
        authenticated: true,
        username: "system:serviceaccount:pay:api".into(),
        uid: "c1c3d9be".into(),
        audiences: vec![AUDIENCE.into()],
        error: String::new(),
    }
}

fn world(key: &PrivateKey, change: impl FnOnce(&mut ReviewConfig)) -> (World, Arc<Api>) {
    let api = Arc::new(Api {
        asked: AtomicUsize::new(0),
        answer: Mutex::new(Ok(accepts())),
        held: watch::Sender::new(false),
    });
    let mut review = ReviewConfig::new(api.clone());
    change(&mut review);
    (World::with(&[key], |c| c.review = Some(review)), api)
}

fn asked(api: &Api) -> usize {
    api.asked.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_yes_and_a_no_count_for_a_while() {
    let key = es256();
    let (world, api) = world(&key, |r| r.refused_for = Duration::from_secs(5));
    let token = world.token(&key);
    for _ in 0..3 {
        world.verify(&token).await.unwrap();
    }
    assert_eq!(asked(&api), 1);
    *api.answer.lock().unwrap() =
        Ok(ReviewStatus { error: "pods \"api-0\" not found".into(), ..ReviewStatus::default() });
    world.clock.advance(Duration::from_millis(9999));
    world.verify(&token).await.unwrap();
    world.clock.advance(Duration::from_millis(1));
    for _ in 0..3 {
        assert_eq!(world.verify(&token).await, Err(Rejection::Reviewed));
    }
    assert_eq!(asked(&api), 2);
    *api.answer.lock().unwrap() = Ok(accepts());
    world.clock.advance(Duration::from_secs(5));
    world.verify(&token).await.unwrap();
    assert_eq!(counter(&world.verifier, "tokensmith_verify_reviews_total{result=\"accepted\"}"), 2);
    assert_eq!(counter(&world.verifier, "tokensmith_verify_reviews_total{result=\"refused\"}"), 1);
    // What does not hold by itself is nothing to ask about.
    assert!(world.verify(&world.token(&es256())).await.is_err());
    assert_eq!(asked(&api), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_ask_once() {
    let key = es256();
    let (world, api) = world(&key, |_| {});
    let token = world.token(&key);
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (verifier, token) = (world.verifier.clone(), token.clone());
            tokio::spawn(async move { verifier.verify(&token).await.map(drop) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(asked(&api), 1);
}

#[tokio::test]
async fn an_answer_about_someone_else_is_a_no() {
    let key = es256();
    let other = |change: fn(&mut ReviewStatus)| {
        let mut status = accepts();
        change(&mut status);
        status
    };
    for status in [
        other(|s| s.authenticated = false),
        other(|s| s.username = "system:serviceaccount:pay:api2".into()),
        other(|s| s.uid = "made anew".into()),
        other(|s| s.uid.clear()),
        other(|s| s.audiences.clear()),
        other(|s| s.audiences = vec!["vault".into()]),
        other(|s| s.error = "x".into()),
    ] {
        let (world, api) = world(&key, |_| {});
        *api.answer.lock().unwrap() = Ok(status.clone());
        assert_eq!(world.verify(&world.token(&key)).await, Err(Rejection::Reviewed), "{status:?}");
    }
}

#[tokio::test]
async fn without_an_answer() {
    let key = es256();
    for error in ["connection refused", "panic"] {
        let (strict, api) = world(&key, |_| {});
        *api.answer.lock().unwrap() = Err(ReviewError::Unavailable(tokensmith_client::Error::failed(error)));
        let token = strict.token(&key);
        for _ in 0..3 {
            assert_eq!(strict.verify(&token).await, Err(Rejection::ReviewUnavailable));
        }
        assert_eq!(asked(&api), 1, "not at once again");
        *api.answer.lock().unwrap() = Ok(accepts());
        strict.clock.advance(Duration::from_secs(1));
        strict.verify(&token).await.unwrap();

        let (lenient, api) = world(&key, |r| r.without = WithoutReview::RelyOnToken);
        *api.answer.lock().unwrap() = Err(ReviewError::Unavailable(tokensmith_client::Error::failed(error)));
        lenient.verify(&lenient.token(&key)).await.unwrap();
        // A no is a no, all the same.
        *api.answer.lock().unwrap() = Ok(ReviewStatus::default());
        assert_eq!(lenient.verify(&lenient.token(&key)).await, Err(Rejection::Reviewed));
    }
}

#[tokio::test]
async fn a_silent_api_server_costs_a_bounded_wait() {
    let key = es256();
    let (world, api) = world(&key, |r| r.deadline = Duration::from_millis(30));
    api.held.send_replace(true);
    let token = world.token(&key);
    assert_eq!(world.verify(&token).await, Err(Rejection::ReviewUnavailable));
    api.held.send_replace(false);
    world.clock.advance(Duration::from_secs(1));
    let answered = async {
        while world.verify(&token).await.is_err() {
            world.clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.unwrap();
}

#[tokio::test]
async fn who_leaves_does_not_end_the_question() {
    let key = es256();
    let (world, api) = world(&key, |_| {});
    world.verifier.warm().await.unwrap();
    api.held.send_replace(true);
    let token = world.token(&key);
    let (verifier, same) = (world.verifier.clone(), token.clone());
    let first = tokio::spawn(async move { verifier.verify(&same).await.map(drop) });
    settle().await;
    let (verifier, same) = (world.verifier.clone(), token.clone());
    let second = tokio::spawn(async move { verifier.verify(&same).await.map(drop) });
    settle().await;
    first.abort();
    settle().await;
    api.held.send_replace(false);
    assert_eq!(second.await.unwrap(), Ok(()));
    assert_eq!(asked(&api), 1);
}

#[tokio::test]
async fn health_tells_whether_it_is_answered() {
    let key = es256();
    let (world, api) = world(&key, |_| {});
    let (verifier, clock) = (&world.verifier, &world.clock);
    verifier.reviews().await.unwrap();
    assert_eq!(asked(&api), 1, "nobody had asked yet");
    for error in ["tokenreviews.authentication.k8s.io is forbidden", "panic"] {
        *api.answer.lock().unwrap() = Err(ReviewError::Unavailable(tokensmith_client::Error::failed(error)));
        world.verify(&world.token(&key)).await.unwrap_err();
        let before = asked(&api);
        let ill = verifier.reviews().await.unwrap_err().to_string();
        assert!(ill.starts_with("the API server cannot review tokens: "), "{ill}");
        assert!(error == "panic" || ill.ends_with(error), "{ill}");
        assert_eq!(asked(&api), before, "as it was just now");
        // It has come back, and nobody has a token to show: it is not ill for ever.
        *api.answer.lock().unwrap() = Ok(ReviewStatus::default());
        clock.advance(Duration::from_secs(1));
        verifier.reviews().await.unwrap();
        verifier.reviews().await.unwrap();
        assert_eq!(asked(&api), before + 1);
        clock.advance(Duration::from_secs(10));
    }
    *api.answer.lock().unwrap() = Err(ReviewError::NoStatus);
    let ill = verifier.reviews().await.unwrap_err().to_string();
    assert_eq!(ill, "the API server cannot review tokens: the server's TokenReview has no status");
    let (offline, _) = (World::with(&[&key], |_| {}), ());
    offline.verifier.reviews().await.unwrap();
}
