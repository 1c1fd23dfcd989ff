//! Entra's errors: OAuth's (RFC 6749 §5.2) with codes of its own
//! (<https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes>).
//!
//! Texts, `error` and status are those of recorded answers where there are any; `docs/federation.md` says of each where.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use time::OffsetDateTime;
use tokensmith_api::moment::Moment;
use tokensmith_core::random;
use uuid::Uuid;

use crate::answer;
use crate::cloud::Failure;
use crate::log;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What stands behind `AADSTS`.
    pub(super) code: u32,
    /// OAuth's.
    pub(super) error: &'static str,
    status: StatusCode,
    /// For people.
    pub(super) text: String,
    /// For the log, where the text does not say why, or repeats what may be a token in a wrong place.
    reason: Option<String>,
}

/// What an answer says of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// `client-request-id` of the request, or a new one.
    pub(super) correlation: Uuid,
    pub(super) now: OffsetDateTime,
}

const CHECK: &str = "Check your federated identity credential Subject, Audience and Issuer against the presented assertion. \
                     https://learn.microsoft.com/entra/workload-id/workload-identity-federation";

impl Refusal {
    /// The credential is not good: 401.
    fn client(code: u32, text: impl Into<String>) -> Self {
        Refusal {
            code,
            error: "invalid_client",
            status: StatusCode::UNAUTHORIZED,
            text: text.into(),
            reason: None,
        }
    }

    /// The request is not good: 400.
    fn request(code: u32, text: impl Into<String>) -> Self {
        Refusal {
            code,
            error: "invalid_request",
            status: StatusCode::BAD_REQUEST,
            text: text.into(),
            reason: None,
        }
    }

    /// What the log says instead of the text.
    pub(super) fn because(self, why: impl fmt::Display) -> Self {
        Refusal { reason: Some(log::plain(why)), ..self }
    }

    /// What the log says before the reason: ids of what it is about.
    pub(super) fn about(self, what: impl fmt::Display) -> Self {
        let why = format!("{what}: {self}");
        self.because(why)
    }

    fn with_error(self, error: &'static str) -> Self {
        Refusal { error, status: StatusCode::BAD_REQUEST, ..self }
    }

    /// What comes to nothing: codes of the reference, statuses of HTTP, and our words.
    pub(super) fn failed(failure: Failure) -> Self {
        let (status, code, error, text) = match failure {
            Failure::BrokeOff => (400, 90_013, "invalid_request", "The request's body broke off."),
            Failure::Slow => (408, 90_013, "invalid_request", "The request's body did not come in time."),
            Failure::TooLong => (413, 90_013, "invalid_request", "The request is too long."),
            // "ExternalServerRetryableError", "TokenIssuanceError"; `error` as in RFC 6749 §4.1.2.1.
            Failure::TimedOut => {
                (504, 90_006, "temporarily_unavailable", "The service is temporarily unavailable.")
            }
            Failure::Internal => (500, 50_000, "server_error", "There's an issue with the sign-in service."),
        };
        let status = StatusCode::from_u16(status).expect("those above are statuses");
        Refusal { code, error, status, text: text.into(), reason: None }
    }

    /// A parameter is not there.
    pub(super) fn missing_parameter(name: &str) -> Self {
        Self::request(900_144, format!("The request body must contain the following parameter: '{name}'."))
    }

    /// A parameter that has to be one thing, or to be there once, is not so.
    pub(super) fn invalid_input(text: impl Into<String>) -> Self {
        Self::request(90_013, text)
    }

    /// Another grant than the one that there is.
    pub(super) fn unsupported_grant(grant: &str) -> Self {
        Self::request(70_003, format!("The access grant '{grant}' is not supported."))
            .because("grant_type is not client_credentials")
            .with_error("unsupported_grant_type")
    }

    /// What cannot be a tenant.
    pub(super) fn no_tenant(name: &str) -> Self {
        let why = "is neither a valid DNS name, nor a valid external domain.";
        Self::request(900_023, format!("Specified tenant identifier '{name}' {why}"))
            .because("what stands for the tenant can be none")
    }

    /// A tenant that is not there.
    pub(super) fn unknown_tenant(name: &str) -> Self {
        Self::request(
            90_002,
            format!(
                "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct \
                 cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for \
                 the tenant."
            ),
        )
        .because(format_args!("there is no tenant {}", id(name)))
    }

    /// The same where documents are asked for.
    pub(super) fn unknown_tenant_document(name: &str) -> Self {
        Self::unknown_tenant(name).with_error("invalid_tenant")
    }

    /// Another host than this one.
    pub(super) fn unknown_instance() -> Self {
        Self::request(50_049, "Unknown or invalid instance.").with_error("invalid_instance")
    }

    /// An application that the tenant does not have.
    pub(super) fn unknown_application(client: &str, tenant: &str) -> Self {
        Self::request(
            700_016,
            format!(
                "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the \
                 application has not been installed by the administrator of the tenant or consented to by any user in the \
                 tenant. You may have sent your authentication request to the wrong tenant."
            ),
        )
        .because(format_args!("there is no application {}", id(client)))
        .with_error("unauthorized_client")
    }

    /// Neither assertion nor secret.
    pub(super) fn no_credential() -> Self {
        let why = "is required for the 'client_credentials' grant type.";
        Self::client(7_000_216, format!("'client_assertion', 'client_secret' or 'request' {why}"))
    }

    /// A secret: no application here has one.
    pub(super) fn invalid_secret(id: &str) -> Self {
        Self::client(
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
                 the client secret ID, for a secret added to app '{id}'."
            ),
        )
    }

    /// A scope that client credentials cannot have.
    pub(super) fn invalid_scope(scope: &str) -> Self {
        Self::request(
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
                 /.default suffixed to the resource identifier (application ID URI)."
            ),
        )
        .because("scope is not one resource with /.default at its end")
        .with_error("invalid_scope")
    }

    /// No token at all.
    pub(super) fn malformed(why: impl fmt::Display) -> Self {
        Self::request(50_027, "JWT token is invalid or malformed.").because(why)
    }

    /// A claim is missing.
    pub(super) fn missing_claim(name: &str) -> Self {
        Self::request(
            90_014,
            format!(
                "The required field '{name}' is missing from the credential. Ensure that you have all the necessary parameters \
                 for the login request."
            ),
        )
    }

    /// A `typ` that is none of a token's.
    pub(super) fn header_type() -> Self {
        let why = "must be 'JWT' or 'http://openid.net/specs/jwt/1.0'.";
        Self::request(5_002_727, format!("Invalid JWT header type specified, {why}"))
    }

    /// Another algorithm.
    pub(super) fn algorithm(alg: &str) -> Self {
        let why = "is not a supported signature algorithm. Supported signing algorithms are: 'RS256'";
        Self::client(5_002_738, format!("Invalid JWT token. '{alg}' {why}"))
    }

    /// No `kid`.
    pub(super) fn no_key_id() -> Self {
        Self::client(
            5_002_723,
            "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in token \
             header.",
        )
    }

    /// An application that trusts nobody.
    pub(super) fn no_federation(id: &str, name: &str) -> Self {
        Self::client(
            70_025,
            format!("The client '{id}'({name}) has no configured federated identity credentials."),
        )
    }

    /// Nobody is trusted who has this issuer.
    pub(super) fn issuer(found: &str) -> Self {
        Self::client(700_211, no_match("issuer", found, ""))
    }

    /// Of this issuer nobody is trusted who has this subject.
    pub(super) fn subject(found: &str) -> Self {
        Self::client(700_213, no_match("subject", found, ""))
    }

    /// The same, but for the case of its letters.
    pub(super) fn subject_case(found: &str) -> Self {
        let why =
            "The subject matches with case-insensitive comparison, but not with case-sensitive comparison. ";
        Self::client(7_002_138, no_match("subject", found, why))
    }

    /// The token is not for whom it should be.
    pub(super) fn audience(found: &str) -> Self {
        Self::client(700_212, no_match("audience", found, ""))
    }

    /// Too early or too late.
    pub(super) fn times(now: OffsetDateTime, from: OffsetDateTime, until: OffsetDateTime) -> Self {
        let (now, from, until) = (ticks(now), ticks(from), ticks(until));
        Self::client(
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {from}, expiry \
                 time of assertion {until}. Review the documentation at \
                 https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials ."
            ),
        )
    }

    /// The issuer publishes no such key.
    pub(super) fn unknown_key(kid: &str, issuer: &str) -> Self {
        Self::client(
            7_000_272,
            format!(
                "The certificate with identifier {kid} used to sign the federated credential could not be found in the metadata \
                 of identity provider {issuer}. Please validate that your Identity Provider's metadata exposes the key used to \
                 sign the incoming token."
            ),
        )
    }

    /// The key has not signed.
    pub(super) fn signature() -> Self {
        Self::client(
            700_027,
            "Client assertion contains an invalid signature. [Reason - The provided signature value did not match the expected \
             signature value.]",
        )
    }

    /// The issuer's documents cannot be had.
    pub(super) fn unreachable() -> Self {
        Self::request(501_661, "Request to External OIDC endpoint failed.")
    }

    /// The answer.
    pub(super) fn answer(&self, about: About) -> Response<Bytes> {
        let About { correlation, now } = about;
        let (code, trace, timestamp) = (self.code, random::uuid(), seconds(now));
        let text = &self.text;
        let description = format!(
            "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
        );
        let body = json!({
            "error": self.error,
            "error_description": description,
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        let mut response = answer::json(self.status, &body);
        let trace = HeaderValue::from_str(&trace.to_string()).expect("hexadecimal digits and strokes");
        response.headers_mut().insert(HeaderName::from_static("x-ms-request-id"), trace);
        response
    }
}

/// For logs: why, without anything that may be a token.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&log::plain(self.reason.as_ref().unwrap_or(&self.text)))
    }
}

/// What a stranger has put where an id belongs: told where it is one.
fn id(text: &str) -> &str {
    if text.parse::<Uuid>().is_ok() { text } else { "of this name" }
}

fn no_match(what: &str, found: &str, why: &str) -> String {
    format!(
        "No matching federated identity record found for presented assertion {what} '{found}'. {why}{CHECK}"
    )
}

/// As errors have a time: `2026-01-18 00:16:16Z`.
fn seconds(time: OffsetDateTime) -> String {
    let time = time.in_utc();
    let (date, clock) = (time.date(), time.time());
    let (hour, minute, second) = clock.as_hms();
    format!("{date} {hour:02}:{minute:02}:{second:02}Z")
}

/// As .NET writes one: seven digits of a second.
fn ticks(time: OffsetDateTime) -> String {
    let time = time.in_utc();
    let (date, (hour, minute, second, nanos)) = (time.date(), time.time().as_hms_nano());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{:07}Z", nanos / 100)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_answer_is_as_recorded() {
        let about = About { correlation: Uuid::from_u128(1), now: datetime!(2026-01-18 00:16:16 UTC) };
        let response = Refusal::subject("repo:x").answer(about);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let trace = body["trace_id"].as_str().unwrap();
        assert_eq!(response.headers()["x-ms-request-id"], trace);
        let correlation = "00000000-0000-0000-0000-000000000001";
        assert_eq!(
            body,
            json!({
                "error": "invalid_client",
                "error_description": format!(
                    "AADSTS700213: No matching federated identity record found for presented assertion subject 'repo:x'. Check \
                     your federated identity credential Subject, Audience and Issuer against the presented assertion. \
                     https://learn.microsoft.com/entra/workload-id/workload-identity-federation Trace ID: {trace} Correlation \
                     ID: {correlation} Timestamp: 2026-01-18 00:16:16Z"
                ),
                "error_codes": [700_213],
                "timestamp": "2026-01-18 00:16:16Z",
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": "https://login.microsoftonline.com/error?code=700213",
            })
        );
    }

    #[test]
    fn times_have_seven_digits() {
        let (now, early) = (datetime!(2023-12-11 23:52:19.6223401 UTC), OffsetDateTime::UNIX_EPOCH);
        let text = Refusal::times(now, early, early).text;
        assert!(text.contains(
            "Current time: 2023-12-11T23:52:19.6223401Z, assertion valid from 1970-01-01T00:00:00.0000000Z"
        ));
    }
}
