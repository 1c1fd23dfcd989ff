//! A pod as the projector knows it, with its volumes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_objects::{LocalPath, Object};

use super::PodId;
use super::asking::TokenId;
use super::state::{Failure, Grant, State, VERSION, VolumeState};
use super::token::Token;
use crate::api::Resource;
use crate::payload::Secret;
use crate::pod::{PodPlan, Reference, Source, TokenSource, VolumePlan};
use crate::refresh::{FIRST_TOKEN_ALARM, Jitter};

/// A pod by its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: Arc<PodName>,
    pub(super) object: Arc<Object>,
    pub(super) plan: Arc<PodPlan>,
    pub(super) volumes: Vec<Volume>,
    /// The state of an earlier run has been read, or there was none.
    pub(super) loaded: bool,
    /// Something in the state differs from what is on disk.
    pub(super) state_dirty: bool,
    /// Why the volumes cannot be shown where containers mount them.
    pub(super) failure: Option<Failure>,
    pub(super) shown: bool,
}

#[derive(Debug)]
pub(super) struct Volume {
    pub(super) tokens: Vec<Token>,
    pub(super) references: Vec<Reference>,
    /// It is on disk, whole, for this pod.
    pub(super) written: bool,
    /// What is on disk may not be what should be.
    pub(super) dirty: bool,
    /// Which files it has.
    pub(super) files: Arc<[LocalPath]>,
    pub(super) failure: Option<Failure>,
    pub(super) alarm: bool,
    /// When the next look for an alarm is on the agenda.
    pub(super) look_at: Option<OffsetDateTime>,
}

impl Pod {
    pub(super) fn new(object: Object, plan: PodPlan) -> Self {
        let volumes = plan.volumes.iter().map(|volume| Volume::new(&plan, volume)).collect();
        Pod {
            name: Arc::new(PodName { namespace: plan.namespace.clone(), name: plan.name.clone() }),
            object: Arc::new(object),
            plan: Arc::new(plan),
            volumes,
            loaded: false,
            state_dirty: true,
            failure: None,
            shown: false,
        }
    }

    /// The account that its tokens are for.
    pub(super) fn account(&self) -> Reference {
        Reference::Named {
            resource: Resource::ServiceAccounts,
            namespace: Some(self.plan.namespace.clone()),
            name: self.plan.account.clone(),
        }
    }

    /// Everything that is followed for it.
    pub(super) fn references(&self) -> Vec<Reference> {
        let mut all: Vec<_> = self.plan.references().into_iter().collect();
        if self.volumes.iter().any(|v| !v.tokens.is_empty()) {
            all.push(self.account());
        }
        all
    }

    pub(super) fn token(&mut self, id: TokenId) -> Option<&mut Token> {
        self.volumes.get_mut(id.volume)?.tokens.get_mut(id.token)
    }

    /// All of its tokens.
    pub(super) fn token_ids(&self, pod: PodId) -> Vec<TokenId> {
        let volumes = self.volumes.iter().enumerate();
        volumes
            .flat_map(|(volume, v)| (0..v.tokens.len()).map(move |token| TokenId { pod, volume, token }))
            .collect()
    }

    /// The volumes cannot be shown. Gives whether it is so since now.
    pub(super) fn failed(
        &mut self,
        message: String,
        now: OffsetDateTime,
        next_attempt: OffsetDateTime,
    ) -> bool {
        let (since, count) = self.failure.as_ref().map_or((now, 0), |f| (f.since, f.count));
        let next_attempt = Some(next_attempt);
        self.failure = Some(Failure { since, count: count.saturating_add(1), message, next_attempt });
        count == 0
    }

    /// For the disk: what is there now.
    pub(super) fn state(&self, now: OffsetDateTime) -> State {
        let volumes = self.plan.volumes.iter().zip(&self.volumes);
        let volumes = volumes.map(|(plan, volume)| (plan.name.clone(), volume.state())).collect();
        State { version: VERSION, pod_uid: self.plan.uid.clone(), updated: now, volumes }
    }
}

impl Volume {
    fn new(pod: &PodPlan, plan: &VolumePlan) -> Self {
        // Two tokens at one path are one file, and the later source is the one that is seen.
        let mut sources: BTreeMap<&LocalPath, &TokenSource> = BTreeMap::new();
        for source in &plan.sources {
            if let Source::ServiceAccountToken(token) = source {
                sources.insert(&token.path, token);
            }
        }
        let token = |source: &TokenSource| {
            let jitter = Jitter::of(&pod.namespace, &pod.uid, &plan.name, source.path.as_str());
            Token::new(source.clone(), jitter)
        };
        Volume {
            tokens: sources.into_values().map(token).collect(),
            references: pod.references_of(plan).into_iter().collect(),
            written: false,
            dirty: true,
            files: Arc::default(),
            failure: None,
            alarm: false,
            look_at: None,
        }
    }

    fn state(&self) -> VolumeState {
        let tokens = self.tokens.iter();
        VolumeState {
            written: self.written,
            failure: self.failure.clone(),
            tokens: tokens.map(|t| (t.source.path.to_string(), t.state(t.on_disk.clone()))).collect(),
        }
    }

    /// The newest token of each path; of two sources with one path, the first one's.
    pub(super) fn newest(&self) -> HashMap<&LocalPath, Option<&Secret>> {
        self.tokens.iter().rev().map(|token| (&token.source.path, token.secret())).collect()
    }

    /// The newest tokens, by their paths.
    pub(super) fn secrets(&self) -> Vec<(LocalPath, Secret)> {
        let tokens = self.tokens.iter();
        tokens.filter_map(|t| Some((t.source.path.clone(), t.secret()?.clone()))).collect()
    }

    /// Whether there is a token that is not on disk.
    pub(super) fn has_news(&self) -> bool {
        self.tokens.iter().any(|t| t.grant().is_some() && t.grant() != t.on_disk.as_ref())
    }

    /// The tokens that a write now puts on disk.
    pub(super) fn grants(&self) -> Vec<Option<Grant>> {
        self.tokens.iter().map(|token| token.grant().cloned()).collect()
    }

    /// Something is wrong. Gives whether it is so since now.
    pub(super) fn failed(
        &mut self,
        message: String,
        now: OffsetDateTime,
        next_attempt: Option<OffsetDateTime>,
    ) -> bool {
        let (since, count) = self.failure.as_ref().map_or((now, 0), |f| (f.since, f.count));
        let first = count == 0;
        self.failure = Some(Failure { since, count: count.saturating_add(1), message, next_attempt });
        first
    }

    /// Whether a volume that never was there should be by now.
    pub(super) fn alarming(&self, now: OffsetDateTime) -> bool {
        !self.written && self.failure.as_ref().is_some_and(|f| now.since(f.since) >= FIRST_TOKEN_ALARM)
    }

    /// Which files are looked for each minute. With a token the whole volume is written anew before long, so that the
    /// token's own will do.
    pub(super) fn to_look_for(&self) -> Arc<[LocalPath]> {
        match self.tokens.is_empty() {
            true => self.files.clone(),
            false => self.tokens.iter().map(|t| t.source.path.clone()).collect(),
        }
    }

    /// When to look for an alarm next.
    pub(super) fn alarm_check(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let tokens = self.tokens.iter().filter(|t| !t.alarm).filter_map(|t| t.alarm_check(now));
        let own = self.failure.as_ref().filter(|_| !self.written && !self.alarm);
        tokens.chain(own.map(|f| f.since.plus(FIRST_TOKEN_ALARM))).min()
    }

    pub(super) fn move_back(&mut self, by: Duration) {
        if let Some(failure) = &mut self.failure {
            failure.move_back(by);
        }
        self.look_at = self.look_at.map(|at| at.minus(by));
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
