//! A whole token, given to be revoked: whose it is, by its signature alone. It is looked at and dropped; nothing of it but
//! its id is kept, and no text repeats it.

use time::OffsetDateTime;

use super::TokenLedger;
use crate::error::Error;
use crate::ledger::What;
use crate::object_timestamp;
use crate::tokens::claims::Payload;
use crate::tokens::jws::SignatureError;
use crate::tokens::times::LEEWAY;
use crate::tokens::{Jws, legacy, revocations};

/// A token that a key of this server has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// What is to be revoked for it: its id, or the bytes of one in a Secret.
    pub what: What,
    /// `sub`
    pub subject: String,
    /// The key that signed it.
    pub kid: String,
    /// `iss`
    pub issuer: String,
}

impl TokenLedger {
    /// Looks at a token.
    ///
    /// # Errors
    /// It is none of this server's, or nothing is left to be revoked.
    pub fn own(&self, token: &str) -> Result<Own, Error> {
        let bad = |text: String| Err(Error::BadRequest(format!("token: {text}")));
        let token = token.trim();
        let jws = Jws::parse(token);
        let payload = jws.as_ref().and_then(|jws| serde_json::from_slice::<Payload>(jws.payload()).ok());
        let (Some(jws), Some(payload)) = (jws, payload) else {
            return bad("this is no token, or one that was cut off or changed".into());
        };
        let keys = self.keys.current();
        let kid = match jws.verify(keys.candidates(jws.key_id())) {
            Ok(key) => key.key_id().to_owned(),
            Err(SignatureError::Wrong) => {
                return bad(
                    "it is forged, or was changed: the signature is not that of the key which it names. \
                    It is refused as it is, and there is nothing to revoke"
                        .into(),
                );
            }
            Err(SignatureError::NoKey) => {
                let revoked =
                    |k: &crate::keys::KeyInfo| Some(k.id.as_str()) == jws.key_id() && k.phase == "revoked";
                if keys.infos().iter().any(revoked) {
                    return bad("the key that it names is revoked: it is refused already".into());
                }
                return bad(format!(
                    "no key of this server has signed it: it was issued elsewhere (it says by {:?}), or its key is gone \
                     and it is refused already. There is nothing to revoke here",
                    short(&payload.issuer)
                ));
            }
        };
        if payload.issuer == legacy::ISSUER {
            let what = What::Sha256(revocations::digest(token));
            return Ok(Own { what, subject: payload.subject, kid, issuer: payload.issuer });
        }
        if let Some(exp) = payload.expires_at
            && exp < self.clock.unix().saturating_sub(LEEWAY.whole_seconds())
        {
            let at = OffsetDateTime::from_unix_timestamp(exp).map(object_timestamp).unwrap_or_default();
            return bad(format!("it expired at {at}: it is refused already, and there is nothing to revoke"));
        }
        if payload.id.is_empty() {
            return bad("it has no id (jti): revoke its account, or the key that signed it".into());
        }
        let what = What::Jti(payload.id);
        Ok(Own { what, subject: payload.subject, kid, issuer: payload.issuer })
    }
}

/// Whatever somebody has written there, it is not repeated at length.
fn short(text: &str) -> &str {
    const LONGEST: usize = 200;
    &text[..text.floor_char_boundary(LONGEST)]
}
