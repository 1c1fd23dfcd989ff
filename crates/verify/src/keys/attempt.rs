//! One try to have an issuer's keys: its discovery document, then its key set.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::keys::PublishedKeys;

use super::super::error::{KeysError, cut};
use super::super::{discovery, fetch};
use super::timing::{EARLIEST, back_off, due, floor, lifetime};
use super::{Current, IssuerKeys, Moment, Origin, file};

/// How many of an issuer's keys are named in the log.
const MOST_KIDS: usize = 16;

/// Where the keys are.
#[derive(Clone)]
pub(super) struct Discovery {
    jwks_uri: String,
    etag: Option<String>,
    asked: Moment,
    due: Duration,
}

/// An attempt on its way. However it ends, also when it is dropped or panics, those who wait for it are told.
pub(super) struct Running {
    keys: Arc<IssuerKeys>,
    number: u64,
    known: Option<Arc<Current>>,
    fetched: Result<Current, KeysError>,
}

impl Running {
    pub(super) fn new(keys: Arc<IssuerKeys>, number: u64, known: Option<Arc<Current>>) -> Self {
        Running { keys, number, known, fetched: Err(KeysError::BrokenOff) }
    }

    pub(super) async fn run(mut self) {
        let timeout = self.keys.keeping.timeout;
        // Whatever issuers are named to this process, it asks few at once. The wait is not the issuer's fault, and ends:
        // every attempt before does. Nobody closes the semaphore.
        let keys = self.keys.clone();
        let place = match keys.origin {
            Origin::File(_) => None,
            Origin::Discovery | Origin::DiscoveryAt(_) => keys.keeping.places.acquire().await.ok(),
        };
        // After a failure where the keys are is looked up again: they may have moved.
        let failing = self.keys.failing();
        let fetched = tokio::time::timeout(timeout, self.keys.attempt(self.known.as_deref(), failing)).await;
        drop(place);
        self.fetched = fetched.unwrap_or(Err(KeysError::Late(timeout)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let fetched = std::mem::replace(&mut self.fetched, Err(KeysError::BrokenOff));
        self.keys.end(self.number, self.known.as_deref(), fetched);
    }
}

impl IssuerKeys {
    async fn attempt(&self, known: Option<&Current>, again: bool) -> Result<Current, KeysError> {
        if let Origin::File(path) = &self.origin {
            return self.read(path, known).await;
        }
        let discovery = match known.map(|known| &known.discovery) {
            Some(found) if !again && Moment::now(&*self.keeping.clock).since(&found.asked) < found.due => {
                found.clone()
            }
            found => self.discover(found).await?,
        };
        let same = known.filter(|known| known.discovery.jwks_uri == discovery.jwks_uri);
        let asked = Moment::now(&*self.keeping.clock);
        let page = self.get(&discovery.jwks_uri, same.and_then(|known| known.etag.as_deref())).await?;
        self.taken(discovery, asked, page, known, same)
    }

    /// The keys as a page has them; `same` is what was known of that page.
    fn taken(
        &self,
        discovery: Discovery,
        asked: Moment,
        page: Page,
        known: Option<&Current>,
        same: Option<&Current>,
    ) -> Result<Current, KeysError> {
        let (keys, etag) = match (&page.body, same) {
            (Some(body), _) => {
                let keys = PublishedKeys::parse(body)
                    .map_err(|source| KeysError::KeySet { url: cut(&*discovery.jwks_uri), source })?;
                (Arc::new(keys), page.etag)
            }
            (None, Some(known)) => (known.keys.clone(), page.etag.or_else(|| known.etag.clone())),
            (None, None) => return Err(KeysError::Unasked304(cut(discovery.jwks_uri))),
        };
        let max_age = lifetime(page.cache_control.as_deref());
        let generation = match known {
            Some(known) if !known.keys.all_in(&keys) => known.generation + 1,
            Some(known) => known.generation,
            None => 0,
        };
        let floor = floor(self.keeping.floor, page.cache_control.as_deref());
        Ok(Current { keys, generation, asked, max_age, due: due(max_age), floor, etag, discovery })
    }

    async fn discover(&self, known: Option<&Discovery>) -> Result<Discovery, KeysError> {
        let asked = Moment::now(&*self.keeping.clock);
        let (url, elsewhere) = match &self.origin {
            Origin::DiscoveryAt(base) => (discovery::url(base), Some(base.as_str())),
            _ => (discovery::url(&self.issuer), None),
        };
        let page = self.get(&url, known.and_then(|known| known.etag.as_deref())).await?;
        let (jwks_uri, etag) = match (&page.body, known) {
            (Some(body), _) => {
                let jwks_uri = match elsewhere {
                    Some(base) => discovery::jwks_uri_elsewhere(&self.issuer, base, body),
                    None => discovery::jwks_uri(&self.issuer, body),
                };
                (jwks_uri?, page.etag)
            }
            (None, Some(known)) => (known.jwks_uri.clone(), page.etag.or_else(|| known.etag.clone())),
            (None, None) => return Err(KeysError::Unasked304(cut(url))),
        };
        // No later than keys of the same age, so that both are looked at together.
        let due = lifetime(page.cache_control.as_deref()).mul_f64(EARLIEST);
        Ok(Discovery { jwks_uri, etag, asked, due })
    }

    /// The keys of a file, parsed anew only where it has changed.
    async fn read(&self, path: &Path, known: Option<&Current>) -> Result<Current, KeysError> {
        let asked = Moment::now(&*self.keeping.clock);
        let page = file::page(path, known.and_then(|known| known.etag.as_deref())).await?;
        let due = lifetime(page.cache_control.as_deref());
        let discovery = Discovery { jwks_uri: path.display().to_string(), etag: None, asked, due };
        self.taken(discovery, asked, page, known, known)
    }

    async fn get(&self, url: &str, etag: Option<&str>) -> Result<Page, KeysError> {
        let fetched = self.keeping.fetch.get(url, etag).await?;
        let body = match fetched.status {
            200 if fetched.body.len() > fetch::MAX_DOCUMENT => {
                return Err(KeysError::Long { url: cut(url), bytes: fetched.body.len() });
            }
            200 => Some(fetched.body),
            304 if etag.is_some() => None,
            status => return Err(KeysError::Status { url: cut(url), status }),
        };
        Ok(Page { body, cache_control: fetched.cache_control, etag: fetched.etag })
    }

    fn end(&self, number: u64, known: Option<&Current>, fetched: Result<Current, KeysError>) {
        let (issuer, ok) = (&*self.issuer, fetched.is_ok());
        self.keeping.metrics.fetched(issuer, ok.then(|| self.keeping.clock.unix()));
        let error = match fetched {
            Ok(new) => {
                if known.is_none_or(|known| known.keys != new.keys) {
                    let kids: Vec<_> = new.keys.iter().take(MOST_KIDS).map(|(kid, _)| cut(kid)).collect();
                    tracing::info!(issuer, key.ids = ?kids, passed_over = new.keys.skipped(), "the issuer's keys");
                }
                self.current.store(Some(Arc::new(new)));
                None
            }
            Err(error) => Some(error),
        };
        let mut attempts = self.lock();
        attempts.running = false;
        attempts.ended = Some(Moment::now(&*self.keeping.clock));
        if ok {
            if attempts.failures > 0 {
                tracing::info!(
                    issuer,
                    failures = attempts.failures,
                    "the issuer's keys can be fetched again"
                );
            }
            attempts.failures = 0;
        } else {
            attempts.failures = attempts.failures.saturating_add(1);
            attempts.pause = back_off(attempts.failures);
            let retry_seconds = attempts.pause.as_secs_f32();
            tracing::warn!(
                issuer,
                error = error.as_ref().map(tracing::field::display),
                failures = attempts.failures,
                retry_seconds,
                "cannot fetch the issuer's keys"
            );
        }
        attempts.error = error;
        drop(attempts);
        self.ended.send_replace(number);
    }
}

/// An answer; no body when what is known is still so.
pub(super) struct Page {
    pub(super) body: Option<bytes::Bytes>,
    pub(super) cache_control: Option<String>,
    pub(super) etag: Option<String>,
}
