//! What an operator may ask of the ring, and the guards: pure functions of the ring, the policy and the time.

mod revoke;

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_objects::object::timestamp;

use super::policy::{inherit, later};
use super::ring::NewKey;
use super::verifiers::{self, VerifierAdvice};
use super::{Algorithm, KeyRing, Origin, RingError, RingKey, RotationPolicy, Then};

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// This prepared key signs.
    Activate {
        /// The `kid`.
        id: String,
    },
    /// A key from elsewhere comes into the ring.
    Import(Import),
    /// A new key is published.
    Prepare {
        /// Of which algorithm.
        algorithm: Algorithm,
    },
    /// This key is stolen: nothing that it signed is believed any more.
    Revoke {
        /// The `kid`.
        id: String,
        /// A key that no verifier can know signs next, so that its first token makes them fetch.
        fresh: bool,
    },
    /// The next safe step to a new signing key.
    Rotate {
        /// Of which algorithm; `None`: the default one.
        algorithm: Option<Algorithm>,
    },
}

/// A key from elsewhere.
#[derive(Clone, Debug)]
pub enum Import {
    /// It is to sign.
    Sign(NewKey),
    /// It verifies, until tokens that expire at this time (Unix seconds) are dead.
    Verify(NewKey, i64),
}

/// A change that is allowed.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The ring as it will be.
    pub ring: KeyRing,
    /// The key that it is about.
    pub key: String,
    /// What happens, in one line.
    pub text: String,
    /// What the operator should know besides.
    pub warnings: Vec<String>,
    /// How verifiers elsewhere follow; empty where that is nothing new.
    pub verifiers: Vec<VerifierAdvice>,
    /// Whether a guard was overruled.
    pub overruled: bool,
    /// Which invariant was set aside, by its name.
    pub exception: Option<Exception>,
}

/// A named exception to the ring's rule that a key is published before it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// `keys revoke --fresh`: a new key is published and signs in one change, beside the published spare.
    RevokeFresh,
}

impl Exception {
    /// Its name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Exception::RevokeFresh => "revoke --fresh",
        }
    }
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A new key must be made first: nothing is refused yet.
    #[error("an {0} key must be made first")]
    NeedsKey(Algorithm),
    /// The ring cannot do that at all.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// It would harm; the text says what, and how to go about it.
    #[error("{text}")]
    Unsafe {
        /// One line.
        text: String,
        /// From when on it harms nobody; `None` when time does not heal it.
        safe_at: Option<OffsetDateTime>,
    },
}

/// Works a command out. `force` overrules the guards; `made` is the key that [`Refused::NeedsKey`] asked for.
///
/// # Errors
/// The refusal. The ring is then as it was.
pub fn plan(
    ring: &KeyRing,
    command: &Command,
    policy: &RotationPolicy,
    now: OffsetDateTime,
    force: bool,
    made: Option<NewKey>,
) -> Result<Planned, Refused> {
    let ring = ring.clone();
    let mut planner = Planner {
        ring,
        policy,
        now,
        force,
        overruled: false,
        exception: None,
        made,
        warnings: Vec::new(),
        verifiers: Vec::new(),
    };
    let (key, text) = match command {
        Command::Activate { id } => planner.activate(id)?,
        Command::Import(Import::Sign(key)) => planner.import(key.clone())?,
        Command::Import(Import::Verify(key, until)) => planner.verify_with(key.clone(), *until)?,
        Command::Prepare { algorithm } => planner.prepare(*algorithm)?,
        Command::Revoke { id, fresh: false } => planner.revoke(id)?,
        Command::Revoke { id, fresh: true } => planner.revoke_fresh(id)?,
        Command::Rotate { algorithm } => planner.rotate(*algorithm)?,
    };
    let Planner { ring, warnings, verifiers, overruled, exception, .. } = planner;
    Ok(Planned { ring, key, text, warnings, verifiers, overruled, exception })
}

struct Planner<'a> {
    ring: KeyRing,
    policy: &'a RotationPolicy,
    now: OffsetDateTime,
    force: bool,
    overruled: bool,
    exception: Option<Exception>,
    made: Option<NewKey>,
    warnings: Vec<String>,
    verifiers: Vec<VerifierAdvice>,
}

type Done = Result<(String, String), Refused>;

impl Planner<'_> {
    fn activate(&mut self, id: &str) -> Done {
        let key = self.known(id)?;
        if !key.is_prepared() {
            return Err(RingError::phase(&key).into());
        }
        let safe_at = self.policy.may_sign_from(&key);
        if safe_at > self.now && !self.overrule() {
            return refuse(
                format!(
                    "key {id} is published only since {}: verifiers that hold an older key set would refuse its tokens. It may sign from {}; until then only --force makes it",
                    timestamp(key.published_at),
                    when(safe_at)
                ),
                safe_at,
            );
        }
        self.pinned(&key)?;
        self.promote(&key)?;
        self.asked_for(key.algorithm);
        Ok((id.into(), format!("key {id} signs {} from now on", key.algorithm)))
    }

    fn prepare(&mut self, algorithm: Algorithm) -> Done {
        if let Some(spare) = self.ring.prepared_of(algorithm).cloned()
            && !self.overrule()
        {
            return Err(Refused::Unsafe {
                text: format!(
                    "key {} is prepared for {algorithm} already and may sign from {}: `tokensmith keys rotate` goes on from there; only --force makes another one take its place, whose time begins anew",
                    spare.id,
                    when(self.policy.may_sign_from(&spare))
                ),
                // Waiting does not help: there will always be a spare.
                safe_at: None,
            });
        }
        let key = self.made(algorithm)?;
        let id = key.public.key_id().to_owned();
        self.displaces(algorithm);
        self.ring.prepare(key, Then::StandBy, self.now)?;
        let safe_at = later(self.now, self.policy.publish_before);
        Ok((id.clone(), format!("key {id} is published and may sign from {}", when(safe_at))))
    }

    fn rotate(&mut self, algorithm: Option<Algorithm>) -> Done {
        let algorithm = algorithm.unwrap_or(self.ring.default_algorithm());
        if let Some(active) = self.ring.active_of(algorithm).cloned() {
            self.pinned(&active)?;
        }
        let Some(spare) = self.ring.prepared_of(algorithm).cloned() else {
            if self.ring.active_of(algorithm).is_none() {
                return Err(Refused::Unsafe {
                    text: format!(
                        "there is no {algorithm} key to rotate: `tokensmith keys prepare --algorithm {algorithm}` publishes a first one"
                    ),
                    safe_at: None,
                });
            }
            let key = self.made(algorithm)?;
            let id = key.public.key_id().to_owned();
            self.ring.prepare(key, Then::Sign, self.now)?;
            let at = when(later(self.now, self.policy.publish_before));
            return Ok((id.clone(), format!("key {id} is published now and signs from {at}, by itself")));
        };
        let id = spare.id.clone();
        let safe_at = self.policy.may_sign_from(&spare);
        self.asked_for(algorithm);
        if safe_at > self.now && !self.overrule() {
            // The next safe step is to wait, and the ring remembers what for.
            self.ring.wait_for(&id, Then::Sign)?;
            let at = when(safe_at);
            return Ok((id.clone(), format!("key {id} is published already and signs from {at}, by itself")));
        }
        self.promote(&spare)?;
        Ok((id.clone(), format!("key {id} signs {algorithm} from now on")))
    }

    fn import(&mut self, key: NewKey) -> Done {
        let (id, algorithm) = (key.public.key_id().to_owned(), key.public.algorithm());
        if let Some(active) = self.ring.active_of(algorithm).cloned() {
            self.pinned(&active)?;
        }
        if self.ring.prepared_of(algorithm).is_some_and(|spare| spare.id != id) {
            self.displaces(algorithm);
        }
        self.ring.prepare(key, Then::Sign, self.now)?;
        self.asked_for(algorithm);
        let prepared = self.known(&id)?;
        let safe_at = self.policy.may_sign_from(&prepared);
        if safe_at > self.now && !self.overrule() {
            let at = when(safe_at);
            return Ok((
                id.clone(),
                format!("key {id} is published now and signs {algorithm} from {at}, by itself"),
            ));
        }
        self.promote(&prepared)?;
        Ok((id.clone(), format!("key {id} signs {algorithm} from now on")))
    }

    fn verify_with(&mut self, key: NewKey, until: i64) -> Done {
        let id = key.public.key_id().to_owned();
        self.ring.verify_with(key, until, self.now)?;
        let goes = self.known(&id).ok().and_then(|k| self.policy.removed_at(&k));
        let until = goes.map_or("it is revoked".to_owned(), when);
        Ok((id.clone(), format!("key {id} is published and verifies until {until}")))
    }

    /// Lets a prepared key sign; says who may fail when it is too early.
    fn promote(&mut self, key: &RingKey) -> Result<(), Refused> {
        self.warn_of(key);
        let before = self.ring.active_of(key.algorithm).and_then(|k| k.last_exp);
        self.ring.promote(&key.id, self.now)?;
        inherit(&mut self.ring, &key.id, before, self.now);
        Ok(())
    }

    /// Which verifiers may not know a key yet, and until when. Empty once it has been published for long enough.
    fn who_fails(&self, key: &RingKey) -> Vec<String> {
        if self.policy.may_sign_from(key) <= self.now {
            return Vec::new();
        }
        let fails = verifiers::refusing(self.policy, key.published_at, self.now);
        fails.into_iter().map(|told| format!("{}, {}", told.verifier, told.text)).collect()
    }

    /// The same as warnings.
    fn warn_of(&mut self, key: &RingKey) {
        let warning = |who| format!("tokens of key {} may be refused by {who}", key.id);
        let warnings: Vec<_> = self.who_fails(key).into_iter().map(warning).collect();
        self.warnings.extend(warnings);
    }

    /// The operator's file would sign again at the next start: taking it out of the flags is the way.
    fn pinned(&mut self, key: &RingKey) -> Result<(), Refused> {
        match self.ring.active_of(key.algorithm).cloned().filter(|a| a.origin == Origin::File) {
            None => Ok(()),
            Some(_) if self.overrule() => Ok(()),
            Some(active) => Err(Refused::Unsafe {
                text: format!(
                    "key {} signs because --service-account-signing-key-file names it, and would again after the next start: start without the flag, then rotate",
                    active.id
                ),
                safe_at: None,
            }),
        }
    }

    /// Whether a guard that would refuse gives way; that it did stays in the journal.
    fn overrule(&mut self) -> bool {
        self.overruled |= self.force;
        self.force
    }

    /// A key that signs what nobody asks for looks like one that is in use.
    fn asked_for(&mut self, algorithm: Algorithm) {
        if !self.ring.algorithms().contains(&algorithm) {
            self.warnings.push(format!(
                "no token asks for {algorithm}: start with --signing-algorithm {algorithm}, or with a token profile that does"
            ));
        }
    }

    /// Says which key a new one takes the place of.
    fn displaces(&mut self, algorithm: Algorithm) {
        if let Some(spare) = self.ring.prepared_of(algorithm) {
            self.warnings.push(format!(
                "key {} stood by and goes: until the new one has been published for long enough, a stolen key cannot be revoked without --force",
                spare.id
            ));
        }
    }

    fn made(&mut self, algorithm: Algorithm) -> Result<NewKey, Refused> {
        let fits = self.made.take_if(|key| key.public.algorithm() == algorithm);
        fits.ok_or(Refused::NeedsKey(algorithm))
    }

    fn known(&self, id: &str) -> Result<RingKey, Refused> {
        Ok(self.ring.get(id).cloned().ok_or_else(|| RingError::Unknown(id.into()))?)
    }
}

fn refuse<T>(text: String, safe_at: OffsetDateTime) -> Result<T, Refused> {
    Err(Refused::Unsafe { text, safe_at: Some(safe_at) })
}

/// A time to be told to people who will come back then: rounded up, so that it is not told a fraction too early.
pub fn when(at: OffsetDateTime) -> String {
    timestamp(if at.nanosecond() == 0 { at } else { later(at, Duration::from_secs(1)) })
}

#[cfg(test)]
mod tests;
