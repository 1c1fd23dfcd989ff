//! `GetCallerIdentity`: whose credentials have signed this
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>).

use bytes::Bytes;
use http::{Request, Response};
use tokensmith_core::Clock;

use super::error::Refusal;
use super::session::Sealer;
use super::sigv4::Signed;
use super::xml::{self, Element};
use crate::log::shown;

pub(super) const ACTION: &str = "GetCallerIdentity";

/// Answers.
pub(super) fn identity(
    request: &Request<Bytes>,
    sealer: &Sealer,
    clock: &dyn Clock,
) -> Result<Response<Bytes>, Refusal> {
    let signed = Signed::read(request, "sts", clock.now())?;
    // All keys here are a session's.
    let key = shown(&signed.access_key_id);
    let unknown =
        |why: &str| Refusal::unknown_credentials().because(format_args!("the access key {key} {why}"));
    let token = signed.session_token.as_deref();
    let token =
        token.ok_or_else(|| unknown("comes without a session token, and all keys here are a session's"))?;
    let session = sealer.open(&signed.access_key_id, token);
    let session = session.ok_or_else(|| unknown("has another session token, or none of this process"))?;
    signed.check(request, &sealer.secret(&signed.access_key_id, token)).map_err(|refusal| {
        refusal.because(format_args!("the access key {key} of {} has not signed the request", session.arn))
    })?;
    if session.expires <= clock.unix() {
        let (arn, expires) = (&session.arn, session.expires);
        let why = format!("the session {arn} of the access key {key} has ended at {expires}");
        return Err(Refusal::expired_credentials().because(why));
    }
    let result = Element::default()
        .text("Arn", &session.arn)
        .text("UserId", &session.user_id)
        .text("Account", &session.account);
    Ok(xml::answer(ACTION, &result))
}
