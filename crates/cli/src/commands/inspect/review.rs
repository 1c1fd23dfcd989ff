//! Verification by the server: TokenReview.

use tokensmith_verify::report::{Report, UnverifiedToken};
use tokensmith_verify::{Review, ReviewError};

use crate::client::http::Client;
use crate::client::target::Target;
use crate::failure::Failure;

/// Asks the server.
///
/// # Errors
/// It cannot be reached, or does not let the caller review tokens.
pub async fn verify(
    token: &UnverifiedToken,
    client: &Client,
    target: &Target,
    audiences: &[String],
) -> Result<Report, Failure> {
    let status = client.review(&token.text, audiences).await.map_err(|error| match error {
        ReviewError::Refused(refusal) => match refusal.code {
            401 => Failure::failed("the server does not know the credentials that the review was asked with: give --bearer-token-file or --kubeconfig"),
            403 => Failure::failed(format!("reviewing a token needs rights of its own: {}", refusal.message)),
            _ => Failure::failed(format!("failed to review the token: {}", refusal.message)),
        },
        other => Failure::failed(other.to_string()),
    })?;
    Ok(Report::by_review(token, audiences, &status, target.server.as_str().trim_end_matches('/')))
}
