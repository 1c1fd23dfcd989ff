//! Which pods there are: those that were given, those of a list of names that may change, or those that the API server shows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::random;
use tokensmith_objects::Object;
use tokio::sync::watch;

use super::feed::{Change, Feed};
use super::ids::{FeedId, PodId, PodName, Task};
use super::reading::Read;
use super::sources::trimmed;
use super::volume::Pod;
use super::{Listed, Pods, Projector};
use crate::api::{ApiError, Resource, Selection, short_line};
use crate::pod::{PlanError, PodPlan};
use crate::refresh::{FIRST_TOKEN_ALARM, Failure, Retry, Trouble};

#[derive(Debug, Default)]
pub(super) struct Members {
    /// Of pods that are selected.
    pub(super) feed: Option<Feed>,
    /// Pods that are named, each followed by itself, so that a role for one name is enough.
    named: BTreeMap<u64, Named>,
    /// How many there have been.
    count: u64,
    /// Where another list of names comes from.
    list: Option<watch::Receiver<Listed>>,
    /// Why that list is not what it should be.
    trouble: Option<String>,
    /// Fixed pods, as they were given.
    fixed: BTreeMap<Arc<PodName>, Fixed>,
    /// Pods that have no plan, and why.
    invalid: BTreeMap<PodName, String>,
    /// Of a selection: the disk has been compared with the first list.
    compared: bool,
    alarm: bool,
    /// When the next judgement of the listing is on the agenda.
    judge_at: Option<OffsetDateTime>,
}

#[derive(Debug)]
struct Named {
    name: Arc<PodName>,
    feed: Feed,
    /// It has been read once.
    read: bool,
}

#[derive(Debug)]
struct Fixed {
    object: Object,
    /// Being asked for.
    asking: bool,
    /// Why its UID is not known.
    failure: Option<Failure>,
}

/// What the alarm of the list of pods is about.
const LISTING: &str = "pods";
/// And that of what says which pods there should be.
const MANIFEST: &str = "manifest";
/// What is told when a pod goes.
const GONE: &str = "the pod is gone: its volumes are removed";
/// Once pods were listed, not to be able to is an alarm after this.
const LISTING_ALARM: Duration = Duration::from_secs(3600);

impl Members {
    pub(super) fn unfinished(&self) -> Vec<String> {
        let mut out: Vec<_> = self.invalid.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        out.extend(self.trouble.iter().cloned());
        if let Some(error) = self.feed.as_ref().and_then(|feed| feed.error()) {
            out.push(format!("failed to list pods: {}", short_line(&error.to_string())));
        }
        let unread = self.named.values().filter_map(|named| Some((&named.name, named.feed.error()?)));
        out.extend(
            unread.map(|(name, e)| format!("{name}: failed to read the pod: {}", short_line(&e.to_string()))),
        );
        let fixed = self.fixed.iter().filter_map(|(name, f)| Some((name, f.failure.as_ref()?)));
        out.extend(fixed.map(|(name, failure)| format!("{name}: {}", failure.message)));
        out
    }

    /// The wall clock went back.
    pub(super) fn move_back(&mut self, by: Duration) {
        self.feed.iter_mut().for_each(|feed| feed.move_back(by));
        self.named.values_mut().for_each(|named| named.feed.move_back(by));
        let failures = self.fixed.values_mut().filter_map(|fixed| fixed.failure.as_mut());
        failures.for_each(|failure| failure.move_back(by));
        self.judge_at = self.judge_at.map(|at| at.minus(by));
    }

    /// Whether a name on disk would be in the list if its pod were there.
    fn covers(&self, name: &PodName) -> bool {
        let Some(feed) = &self.feed else { return false };
        feed.selection.namespace.as_ref().is_none_or(|ns| *ns == name.namespace)
    }

    /// Of a pod that is named.
    pub(super) fn named_feed(&mut self, number: u64) -> Option<&mut Feed> {
        self.named.get_mut(&number).map(|named| &mut named.feed)
    }

    /// Those that are named and were looked for.
    pub(super) fn read(&self) -> impl Iterator<Item = &Arc<PodName>> {
        let sound = self.named.values().filter(|named| named.read && named.feed.error().is_none());
        sound.map(|named| &named.name).filter(|name| !self.invalid.contains_key(&***name))
    }

    /// Whether the API server says when a pod is gone or has ended.
    fn are_followed(&self) -> bool {
        self.feed.is_some() || !self.named.is_empty()
    }

    /// The feed that has failed for longest.
    fn failing(&self) -> Option<(OffsetDateTime, &ApiError)> {
        let feeds = self.feed.iter().chain(self.named.values().map(|named| &named.feed));
        feeds.filter_map(|feed| Some((feed.failing_since()?, feed.error()?))).min_by_key(|(since, _)| *since)
    }

    /// Whether it has once been known which pods there are.
    fn are_known(&self) -> bool {
        match self.feed {
            Some(_) => self.compared,
            None => self.named.values().all(|named| named.read),
        }
    }

    /// Waits for another list; `None`: nobody makes one any more.
    pub(super) async fn another(&mut self) -> Option<Listed> {
        let Some(list) = &mut self.list else { return std::future::pending().await };
        match list.changed().await {
            Ok(()) => Some(list.borrow_and_update().clone()),
            Err(_) => None,
        }
    }

    /// Whether nobody need wait for it.
    pub(super) fn has_another(&self) -> bool {
        self.list.as_ref().is_some_and(|list| list.has_changed().unwrap_or(true))
    }

    /// Why the list is not what it should be.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

impl Projector {
    /// Begins to follow pods.
    pub(super) fn follow(&mut self, pods: Pods) -> Result<(), PlanError> {
        let selection = match pods {
            Pods::Fixed(objects) => {
                for object in objects {
                    self.fix(object)?;
                }
                return Ok(());
            }
            Pods::Listed(mut list) => {
                let listed = list.borrow_and_update().clone();
                self.members.list = Some(list);
                self.listed(Some(listed));
                return Ok(());
            }
            Pods::Named(name) => {
                self.listed(Some(Listed { names: [name].into(), trouble: None }));
                return Ok(());
            }
            Pods::Selected(selection) => selection,
        };
        self.members.feed = Some(Feed::new(Resource::Pods, selection));
        self.read_feed(FeedId::Pods);
        Ok(())
    }

    /// There is another list of pods; `None`: nobody makes one any more, and the last one stays.
    pub(super) fn listed(&mut self, listed: Option<Listed>) {
        let trouble = match listed {
            None => {
                self.members.list = None;
                Some("the manifests are not looked at any more: start this again".to_owned())
            }
            Some(Listed { names, trouble }) => {
                self.name(&names);
                trouble
            }
        };
        if trouble != self.members.trouble {
            self.ports.monitor.alarm(MANIFEST.into(), trouble.clone());
            self.members.trouble = trouble;
            self.write_file();
        }
    }

    /// Follows these pods, and no others.
    fn name(&mut self, names: &BTreeSet<PodName>) {
        let left = self.members.named.extract_if(.., |_, named| !names.contains(&*named.name));
        for (_, mut named) in left.collect::<Vec<_>>() {
            named.feed.close();
            self.members.invalid.remove(&*named.name);
            self.gone(&named.name, "the pod is in no manifest any more: its volumes are removed");
        }
        let known: HashSet<PodName> =
            self.members.named.values().map(|named| (*named.name).clone()).collect();
        for name in names.iter().filter(|name| !known.contains(*name)) {
            let selection = Selection {
                namespace: Some(name.namespace.clone()),
                name: Some(name.name.clone()),
                ..Selection::default()
            };
            self.members.count = self.members.count.saturating_add(1);
            let number = self.members.count;
            let feed = Feed::new(Resource::Pods, selection);
            self.members.named.insert(number, Named { name: Arc::new(name.clone()), feed, read: false });
            self.read_feed(FeedId::Pod(number));
        }
        self.judge_listing();
    }

    /// A pod that is named is different, or is not there.
    pub(super) fn named_changed(&mut self, number: u64, change: Change) {
        let Some(named) = self.members.named.get_mut(&number) else { return };
        named.read = true;
        let name = named.name.clone();
        let object = match change {
            Change::Applied(object) => Some(object),
            Change::Deleted(_) => None,
            Change::Reset(items) => items.into_iter().next(),
        };
        match object.filter(|object| object.namespace() == name.namespace && object.name() == name.name) {
            Some(object) => self.applied(trimmed(object)),
            None => {
                self.members.invalid.remove(&*name);
                self.gone(&name, GONE);
            }
        }
    }

    fn fix(&mut self, object: Object) -> Result<(), PlanError> {
        let plan = PodPlan::new(&object)?;
        let name = Arc::new(PodName { namespace: plan.namespace.clone(), name: plan.name.clone() });
        let fixed = Fixed { object: object.clone(), asking: false, failure: None };
        self.members.fixed.insert(name.clone(), fixed);
        if plan.uid.is_empty() {
            self.resolve(&name);
        } else {
            self.admit(object, plan);
        }
        Ok(())
    }

    /// Asks the API for the UID of a fixed pod: it has none yet, or it seems to be another's by now.
    pub(super) fn resolve(&mut self, name: &Arc<PodName>) {
        let Some(fixed) = self.members.fixed.get_mut(name) else { return };
        if !std::mem::replace(&mut fixed.asking, true) {
            self.reading.queue(Read::Pod(name.clone()));
        }
    }

    pub(super) fn resolved(&mut self, name: Arc<PodName>, result: Result<Option<Object>, ApiError>) {
        let now = self.now();
        let Some(fixed) = self.members.fixed.get_mut(&name) else { return };
        fixed.asking = false;
        let known =
            self.roster.id_of(&name).and_then(|id| self.roster.get(id)).map(|pod| pod.plan.uid.as_str());
        let (error, retry_after, trouble) = match result {
            Ok(Some(pod)) => {
                let new = known != Some(pod.uid());
                fixed.failure = None;
                let mut object = fixed.object.clone();
                object.set(&["metadata", "uid"], pod.uid());
                self.ports.monitor.alarm(name.to_string(), None);
                if new {
                    self.applied(object);
                }
                return;
            }
            Ok(None) => (format!("pods {:?} not found", name.name), None, Trouble::Refused),
            Err(error) => (error.to_string(), error.retry_after(), Trouble::of(&error)),
        };
        if known.is_some() {
            // Its tokens tell what is wrong, and their next failure asks again.
            return;
        }
        let mut failure = Failure::after(fixed.failure.as_ref(), error, now, None);
        let (since, cause) = (failure.since, &failure.message);
        let (namespace, pod) = (&name.namespace, &name.name);
        if failure.count == 1 {
            tracing::warn!(namespace, pod, cause, "no token can be bound to the pod");
        }
        let retry = Retry { failures: failure.count, trouble, retry_after, lease: None };
        let mut at = now.plus(retry.delay(now, random::fraction()));
        if now.since(since) >= FIRST_TOKEN_ALARM {
            self.ports.monitor.alarm(name.to_string(), Some(cause.clone()));
        } else {
            at = at.min(since.plus(FIRST_TOKEN_ALARM));
        }
        failure.next_attempt = Some(at);
        fixed.failure = Some(failure);
        self.agenda.put(at, Task::Resolve(name));
    }

    pub(super) fn pods_changed(&mut self, change: Change) {
        match change {
            Change::Applied(object) => self.applied(trimmed(object)),
            Change::Deleted(object) => {
                let name = PodName { namespace: object.namespace().into(), name: object.name().into() };
                self.members.invalid.remove(&name);
                self.gone(&Arc::new(name), GONE);
            }
            Change::Reset(items) => {
                let there: HashSet<(&str, &str)> = items.iter().map(|o| (o.namespace(), o.name())).collect();
                let lost = |name: &PodName| !there.contains(&(name.namespace.as_str(), name.name.as_str()));
                let gone: Vec<_> = self.roster.names().into_iter().filter(|name| lost(name)).collect();
                self.members.invalid.retain(|name, _| !lost(name));
                for name in gone {
                    self.gone(&name, GONE);
                }
                for object in items {
                    self.applied(trimmed(object));
                }
                if !std::mem::replace(&mut self.members.compared, true) {
                    self.compare_disk();
                }
            }
        }
    }

    /// What the disk has of pods that are not there: they went while nobody looked.
    pub(super) fn left_over(&mut self, on_disk: Vec<PodName>) {
        for name in on_disk {
            let known = self.roster.id_of(&name).is_some() || self.members.invalid.contains_key(&name);
            if !known && self.members.covers(&name) {
                self.gone(&Arc::new(name), GONE);
            }
        }
    }

    /// A pod is there, as it is now.
    fn applied(&mut self, mut object: Object) {
        let name = Arc::new(PodName { namespace: object.namespace().into(), name: object.name().into() });
        // It has ended and will not start again; the kubelet takes its volumes away too.
        if self.members.are_followed()
            && matches!(object.str_at(&["status", "phase"]), "Succeeded" | "Failed")
        {
            self.members.invalid.remove(&name);
            self.gone(&name, "the pod has ended: its volumes are removed");
            return;
        }
        object.remove(&["status"]);
        let plan = match PodPlan::new(&object) {
            Ok(plan) => plan,
            Err(error) => {
                let (namespace, pod, cause) = (&name.namespace, &name.name, error.to_string());
                tracing::error!(namespace, pod, cause, "a pod has no volumes that can be made");
                self.ports.monitor.alarm(name.to_string(), Some(cause.clone()));
                self.members.invalid.insert((*name).clone(), cause);
                return;
            }
        };
        if self.members.invalid.remove(&name).is_some() {
            self.ports.monitor.alarm(name.to_string(), None);
        }
        let known = self.roster.id_of(&name);
        let Some((id, pod)) = known.and_then(|id| Some((id, self.roster.get_mut(id)?))) else {
            self.admit(object, plan);
            return;
        };
        let old = &pod.plan;
        if old.uid != plan.uid || old.volumes != plan.volumes || old.account != plan.account {
            if old.uid != plan.uid {
                let (namespace, pod) = (&name.namespace, &name.name);
                tracing::info!(namespace, pod, "the pod was made again: its tokens are replaced");
            }
            self.forget(id);
            self.admit(object, plan);
            return;
        }
        // Its status changes often, and no volume shows it.
        let shown: [&[&str]; 3] = [&["spec"], &["metadata", "labels"], &["metadata", "annotations"]];
        let changed = pod.plan.ownership != plan.ownership
            || shown.iter().any(|field| object.at(field) != pod.object.at(field));
        if pod.plan.containers != plan.containers {
            pod.shown.expire();
        }
        pod.object = Arc::new(object);
        pod.plan = Arc::new(plan);
        if changed {
            pod.volumes.iter_mut().for_each(|volume| volume.dirty = true);
            self.queue_disk_work(&name);
        }
    }

    /// A pod is new here.
    fn admit(&mut self, object: Object, plan: PodPlan) {
        for ignored in &plan.ignored {
            let (namespace, pod, volume, cause) =
                (&plan.namespace, &plan.name, ignored.volume(), ignored.to_string());
            tracing::info!(namespace, pod, volume, cause, "a part of the pod is left to the kubelet");
        }
        let pod = Pod::new(object, plan);
        let name = pod.name.clone();
        let references = pod.references();
        let id = self.roster.add(pod);
        for reference in references {
            if let Some(source) = self.sources.claim(reference, id) {
                self.read_feed(FeedId::Source(source));
            }
        }
        self.ports.monitor.pods(self.roster.len());
        self.queue_disk_work(&name);
    }

    /// A pod is gone, and so are its volumes soon.
    fn gone(&mut self, name: &Arc<PodName>, why: &'static str) {
        if let Some(id) = self.roster.id_of(name) {
            self.forget(id);
            let (namespace, pod) = (&name.namespace, &name.name);
            tracing::info!(namespace, pod, "{why}");
        }
        self.ports.monitor.alarm(name.to_string(), None);
        self.clear_away(name);
    }

    /// Ends everything that is done for a pod; the disk is left as it is.
    fn forget(&mut self, id: PodId) {
        let Some(pod) = self.roster.remove(id) else { return };
        for reference in pod.references() {
            self.sources.release(&reference, id);
        }
        for (plan, volume) in pod.plan.volumes.iter().zip(&pod.volumes) {
            self.ports.monitor.alarm(format!("{}/{}", pod.name, plan.name), None);
            for token in &volume.tokens {
                self.ports.monitor.alarm(format!("{}/{}/{}", pod.name, plan.name, token.source.path), None);
            }
        }
        self.ports.monitor.forget(pod.token_ids(id).into_iter().map(|id| pod.labels(id)));
        self.ports.monitor.pods(self.roster.len());
    }

    /// Who does not know which pods there are cannot keep any. Later it matters less: those that are known are kept,
    /// and their tokens have alarms of their own.
    pub(super) fn judge_listing(&mut self) {
        let now = self.now();
        let patience = if self.members.are_known() { LISTING_ALARM } else { FIRST_TOKEN_ALARM };
        let failing = self.members.failing().map(|(since, error)| (since, short_line(&error.to_string())));
        let failing_since = failing.as_ref().map(|(since, _)| *since);
        let long = failing_since.is_some_and(|since| now.since(since) >= patience);
        if let Some(at) = failing_since.map(|since| since.plus(patience)).filter(|at| *at > now)
            && self.members.judge_at != Some(at)
        {
            self.members.judge_at = Some(at);
            self.agenda.put(at, Task::Listing);
        }
        let error = failing.map(|(_, error)| error).filter(|_| long);
        if error.is_some() != self.members.alarm {
            self.members.alarm = error.is_some();
            match &error {
                Some(cause) => tracing::error!(cause, "failed to list pods"),
                None => tracing::info!("pods are listed again"),
            }
            self.ports.monitor.alarm(LISTING.into(), error.map(|e| format!("failed to list pods: {e}")));
        }
    }
}
