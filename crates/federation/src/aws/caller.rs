//! `GetCallerIdentity`: whose credentials have signed this
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>).

use bytes::Bytes;
use http::{Request, Response};
use tokensmith_core::Clock;

use super::error::Refusal;
use super::session::Sealer;
use super::sigv4::Signed;
use super::xml::{self, Element};

pub(super) const ACTION: &str = "GetCallerIdentity";

/// Answers.
pub(super) fn identity(
    request: &Request<Bytes>,
    sealer: &Sealer,
    clock: &dyn Clock,
) -> Result<Response<Bytes>, Refusal> {
    let signed = Signed::read(request, "sts", clock.now())?;
    // All keys here are a session's.
    let token = signed.session_token.as_deref().ok_or_else(Refusal::unknown_credentials)?;
    let session = sealer.open(&signed.access_key_id, token).ok_or_else(Refusal::unknown_credentials)?;
    signed.check(request, &sealer.secret(&signed.access_key_id, token))?;
    if session.expires <= clock.unix() {
        return Err(Refusal::expired_credentials());
    }
    let result = Element::default()
        .text("Arn", &session.arn)
        .text("UserId", &session.user_id)
        .text("Account", &session.account);
    Ok(xml::answer(ACTION, &result))
}
