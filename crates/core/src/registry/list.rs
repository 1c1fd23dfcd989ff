//! List: selectors, pages that all show one revision.

use std::collections::VecDeque;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokensmith_objects::selector::{FieldSelector, LabelSelector};

use super::*;
use crate::view::collection_key;

/// What a list asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `labelSelector`
    pub label_selector: String,
    /// `fieldSelector`
    pub field_selector: String,
    /// At most so many objects; 0 = all.
    pub limit: usize,
    /// `continue`: goes on after an earlier page.
    pub continue_token: String,
    /// `resourceVersion`
    pub resource_version: String,
    /// `resourceVersionMatch`
    pub resource_version_match: String,
    /// `sendInitialEvents`: a watch begins with all that is there and says when that is done (KEP-3157).
    pub send_initial_events: bool,
}

/// A page.
#[derive(Debug)]
pub struct List {
    /// In key order.
    pub items: Vec<Arc<Object>>,
    /// The revision that all pages show.
    pub revision: Revision,
    /// For the next page, if there is one.
    pub continue_token: Option<String>,
    /// How many objects follow, when that is known without looking at them.
    pub remaining: Option<u64>,
}

/// Snapshots share their structure, so keeping some costs little.
#[derive(Default)]
pub(super) struct Paged(VecDeque<Arc<Snapshot>>);

/// As many lists can be paged through at once.
const PAGED: usize = 256;

impl Registry {
    /// Lists a collection: one namespace's, or all when `namespace` is empty.
    pub fn list(&self, kind: &Kind, namespace: &str, options: &ListOptions) -> Result<List, Error> {
        let labels = LabelSelector::parse(&options.label_selector).map_err(Error::BadRequest)?;
        let fields = FieldSelector::parse(kind, &options.field_selector).map_err(Error::BadRequest)?;
        let (snapshot, after) = self.start(options)?;
        let prefix = collection_key(&kind.group, &kind.plural, namespace);
        let start = after.map(|after| format!("{prefix}{after}"));
        let mut matching = snapshot
            .scan(prefix.clone(), start.as_deref())
            .filter(|(_, o)| labels.matches(o) && fields.matches(o));
        if options.limit == 0 {
            let items = matching.map(|(_, o)| o.clone()).collect();
            return Ok(List { items, revision: snapshot.revision(), continue_token: None, remaining: None });
        }
        let page: Vec<_> = matching.by_ref().take(options.limit).collect();
        let rest = matching.count() as u64;
        let last = page.last().and_then(|(key, _)| key.strip_prefix(&prefix)).unwrap_or("").to_owned();
        let items = page.into_iter().map(|(_, o)| o.clone()).collect();
        let selective = !options.label_selector.is_empty() || !options.field_selector.is_empty();
        let continue_token = (rest > 0).then(|| {
            self.paged().keep(&snapshot);
            encode(snapshot.revision(), &last)
        });
        // With a selector upstream does not know how many follow, and says nothing.
        let remaining = (rest > 0 && !selective).then_some(rest);
        Ok(List { items, revision: snapshot.revision(), continue_token, remaining })
    }

    fn paged(&self) -> std::sync::MutexGuard<'_, Paged> {
        self.paged.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The snapshot to list and the key to go on after.
    fn start(&self, options: &ListOptions) -> Result<(Arc<Snapshot>, Option<String>), Error> {
        let current = self.snapshot();
        if !options.continue_token.is_empty() {
            let (revision, after) = decode(&options.continue_token).ok_or_else(|| {
                Error::BadRequest("continue key is not valid: encoded start key is not valid".into())
            })?;
            let found = self.paged().0.iter().find(|s| s.revision() == revision).cloned();
            let snapshot = found.or_else(|| (current.revision() == revision).then_some(current));
            let gone = || {
                Error::Expired("The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.".into())
            };
            return Ok((snapshot.ok_or_else(gone)?, Some(after)));
        }
        let wanted = match options.resource_version.as_str() {
            "" => 0,
            text => text
                .parse::<Revision>()
                .map_err(|_| Error::BadRequest(format!("invalid resource version: {text}")))?,
        };
        if wanted > current.revision() {
            return Err(Error::Unavailable(format!(
                "Too large resource version: {wanted}, current: {}",
                current.revision()
            )));
        }
        if options.resource_version_match == "Exact" && wanted != current.revision() {
            let found = self.paged().0.iter().find(|s| s.revision() == wanted).cloned();
            let gone = || Error::Expired("The resourceVersion for the provided list is too old.".into());
            return found.map(|s| (s, None)).ok_or_else(gone);
        }
        Ok((current, None))
    }
}

impl Paged {
    fn keep(&mut self, snapshot: &Arc<Snapshot>) {
        if self.0.iter().any(|s| s.revision() == snapshot.revision()) {
            return;
        }
        if self.0.len() == PAGED {
            self.0.pop_front();
        }
        self.0.push_back(snapshot.clone());
    }
}

/// An opaque token: the revision and the last key, as upstream's has them.
fn encode(revision: Revision, after: &str) -> String {
    let json = serde_json::json!({"v": "meta.k8s.io/v1", "rv": revision, "start": format!("{after}\0")});
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

fn decode(token: &str) -> Option<(Revision, String)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let json: Value = serde_json::from_slice(&bytes).ok()?;
    let start = json["start"].as_str()?.strip_suffix('\0')?;
    Some((json["rv"].as_u64()?, start.into()))
}
