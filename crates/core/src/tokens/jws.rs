//! JWS compact serialisation (RFC 7515 §7.1), as far as service-account tokens use it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;

use crate::keys::{Algorithm, PublicKey, SignError, Signer, signature};

/// A token taken apart; its signature is not checked yet.
#[derive(Debug)]
pub struct Jws<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
    size: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
    #[serde(deserialize_with = "present")]
    crit: Option<serde_json::Value>,
    #[serde(deserialize_with = "present")]
    b64: Option<serde_json::Value>,
    #[serde(deserialize_with = "text")]
    typ: Option<String>,
}

/// One that is there is a string: what cannot be read must not count as absent.
fn text<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    String::deserialize(d).map(Some)
}

/// What is there is there, also where it is null: RFC 7515 §4.1.11 has `crit` be a list, RFC 7797 §3 `b64` a boolean.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(d).map(Some)
}

/// What a token says it is (`typ`, RFC 7515 §4.1.9, RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An OAuth 2.0 access token (RFC 9068 §2.1): `at+jwt`.
    AccessToken,
    /// `JOSE`: a JWS in compact form and no more (RFC 7515 §4.1.9), which SPIFFE's JWT-SVIDs may say (JWT-SVID §2.3).
    Jose,
    /// No type, or `JWT` (RFC 7519 §5.1): all that Kubernetes' tokens are.
    Jwt,
    /// Anything else.
    Other,
}

impl TokenType {
    /// A media type, in any case; one without a `/` is as if `application/` stood before it, which RFC 7515 has every
    /// recipient do. So `application/jwt` is `JWT`. What comes with a parameter or a blank is something else.
    fn of(typ: &str) -> Self {
        const PREFIX: &str = "application/";
        let name = match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
            _ => typ,
        };
        match name {
            name if name.eq_ignore_ascii_case("jwt") => TokenType::Jwt,
            name if name.eq_ignore_ascii_case("jose") => TokenType::Jose,
            name if name.eq_ignore_ascii_case(ACCESS_TOKEN) => TokenType::AccessToken,
            _ => TokenType::Other,
        }
    }
}

/// The `typ` of access tokens (RFC 9068 §2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";

/// Why a signature does not count; the texts are Kubernetes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No published key has the token's `kid`.
    #[error("invalid signature, no keys found")]
    NoKey,
    /// A key was found, and the signature is not its.
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Wrong,
}

/// What is wrong with a signature that is not a key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// RFC 7515 §4.1.11
    #[error("its header has crit, which asks for what nobody here understands")]
    Critical,
    /// A token that was cut, as a rule.
    #[error("it has {has} bytes, and one of this key has {needs}: the token is not whole")]
    Length {
        /// Of the token.
        has: usize,
        /// Of the key.
        needs: usize,
    },
    /// The header has no `alg`.
    #[error("its header names no alg")]
    NoAlgorithm,
    /// It is over something else, or by something else.
    #[error("the token's text has been changed since it was signed, or another key signed it")]
    Other,
    /// RFC 8725 §3.1
    #[error("its header says {says}, and the key is for {key} alone")]
    OtherAlgorithm {
        /// The token's `alg`.
        says: Algorithm,
        /// The key's.
        key: Algorithm,
    },
    /// RFC 7797
    #[error("its header has b64, which makes another payload of it")]
    Unencoded,
    /// E.g. `none` or `HS256`.
    #[error("its header names an alg that is not taken here")]
    UnknownAlgorithm,
}

impl<'a> Jws<'a> {
    /// Splits a token; `None` when it is none.
    pub fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let (header, payload) = (object(header)?, object(payload)?);
        let header = serde_json::from_slice(&header).ok()?;
        let signature = BASE64.decode(signature).ok()?;
        Some(Jws { header, signed, payload, signature, size: token.len() })
    }

    /// How many bytes the token has.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The payload's bytes. Not to be believed before [`Jws::verify`].
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The `kid` that its header names. Not to be believed before [`Jws::verify`] either.
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref().filter(|kid| !kid.is_empty())
    }

    /// What it says it is.
    pub fn token_type(&self) -> TokenType {
        self.header.typ.as_deref().map_or(TokenType::Jwt, TokenType::of)
    }

    /// The `alg` that its header names, whatever it is. A claim like all others: [`Jws::verify`] goes by the key's own.
    pub fn algorithm(&self) -> Option<&str> {
        self.header.alg.as_deref()
    }

    /// The `typ` that its header names (RFC 7515 §4.1.9).
    pub fn media_type(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// Whether its header asks for nothing that is not understood here: no `crit` (RFC 7515 §4.1.11), and a payload in
    /// base64url (RFC 7797).
    pub fn is_plain(&self) -> bool {
        self.header.crit.is_none() && self.header.b64.as_ref().is_none_or(|b64| *b64 == true)
    }

    /// Checks the signature with those of an issuer's keys that the token's [`Jws::key_id`] names; gives the key that
    /// signed.
    ///
    /// A key is tried with its own algorithm alone: what the header says must be that, so a token cannot choose a
    /// weaker check (RFC 8725 §3.1). A `crit` header asks for what nobody here understands (RFC 7515 §4.1.11), and `b64`
    /// for another payload than the one that is read here (RFC 7797).
    ///
    /// # Errors
    /// [`SignatureError::NoKey`] where no key was given, [`SignatureError::Wrong`] where none of them has signed it, or its
    /// header asks for what is not understood here.
    pub fn verify<'k>(
        &self,
        candidates: impl IntoIterator<Item = &'k PublicKey>,
    ) -> Result<&'k PublicKey, SignatureError> {
        let alg = self.claimed();
        let mut error = SignatureError::NoKey;
        for key in candidates {
            if self.check(alg, key).is_ok() {
                return Ok(key);
            }
            error = SignatureError::Wrong;
        }
        Err(error)
    }

    /// Why the signature is not this key's, if it is not.
    pub fn fault(&self, key: &PublicKey) -> Option<SignatureFault> {
        self.check(self.claimed(), key).err()
    }

    fn claimed(&self) -> Result<Algorithm, SignatureFault> {
        if !self.is_plain() {
            let critical = self.header.crit.is_some();
            return Err(if critical { SignatureFault::Critical } else { SignatureFault::Unencoded });
        }
        let alg = self.algorithm().ok_or(SignatureFault::NoAlgorithm)?;
        alg.parse().map_err(|_| SignatureFault::UnknownAlgorithm)
    }

    fn check(&self, alg: Result<Algorithm, SignatureFault>, key: &PublicKey) -> Result<(), SignatureFault> {
        let alg = alg?;
        if key.verify(alg, self.signed.as_bytes(), &self.signature) {
            return Ok(());
        }
        Err(match (self.signature.len(), key.signature_len()) {
            _ if alg != key.algorithm() => SignatureFault::OtherAlgorithm { says: alg, key: key.algorithm() },
            (has, needs) if has != needs => SignatureFault::Length { has, needs },
            _ => SignatureFault::Other,
        })
    }
}

/// The bytes of a part that must be a JSON object; serde would take a list for a struct as well.
fn object(part: &str) -> Option<Vec<u8>> {
    BASE64.decode(part).ok().filter(|bytes| bytes.trim_ascii_start().starts_with(b"{"))
}

/// Signs a payload: the header has `alg` and `kid` and nothing else.
///
/// # Errors
/// The signer's.
pub async fn sign(signer: &dyn Signer, payload: &[u8]) -> Result<String, SignError> {
    let header = format!("{{\"alg\":\"{}\",\"kid\":\"{}\"}}", signer.algorithm(), signer.key_id());
    sign_under(signer, header, payload).await
}

/// Signs an access token's: the header says that it is one, besides.
///
/// # Errors
/// The signer's.
pub async fn sign_access_token(signer: &dyn Signer, payload: &[u8]) -> Result<String, SignError> {
    let (alg, kid) = (signer.algorithm(), signer.key_id());
    let header = format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\",\"typ\":\"{ACCESS_TOKEN}\"}}");
    sign_under(signer, header, payload).await
}

async fn sign_under(signer: &dyn Signer, header: String, payload: &[u8]) -> Result<String, SignError> {
    let mut token = String::with_capacity((header.len() + payload.len() + 512).div_ceil(3) * 4);
    BASE64.encode_string(header, &mut token);
    token.push('.');
    BASE64.encode_string(payload, &mut token);
    let signature = signature(signer, token.as_bytes()).await?;
    token.push('.');
    BASE64.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(typ: &str) -> Option<TokenType> {
        let header = BASE64.encode(format!(r#"{{"alg":"ES256"{typ}}}"#));
        Jws::parse(&format!("{header}.e30.AAAA")).map(|jws| jws.token_type())
    }

    #[test]
    fn rfc7515_4_1_9_a_type_is_a_media_type_in_any_case() {
        for (typ, want) in [
            ("", TokenType::Jwt),
            (r#","typ":"JWT""#, TokenType::Jwt),
            (r#","typ":"jwt""#, TokenType::Jwt),
            (r#","typ":"application/jwt""#, TokenType::Jwt),
            (r#","typ":"APPLICATION/JWT""#, TokenType::Jwt),
            (r#","typ":"at+jwt""#, TokenType::AccessToken),
            (r#","typ":"JOSE""#, TokenType::Jose),
            (r#","typ":"application/jose""#, TokenType::Jose),
            (r#","typ":"JOSE+JSON""#, TokenType::Other),
            (r#","typ":"AT+JWT""#, TokenType::AccessToken),
            (r#","typ":"application/at+jwt""#, TokenType::AccessToken),
            (r#","typ":"""#, TokenType::Other),
            (r#","typ":" JWT""#, TokenType::Other),
            (r#","typ":"JWT;v=1""#, TokenType::Other),
            (r#","typ":"text/jwt""#, TokenType::Other),
            (r#","typ":"application/application/jwt""#, TokenType::Other),
            (r#","typ":"application/""#, TokenType::Other),
            (r#","typ":"secevent+jwt""#, TokenType::Other),
            (r#","typ":"at\u002bjwt""#, TokenType::AccessToken),
        ] {
            assert_eq!(with(typ), Some(want), "{typ}");
        }
        for none in [r#","typ":null"#, r#","typ":1"#, r#","typ":["JWT"]"#, r#","typ":"JWT","typ":"at+jwt""#] {
            assert_eq!(with(none), None, "{none}");
        }
    }

    #[test]
    fn rfc7515_4_1_11_what_is_there_is_no_less_so_for_being_null() {
        let plain = |more: &str| {
            let header = BASE64.encode(format!(r#"{{"alg":"ES256"{more}}}"#));
            Jws::parse(&format!("{header}.e30.AAAA")).unwrap().is_plain()
        };
        for more in ["", r#","b64":true"#, r#","critical":null"#] {
            assert!(plain(more), "{more}");
        }
        for more in
            [r#","crit":null"#, r#","crit":[]"#, r#","crit":["exp"]"#, r#","b64":null"#, r#","b64":false"#]
        {
            assert!(!plain(more), "{more}");
        }
    }
}
