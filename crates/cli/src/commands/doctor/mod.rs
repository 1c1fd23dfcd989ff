//! `tokensmith doctor`: what verifiers elsewhere will make of an issuer, this one or any other.
//!
//! `tokensmith-verify` asks and judges; `show` and `junit` write what came of it.

mod junit;
mod show;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tokensmith_api::duration::typed;
use tokensmith_client::{Outsider, Route, Url};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::ledger::jti::holds_token;
use tokensmith_verify::doctor::{self, Diagnosis, Facts, ISSUER, PATIENCE, Subject};
use tokensmith_verify::report::UnverifiedToken;

use super::inspect::given;
use super::pasted;
use crate::failure::Failure;
use crate::output::{self, Output};

pub use show::{data, table};

const EXAMPLES: &str = "Examples:
  # what does a stranger see of this issuer, and who would be content with it?
  tokensmith doctor --issuer https://tokens.example.com

  # will Vault and AWS take this token? (exit code 3 if not, for CI)
  tokensmith token create builder --audience vault | tokensmith doctor --issuer https://tokens.example.com --token - --for vault,aws

  # a cluster's issuer with a CA of its own, as a report for CI
  tokensmith doctor --issuer https://10.0.0.1:6443 --certificate-authority ca.crt --for go-oidc --output junit";

/// Say what verifiers elsewhere will make of an issuer, rule by rule.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The issuer, byte for byte as it stands in tokens; any issuer, not only tokensmith's
    #[arg(long, value_name = "URL")]
    issuer: String,

    /// One of its tokens, in this file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,

    /// Whose rules must hold: names of verifiers, of groups (vault, cloud, java, node, python), `issuer` for what all rely on, or `all`
    #[arg(long = "for", value_name = "VERIFIER", value_delimiter = ',', default_value = ISSUER)]
    verifiers: Vec<String>,

    /// A CA that the verifiers are given, PEM; those that take none go by the system's all the same
    #[arg(long, value_name = "PATH")]
    certificate_authority: Option<PathBuf>,

    /// For how long the issuer publishes a key before it signs, if you know it (`--key-publish-before` of serve)
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    publish_before: Option<u64>,

    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Indented JSON.
    Json,
    /// JUnit's XML, which CI systems show.
    Junit,
    /// Aligned columns for people.
    #[default]
    Table,
    /// YAML.
    Yaml,
}

impl DoctorArgs {
    /// Looks, says what came of it, and fails with 3 where a rule of a chosen verifier does.
    ///
    /// # Errors
    /// See above; or a file cannot be read, a verifier is not known.
    pub async fn run(self) -> Result<(), Failure> {
        if holds_token(&self.issuer) {
            return Err(Failure::usage(
                "--issuer: this is a token, not an issuer: give it with --token FILE",
            ));
        }
        let chosen = chosen(&self.verifiers)?;
        let token = self.token.as_deref().map(token).transpose()?;
        let facts =
            gathered(&self.issuer, self.certificate_authority.as_deref(), token, self.publish_before).await?;
        if let Some(variable) = passed_over(&self.issuer) {
            output::aside(&format!(
                "note: {variable} names a proxy for this issuer; doctor goes directly, since it looks at names, addresses and certificates itself"
            ));
        }
        let found: Vec<Diagnosis> = chosen.iter().map(|verifier| doctor::examine(verifier, &facts)).collect();
        let others = others(&self.verifiers, &facts)?;
        let told = || data(Some(&self.issuer), &found);
        match self.output {
            Form::Json => output::print(Output::Json, &told(), String::new)?,
            Form::Yaml => output::print(Output::Yaml, &told(), String::new)?,
            Form::Junit => output::print_text(&junit::write(&found))?,
            Form::Table => output::print_text(&format!("{}{}", table(&found), show::others(&others)))?,
        }
        refused(&found)
    }
}

/// The verifiers of these names.
///
/// # Errors
/// Nobody has one of them.
pub fn chosen(names: &[String]) -> Result<Vec<doctor::Verifier>, Failure> {
    doctor::chosen(names).map_err(|unknown| match unknown {
        Ok(name) => Failure::usage(format!(
            "no verifier is called {name:?}: there are {}, the groups cloud, java, node, python and vault, and all",
            doctor::names().collect::<Vec<_>>().join(", ")
        )),
        Err(fault) => Failure::failed(format!("the rules of this program are at fault: {fault}")),
    })
}

/// What an outsider sees.
///
/// # Errors
/// The CA's file cannot be used.
pub async fn gathered(
    issuer: &str,
    authority: Option<&std::path::Path>,
    token: Option<UnverifiedToken>,
    publish_before: Option<u64>,
) -> Result<Facts, Failure> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))
    };
    let authority = authority.map(read).transpose()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outsider = Outsider::new(authority.as_deref(), clock.clone(), PATIENCE)?;
    let subject = Subject { issuer: issuer.to_owned(), token, publish_before };
    Ok(doctor::gather(subject, &outsider, &*clock).await)
}

/// Where something fails, with exit code 3.
///
/// # Errors
/// See above.
pub fn refused(found: &[Diagnosis]) -> Result<(), Failure> {
    let failing: Vec<String> = found
        .iter()
        .filter(|diagnosis| diagnosis.failing().next().is_some())
        .map(|diagnosis| {
            let rules: Vec<&str> = diagnosis.failing().map(|finding| finding.rule.as_str()).collect();
            format!("{}: {}", diagnosis.name, rules.join(", "))
        })
        .collect();
    if failing.is_empty() {
        Ok(())
    } else {
        Err(Failure::guard(format!("not all rules hold: {}", failing.join("; "))))
    }
}

/// Where only what all rely on was asked about, what it comes to for each of the others, in a word.
fn others(names: &[String], facts: &Facts) -> Result<Vec<Diagnosis>, Failure> {
    if names != [ISSUER] {
        return Ok(Vec::new());
    }
    let all = chosen(&["all".to_owned()])?;
    Ok(all.iter().filter(|v| v.name != ISSUER).map(|verifier| doctor::examine(verifier, facts)).collect())
}

/// The variable that names a proxy for the issuer, by the rules of all other commands.
fn passed_over(issuer: &str) -> Option<String> {
    let url = Url::parse(issuer).ok()?;
    Route::of_the_process().of(&url).ok()?.map(|proxy| proxy.named_by().to_owned())
}

fn token(path: &std::path::Path) -> Result<UnverifiedToken, Failure> {
    let named = (path.as_os_str() != "-").then_some(path);
    let text = pasted::read(None, named)?;
    let no_token = |why: String| Failure::failed(format!("this is not a token: {why}"));
    let text = given::token(&text).map_err(|e| no_token(e.to_string()))?;
    UnverifiedToken::parse(&text).map_err(|e| no_token(e.to_string()))
}

fn seconds(text: &str) -> Result<u64, String> {
    let given = typed(text).map_err(|e| e.to_string())?;
    u64::try_from(given.whole_seconds()).map_err(|_| "it must not be negative".to_owned())
}
