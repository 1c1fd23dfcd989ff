//! A pod as the projector knows it, with its volumes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_objects::{LocalPath, Object};

use super::ids::{PodId, PodName, TokenId};
use super::monitor::FileLabels;
use super::state::{Grant, State, VERSION, VolumeState};
use super::token::Token;
use crate::api::{PodRef, Resource, TokenSpec};
use crate::exchange::{ExchangeSpec, Subject};
use crate::payload::Secret;
use crate::pod::{PodPlan, Reference, Source, TokenProjection, VolumePlan};
use crate::refresh::{FIRST_TOKEN_ALARM, Failure, Jitter};

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
    pub(super) shown: Shown,
}

/// Whether the volumes are where containers mount them.
#[derive(Debug)]
pub(super) enum Shown {
    /// It was tried.
    Failed(Failure),
    NotYet,
    Yes,
}

#[derive(Debug)]
pub(super) struct Volume {
    pub(super) tokens: Vec<Token>,
    pub(super) references: Vec<Reference>,
    pub(super) on_disk: OnDisk,
    /// What is on disk may not be what should be.
    pub(super) dirty: bool,
    pub(super) failure: Option<Failure>,
    pub(super) alarm: bool,
    /// When the next look for an alarm is on the agenda.
    pub(super) look_at: Option<OffsetDateTime>,
}

/// What the disk has of a volume.
#[derive(Debug)]
pub(super) enum OnDisk {
    /// Nothing, or not all of it, or another pod's.
    Nothing,
    /// All of it, for this pod. Which files those are is known once this run has written it.
    Whole { files: Arc<[LocalPath]> },
}

impl Shown {
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Shown::Failed(failure) => Some(failure),
            Shown::NotYet | Shown::Yes => None,
        }
    }

    /// Whether it is to be tried now.
    pub(super) fn is_due(&self, now: OffsetDateTime) -> bool {
        match self {
            Shown::Failed(failure) => failure.next_attempt.is_none_or(|at| at <= now),
            Shown::NotYet => true,
            Shown::Yes => false,
        }
    }

    /// They are to be shown anew. After a failure its next try comes all the same.
    pub(super) fn expire(&mut self) {
        if matches!(self, Shown::Yes) {
            *self = Shown::NotYet;
        }
    }

    /// The wall clock went back.
    pub(super) fn move_back(&mut self, by: Duration) {
        if let Shown::Failed(failure) = self {
            failure.move_back(by);
        }
    }
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
            shown: Shown::NotYet,
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

    /// Those that the API server has issued.
    pub(super) fn own_token_ids(&self, pod: PodId) -> Vec<TokenId> {
        let mut all = self.token_ids(pod);
        all.retain(|id| !self.volumes[id.volume].tokens[id.token].is_exchanged());
        all
    }

    /// The volumes cannot be shown. Gives whether it is so since now.
    pub(super) fn show_failed(&mut self, message: String, now: OffsetDateTime, next: OffsetDateTime) -> bool {
        let failure = Failure::after(self.shown.failure(), message, now, Some(next));
        let first = failure.count == 1;
        self.shown = Shown::Failed(failure);
        first
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
        let mut sources: BTreeMap<&LocalPath, &TokenProjection> = BTreeMap::new();
        for source in &plan.sources {
            if let Source::ServiceAccountToken(token) = source {
                sources.insert(&token.path, token);
            }
        }
        let token = |source: &TokenProjection| {
            let jitter = Jitter::of(&pod.namespace, &pod.uid, &plan.name, source.path.as_str());
            Token::new(source.clone(), jitter)
        };
        Volume {
            tokens: sources.into_values().map(token).collect(),
            references: pod.references_of(plan).into_iter().collect(),
            on_disk: OnDisk::Nothing,
            dirty: true,
            failure: None,
            alarm: false,
            look_at: None,
        }
    }

    fn state(&self) -> VolumeState {
        let tokens = self.tokens.iter();
        VolumeState {
            written: self.is_there(),
            failure: self.failure.clone(),
            tokens: tokens.map(|t| (t.source.path.to_string(), t.state(t.on_disk.clone()))).collect(),
        }
    }

    /// Whether it is on disk, whole, for this pod.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.on_disk, OnDisk::Whole { .. })
    }

    /// It has been written whole. Gives whether it was not there before.
    pub(super) fn written(&mut self, files: Arc<[LocalPath]>) -> bool {
        let before = std::mem::replace(&mut self.on_disk, OnDisk::Whole { files });
        matches!(before, OnDisk::Nothing)
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
    pub(super) fn failed(&mut self, message: String, now: OffsetDateTime) -> bool {
        let failure = Failure::after(self.failure.as_ref(), message, now, None);
        let first = failure.count == 1;
        self.failure = Some(failure);
        first
    }

    /// Whether a volume that never was there should be by now.
    pub(super) fn alarming(&self, now: OffsetDateTime) -> bool {
        !self.is_there() && self.failure.as_ref().is_some_and(|f| now.since(f.since) >= FIRST_TOKEN_ALARM)
    }

    /// Which files are looked for each minute; `None` while it is not known that there are any. With a token the whole
    /// volume is written anew before long, so that the token's own will do.
    pub(super) fn to_look_for(&self) -> Option<Arc<[LocalPath]>> {
        match &self.on_disk {
            OnDisk::Whole { files } if files.is_empty() => None,
            OnDisk::Whole { files } if self.tokens.is_empty() => Some(files.clone()),
            OnDisk::Whole { .. } => Some(self.tokens.iter().map(|t| t.source.path.clone()).collect()),
            OnDisk::Nothing => None,
        }
    }

    /// When to look for an alarm next.
    pub(super) fn alarm_check(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let tokens = self.tokens.iter().filter(|t| !t.alarm).filter_map(|t| t.alarm_check(now));
        let own = self.failure.as_ref().filter(|_| !self.is_there() && !self.alarm);
        tokens.chain(own.map(|f| f.since.plus(FIRST_TOKEN_ALARM))).min()
    }

    pub(super) fn move_back(&mut self, by: Duration) {
        if let Some(failure) = &mut self.failure {
            failure.move_back(by);
        }
        self.look_at = self.look_at.map(|at| at.minus(by));
    }
}

impl Pod {
    pub(super) fn labels(&self, id: TokenId) -> FileLabels {
        let volume = self.plan.volumes.get(id.volume).map(|v| v.name.clone()).unwrap_or_default();
        let token = |v: &Volume| v.tokens.get(id.token).map(|t| t.source.path.to_string());
        FileLabels {
            namespace: self.name.namespace.clone(),
            pod: self.name.name.clone(),
            volume,
            path: self.volumes.get(id.volume).and_then(token).unwrap_or_default(),
        }
    }

    /// The token that another one is made of by exchange; `None`: it is the account's own.
    pub(super) fn subject_id(&self, id: TokenId) -> Option<TokenId> {
        let volume = self.volumes.get(id.volume)?;
        let from = &volume.tokens.get(id.token)?.source.exchange.as_ref()?.from;
        let token =
            volume.tokens.iter().position(|token| !token.is_exchanged() && token.source.path == *from)?;
        Some(TokenId { token, ..id })
    }

    /// The tokens that are made of one by exchange.
    pub(super) fn made_of(&self, id: TokenId) -> Vec<TokenId> {
        let tokens = self.volumes.get(id.volume).map_or(0, |volume| volume.tokens.len());
        let all = (0..tokens).map(|token| TokenId { token, ..id });
        all.filter(|other| self.subject_id(*other) == Some(id)).collect()
    }

    /// A token has come. One that ends with the token that it is made of is replaced with that one.
    pub(super) fn settle_exchange(&mut self, id: TokenId) {
        let subject = self.subject_id(id).and_then(|id| self.token(id)?.grant().cloned());
        let (Some(subject), Some(token)) = (subject, self.token(id)) else { return };
        if token.ends_with(&subject) && token.is_made_of(&subject) {
            token.go_with(subject.due);
        }
    }

    /// The tokens whose other one has been replaced since they were made of it.
    pub(super) fn outdated_exchanges(&self, pod: PodId) -> Vec<TokenId> {
        let outdated = |id: &TokenId| {
            let volume = self.volumes.get(id.volume)?;
            let subject = volume.tokens.get(self.subject_id(*id)?.token)?.grant()?;
            let own = volume.tokens.get(id.token)?;
            (own.grant().is_some() && !own.is_made_of(subject)).then_some(())
        };
        self.token_ids(pod).into_iter().filter(|id| outdated(id).is_some()).collect()
    }

    /// What an exchange begins with.
    pub(super) fn exchange(&self, id: TokenId) -> Option<(Subject, ExchangeSpec)> {
        let volume = self.volumes.get(id.volume)?;
        let spec = volume.tokens.get(id.token)?.source.exchange.as_ref()?.spec.clone();
        let subject = volume.tokens.get(self.subject_id(id)?.token)?;
        let ends = subject.grant().map(|grant| grant.expires_at);
        Some((Subject { token: subject.secret()?.clone(), ends }, spec))
    }

    /// What is asked for. Without a UID there is nothing to bind a token to, and none is asked for.
    pub(super) fn spec(&self, id: TokenId) -> Option<TokenSpec> {
        let source = &self.volumes.get(id.volume)?.tokens.get(id.token)?.source;
        Some(TokenSpec {
            namespace: self.plan.namespace.clone(),
            account: self.plan.account.clone(),
            audiences: source.audience.clone().into_iter().collect(),
            expiration_seconds: Some(source.expiration_seconds),
            pod: Some(PodRef { name: self.plan.name.clone(), uid: self.plan.uid.clone() }),
        })
    }
}
