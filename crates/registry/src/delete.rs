//! Delete (apiserver `registry/generic/registry/store.go`, `pkg/registry/core/namespace/storage`).

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::deletion::{Step, step};
use super::*;
use tracing::instrument;

/// What a delete answers with.
#[derive(Debug, PartialEq)]
pub enum Deleted {
    /// The object, which is gone: its kind answers so.
    Object(Arc<Stored>),
    /// The object, which is still there for a while.
    Pending(Arc<Stored>),
    /// A Status that names the object.
    Status {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

/// Says what stays when nobody has said what becomes of it, whether there is something to delete or not.
fn tell_orphans(request: &mut Request<'_>, kind: &Kind, options: &DeleteOptions) {
    if options.propagation().is_none() {
        request.warnings.extend(kind.storage().rules().orphans_silently().map(str::to_owned));
    }
}

/// So many objects of a collection are deleted at once.
const AT_ONCE: usize = 32;

impl Registry {
    /// Deletes an object, or begins to.
    pub async fn delete(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Error> {
        tell_orphans(request, kind, options);
        self.delete_asked(request, kind, namespace, name, name, options).await
    }

    /// `asked`: the name as the request has it, which is none when a collection is deleted; admission sees that.
    #[instrument(level = "debug", name = "registry.delete", skip_all, fields(resource = kind.plural))]
    async fn delete_asked(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        asked: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Error> {
        let kind = kind.storage();
        for _ in 0..5 {
            let there = self.get(kind, namespace, name)?;
            preconditions(kind, &there, options)?;
            let old = there.wire_object(kind);
            let snapshot = self.snapshot();
            let write = Write {
                name: asked,
                old: Some(&old),
                dry_run: options.dry_run(),
                ..Write::of(request.user, Operation::Delete, kind, namespace, &snapshot)
            };
            self.admission.admit(&write, None, &mut request.warnings).await?;
            match self.delete_once(kind, &there, &old, options).await {
                Err(Error::Conflict { .. })
                    if self.get(kind, namespace, name).is_ok_and(|now| now != there) => {}
                other => return other,
            }
        }
        Err(modified(kind, name))
    }

    /// Deletes the objects of a collection that a list has found. Some are under way at once: each waits for the disk and for
    /// the view, and they share both.
    pub async fn delete_collection(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        found: &List,
        options: &DeleteOptions,
    ) -> Result<(), Error> {
        tell_orphans(request, kind, options);
        let warnings = self.delete_all(request.user, kind, &found.items, options).await?;
        request.warnings.extend(warnings);
        Ok(())
    }

    /// Boxed, as its parts are: futures that name their lifetimes can be sent to another thread.
    fn delete_all<'a>(
        &'a self,
        user: &'a Identity,
        kind: &'a Kind,
        objects: &'a [Arc<Stored>],
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        let deletes = objects.iter().map(move |object| self.delete_of_many(user, kind, object, options));
        futures::stream::iter(deletes).buffered(AT_ONCE).try_concat().boxed()
    }

    /// One of a collection; it may be gone already. Gives the warnings.
    fn delete_of_many<'a>(
        &'a self,
        user: &'a Identity,
        kind: &'a Kind,
        object: &'a Stored,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        async move {
            let mut request = Request::by(user);
            match self.delete_asked(&mut request, kind, object.namespace(), object.name(), "", options).await
            {
                Ok(_) | Err(Error::NotFound { .. }) => Ok(request.warnings),
                Err(e) => Err(e),
            }
        }
        .boxed()
    }

    /// The deletion itself, which has been admitted.
    pub(super) async fn delete_once(
        &self,
        kind: &Kind,
        there: &Arc<Stored>,
        old: &Object,
        options: &DeleteOptions,
    ) -> Result<Deleted, Error> {
        let last = match step(kind, old, options, self.clock.now()) {
            Step::Keep => return Ok(Deleted::Pending(there.clone())),
            Step::Mark(object) => {
                return self.rewrite(kind, there, object, options.dry_run()).await.map(Deleted::Pending);
            }
            Step::Remove if options.dry_run() => there.clone(),
            Step::MarkAndRemove(object) => {
                let marked = self.rewrite(kind, there, object, options.dry_run()).await?;
                if options.dry_run() {
                    return Ok(answer(kind, old, marked));
                }
                match self.remove(kind, &marked).await {
                    Ok(()) => {}
                    // The pods' controller has seen the mark and was faster. Who is answered must not see the pod
                    // any more: its tokens would be good for a moment longer.
                    Err(Error::NotFound { .. }) => self.lost(kind, &marked).await,
                    Err(e) => return Err(e),
                }
                marked
            }
            Step::Remove => {
                self.remove(kind, there).await?;
                there.clone()
            }
        };
        Ok(answer(kind, old, last))
    }

    /// Waits until the view has lost an object that the store has lost.
    async fn lost(&self, kind: &Kind, old: &Stored) {
        loop {
            let snapshot = self.snapshot();
            let there = snapshot.get(&kind.group, &kind.plural, old.namespace(), old.name());
            if there.is_none_or(|there| there.uid() != old.uid()) {
                return;
            }
            // The deletion is not in this snapshot, so it comes after it.
            self.view.reached(snapshot.revision().saturating_add(1)).await;
        }
    }

    /// Takes an object out of the store, as it was seen; waits until the view has lost it.
    pub(crate) async fn remove(&self, kind: &Kind, old: &Stored) -> Result<(), Error> {
        let key = object_key(&kind.group, &kind.plural, old.namespace(), old.name());
        match self.store.delete(&key, Expect::Unchanged(old.revision())).await {
            Ok(Some(revision)) => {
                self.view.reached(revision).await;
                self.release(kind, old).await;
                Ok(())
            }
            Ok(None) | Err(StoreError::Conflict(None)) => {
                Err(Error::not_found(&kind.group, &kind.plural, old.name()))
            }
            Err(StoreError::Conflict(there)) => match self.overtaken(there).await {
                StoreError::Conflict(_) => Err(modified(kind, old.name())),
                e => Err(backend(e)),
            },
            Err(e) => Err(backend(e)),
        }
    }
}

/// What is said of an object that is gone, or would be.
fn answer(kind: &Kind, old: &Object, last: Arc<Stored>) -> Deleted {
    match kind.returns_deleted {
        true => Deleted::Object(last),
        false => Deleted::Status { name: old.name().into(), uid: old.uid().into() },
    }
}

/// The conflict names the kind, but for namespaces, which have words of their own.
pub(super) fn preconditions(kind: &Kind, old: &Stored, options: &DeleteOptions) -> Result<(), Error> {
    let (uid, version, now) = (options.uid(), options.resource_version(), old.resource_version());
    let (wrong, given, there) = match (uid, version) {
        (Some(uid), _) if uid != old.uid() => ("UID", uid, old.uid()),
        (_, Some(version)) if version != now => ("ResourceVersion", version, now.as_str()),
        _ => return Ok(()),
    };
    if kind.rules().holds_others() {
        let cause =
            format!("Precondition failed: {wrong} in precondition: {given}, {wrong} in object meta: {there}");
        return Err(Error::conflict("", &kind.plural, old.name(), cause));
    }
    let guess = if wrong == "UID" { "deleted and then recreated" } else { "modified" };
    let cause = format!(
        "the {wrong} in the precondition ({given}) does not match the {wrong} in record ({there}). The object might have been {guess}"
    );
    Err(Error::conflict(&kind.group, &kind.kind, old.name(), cause))
}
