//! `ListOptions`, of lists, watches and deletes of collections.

use std::sync::Arc;
use tokensmith_objects::{FieldError, Stored};

use tokensmith_objects::schema::Kind;
use tokensmith_objects::selector::{FieldSelector, LabelSelector, Selectable, SelectorError};

use super::judged;
use super::query::{Query, revision};
use tokensmith_core::error::Error;
use tokensmith_core::store::Revision;
use tokensmith_core::view::{Snapshot, collection_key};

/// What a list asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    labels: LabelSelector,
    fields: FieldSelector,
    /// Whether either was given.
    pub(crate) selective: bool,
    /// At most so many objects; 0 = all.
    pub(crate) limit: usize,
    /// Goes on after an earlier page.
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    /// Exactly that version, not just one that is no older.
    pub(crate) exact: bool,
    /// A watch begins with all that is there and says when that is done (KEP-3157), or with nothing of it.
    pub(crate) send_initial_events: Option<bool>,
    /// A watch may say how far it has come.
    allow_watch_bookmarks: bool,
    timeout_seconds: Option<i64>,
}

/// A page of so many objects is short.
const PAGE: usize = 1_000;

impl ListOptions {
    /// Reads the query of a list, a watch or a delete of a collection of `kind`.
    pub fn read(kind: &Kind, query: &str) -> Result<Self, Error> {
        let query = Query::read(query);
        let timeout_seconds = query.number("timeoutSeconds")?;
        let version = query.text("resourceVersion");
        // A list that may be of any age is given whole, as by upstream's cache.
        let limit = query.number("limit")?.filter(|_| version != "0").unwrap_or(0);
        let (labels, fields) = (query.text("labelSelector"), query.text("fieldSelector"));
        let initial = query.flag("sendInitialEvents");
        let unread = |error: SelectorError| Error::BadRequest(error.to_string());
        let options = ListOptions {
            labels: LabelSelector::parse(&labels).map_err(unread)?,
            fields: FieldSelector::parse(kind, &fields).map_err(unread)?,
            selective: !labels.is_empty() || !fields.is_empty(),
            limit: limit.max(0).try_into().unwrap_or(usize::MAX),
            continue_token: query.text("continue"),
            resource_version: version,
            exact: query.first("resourceVersionMatch") == Some("Exact"),
            send_initial_events: initial,
            allow_watch_bookmarks: query.flag("allowWatchBookmarks") == Some(true),
            timeout_seconds,
        };
        let wanted = query.text("resourceVersionMatch");
        judged(
            "ListOptions",
            match query.flag("watch") {
                Some(true) => options.of_watch(&wanted, initial.is_some()),
                _ => options.of_list(&wanted, initial.is_some()),
            },
        )?;
        Ok(options)
    }

    /// The same, of the object that the path names (`/api/v1/watch/…/NAME`).
    ///
    /// # Errors
    /// The selector asks for something else.
    pub fn of_one(self, kind: &Kind, name: &str) -> Result<Self, Error> {
        if self.fields.fields().next().is_some() {
            return match self.fields.wanted("metadata.name") == Some(name) {
                true => Ok(self),
                false => {
                    Err(Error::BadRequest("fieldSelector metadata.name doesn't match requested name".into()))
                }
            };
        }
        let escaped = name.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
        let fields = FieldSelector::parse(kind, &format!("metadata.name={escaped}"))
            .map_err(|error| Error::BadRequest(error.to_string()))?;
        Ok(ListOptions { fields, selective: true, ..self })
    }

    /// Whether a watch may say how far it has come.
    pub fn allow_watch_bookmarks(&self) -> bool {
        self.allow_watch_bookmarks
    }

    /// How long a watch may last; `None` when that is the server's to say.
    pub fn timeout_seconds(&self) -> Option<i64> {
        self.timeout_seconds.filter(|seconds| *seconds != 0)
    }

    /// Objects of a collection among which are all that the selectors take, in key order, after a key (exclusive) when given:
    /// those of a name or of a node are not searched for.
    pub(crate) fn candidates<'a>(
        &self,
        kind: &Kind,
        objects: &'a Snapshot,
        prefix: &str,
        after: Option<&str>,
    ) -> Box<dyn Iterator<Item = (&'a str, &'a Arc<Stored>)> + 'a> {
        if let Some(name) = self.fields.wanted("metadata.name")
            && (!kind.namespaced || prefix != collection_key(&kind.group, &kind.plural, ""))
        {
            let key = format!("{prefix}{name}");
            let found = objects.scan(key.clone(), after).take_while(move |(found, _)| *found == key);
            return Box::new(found);
        }
        match self.node(kind) {
            Some(node) => Box::new(objects.pods_of(node, prefix, after)),
            None => Box::new(objects.scan(prefix.to_owned(), after)),
        }
    }

    /// Whether no more than a page of objects is looked at by a list; a watch does not go by its limit.
    pub fn is_page(&self) -> bool {
        (1..=PAGE).contains(&self.limit) && !self.selective
    }

    /// Whether each object has to be looked through: the selectors ask for a field that is not kept beside it.
    pub fn looks_through(&self) -> bool {
        let kept =
            ["metadata.name", "metadata.namespace", "name", "spec.nodeName", "spec.serviceAccountName"];
        self.fields.fields().any(|field| !kept.contains(&field))
    }

    /// Whether few objects are looked at, since the selectors name what is looked for.
    pub fn is_narrow(&self, kind: &Kind, namespace: &str) -> bool {
        let one = self.fields.wanted("metadata.name").is_some() && kind.namespaced != namespace.is_empty();
        one || self.node(kind).is_some()
    }

    /// The node whose pods alone the selectors take: the view knows pods by their nodes, and no other kind.
    pub(crate) fn node(&self, kind: &Kind) -> Option<&str> {
        let pods = kind.group.is_empty() && kind.plural == "pods";
        self.fields.wanted("spec.nodeName").filter(|node| pods && !node.is_empty())
    }

    /// The selectors, for who goes on without the rest.
    pub(crate) fn selectors(&self) -> Option<Box<(LabelSelector, FieldSelector)>> {
        self.selective.then(|| Box::new((self.labels.clone(), self.fields.clone())))
    }

    /// The one value that the field selector takes of a field.
    pub(crate) fn wanted(&self, field: &str) -> Option<&str> {
        self.fields.wanted(field)
    }

    /// Whether the selectors take an object.
    pub(crate) fn take(&self, object: &impl Selectable) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// The version as a number; none is 0.
    pub(crate) fn revision(&self) -> Result<Revision, Error> {
        self.number().map_err(|error| Error::BadRequest(format!("invalid resource version: {error}")))
    }

    /// The same of a watch. What upstream's cache cannot read has no reason.
    pub(crate) fn revision_to_watch(&self) -> Result<Revision, Error> {
        self.number().map_err(|error| Error::Unclassified(error.to_string()))
    }

    fn number(&self) -> Result<Revision, FieldError> {
        revision(&self.resource_version)
    }

    fn of_list(&self, wanted: &str, initial: bool) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let field = "resourceVersionMatch";
        let mut forbidden = |field: &str, detail: &str| errors.push(FieldError::forbidden(field, detail));
        if !wanted.is_empty() && self.resource_version.is_empty() {
            forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !wanted.is_empty() && !self.continue_token.is_empty() {
            forbidden(field, "resourceVersionMatch is forbidden when continue is provided");
        }
        if !matches!(wanted, "" | "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(field, &wanted.into(), &["Exact", "NotOlderThan", ""]));
        }
        let mut forbidden = |field: &str, detail: &str| errors.push(FieldError::forbidden(field, detail));
        if self.exact && self.resource_version == "0" {
            forbidden(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if initial {
            forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        errors
    }

    fn of_watch(&self, wanted: &str, initial: bool) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let field = "resourceVersionMatch";
        if initial && wanted != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(field, detail));
        }
        if !wanted.is_empty() && !initial {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(field, detail));
        }
        if !matches!(wanted, "" | "NotOlderThan") {
            errors.push(FieldError::not_supported(field, &wanted.into(), &["NotOlderThan"]));
        }
        // Whoever says neither, and no version, is taken to want what is there first (`SetListOptionsDefaults`).
        let first = !initial && matches!(self.resource_version.as_str(), "" | "0");
        if (!wanted.is_empty() || first) && !self.continue_token.is_empty() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(field, detail));
        }
        errors
    }
}
