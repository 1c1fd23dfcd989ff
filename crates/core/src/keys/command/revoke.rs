//! Withdrawing a stolen key.

use tokensmith_objects::object::timestamp;

use super::{Done, Exception, Planner, Refused, refuse, when};
use crate::keys::policy::{inherit, later};
use crate::keys::{Origin, Phase, RingError, RingKey, Then, verifiers};

impl Planner<'_> {
    pub(super) fn revoke(&mut self, id: &str) -> Done {
        let key = self.stolen(id)?;
        let mut text = gone(id);
        if key.is_active() && self.ring.in_use(key.algorithm) {
            let spare = match self.ring.prepared_of(key.algorithm).cloned() {
                Some(spare) => spare,
                None => self.emergency(&key)?,
            };
            let safe_at = self.policy.may_sign_from(&spare);
            if safe_at > self.now && !self.overrule() {
                return refuse(
                    format!(
                        "key {id} signs, and its spare {} is published only since {}: its tokens may be refused by {}. It may take over from {}; if the key is stolen, do not wait: --force --reason TEXT",
                        spare.id,
                        timestamp(spare.published_at),
                        self.who_fails(&spare).join("; "),
                        when(safe_at)
                    ),
                    safe_at,
                );
            }
            self.warn_of(&spare);
            text = format!("{text}; key {} signs from now on", spare.id);
        }
        let before = self.ring.active_of(key.algorithm).filter(|a| a.id == id).and_then(|a| a.last_exp);
        self.ring.revoke(id, self.now)?;
        if let Some(next) = self.ring.active_of(key.algorithm).map(|a| a.id.clone()) {
            inherit(&mut self.ring, &next, before, self.now);
        }
        self.tell_of_others(&key);
        Ok((id.into(), text))
    }

    /// As [`Self::revoke`], but a key that no cache knows signs next, made and published in the same change: the first
    /// token of it makes those fetch who ask at an unknown `kid`, and they lose the stolen one. The price is that
    /// others refuse good tokens meanwhile, so this is the one exception to "published before it signs" besides the very
    /// first key, and never without force. The published spare stays one: it is what may follow in time.
    pub(super) fn revoke_fresh(&mut self, id: &str) -> Done {
        let key = self.stolen(id)?;
        // Verifiers see tokens of what is in use: with another algorithm nobody would meet the new key.
        let algorithm = match self.ring.in_use(key.algorithm) {
            true => key.algorithm,
            false => self.ring.default_algorithm(),
        };
        if !self.overrule() {
            let fails: Vec<_> = verifiers::refusing(self.policy, self.now, self.now)
                .into_iter()
                .map(|told| format!("{}, {}", told.verifier, told.text))
                .collect();
            return Err(Refused::Unsafe {
                text: format!(
                    "with --fresh an {algorithm} key signs that no verifier can know: its tokens would be refused by {}. Without --fresh, the published spare signs, and `tokensmith keys poke` makes verifiers fetch; if that is not enough: --force --reason TEXT",
                    fails.join("; ")
                ),
                // Waiting does not help: nobody ever knows a key that is not made yet.
                safe_at: None,
            });
        }
        let made = self.made(algorithm)?;
        let fresh = made.public.key_id().to_owned();
        self.exception = Some(Exception::RevokeFresh);
        let before = self.ring.active_of(algorithm).and_then(|a| a.last_exp);
        self.ring.sign_unannounced(made, self.now)?;
        inherit(&mut self.ring, &fresh, before, self.now);
        self.ring.revoke(id, self.now)?;
        let signs = self.known(&fresh)?;
        self.warn_of(&signs);
        self.tell_of_others(&key);
        Ok((
            id.into(),
            format!("{}; key {fresh}, which no verifier knows yet, signs {algorithm} from now on", gone(id)),
        ))
    }

    /// The key, unless it is revoked already.
    fn stolen(&self, id: &str) -> Result<RingKey, Refused> {
        let key = self.known(id)?;
        match key.phase {
            Phase::Revoked { .. } => Err(RingError::phase(&key).into()),
            _ => Ok(key),
        }
    }

    /// What does not end with the change.
    fn tell_of_others(&mut self, key: &RingKey) {
        if key.origin == Origin::File {
            self.warnings.push(
                "--service-account-signing-key-file still names the key: take the flag away before the next start, which it would stop"
                    .into(),
            );
        }
        if key.has_signed() {
            self.verifiers = verifiers::after_revocation(self.policy, self.now);
            let next = match self.exception {
                Some(Exception::RevokeFresh) => "the first token of the new key is one with an unknown kid",
                None => {
                    "`tokensmith keys poke --audience A` makes a token with an unknown kid that opens nothing"
                }
            };
            self.warnings.push(format!(
                "verifiers elsewhere that hold a key set go on accepting its tokens, some of them for ever if nothing makes them fetch; {next}"
            ));
        }
    }

    /// A key for the place of one that must go at once, though nobody has seen it yet.
    fn emergency(&mut self, gone: &RingKey) -> Result<RingKey, Refused> {
        if !self.overrule() {
            let safe_at = later(self.now, self.policy.publish_before);
            return refuse(
                format!(
                    "key {} signs, and no spare is published: `tokensmith keys prepare` publishes one, which may take over from {}; if the key is stolen, do not wait: --force --reason TEXT",
                    gone.id,
                    when(safe_at)
                ),
                safe_at,
            );
        }
        let key = self.made(gone.algorithm)?;
        let id = key.public.key_id().to_owned();
        self.ring.prepare(key, Then::Sign, self.now)?;
        self.known(&id)
    }
}

fn gone(id: &str) -> String {
    format!("key {id} is out of the key set, and its tokens are refused here")
}
