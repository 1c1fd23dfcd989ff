//! `tokensmith exchange`: one token for another one, at a token endpoint (RFC 8693).

mod endpoint;
mod subject;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokensmith_client::exchange::{
    ExchangeError, ExchangeRequest, Exchanged, Judged, TokenEndpoint, TokenType, audience, resource, scope,
};
use tokensmith_core::clock::SystemClock;
use tokensmith_core::{Clock, Moment};
use tokensmith_objects::object::timestamp;

pub use endpoint::exchanger;

use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "Examples:
  # a projected token for one that https://api.example.com takes, at the server of the kubeconfig
  tokensmith exchange --token-file /var/run/secrets/tokens/token --audience https://api.example.com

  # one of an account that is minted for it, at another issuer's endpoint, which its metadata names
  tokensmith exchange --service-account payments/api --service-account-audience https://sts.example.com \\
      --issuer https://sts.example.com --scope 'orders:read'

  # the whole answer; what is given comes in a pipe, so that no list of processes shows it
  tokensmith token create api -n payments | tokensmith exchange --url https://sts.example.com/oauth2/token --output json";

/// Exchange a token for another one at an OAuth token endpoint (RFC 8693)
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExchangeArgs {
    /// Give the token in this file; - is standard input, which is read where nothing is named
    #[arg(long, value_name = "PATH", conflicts_with = "service_account", help_heading = "What is given")]
    token_file: Option<PathBuf>,

    /// Give a token of this account, which the server is asked for first
    #[arg(long, value_name = "[NAMESPACE/]NAME", help_heading = "What is given")]
    service_account: Option<String>,

    /// For whom that token is: what the endpoint wants of it. Repeatable. Without it: the API server's own audiences
    #[arg(long, value_name = "AUDIENCE", requires = "service_account", help_heading = "What is given")]
    service_account_audience: Vec<String>,

    /// Of which kind the token is: jwt, access_token, id_token, or a URI
    #[arg(long, value_name = "TYPE", default_value = "jwt", help_heading = "What is given")]
    subject_token_type: TokenType,

    /// Say by the token in this file (- is standard input) who acts for the subject
    #[arg(long, value_name = "PATH", help_heading = "What is given")]
    actor_token_file: Option<PathBuf>,

    /// Of which kind that one is
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "jwt",
        requires = "actor_token_file",
        help_heading = "What is given"
    )]
    actor_token_type: TokenType,

    /// Be known to the endpoint by the token in this file (RFC 7523, client_assertion)
    #[arg(long, value_name = "PATH", help_heading = "What is given")]
    client_assertion_file: Option<PathBuf>,

    /// For whom the new token is, by a name that the endpoint knows; repeatable
    #[arg(long, value_name = "AUDIENCE", help_heading = "What is wanted")]
    audience: Vec<String>,

    /// For whom it is, by a URI; repeatable
    #[arg(long, value_name = "URI", help_heading = "What is wanted")]
    resource: Vec<String>,

    /// What it permits; repeatable
    #[arg(long, value_name = "SCOPE", help_heading = "What is wanted")]
    scope: Vec<String>,

    /// Of which kind it is: jwt, access_token, id_token, or a URI. Without it the endpoint decides
    #[arg(long, value_name = "TYPE", help_heading = "What is wanted")]
    requested_token_type: Option<TokenType>,

    /// Ask this token endpoint. Without it: /oauth2/token of the kubeconfig's server
    #[arg(long, value_name = "URL", conflicts_with = "issuer", help_heading = "Where")]
    url: Option<String>,

    /// Ask the token endpoint that this issuer's metadata names (RFC 8414)
    #[arg(long, value_name = "URL", help_heading = "Where")]
    issuer: Option<String>,

    /// Trust this PEM file's certificates for the endpoint of --url or --issuer instead of the system's
    #[arg(long, value_name = "PATH", help_heading = "Where")]
    endpoint_ca_file: Option<PathBuf>,

    /// Print the token alone, the endpoint's answer, or what an exec plugin of a kubeconfig prints
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t)]
    output: Form,

    #[command(flatten)]
    client: ClientFlags,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// An ExecCredential (client.authentication.k8s.io/v1)
    ExecCredential,
    /// The endpoint's answer
    Json,
    /// The token alone
    #[default]
    Token,
}

impl ExchangeArgs {
    /// Exchanges the token and prints what came.
    ///
    /// # Errors
    /// Wrong flags, no token to give, or the endpoint's refusal.
    pub async fn run(self) -> Result<(), Failure> {
        for (flag, values, judge) in [
            ("--audience", &self.audience, audience as fn(&str) -> Judged),
            ("--resource", &self.resource, resource),
            ("--scope", &self.scope, scope),
        ] {
            judged(flag, values, judge)?;
        }
        let endpoint = self.endpoint().await?.patient();
        let request = self.request().await?;
        let exchanged = endpoint.exchange(&request).await.map_err(failed)?;
        if let Some(granted) = narrowed(&request.scope, &exchanged) {
            output::aside(&format!("note: the token permits {granted:?}, which is not what was asked for"));
        }
        match self.output {
            Form::ExecCredential => output::print_text(&format!("{:#}\n", exec_credential(&exchanged)?))?,
            Form::Json => output::print_text(&format!("{:#}\n", answer(&exchanged)))?,
            Form::Token => output::print_value(&exchanged.access_token)?,
        }
        Ok(())
    }

    async fn endpoint(&self) -> Result<TokenEndpoint, Failure> {
        let (url, issuer) = (self.url.as_deref(), self.issuer.as_deref());
        if self.endpoint_ca_file.is_some() && url.or(issuer).is_none() {
            return Err(Failure::usage("--endpoint-ca-file is for --url and --issuer: give one of them"));
        }
        endpoint::of(&self.client, url, issuer, self.endpoint_ca_file.as_deref()).await
    }

    async fn request(&self) -> Result<ExchangeRequest, Failure> {
        let files = [&self.token_file, &self.actor_token_file, &self.client_assertion_file];
        let piped = files.iter().filter(|file| file.as_deref().is_some_and(|path| path == "-")).count();
        // Without a name for it, what is given comes from there, too.
        let unnamed = usize::from(self.token_file.is_none() && self.service_account.is_none());
        if piped.saturating_add(unnamed) > 1 {
            return Err(Failure::usage(
                "standard input can be read once: give a file for all tokens but one",
            ));
        }
        let subject_token = match &self.service_account {
            Some(name) => subject::minted(&self.client, name, &self.service_account_audience).await?,
            None => subject::read(self.token_file.as_deref())?,
        };
        let file = |path: &Option<PathBuf>| path.as_deref().map(|path| subject::read(Some(path))).transpose();
        let actor = file(&self.actor_token_file)?;
        Ok(ExchangeRequest {
            subject_token,
            subject_token_type: self.subject_token_type.clone(),
            actor_token: actor.map(|token| (token, self.actor_token_type.clone())),
            audience: self.audience.clone(),
            resource: self.resource.clone(),
            scope: self.scope.clone(),
            requested_token_type: self.requested_token_type.clone(),
            client_assertion: file(&self.client_assertion_file)?,
        })
    }
}

/// Refuses what cannot be asked for, by the flag that has it.
///
/// # Errors
/// The first value that is none.
pub fn judged(flag: &str, values: &[String], judge: fn(&str) -> Judged) -> Result<(), Failure> {
    let wrong = values.iter().find_map(|value| judge(value).err());
    wrong.map_or(Ok(()), |why| Err(Failure::usage(format!("{flag} {why}"))))
}

fn failed(error: ExchangeError) -> Failure {
    match error {
        ExchangeError::Unreachable(error) => error.into(),
        error => Failure::failed(error.to_string()),
    }
}

/// What it permits, where that is something else than was asked for (RFC 6749 §3.3).
fn narrowed<'a>(asked: &[String], exchanged: &'a Exchanged) -> Option<&'a str> {
    let sorted = |scopes: Vec<&'_ str>| -> Vec<String> {
        let mut all: Vec<String> = scopes.into_iter().map(str::to_owned).collect();
        all.sort_unstable();
        all
    };
    let granted = exchanged.scope.as_deref().filter(|_| !asked.is_empty())?;
    let same = sorted(granted.split(' ').collect()) == sorted(asked.iter().map(String::as_str).collect());
    (!same).then_some(granted)
}

/// RFC 8693 §2.2.1.
fn answer(exchanged: &Exchanged) -> Value {
    let mut answer = json!({
        "access_token": exchanged.access_token,
        "issued_token_type": exchanged.issued_token_type.uri(),
        "token_type": exchanged.token_type,
    });
    if let Some(life) = exchanged.expires_in {
        answer["expires_in"] = life.as_secs().into();
    }
    if let Some(scope) = &exchanged.scope {
        answer["scope"] = scope.as_str().into();
    }
    answer
}

fn exec_credential(exchanged: &Exchanged) -> Result<Value, Failure> {
    if !exchanged.is_bearer() {
        return Err(Failure::failed(format!(
            "the endpoint gave what is no bearer token (token_type {}, {}), and API servers take no other: print it with --output token or json",
            exchanged.token_type, exchanged.issued_token_type
        )));
    }
    let mut status = json!({ "token": exchanged.access_token });
    if let Some(life) = exchanged.expires_in {
        status["expirationTimestamp"] = timestamp(SystemClock::new().now().plus(life)).into();
    }
    Ok(json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_was_not_asked_for_is_told() {
        let with = |scope: Option<&str>| Exchanged {
            access_token: "t".into(),
            issued_token_type: TokenType::AccessToken,
            token_type: "Bearer",
            expires_in: None,
            scope: scope.map(str::to_owned),
        };
        let asked = ["read".to_owned(), "write".to_owned()];
        assert_eq!(narrowed(&asked, &with(None)), None);
        assert_eq!(narrowed(&asked, &with(Some("write read"))), None);
        assert_eq!(narrowed(&asked, &with(Some("read"))), Some("read"));
        assert_eq!(narrowed(&[], &with(Some("read"))), None);
    }

    #[test]
    fn rfc_8693_section_2_2_1_what_is_no_access_token_is_no_credential_of_a_kubeconfig() {
        let aws = Exchanged {
            access_token: r#"{"Version":1,"SecretAccessKey":"k"}"#.into(),
            issued_token_type: TokenType::Other(
                "urn:tokensmith:params:oauth:token-type:aws-credentials".into(),
            ),
            token_type: "N_A",
            expires_in: None,
            scope: None,
        };
        let text = exec_credential(&aws).unwrap_err().to_string();
        assert!(text.contains("no bearer token (token_type N_A, urn:") && !text.contains("Secret"), "{text}");
        assert_eq!(answer(&aws)["access_token"], aws.access_token);
        assert!(exec_credential(&Exchanged { token_type: "Bearer", ..aws }).is_ok());
    }
}
