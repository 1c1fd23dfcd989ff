//! Credentials of a session: sealed, so that nothing has to be remembered of them.
//!
//! The session token holds who one is and until when, encrypted and authenticated under a secret of this process; the secret
//! access key follows from the access key id and the token. A restart makes all of them void; a reload does not.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokensmith_core::random;

use super::arn;
use crate::cloud::{Sealed, Secret};

/// Who one is in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Whose the token is: with another access key it is worth nothing.
    pub(super) access_key_id: String,
    pub(super) account: String,
    pub(super) arn: String,
    pub(super) user_id: String,
    /// Unix seconds.
    pub(super) expires: i64,
}

/// What a client is given. No `Debug`: it holds secrets.
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: String,
}

/// Makes and opens them.
pub(super) struct Sealer {
    sealed: Sealed,
    derive: hmac::Key,
}

impl Sealer {
    pub(super) fn new(secret: &Secret) -> Self {
        let derive = secret.derive("aws secret access key");
        let sealed = Sealed::new(secret, "aws session token");
        Sealer { sealed, derive: hmac::Key::new(hmac::HMAC_SHA256, &derive) }
    }

    /// An access key id: as the real ones of sessions, `ASIA` and 16 characters
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>).
    pub(super) fn access_key_id() -> String {
        format!("ASIA{}", arn::base32(&random::bytes::<10>()))
    }

    /// The credentials of a session.
    pub(super) fn seal(&self, session: &Session) -> Credentials {
        let session_token = BASE64_STANDARD.encode(self.sealed.seal(session));
        Credentials {
            access_key_id: session.access_key_id.clone(),
            secret_access_key: self.secret(&session.access_key_id, &session_token),
            session_token,
        }
    }

    /// Opens a session token, which must be that of an access key.
    pub(super) fn open(&self, access_key_id: &str, session_token: &str) -> Option<Session> {
        let session: Session = self.sealed.open(&BASE64_STANDARD.decode(session_token).ok()?)?;
        (session.access_key_id == access_key_id).then_some(session)
    }

    /// The secret access key that goes with the two others.
    pub(super) fn secret(&self, access_key_id: &str, session_token: &str) -> String {
        let text = format!("{access_key_id} {session_token}");
        arn::secret(hmac::sign(&self.derive, text.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_own_key_and_secret_alone() {
        let sealer = Sealer::new(&Secret([7; 32]));
        let session = Session {
            access_key_id: Sealer::access_key_id(),
            account: "123456789012".into(),
            arn: "arn:aws:sts::123456789012:assumed-role/r/s".into(),
            user_id: "AROA:s".into(),
            expires: 1,
        };
        let made = sealer.seal(&session);
        assert_eq!((made.access_key_id.len(), made.secret_access_key.len()), (20, 40));
        assert_eq!(sealer.secret(&made.access_key_id, &made.session_token), made.secret_access_key);
        let open = |id: &str, token: &str| sealer.open(id, token);
        assert_eq!(open(&made.access_key_id, &made.session_token), Some(session));
        assert_eq!(open("ASIAAAAAAAAAAAAAAAAA", &made.session_token), None);
        assert_eq!(Sealer::new(&Secret([8; 32])).open(&made.access_key_id, &made.session_token), None);
        let mut bytes = BASE64_STANDARD.decode(&made.session_token).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(open(&made.access_key_id, &BASE64_STANDARD.encode(&bytes)), None);
            bytes[at] ^= 1;
        }
        for junk in ["", "x", "AAAA", &made.session_token[1..]] {
            assert_eq!(open(&made.access_key_id, junk), None);
        }
    }
}
