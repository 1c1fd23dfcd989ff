//! `tokensmith token inspect`: what a token says and, when asked, whether it holds.
//!
//! `given` finds it in what was pasted; `tokensmith-verify` reads it without trusting it and checks it; `review` and `issuer` ask for what that takes; `report`
//! shows the result. A rule is said to hold only when someone has checked it, and a token to be valid only when all of them
//! were that can be checked that way.

pub(super) mod given;
mod issuer;
mod report;
mod review;
mod show;

use std::path::PathBuf;

use clap::Args;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_verify::doctor::{Diagnosis, examine, examine_token};
use tokensmith_verify::report::{Conclusion, Report, UnverifiedToken};

use super::{doctor, pasted};
use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Output};

const EXAMPLES: &str = "Examples:
  # what does it say? (offline; standard input keeps it out of the process list)
  tokensmith token create builder | tokensmith token inspect

  # one in a Secret
  kubectl get secret builder-token --output json | tokensmith token inspect

  # does the server that this kubeconfig names accept it, for this audience?
  tokensmith token inspect --file /var/run/secrets/tokens/vault --server --audience vault

  # would Google take it? (offline: what its header and claims say)
  tokensmith token inspect --file token --for gcp

  # does it verify for someone who knows the issuer only?
  tokensmith token inspect --file token --issuer https://tokens.example.com --audience vault";

/// Show what a token says.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("server", |a| a.env(None::<&str>).num_args(0..=1).default_missing_value("").help(
    "Verify through TokenReview at this server; without URL, at the context's")))]
// A variable does not say that the token shall be shown to somebody.
#[command(mut_arg("context", |a| a.env(None::<&str>)), mut_arg("cluster", |a| a.env(None::<&str>)))]
pub struct InspectArgs {
    /// The token, as it was copied: quoted, wrapped, behind `Bearer`, in base64, or a Secret, TokenRequest, TokenReview,
    /// ExecCredential or kubeconfig that carries it; `-` or nothing reads standard input
    #[arg(id = "jwt", value_name = "TOKEN")]
    jwt: Vec<String>,

    /// Read the token from this file
    #[arg(long, short, value_name = "PATH", conflicts_with = "jwt")]
    file: Option<PathBuf>,

    /// Verify with the key set that this issuer publishes
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "kubeconfig", "context", "cluster"])]
    issuer: Option<String>,

    /// Whom the token shall be for; repeat for several, one must match
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,

    /// Whose rules it must keep besides: verifiers as `tokensmith doctor` names them; with --issuer also what is published
    #[arg(long = "for", value_name = "VERIFIER", value_delimiter = ',')]
    verifiers: Vec<String>,

    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

impl InspectArgs {
    /// Shows the token, then fails if it was verified and something does not hold.
    ///
    /// # Errors
    /// It is no token, cannot be verified, or was refused.
    pub async fn run(self) -> Result<(), Failure> {
        // `Bearer TOKEN` without quotes is two words.
        let given = (!self.jwt.is_empty()).then(|| self.jwt.join(" "));
        let text = pasted::read(given.as_deref(), self.file.as_deref())?;
        let no_token = |why: String| Failure::failed(format!("this is not a token: {why}"));
        let text = given::token(&text).map_err(|e| no_token(e.to_string()))?;
        let token = UnverifiedToken::parse(&text).map_err(|e| no_token(e.to_string()))?;
        let clock = SystemClock::new();
        let report = self.verify(&token, &clock).await?;
        let now = clock.now();
        let found = self.rules(&text, &clock).await?;
        let mut data = show::data(&token, report.as_ref(), now);
        if !found.is_empty() {
            data["verifiers"] = doctor::data(self.issuer.as_deref(), &found)["verifiers"].take();
        }
        output::print(self.output, &data, || {
            let text = show::text(&token, report.as_ref(), now);
            if found.is_empty() { text } else { format!("{text}\n{}", doctor::table(&found)) }
        })?;
        match report.as_ref().map(Report::conclusion) {
            Some(Conclusion::Refused(rule)) => Err(Failure::failed(format!(
                "the token does not hold: {}: {}",
                rule.name,
                report::detail(rule)
            ))),
            Some(Conclusion::Unchecked(rule)) => Err(Failure::failed(format!(
                "the token was not checked: {}: {}",
                rule.name,
                report::detail(rule)
            ))),
            Some(Conclusion::Valid) | None => doctor::refused(&found),
        }
    }

    /// The rules of the verifiers that were named: those about tokens, or all of them where there is an issuer to ask.
    async fn rules(&self, text: &str, clock: &dyn Clock) -> Result<Vec<Diagnosis>, Failure> {
        let token =
            || UnverifiedToken::parse(text).map_err(|e| Failure::failed(format!("this is not a token: {e}")));
        let chosen = doctor::chosen(&self.verifiers)?;
        let Some(issuer) = self.issuer.as_ref().filter(|_| !chosen.is_empty()) else {
            let of_token = |verifier| Ok(examine_token(verifier, token()?, clock.unix()));
            return chosen.iter().map(of_token).collect();
        };
        let authority = self.client.certificate_authority.as_deref();
        let facts = doctor::gathered(issuer, authority, Some(token()?), None).await?;
        Ok(chosen.iter().map(|verifier| examine(verifier, &facts)).collect())
    }

    async fn verify(&self, token: &UnverifiedToken, clock: &dyn Clock) -> Result<Option<Report>, Failure> {
        if let Some(issuer) = &self.issuer {
            return issuer::verify(token, issuer, &self.audience, &self.client.with_variables(), clock)
                .await
                .map(Some);
        }
        if self.client.name_a_server() {
            let target = self.client.with_variables().target()?;
            return review::verify(token, &connect(&target)?, &target, &self.audience).await.map(Some);
        }
        if !self.audience.is_empty() {
            return Err(Failure::usage("--audience is checked by --server or --issuer: give one of them"));
        }
        Ok(None)
    }
}
