//! What can happen, and what must hold.

use std::time::Duration;

use stateright::Property;
use tokensmith_core::keys::command::plan;
use tokensmith_core::keys::{
    Algorithm, Command, KeyRing, NewKey, Origin, Phase, PrivateKey, RotationPolicy, Step, Then,
};

use crate::state::{POOL, Plan, REPLICAS, Replica, Rings, State, Stored, Time, at, place, unix};

/// How long a token lives.
const LIFETIME: Time = 2;
/// No time after this.
const END: Time = 12;
/// How many clock steps may come.
const STEPS: u8 = 2;

const MAX_AGE: Time = 2;
const LAG: Time = 1;
const LEEWAY: Time = 1;

/// The policy, in units of the model.
fn policy() -> RotationPolicy {
    let units = |time: Time| Duration::from_secs(time.unsigned_abs().into());
    let mut policy = RotationPolicy {
        signs_for: units(5),
        publish_before: Duration::ZERO,
        max_token_lifetime: Some(units(LIFETIME)),
        leeway: units(LEEWAY),
        max_age: units(MAX_AGE),
        lag: units(LAG),
    };
    policy.publish_before = policy.least_publish_before();
    policy
}

/// A rule that can be left out, to see that the model misses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A write is refused when the ring has changed since it was read.
    CompareAndSwap,
    /// A key is published before it signs.
    PublishBefore,
    /// A promise is written before a token is signed.
    Promise,
    /// A retired key stays for its tokens.
    Retention,
    /// Who has not seen the ring for too long does not sign.
    Staleness,
}

impl Rule {
    pub const ALL: [Rule; 5] =
        [Rule::CompareAndSwap, Rule::PublishBefore, Rule::Promise, Rule::Retention, Rule::Staleness];
}

/// Properties that are there to show that the model gets somewhere.
pub const REACHED: [&str; 5] = [
    "a rotation happens",
    "a removal happens",
    "a revocation happens",
    "a race is lost",
    "an unannounced key signs",
];

pub struct Model {
    without: Option<Rule>,
    /// Whether an operator may let a key sign unannounced.
    unannounced: bool,
    policy: RotationPolicy,
    pool: Vec<NewKey>,
    rings: Rings,
}

/// What can happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Advance,
    /// A clock steps.
    Skew(usize, Time),
    /// A replica reads the ring.
    Refresh(usize),
    /// It works out what is due.
    Tick(usize),
    /// It works out a rotation that an operator asks for.
    Rotate(usize),
    /// It works out the revocation of the key that signs.
    Revoke(usize),
    /// It works out the same with a new key that signs unannounced: the named exception.
    RevokeFresh(usize),
    /// It works out a promise for a token.
    Promise(usize),
    /// It writes what it has worked out.
    Write(usize),
    /// It dies before it has written, and starts again.
    Crash(usize),
    /// It signs a token.
    Sign(usize),
}

impl Model {
    pub fn new(without: Option<Rule>, unannounced: bool) -> Self {
        let key = |n| NewKey {
            public: PrivateKey::generate(Algorithm::ES256).unwrap().public().clone(),
            sealed: Some(vec![n]),
            origin: Origin::Generated,
        };
        let mut policy = policy();
        match without {
            Some(Rule::PublishBefore) => policy.publish_before = Duration::ZERO,
            Some(Rule::Retention) => (policy.leeway, policy.max_age) = (Duration::ZERO, Duration::ZERO),
            _ => {}
        }
        Model {
            without,
            unannounced,
            policy,
            pool: (0..POOL as u8).map(key).collect(),
            rings: Rings::default(),
        }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// A start with so many keys, whose first one has a token out; the last one is published since just after `fresh`.
    fn start(&self, ring: KeyRing, now: Time, made: usize, fresh: Time) -> State {
        let stored = Stored { ring: self.rings.id(ring), revision: 1 };
        let replica = Replica { offset: 0, seen: stored, seen_at: now, plan: None };
        let (mut absent, mut tokens) = ([Time::MIN; POOL], [None; POOL]);
        (absent[made - 1], tokens[0]) = (fresh, Some(LIFETIME));
        let (replicas, revoked, fresh) = ([replica; REPLICAS], [None; POOL], [None; POOL]);
        State {
            now,
            steps: STEPS,
            stored,
            replicas,
            tokens,
            absent,
            revoked,
            fresh,
            made,
            signed_late: false,
        }
    }

    fn stored(&self, state: &State) -> std::sync::Arc<KeyRing> {
        self.rings.get(state.stored.ring)
    }

    /// A replica's own time.
    fn local(&self, state: &State, r: usize) -> Time {
        state.now + state.replicas[r].offset
    }

    fn propose(&self, state: &State, r: usize, action: &Action) -> Option<Plan> {
        let replica = &state.replicas[r];
        let (now, before) = (at(self.local(state, r)), &*self.rings.get(replica.seen.ring));
        let next = || self.pool.get(state.made).cloned();
        let (mut takes, mut revokes, mut fresh) = (0, None, None);
        let ring = match action {
            Action::Tick(_) => {
                let mut ring = before.clone();
                if !self.keeps(Rule::Retention) {
                    for step in self.policy.due(before, now) {
                        if let Step::Remove { id } = &step {
                            ring.remove(id, now).unwrap();
                        }
                    }
                }
                let made = |_| {
                    takes += 1;
                    next()
                };
                let advanced = self.policy.advance(&mut ring, now, made, |_| true);
                assert!(advanced.refused.is_empty(), "{:?}", advanced.refused);
                ring
            }
            Action::Promise(_) => {
                let mut ring = before.clone();
                ring.promise(Algorithm::ES256, unix(self.local(state, r) + LIFETIME));
                ring
            }
            Action::Rotate(_) | Action::Revoke(_) | Action::RevokeFresh(_) => {
                let forced = matches!(action, Action::RevokeFresh(_));
                let command = match action {
                    Action::Rotate(_) => Command::Rotate { algorithm: None },
                    _ => Command::Revoke { id: before.active().id.clone(), fresh: forced },
                };
                if let Command::Revoke { id, .. } = &command {
                    revokes = Some(place(&self.pool, id));
                }
                let made = if forced { Some(next()?) } else { None };
                // A refusal is the guards' right answer; a missing spare is made by the next tick.
                let planned = plan(before, &command, &self.policy, now, forced, made).ok()?;
                assert_eq!(planned.exception.is_some(), forced, "the exception has one door");
                if forced {
                    (takes, fresh) = (1, Some(state.made));
                }
                planned.ring
            }
            _ => return None,
        };
        if ring == *before || takes > 1 || state.made + takes > POOL {
            return None;
        }
        Some(Plan { ring: self.rings.id(ring), from: replica.seen.revision, takes, revokes, fresh })
    }

    /// Whether a replica would sign: it has seen the ring lately, and what it signs is promised.
    fn may_sign(&self, state: &State, r: usize) -> Option<(usize, Time)> {
        let replica = &state.replicas[r];
        let ring = self.rings.get(replica.seen.ring);
        let active = ring.active();
        let expires = self.local(state, r) + LIFETIME;
        let promised = active.promised(unix(expires));
        let fresh = state.now - replica.seen_at <= LAG;
        let may = (promised || !self.keeps(Rule::Promise)) && (fresh || !self.keeps(Rule::Staleness));
        may.then(|| (place(&self.pool, &active.id), expires))
    }

    /// Writes down which key sets verifiers can get now: from every replica that is ready.
    fn served(&self, state: &mut State) {
        for r in 0..REPLICAS {
            let replica = &state.replicas[r];
            if state.now - replica.seen_at > LAG {
                continue;
            }
            let ring = self.rings.get(replica.seen.ring);
            for (key, new) in self.pool.iter().enumerate().take(state.made) {
                let known = ring.get(new.public.key_id());
                if !known.is_some_and(|k| k.phase.published()) {
                    state.absent[key] = state.now;
                }
            }
        }
    }
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        // A young ring: the first key signs, the second has been published since the start.
        let mut young = KeyRing::new(self.pool[0].clone(), at(0));
        young.prepare(self.pool[1].clone(), Then::StandBy, at(0)).unwrap();
        young.promise(Algorithm::ES256, unix(LIFETIME));
        // One that has just been rotated: the first key's tokens are still out.
        let mut rotated = young.clone();
        rotated.promote(self.pool[1].public.key_id(), at(0)).unwrap();
        rotated.prepare(self.pool[2].clone(), Then::StandBy, at(0)).unwrap();
        // And one whose spare may sign, with a promise that reaches ahead.
        let mut ripe = KeyRing::new(self.pool[0].clone(), at(-5));
        ripe.prepare(self.pool[1].clone(), Then::StandBy, at(-5)).unwrap();
        ripe.promise(Algorithm::ES256, unix(3 * LIFETIME));
        vec![
            self.start(young, 0, 2, -1),
            self.start(rotated.clone(), 0, 3, -1),
            // When the first key's token is about to die.
            self.start(rotated, 3, 3, -1),
            self.start(ripe, 0, 2, -6),
        ]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < END {
            actions.push(Action::Advance);
        }
        for r in 0..REPLICAS {
            let replica = &state.replicas[r];
            if replica.seen.revision != state.stored.revision || replica.seen_at != state.now {
                actions.push(Action::Refresh(r));
            }
            if state.steps > 0 {
                actions.extend([Action::Skew(r, 1), Action::Skew(r, -1)]);
            }
            match &replica.plan {
                Some(_) => actions.extend([Action::Write(r), Action::Crash(r)]),
                None => actions.extend([
                    Action::Tick(r),
                    Action::Rotate(r),
                    Action::Revoke(r),
                    Action::Promise(r),
                    Action::Sign(r),
                ]),
            }
            // Once is enough to see what it may break, and keeps the model small.
            if self.unannounced && replica.plan.is_none() && state.fresh.iter().all(Option::is_none) {
                actions.push(Action::RevokeFresh(r));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Advance => state.now += 1,
            Action::Skew(r, step) => {
                state.replicas[r].offset += step;
                state.steps -= 1;
                let offsets = state.replicas.iter().map(|r| r.offset);
                let (low, high) = (offsets.clone().min()?, offsets.max()?);
                // The stated bound: the clocks of two replicas differ by the lag at most.
                if high - low > LAG {
                    return None;
                }
            }
            Action::Refresh(r) => refresh(&mut state, r),
            Action::Tick(r)
            | Action::Rotate(r)
            | Action::Revoke(r)
            | Action::RevokeFresh(r)
            | Action::Promise(r) => {
                state.replicas[r].plan = Some(self.propose(before, r, &action)?);
            }
            Action::Write(r) => {
                let plan = state.replicas[r].plan.take()?;
                let unchanged = plan.from == state.stored.revision;
                if unchanged || !self.keeps(Rule::CompareAndSwap) {
                    state.made = state.made.max(before.made + plan.takes);
                    if let Some(key) = plan.revokes {
                        state.revoked[key] = Some(state.now);
                    }
                    if let Some(key) = plan.fresh {
                        state.fresh[key] = Some(state.now);
                    }
                    state.stored = Stored { ring: plan.ring, revision: state.stored.revision + 1 };
                }
                // Won or lost, it has the store's ring now.
                refresh(&mut state, r);
            }
            Action::Crash(r) => {
                state.replicas[r].plan = None;
                refresh(&mut state, r);
            }
            Action::Sign(r) => {
                let (key, expires) = self.may_sign(before, r)?;
                if state.tokens[key] >= Some(expires) {
                    return None;
                }
                state.tokens[key] = Some(expires);
                state.signed_late |= state.revoked[key].is_some_and(|at| state.now - at > LAG);
            }
        }
        self.served(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("the ring keeps its invariants", |model: &Model, state: &State| {
                model.stored(state).check_phases().is_ok()
            }),
            Property::always("no verifier refuses a valid token", |_: &Model, state: &State| {
                let alive = |key: usize| state.tokens[key].is_some_and(|exp| exp + LEEWAY >= state.now);
                // The named exception: an unannounced key's tokens may be refused until every replica shows it and the
                // last key set without it is too old, as the command's answer says. From then on it is as any other.
                let excused = |key: usize| state.fresh[key].is_some_and(|at| state.now <= at + LAG + MAX_AGE);
                // A verifier may still hold a key set that it fetched up to max-age ago.
                (0..state.made)
                    .filter(|key| alive(*key) && state.revoked[*key].is_none() && !excused(*key))
                    .all(|key| i16::from(state.absent[key]) < i16::from(state.now) - i16::from(MAX_AGE))
            }),
            Property::always("no promise is broken", |model: &Model, state: &State| {
                (0..state.made).filter(|key| state.revoked[*key].is_none()).all(|key| {
                    let Some(exp) = state.tokens[key] else { return true };
                    let ring = model.stored(state);
                    match ring.get(model.pool[key].public.key_id()) {
                        Some(known) => known.promised(unix(exp)),
                        None => exp + LEEWAY < state.now,
                    }
                })
            }),
            Property::always("a revoked key never comes back", |model: &Model, state: &State| {
                (0..state.made).filter(|key| state.revoked[*key].is_some()).all(|key| {
                    let ring = model.stored(state);
                    let known = ring.get(model.pool[key].public.key_id());
                    known.is_some_and(|k| matches!(k.phase, Phase::Revoked { .. }) && k.sealed.is_none())
                })
            }),
            Property::always("no revoked key signs for long", |_, state: &State| !state.signed_late),
            Property::sometimes(REACHED[0], |model: &Model, state: &State| {
                model.stored(state).active().id != model.pool[0].public.key_id()
            }),
            Property::sometimes(REACHED[1], |model: &Model, state: &State| {
                model.stored(state).get(model.pool[0].public.key_id()).is_none()
            }),
            Property::sometimes(REACHED[2], |_, state: &State| state.revoked.iter().any(Option::is_some)),
            Property::sometimes(REACHED[3], |_, state: &State| {
                state.replicas.iter().any(|r| r.plan.as_ref().is_some_and(|p| p.from < state.stored.revision))
            }),
        ];
        if self.unannounced {
            all.push(Property::sometimes(REACHED[4], |_, state: &State| {
                state.fresh.iter().zip(&state.tokens).any(|(fresh, token)| fresh.is_some() && token.is_some())
            }));
        }
        all
    }
}

fn refresh(state: &mut State, r: usize) {
    let replica = &mut state.replicas[r];
    (replica.seen, replica.seen_at) = (state.stored, state.now);
}
