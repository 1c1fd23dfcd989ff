//! What a request is refused with: AWS's codes, statuses and words.
//!
//! Codes and statuses are those of the service's model (`sts-2011-06-15` in the SDKs) and of
//! <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>; the words are those that people have reported from the
//! real service, whose address stands beside each. Where nobody has, the words are ours and the comment says so.

use std::fmt;

use http::StatusCode;

use crate::cloud::Failure;
use crate::log;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// For the log, where the message does not say why, or repeats what a stranger has sent.
    reason: Option<String>,
}

impl Refusal {
    /// The caller's fault in what was asked.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Refusal { status: StatusCode::BAD_REQUEST, code, message: message.into(), reason: None }
    }

    /// The caller may not, or is not who they say.
    pub(super) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Refusal { status: StatusCode::FORBIDDEN, code, message: message.into(), reason: None }
    }

    /// What the log says instead of the message.
    pub(super) fn because(self, why: impl fmt::Display) -> Self {
        Refusal { reason: Some(log::plain(why)), ..self }
    }

    /// What comes to nothing: codes and statuses of the common errors, in our words.
    pub(super) fn failed(failure: Failure) -> Self {
        let (status, code, message) = match failure {
            Failure::BrokeOff => {
                (400, "RequestAbortedException", "The request was aborted before it was whole.")
            }
            Failure::Slow => (408, "RequestTimeoutException", "Reading the request timed out."),
            Failure::TooLong => (413, "RequestEntityTooLargeException", "The request entity is too large."),
            Failure::TimedOut => (503, "ServiceUnavailable", "The request could not be answered in time."),
            Failure::Internal => {
                (500, "InternalFailure", "The request processing has failed because of an internal error.")
            }
        };
        let status = StatusCode::from_u16(status).expect("those above are statuses");
        Refusal { status, code, message: message.into(), reason: None }
    }

    /// Whose fault it is, as the query protocol has it.
    pub(super) fn kind(&self) -> &'static str {
        if self.status.is_server_error() { "Receiver" } else { "Sender" }
    }

    /// <https://github.com/fog/fog-aws/pull/550>, and several at once: <https://github.com/mmmorris1975/aws-runas/issues/80>.
    ///
    /// The reasons are the same without the values.
    pub(super) fn validation(problems: &[String], reasons: &[String]) -> Self {
        let count = match problems.len() {
            1 => "1 validation error".to_owned(),
            more => format!("{more} validation errors"),
        };
        let message = format!("{count} detected: {}", problems.join("; "));
        Self::bad("ValidationError", message).because(reasons.join("; "))
    }

    /// <https://github.com/physera/onelogin-aws-cli/issues/12>
    pub(super) fn not_an_arn() -> Self {
        Self::bad("ValidationError", "Request ARN is invalid")
    }

    /// <https://github.com/kreuzwerker/awsu/issues/27>
    pub(super) fn too_long_a_session() -> Self {
        Self::bad(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    }

    pub(super) fn token(message: impl Into<String>) -> Self {
        Self::bad("InvalidIdentityToken", message)
    }

    /// Reported with OAuth access tokens, that are no JWTs.
    pub(super) fn no_jwt() -> Self {
        Self::token(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
        )
    }

    /// <https://github.com/aws-actions/configure-aws-credentials/issues/280>
    pub(super) fn no_provider(issuer: &str) -> Self {
        Self::token(format!("No OpenIDConnect provider found in your account for {issuer}"))
    }

    /// <https://repost.aws/knowledge-center/iam-sts-invalididentitytoken>, with the two spaces that the service has
    /// (<https://github.com/aws/aws-sdk-js-v3/issues/3052>): also for a `kid` that the key set does not have.
    pub(super) fn no_key() -> Self {
        Self::token(
            "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
        )
    }

    /// <https://github.com/aws-actions/configure-aws-credentials/issues/502>
    pub(super) fn missing_claim(name: &str) -> Self {
        Self::token(format!("Missing a required claim: {name}"))
    }

    /// <https://github.com/awslabs/amazon-eks-irsa-cfn/pull/18>
    pub(super) fn audience() -> Self {
        Self::token("Incorrect token audience")
    }

    /// <https://github.com/awslabs/aws-orbit-workbench/issues/707>
    pub(super) fn expired(now: i64, expires: i64) -> Self {
        Self::bad(
            "ExpiredTokenException",
            format!(
                "Token expired: current date/time {now} must be before the expiration date/time {expires}"
            ),
        )
    }

    /// <https://github.com/windmill-labs/windmilldocs/pull/635>: the same for a role that is not there, so that strangers cannot
    /// tell one from the other.
    pub(super) fn not_authorized() -> Self {
        Self::forbidden("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    }

    /// The words of the query protocol's front, for any service.
    pub(super) fn unknown_action(action: &str, version: Option<&str>) -> Self {
        let version = version.unwrap_or("NO_VERSION_SPECIFIED");
        Self::bad("InvalidAction", format!("Could not find operation {action} for version {version}"))
            .because(format_args!(
                "there is no action {} of version {}",
                log::shown(action),
                log::shown(version)
            ))
    }

    /// <https://github.com/amzn/selling-partner-api-docs/issues/3081>
    pub(super) fn unsigned() -> Self {
        Self::forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
    }

    /// <https://github.com/aws-azure-login/aws-azure-login/issues/251>
    pub(super) fn unknown_credentials() -> Self {
        Self::forbidden("InvalidClientTokenId", "The security token included in the request is invalid")
    }

    /// <https://repost.aws/knowledge-center/sts-iam-token-expired>
    pub(super) fn expired_credentials() -> Self {
        Self::forbidden("ExpiredToken", "The security token included in the request is expired")
    }

    pub(super) fn incomplete(message: impl Into<String>) -> Self {
        Self::bad("IncompleteSignature", message)
    }

    pub(super) fn signature(message: impl Into<String>) -> Self {
        Self::forbidden("SignatureDoesNotMatch", message)
    }
}

/// For logs: why, without anything that may be a token.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => f.write_str(reason),
            None => f.write_str(&log::plain(&self.message)),
        }
    }
}
