//! The ring's stored form, and the checks without which none is believed.

use serde::Deserialize;
use serde_json::Value;

use super::{KeyRing, RingError, RingKey};
use crate::keys::PublicKey;

/// The format that this version writes. A newer one is refused: an older program would drop what it does not know.
pub(super) const FORMAT: u32 = 2;

impl KeyRing {
    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a ring is made of strings, numbers and lists")
    }

    /// Reads the stored form, and believes it only if the invariants hold.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(json: &[u8]) -> Result<Self, RingError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let mut value: Value =
            serde_json::from_slice(json).map_err(|_| RingError::Inconsistent("it is no key ring"))?;
        let Versioned { format } =
            Versioned::deserialize(&value).map_err(|_| RingError::Inconsistent("it is no key ring"))?;
        match format {
            1 => upgrade(&mut value),
            FORMAT => {}
            _ => {
                return Err(RingError::Inconsistent(
                    "a newer version of tokensmith wrote it: start that one",
                ));
            }
        }
        undate(&mut value);
        let ring = KeyRing::deserialize(value)
            .map_err(|_| RingError::Inconsistent("a field is missing or malformed"))?;
        ring.check().map_err(RingError::Inconsistent)?;
        Ok(ring)
    }

    /// The invariants, and whether each key is what its name says.
    ///
    /// # Errors
    /// Which one is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        self.check_phases()?;
        for key in &self.keys {
            // Who can write to the store must not be able to publish one key under another's name.
            let public = PublicKey::from_spki_for(&key.spki, key.algorithm)
                .map_err(|_| "a public half is malformed")?;
            if public.key_id() != key.id || public.algorithm() != key.algorithm {
                return Err("a key's name or algorithm does not belong to it");
            }
        }
        Ok(())
    }

    /// The invariants alone.
    ///
    /// # Errors
    /// Which one is broken.
    pub fn check_phases(&self) -> Result<(), &'static str> {
        let count = |wanted: &dyn Fn(&RingKey) -> bool| self.keys.iter().filter(|k| wanted(k)).count();
        if count(&|k| k.is_active() && k.algorithm == self.default) != 1 {
            return Err("not exactly one active key of the default algorithm");
        }
        for key in &self.keys {
            if count(&|k| k.algorithm == key.algorithm && k.is_active()) > 1 {
                return Err("more than one active key of an algorithm");
            }
            if count(&|k| k.algorithm == key.algorithm && k.is_prepared()) > 1 {
                return Err("more than one prepared key of an algorithm");
            }
            if count(&|k| k.id == key.id) > 1 {
                return Err("a key is there twice");
            }
            if (key.is_active() || key.is_prepared()) != key.sealed.is_some() {
                return Err("a key has a private half without need, or needs one and has none");
            }
        }
        if self.outbox.windows(2).any(|w| w[0].number >= w[1].number)
            || self.outbox.last().is_some_and(|last| last.number > self.changes)
        {
            return Err("its journal is out of order");
        }
        Ok(())
    }
}

/// Earlier, the expiry of tokens without one stood for itself.
fn undate(ring: &mut Value) {
    for key in ring["keys"].as_array_mut().into_iter().flatten() {
        if key["lastExp"] == super::NEVER {
            key["undated"] = true.into();
            key["lastExp"] = Value::Null;
        }
    }
}

/// Format 1 had one active key of all, and one that was to sign next.
fn upgrade(ring: &mut Value) {
    let keys = ring["keys"].as_array().cloned().unwrap_or_default();
    let of = |wanted: &dyn Fn(&Value) -> bool| {
        keys.iter().find(|k| wanted(&k["phase"])).map(|k| k["algorithm"].clone())
    };
    let default = of(&|phase| phase["name"] == "active").unwrap_or_default();
    let next = of(&|phase| phase["name"] == "prepared" && phase["then"] == "sign");
    ring["nextDefault"] = next.filter(|next| *next != default).unwrap_or_default();
    ring["default"] = default;
    ring["format"] = FORMAT.into();
}

pub(crate) mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

pub(super) mod base64_option {
    use serde::{Deserializer, Serializer};

    use super::base64_bytes;

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => base64_bytes::serialize(bytes, s),
            None => s.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        base64_bytes::deserialize(d).map(Some)
    }
}
