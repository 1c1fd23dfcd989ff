//! List: selectors, pages that all show one revision.

use std::collections::VecDeque;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use tokensmith_api::json::SyntaxError;
use tokensmith_core::view::collection_key;
use tokensmith_objects::codec;

use super::*;

/// A page.
#[derive(Debug)]
pub struct List {
    /// In key order.
    pub items: Vec<Arc<Stored>>,
    /// The revision that all pages show.
    pub revision: Revision,
    /// For the next page, if there is one.
    pub continue_token: Option<String>,
    /// How many objects follow, when that is known without looking at them.
    pub remaining: Option<u64>,
}

/// Snapshots that somebody lists, so that each page does not have to make its own again ([`View::snapshot_at`]). They share
/// their structure, and none is older than what is kept for watches: so they hold little that nothing else does.
#[derive(Default)]
pub(super) struct Paged(VecDeque<Arc<Snapshot>>);

/// As many lists can be paged through at once.
const PAGED: usize = 256;

impl Registry {
    /// Lists a collection: one namespace's, or all when `namespace` is empty.
    pub fn list(&self, kind: &Kind, namespace: &str, options: &ListOptions) -> Result<List, Error> {
        let kind = kind.storage();
        let (snapshot, after) = self.start(kind, options)?;
        let prefix = collection_key(&kind.group, &kind.plural, namespace);
        let (start, before) = match after {
            Some(Start { after, before }) => {
                (Some(format!("{prefix}{}", after.trim_start_matches('/'))), before)
            }
            None => (None, Some(0)),
        };
        let candidates = options.candidates(kind, &snapshot, &prefix, start.as_deref());
        if options.limit == 0 {
            let items = candidates.filter(|(_, o)| options.take(&***o)).map(|(_, o)| o.clone()).collect();
            return Ok(List { items, revision: snapshot.revision(), continue_token: None, remaining: None });
        }
        let mut candidates = candidates;
        let mut page = Vec::new();
        while page.len() < options.limit
            && let Some(found) = candidates.find(|(_, o)| options.take(&***o))
        {
            page.push(found);
        }
        // Whether what follows is wanted, too, is looked at on the next page, as upstream's cache does.
        let more = page.len() == options.limit && candidates.next().is_some();
        // Counted once for all pages: each knows how many were before it.
        let before = before.filter(|_| !options.selective).map(|before| before.saturating_add(page.len()));
        let rest = || match before {
            Some(before) => snapshot.count(&kind.group, &kind.plural, namespace).saturating_sub(before),
            None => candidates.count().saturating_add(1),
        };
        // With a selector upstream does not know how many follow, and says nothing.
        let remaining = (more && !options.selective).then(|| rest() as u64);
        let last = page.last().and_then(|(key, _)| key.strip_prefix(&prefix)).unwrap_or("").to_owned();
        let items = page.into_iter().map(|(_, o)| o.clone()).collect();
        let continue_token = more.then(|| {
            self.paged().keep(&snapshot, self.view.oldest());
            // Of a whole collection upstream counts the slash before the name.
            let slash = if namespace.is_empty() { "/" } else { "" };
            encode(snapshot.revision(), &format!("{slash}{last}"), before)
        });
        Ok(List { items, revision: snapshot.revision(), continue_token, remaining })
    }

    /// Whether the objects that a list is of are there, and do not have to be made again from what has changed since.
    pub fn has_at_hand(&self, options: &ListOptions) -> bool {
        let wanted = match options.continue_token.as_str() {
            "" if !options.exact => return true,
            "" => options.revision().ok(),
            token => decode(token).ok().map(|(revision, _)| revision),
        };
        // What cannot be read is refused at once.
        wanted.is_none_or(|wanted| {
            self.snapshot().revision() <= wanted || self.paged().find(wanted, self.view.oldest()).is_some()
        })
    }

    fn paged(&self) -> std::sync::MutexGuard<'_, Paged> {
        self.paged.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The objects at an earlier revision, as far back as watches go.
    fn snapshot_at(&self, revision: Revision) -> Option<Arc<Snapshot>> {
        let oldest = self.view.oldest();
        let known = self.paged().find(revision, oldest);
        known.or_else(|| {
            let made = self.view.snapshot_at(revision)?;
            self.paged().keep(&made, oldest);
            Some(made)
        })
    }

    /// The snapshot to list and the key to go on after.
    fn start(&self, kind: &Kind, options: &ListOptions) -> Result<(Arc<Snapshot>, Option<Start>), Error> {
        let current = self.snapshot();
        if !options.continue_token.is_empty() {
            let (revision, after) = decode(&options.continue_token).map_err(|cause| {
                Error::BadRequest(format!("invalid continue token: continue key is not valid: {cause}"))
            })?;
            if !matches!(options.resource_version.as_str(), "" | "0") {
                let text = "specifying resource version is not allowed when using continue";
                return Err(Error::BadRequest(text.into()));
            }
            let snapshot = self.snapshot_at(revision);
            let gone = || {
                Error::Expired("The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.".into())
            };
            return Ok((snapshot.ok_or_else(gone)?, Some(after)));
        }
        let wanted = options.revision()?;
        if wanted > current.revision() {
            let awaited = kind.storage().rules().cached();
            return Err(Error::Ahead { wanted, current: current.revision(), awaited });
        }
        if options.exact && wanted != current.revision() {
            let gone = || Error::Expired("The resourceVersion for the provided list is too old.".into());
            return self.snapshot_at(wanted).map(|s| (s, None)).ok_or_else(gone);
        }
        Ok((current, None))
    }
}

impl Paged {
    fn find(&mut self, revision: Revision, oldest: Revision) -> Option<Arc<Snapshot>> {
        self.0.retain(|s| s.revision() >= oldest);
        self.0.iter().find(|s| s.revision() == revision).cloned()
    }

    fn keep(&mut self, snapshot: &Arc<Snapshot>, oldest: Revision) {
        if self.find(snapshot.revision(), oldest).is_some() {
            return;
        }
        if self.0.len() == PAGED {
            self.0.pop_front();
        }
        self.0.push_back(snapshot.clone());
    }
}

/// Where a page begins.
struct Start {
    /// Behind this key, without the collection's prefix.
    after: String,
    /// So many objects were on the pages before; not known from a token that does not say.
    before: Option<usize>,
}

/// An opaque token: the revision and the last key, as upstream's has them, and how many objects were told. A client that
/// changes it misleads itself alone.
fn encode(revision: Revision, after: &str, told: Option<usize>) -> String {
    let mut json = serde_json::json!({"v": "meta.k8s.io/v1", "rv": revision, "start": format!("{after}\0")});
    if let Some(told) = told {
        json["told"] = told.into();
    }
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

fn decode(token: &str) -> Result<(Revision, Start), ContinueError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token)?;
    let json = tokensmith_api::json::parse(&bytes)?.value;
    let version = json["v"].as_str().unwrap_or("");
    if version != "meta.k8s.io/v1" {
        return Err(ContinueError::Version(version.to_owned()));
    }
    let revision = json["rv"].as_u64().filter(|revision| *revision > 0).ok_or(ContinueError::Revision)?;
    let start = json["start"].as_str().filter(|start| !start.is_empty()).ok_or(ContinueError::Start)?;
    // Whoever makes up a start must not leave the collection by it.
    if start.trim_start_matches('/').split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(ContinueError::Unclean(start.to_owned()));
    }
    let after = start.strip_suffix('\0').unwrap_or(start).to_owned();
    let before = json["told"].as_u64().and_then(|told| usize::try_from(told).ok());
    Ok((revision, Start { after, before }))
}

/// Why a token does not say where to go on, in Go's words.
#[derive(Debug, thiserror::Error)]
enum ContinueError {
    #[error("illegal base64 data at input byte {}", codec::base64_offset(.0))]
    Base64(#[from] base64::DecodeError),
    #[error(transparent)]
    Json(#[from] SyntaxError),
    #[error("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")]
    Revision,
    #[error("encoded start key empty (version meta.k8s.io/v1)")]
    Start,
    #[error("{0}")]
    Unclean(String),
    #[error("server does not recognize this encoded version {0}")]
    Version(String),
}
