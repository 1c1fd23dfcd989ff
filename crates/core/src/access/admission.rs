//! Admission: what every write has to pass once the gate has authorized it by its path (apiserver `admission`).
//!
//! [`Admissions`] is a chain of members, asked in its order in three stages. Each stage goes through the whole chain
//! before the next one begins, and has the place that decides which error is told first:
//!
//! 1. [`mutate`](Admission::mutate) sees what was sent, before the server fills in or takes back anything.
//! 2. [`permit`](Admission::permit) sees what would be written and asks whether this user may write that. Upstream has
//!    these checks around its storage and not in admission (`registry/rbac/…/policybased`), so who may not grant a role is
//!    told that, and not what is wrong with the role.
//! 3. [`validate`](Admission::validate) sees what would be written once it is valid, and is the last word before it is.
//!
//! Which kinds there are is not known here. A member answers at once or, if it has to ask somebody, later.

use std::cell::RefCell;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokensmith_objects::Object;
use tokensmith_objects::schema::Kind;
use tracing::{Instrument, Span, debug_span};

use super::Identity;
use crate::error::Error;
use crate::view::Snapshot;

/// What is done to an object, as admission names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Something is opened through an object (`exec`, `proxy`).
    Connect,
    /// Something new, also below an object (`token`).
    Create,
    /// One object, also of a collection.
    Delete,
    /// By replacing or patching, also a part of the object.
    Update,
}

impl Operation {
    /// As messages show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Connect => "CONNECT",
            Operation::Create => "CREATE",
            Operation::Delete => "DELETE",
            Operation::Update => "UPDATE",
        }
    }
}

/// A write that asks to be let in (`admission.Attributes`), less the new object, which each stage gets in its own way.
/// Empty strings mean "not given".
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// Who writes.
    pub user: &'a Identity,
    /// What is done.
    pub operation: Operation,
    /// API group of the resource.
    pub group: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What is sent: the resource's kind, or the subresource's (`TokenRequest`).
    pub kind: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// E.g. `status`.
    pub subresource: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// The URL's: a new object has its own, and the objects of a collection that is deleted are not named.
    pub name: &'a str,
    /// What is there; none for a create.
    pub old: Option<&'a Object>,
    /// Nothing will be written: who is asked must not do anything outside either.
    pub dry_run: bool,
    /// The objects around it, as they are at this stage.
    pub objects: &'a Snapshot,
}

impl<'a> Write<'a> {
    /// The write of an object of a kind, for the caller to say more of.
    pub fn of(
        user: &'a Identity,
        operation: Operation,
        kind: &'a Kind,
        namespace: &'a str,
        objects: &'a Snapshot,
    ) -> Self {
        Write {
            user,
            operation,
            group: &kind.group,
            version: &kind.version,
            kind: &kind.kind,
            resource: &kind.plural,
            subresource: "",
            namespace,
            name: "",
            old: None,
            dry_run: false,
            objects,
        }
    }

    /// Whether it is about this resource, or a part of it.
    pub fn is_of(&self, group: &str, resource: &str) -> bool {
        self.resource == resource && self.group == group
    }

    /// The name as messages about it have it: of a new object that is not made yet, what it is made from
    /// (apiserver `admission/errors.go`).
    pub fn shown_name(&self, new: Option<&'a Object>) -> &'a str {
        let names = new.map(|new| [new.name(), new.str_at(&["metadata", "generateName"])]);
        let names = [self.name].into_iter().chain(names.into_iter().flatten());
        names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown")
    }

    /// The 403 for this write.
    pub fn forbidden(&self, new: Option<&Object>, cause: impl Into<String>) -> Error {
        Error::forbidden(self.group, self.resource, self.shown_name(new), cause)
    }
}

/// What a member says: nothing of a write that it lets pass, else the error that the client is told.
pub enum Answer<'a> {
    /// Told from what is in memory: costs no allocation.
    Now(Result<(), Error>),
    /// Told when somebody else has been asked.
    Later(BoxFuture<'a, Result<(), Error>>),
}

impl Answer<'_> {
    async fn told(self, span: Span) -> Result<(), Error> {
        match self {
            Answer::Now(result) => result,
            Answer::Later(result) => result.instrument(span).await,
        }
    }
}

impl From<Result<(), Error>> for Answer<'_> {
    fn from(result: Result<(), Error>) -> Self {
        Answer::Now(result)
    }
}

/// A member of the chain. It speaks in the stages that it implements.
///
/// A write that loses a race is asked about again, with what is there then. `new` is none for a delete. Warnings are told
/// each once, however often they are given. An object that was marked for deletion and goes because nothing holds it any more
/// is not asked about again: its deletion was.
pub trait Admission: Send + Sync {
    /// What logs call it.
    fn name(&self) -> &str {
        let name = std::any::type_name::<Self>();
        name.rsplit("::").next().unwrap_or(name)
    }

    /// Whether it is to be asked about a write: by what is written, not by what is in it.
    fn handles(&self, write: &Write<'_>) -> bool;

    /// Judges what was sent, and may change it. It cannot move an object to another name or namespace: that is refused, as 400.
    /// What it leaves open gets its defaults once the whole chain has spoken.
    fn mutate<'a>(
        &'a self,
        _write: &'a Write<'a>,
        _new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        Answer::Now(Ok(()))
    }

    /// Judges whether the user may write what would be written, valid or not.
    fn permit<'a>(&'a self, _write: &'a Write<'a>, _new: Option<&'a Object>) -> Answer<'a> {
        Answer::Now(Ok(()))
    }

    /// Judges what would be written, and is valid.
    fn validate<'a>(
        &'a self,
        _write: &'a Write<'a>,
        _new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        Answer::Now(Ok(()))
    }
}

/// The members in the order in which they are asked. Who refuses first is heard alone.
#[derive(Clone, Default)]
pub struct Admissions(Vec<Arc<dyn Admission>>);

impl Admissions {
    /// A chain.
    pub fn new(members: Vec<Arc<dyn Admission>>) -> Self {
        Admissions(members)
    }

    /// Puts more members behind those that are there.
    pub fn extend(&mut self, members: impl IntoIterator<Item = Arc<dyn Admission>>) {
        self.0.extend(members);
    }

    /// The names of those that would be asked about a write.
    pub fn asked(&self, write: &Write<'_>) -> Vec<String> {
        self.0.iter().filter(|member| member.handles(write)).map(|member| member.name().to_owned()).collect()
    }

    /// The first stage.
    ///
    /// # Errors
    /// Those of the first member that refuses.
    pub async fn mutate(
        &self,
        write: &Write<'_>,
        mut new: Option<&mut Object>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        for member in self.0.iter().filter(|member| member.handles(write)) {
            let span = span("mutate", &**member);
            let answer = span.in_scope(|| member.mutate(write, new.as_deref_mut(), warnings));
            answer.told(span).await.inspect_err(|_| refused(&**member))?;
        }
        Ok(())
    }

    /// The second stage.
    ///
    /// # Errors
    /// Those of the first member that refuses.
    pub async fn permit(&self, write: &Write<'_>, new: Option<&Object>) -> Result<(), Error> {
        for member in self.0.iter().filter(|member| member.handles(write)) {
            let span = span("permit", &**member);
            let answer = span.in_scope(|| member.permit(write, new));
            answer.told(span).await.inspect_err(|_| refused(&**member))?;
        }
        Ok(())
    }

    /// The third stage.
    ///
    /// # Errors
    /// Those of the first member that refuses.
    pub async fn validate(
        &self,
        write: &Write<'_>,
        new: Option<&Object>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        for member in self.0.iter().filter(|member| member.handles(write)) {
            let span = span("validate", &**member);
            let answer = span.in_scope(|| member.validate(write, new, warnings));
            answer.told(span).await.inspect_err(|_| refused(&**member))?;
        }
        Ok(())
    }

    /// All stages at once, for what the server neither fills in nor stores: a delete, a review.
    ///
    /// # Errors
    /// Those of the first member that refuses.
    pub async fn admit(
        &self,
        write: &Write<'_>,
        mut new: Option<&mut Object>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        self.mutate(write, new.as_deref_mut(), warnings).await?;
        self.permit(write, new.as_deref()).await?;
        self.validate(write, new.as_deref(), warnings).await
    }
}

tokio::task_local! {
    /// Who has refused a write last, of those that somebody watches.
    static REFUSED: RefCell<Option<String>>;
}

/// Does some work, and says which member of a chain has refused a write in it.
pub async fn watched<T>(work: impl Future<Output = T>) -> (T, Option<String>) {
    let work = async {
        let done = work.await;
        (done, REFUSED.with(RefCell::take))
    };
    REFUSED.scope(RefCell::new(None), work).await
}

fn refused(member: &dyn Admission) {
    // Nobody watches, as a rule.
    let _ = REFUSED.try_with(|refused| refused.replace(Some(member.name().to_owned())));
}

fn span(stage: &'static str, member: &dyn Admission) -> Span {
    debug_span!("admission", stage, member = member.name())
}
