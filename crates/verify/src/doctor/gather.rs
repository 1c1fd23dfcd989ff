//! Asks an issuer all that rules want to know. What that can cost is bounded, whatever it answers.

use std::time::Duration;

use tokensmith_client::Outsider;
use tokensmith_client::outsider::Url;
use tokensmith_client::outsider::{Answer, Fence, Question, Trouble};
use tokensmith_core::Clock;

use super::facts::{Asked, Document, Facts, KeySet, NoKeySet, Way};
use crate::report::UnverifiedToken;
use crate::{MAX_DOCUMENT, discovery};

/// How long a question may take. The slowest verifier that is known waits half a minute, most of them five to ten seconds.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long all of them may take.
const ALL: Duration = Duration::from_secs(40);
/// What the sidecar and most clients send.
const ACCEPT: &str = "application/json, application/jwk-set+json";
/// What others send: nothing in particular, one type, what Java's `HttpURLConnection` has by itself.
const OTHERS: [Way; 4] = [Way::Accept("*/*"), Way::Accept("application/json"), Way::Accept(JAVA), Way::Head];
const JAVA: &str = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
/// What some ask of a key set besides (RFC 7517 §8.5).
const OF_KEYS: &[Way] = &[Way::Accept("application/jwk-set+json")];

/// What is asked about.
pub struct Subject {
    /// The issuer, byte for byte.
    pub issuer: String,
    /// One of its tokens.
    pub token: Option<UnverifiedToken>,
    /// See [`Facts::publish_before`].
    pub publish_before: Option<u64>,
}

/// Asks.
pub async fn gather(subject: Subject, by: &Outsider, clock: &dyn Clock) -> Facts {
    let Subject { issuer, token, publish_before } = subject;
    let where_ = discovery::url(&issuer);
    let url =
        Url::parse(&issuer).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let found = match &url {
        Some(url) => by.around(url).await,
        None => Err(Trouble::Url(issuer.clone())),
    };
    let round = Round { by, clock, until: clock.monotonic().saturating_add(ALL) };
    let (addresses, fence) = match found {
        Ok((fence, addresses)) => (Ok(addresses), Ok(fence)),
        Err(trouble) => (Err(trouble.clone()), Err(trouble)),
    };
    let mut facts = Facts {
        discovery: round.asked(where_, &[], &fence).await,
        now: clock.unix(),
        url,
        addresses,
        uncut: None,
        keys: None,
        document: None,
        key_set: None,
        token,
        publish_before,
        issuer,
    };
    if facts.issuer.ends_with('/') {
        let uncut = format!("{}/.well-known/openid-configuration", facts.issuer);
        facts.uncut = Some(round.ask(&uncut, ACCEPT, false, &fence).await);
    }
    facts.document = facts.discovery.good().filter(|a| !a.cut).and_then(|a| Document::parse(&a.body));
    let keys = facts.document.as_ref().and_then(Document::jwks_uri).map(str::to_owned);
    if let Some(keys) = keys {
        let keys = round.asked(keys, OF_KEYS, &fence).await;
        facts.key_set = keys.good().map(|answer| match answer.cut {
            true => Err(NoKeySet::Long(MAX_DOCUMENT)),
            false => KeySet::parse(&answer.body),
        });
        facts.keys = Some(keys);
    }
    facts
}

struct Round<'a> {
    by: &'a Outsider,
    clock: &'a dyn Clock,
    until: Duration,
}

impl Round<'_> {
    /// In every way, unless the first has no good answer: an issuer that is slow or broken is so only once.
    async fn asked(&self, url: String, more: &[Way], fence: &Result<Fence, Trouble>) -> Asked {
        let plain = self.ask(&url, ACCEPT, false, fence).await;
        let mut others = Vec::new();
        if plain.as_ref().is_ok_and(|answer| answer.status == 200 && !answer.cut) {
            for way in OTHERS.iter().chain(more) {
                let (accept, head) = match *way {
                    Way::Accept(accept) => (accept, false),
                    Way::Head => (ACCEPT, true),
                };
                others.push((*way, self.ask(&url, accept, head, fence).await));
            }
        }
        Asked { url, plain, others }
    }

    async fn ask(
        &self,
        url: &str,
        accept: &str,
        head: bool,
        fence: &Result<Fence, Trouble>,
    ) -> Result<Answer, Trouble> {
        let parsed = Url::parse(url).map_err(|_| Trouble::Url(url.to_owned()))?;
        if self.clock.monotonic() > self.until {
            return Err(Trouble::Late(url.to_owned(), ALL));
        }
        let question = Question { head, accept, longest: MAX_DOCUMENT };
        self.by.ask(&parsed, question, fence.as_ref().map_err(Clone::clone)?).await
    }
}
