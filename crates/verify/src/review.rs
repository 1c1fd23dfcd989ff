//! What the API server says of a token that holds by itself: it knows whether the account, the pod and the token are
//! still there. Asked once per token and while, for all who bring it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use quick_cache::sync::Cache;
use tokensmith_client::Refusal;
use tokensmith_core::Clock;
use tokio::sync::{Semaphore, watch};

use super::cache::TokenDigest;
use super::keys::Moment;
use super::metrics::Metrics;
use super::{NoReviews, Rejection, Verified};

/// Asks an API server (`POST …/tokenreviews`). The real one is behind `tokensmith-client`; tests have one in memory.
#[async_trait]
pub trait Review: Send + Sync {
    /// Whether a token is good for one of `audiences` at this moment.
    ///
    /// # Errors
    /// There is no answer, or none that makes sense; why, in one line without the token.
    async fn review(&self, token: &str, audiences: &[String]) -> Result<ReviewStatus, ReviewError>;
}

/// Why there is no answer, in one line without the token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReviewError {
    /// Its answer is no TokenReview with a status.
    #[error("the server's TokenReview has no status")]
    NoStatus,
    /// The server does not let the caller review tokens, or fails.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// There is no answer.
    #[error(transparent)]
    Unavailable(#[from] tokensmith_client::Error),
}

/// A TokenReview's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewStatus {
    /// Whether it is good.
    pub authenticated: bool,
    /// `user.username`
    pub username: String,
    /// `user.uid`
    pub uid: String,
    /// Those of the audiences asked for that it is for.
    pub audiences: Vec<String>,
    /// Why it is not good; for the log.
    pub error: String,
}

/// What to do without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutReview {
    /// Let nobody in.
    #[default]
    Refuse,
    /// Rely on what the token itself says.
    RelyOnToken,
}

/// How the API server is asked.
#[derive(Clone)]
pub struct ReviewConfig {
    /// Whom to ask.
    pub review: Arc<dyn Review>,
    /// How long a yes counts. Default 10 s, as inside an API server.
    pub accepted_for: Duration,
    /// How long a no counts. Default 10 s.
    pub refused_for: Duration,
    /// How long a request waits for an answer. Default 5 s.
    pub deadline: Duration,
    /// What to do without one.
    pub without: WithoutReview,
    /// How many answers are remembered. Default 16,384: some 2 MiB.
    pub entries: usize,
}

impl ReviewConfig {
    /// With the defaults.
    pub fn new(review: Arc<dyn Review>) -> Self {
        ReviewConfig {
            review,
            accepted_for: Duration::from_secs(10),
            refused_for: Duration::from_secs(10),
            deadline: Duration::from_secs(5),
            without: WithoutReview::Refuse,
            entries: 16_384,
        }
    }
}

/// How long no answer counts: who brings the token again at once does not ask again at once.
const AWAY_FOR: Duration = Duration::from_secs(1);
/// How long it counts that it has answered, for whoever asks how it is.
const WELL_FOR: Duration = Duration::from_secs(10);
/// A token that nobody has: no server need look far.
const NOBODYS: &str = "is-anybody-there";
/// As many questions are on their way at once; the others wait in line, within their deadline.
const AT_ONCE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Away,
    Refused,
}

/// How the last question ended, and when.
type Last = (Result<(), NoReviews>, Moment);

type Flights = HashMap<TokenDigest, watch::Receiver<Option<Answer>>>;

/// Answers that were given, and questions on their way.
pub(super) struct Reviews {
    config: ReviewConfig,
    clock: Arc<dyn Clock>,
    answers: Cache<TokenDigest, (Answer, Moment)>,
    flights: Mutex<Flights>,
    last: Mutex<Option<Last>>,
    /// One asks for the sake of health at a time.
    asking: tokio::sync::Mutex<()>,
    turn: Semaphore,
    metrics: Arc<Metrics>,
}

impl Reviews {
    pub(super) fn new(config: ReviewConfig, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Reviews {
            answers: Cache::new(config.entries),
            flights: Mutex::default(),
            last: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            turn: Semaphore::new(AT_ONCE),
            config,
            clock,
            metrics,
        })
    }

    /// Whether the API server lets a token pass.
    pub(super) async fn check(
        self: &Arc<Self>,
        digest: TokenDigest,
        token: &str,
        verified: &Arc<Verified>,
    ) -> Result<(), Rejection> {
        let answer = match self.remembered(&digest) {
            Some(answer) => answer,
            None => self.ask(digest, token, verified).await,
        };
        match answer {
            Answer::Accepted => Ok(()),
            Answer::Refused => Err(Rejection::Reviewed),
            Answer::Away => match self.config.without {
                WithoutReview::Refuse => Err(Rejection::ReviewUnavailable),
                WithoutReview::RelyOnToken => Ok(()),
            },
        }
    }

    fn remembered(&self, digest: &TokenDigest) -> Option<Answer> {
        let (answer, at) = self.answers.get(digest)?;
        let counts_for = match answer {
            Answer::Accepted => self.config.accepted_for,
            Answer::Away => AWAY_FOR,
            Answer::Refused => self.config.refused_for,
        };
        (Moment::now(&*self.clock).since(&at) < counts_for).then_some(answer)
    }

    async fn ask(self: &Arc<Self>, digest: TokenDigest, token: &str, verified: &Arc<Verified>) -> Answer {
        let mut answer = {
            let mut flights = self.lock();
            match flights.get(&digest) {
                Some(flight) => flight.clone(),
                None => {
                    // Who ended the flight has remembered its answer before.
                    if let Some(answer) = self.remembered(&digest) {
                        return answer;
                    }
                    let (answers, flight) = watch::channel(None);
                    flights.insert(digest, flight.clone());
                    let away = Err(NoReviews("the question has broken off".into()));
                    let question =
                        Question { reviews: self.clone(), digest, answers, answer: Answer::Away, away };
                    tokio::spawn(question.ask(token.to_owned(), verified.clone()));
                    flight
                }
            }
        };
        let answered = tokio::time::timeout(self.config.deadline, answer.wait_for(Option::is_some)).await;
        answered.ok().and_then(|seen| seen.ok().and_then(|answer| *answer)).unwrap_or(Answer::Away)
    }

    /// Whether it answers.
    pub(super) async fn health(&self) -> Result<(), NoReviews> {
        if let Some(known) = self.known() {
            return known;
        }
        let _turn = self.asking.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let asked = self.config.review.review(NOBODYS, &[]);
        let answered = match tokio::time::timeout(self.config.deadline, asked).await {
            Ok(answer) => answer.map(drop).map_err(|error| NoReviews(error.to_string())),
            Err(_) => Err(self.late()),
        };
        self.ended(answered.clone());
        answered
    }

    /// How the last question ended, if that is not long ago.
    fn known(&self) -> Option<Result<(), NoReviews>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (ended, at) = last?;
        let counts_for = if ended.is_ok() { WELL_FOR } else { AWAY_FOR };
        (Moment::now(&*self.clock).since(&at) < counts_for).then_some(ended)
    }

    fn ended(&self, how: Result<(), NoReviews>) {
        let last = (how, Moment::now(&*self.clock));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    fn late(&self) -> NoReviews {
        NoReviews(format!("no answer within {:?}", self.config.deadline))
    }

    fn lock(&self) -> MutexGuard<'_, Flights> {
        // What it guards is whole at any moment.
        self.flights.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A question on its way, for all who wait for it; it does not end with the request that began it.
struct Question {
    reviews: Arc<Reviews>,
    digest: TokenDigest,
    answers: watch::Sender<Option<Answer>>,
    answer: Answer,
    /// Why there is none.
    away: Result<(), NoReviews>,
}

impl Question {
    async fn ask(mut self, token: String, verified: Arc<Verified>) {
        let config = &self.reviews.config;
        let asked = async {
            // Never closed.
            let _turn = self.reviews.turn.acquire().await.ok();
            config.review.review(&token, &verified.audiences).await
        };
        let subject = verified.subject.as_str();
        let answered = tokio::time::timeout(config.deadline, asked).await;
        self.away = match &answered {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(NoReviews(error.to_string())),
            Err(_) => Err(self.reviews.late()),
        };
        self.answer = match answered {
            Ok(Ok(status)) if agrees(&status, &verified) => Answer::Accepted,
            Ok(Ok(status)) => {
                tracing::debug!(
                    subject,
                    error = status.error,
                    "the API server refuses a token that holds by itself"
                );
                Answer::Refused
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the API server cannot review tokens");
                Answer::Away
            }
            Err(_) => {
                tracing::warn!(
                    deadline_seconds = config.deadline.as_secs_f32(),
                    "the API server takes too long to review a token"
                );
                Answer::Away
            }
        };
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let reviews = &self.reviews;
        reviews.ended(std::mem::replace(&mut self.away, Ok(())));
        reviews.metrics.reviewed(match self.answer {
            Answer::Accepted => "accepted",
            Answer::Away => "error",
            Answer::Refused => "refused",
        });
        reviews.answers.insert(self.digest, (self.answer, Moment::now(&*reviews.clock)));
        reviews.lock().remove(&self.digest);
        self.answers.send_replace(Some(self.answer));
    }
}

/// An answer about someone else, or for another audience (as servers give that know no audiences), is a no.
fn agrees(status: &ReviewStatus, verified: &Verified) -> bool {
    status.authenticated
        && status.error.is_empty()
        && status.username == verified.username
        && status.uid == verified.uid
        && status.audiences.iter().any(|audience| verified.audiences.contains(audience))
}
