//! `tokensmith why`: whether a token may do something, and which rule of which layer says so.
//!
//! A tokensmith server is asked at its own endpoint, where the code that decides says why (`ours`). Any other is asked as anybody can
//! ask it, by reviews, and its roles are read (`elsewhere`); so is one whose endpoint is not open to who asks. Who has
//! nothing but the token asks with it (`itself`).

mod answer;
mod elsewhere;
mod itself;
mod question;
mod resource;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tokensmith_client::Refusal;

use self::answer::Answer;
use self::resource::Resource;
use super::inspect::given;
use super::pasted;
use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::client::http::Client;
use crate::failure::Failure;
use crate::output::{self, Output};

const PATH: &str = "/admin/v1/why";

const EXAMPLES: &str = "Examples:
  # why is the pod's token refused?
  tokensmith why --verb get --resource pods --namespace payments --file /var/run/secrets/tokens/token

  # a subresource, an object by name, another API group
  tokensmith token create builder | tokensmith why --verb get --resource pods --subresource log --name web-0
  tokensmith token create builder | tokensmith why --verb patch --resource deployments.apps --subresource scale --name web

  # a path
  tokensmith token create builder | tokensmith why --verb get --non-resource-url /metrics

  # would admission let it be written? (a dry run, as who the token is)
  tokensmith why --verb create --resource rolebindings.rbac.authorization.k8s.io --object binding.yaml --file token

  # with nothing but the token
  tokensmith why --verb list --resource secrets --file token --self

Exit codes: 0 it is allowed, 1 it is refused, or the server could not be asked (then nothing is on standard output), 2 wrong usage.";

/// Say whether a token may do something, and which rule decides.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct WhyArgs {
    /// What shall be done: get, list, watch, create, update, patch, delete, deletecollection, or any other verb of RBAC
    #[arg(long, value_name = "VERB")]
    verb: String,

    /// To what: pods, deployments.apps, a singular or a short name
    #[arg(long, value_name = "RESOURCE[.GROUP]", required_unless_present = "non_resource_url")]
    resource: Option<String>,

    /// To what below it, e.g. log, status, token
    #[arg(long, value_name = "NAME", requires = "resource")]
    subresource: Option<String>,

    /// To the object of this name
    #[arg(long, value_name = "NAME", requires = "resource")]
    name: Option<String>,

    /// The resource's API group, instead of RESOURCE.GROUP
    #[arg(long, value_name = "GROUP", requires = "resource")]
    api_group: Option<String>,

    /// In all namespaces, whatever --namespace says
    #[arg(long, short = 'A', requires = "resource")]
    all_namespaces: bool,

    /// To this path, instead of a resource
    #[arg(long, value_name = "PATH", conflicts_with = "resource")]
    non_resource_url: Option<String>,

    /// What would be written, YAML or JSON (of a patch: a merge patch): admission is asked, too, by a dry run; `-` is standard input
    #[arg(long, value_name = "PATH", requires = "resource")]
    object: Option<PathBuf>,

    /// Read the token from this file; without it, or from `-`, from standard input
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Ask about who shows no token at all
    #[arg(long, conflicts_with = "file")]
    anonymous: bool,

    /// Ask with the token itself, for who has no other credentials: less is known then
    #[arg(long = "self", conflicts_with_all = ["anonymous", "object"])]
    itself: bool,

    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

/// What is asked about.
struct Asked {
    /// `None` for who shows nothing.
    token: Option<String>,
    verb: String,
    what: What,
    object: Option<Value>,
}

enum What {
    Path(String),
    Resource(Resource),
}

impl WhyArgs {
    /// Asks, and says what came of it.
    ///
    /// # Errors
    /// It is refused, could not be asked, or makes no sense.
    pub async fn run(self) -> Result<(), Failure> {
        let stdin = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if stdin(&self.object) && !self.anonymous && (self.file.is_none() || stdin(&self.file)) {
            return Err(Failure::usage(
                "--object and the token cannot both be read from standard input: give --file",
            ));
        }
        if self.verb.is_empty() {
            return Err(Failure::usage("--verb must not be empty"));
        }
        let object = self.object.as_deref().map(object).transpose()?;
        let token = if self.anonymous { None } else { Some(token(self.file.as_deref())?) };
        let mut client = self.client.clone();
        if self.itself {
            client.token.clone_from(&token);
            (client.bearer_token_file, client.client_certificate, client.client_key) = (None, None, None);
        }
        let target = client.target()?;
        let what = match (&self.non_resource_url, &self.resource) {
            (Some(path), _) if !path.starts_with('/') => {
                return Err(Failure::usage(format!("--non-resource-url {path}: it must begin with /")));
            }
            (Some(path), _) => What::Path(path.clone()),
            (None, resource) => {
                let mut resource =
                    Resource::parse(resource.as_deref().unwrap_or_default(), self.api_group.as_deref())?;
                resource.subresource = self.subresource.clone().unwrap_or_default();
                resource.name = self.name.clone().unwrap_or_default();
                resource.namespace =
                    if self.all_namespaces { String::new() } else { target.namespace.clone() };
                What::Resource(resource)
            }
        };
        let asked = Asked { token, verb: self.verb, what, object };
        let client = connect(&target)?;
        let answer = match self.itself {
            true => itself::ask(&client, &asked).await?,
            false => match ours(&client, &asked).await? {
                Ok(answer) => answer,
                Err(refusal) => elsewhere::ask(&client, &asked, &refusal).await?,
            },
        };
        output::print(self.output, &answer.data(), || answer.text())?;
        if answer.allowed() { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}

/// Asks a tokensmith server. One that has no such endpoint, or does not open it to who asks, is to be asked otherwise.
async fn ours(client: &Client, asked: &Asked) -> Result<Result<Answer, Refusal>, Failure> {
    match client.post(PATH, &asked.body()).await? {
        Ok(answer) => Ok(Ok(Answer::of(answer))),
        Err(refusal) => match refusal.code {
            403..=405 => Ok(Err(refusal)),
            401 => Err(credentials()),
            400 => Err(Failure::usage(refusal.message)),
            _ => Err(Failure::failed(format!("failed to ask: {}", refusal.message))),
        },
    }
}

/// Who asks is not known.
fn credentials() -> Failure {
    Failure::failed(
        "the server does not know the credentials that it was asked with: give --kubeconfig or --bearer-token-file, or --self to ask with the token itself",
    )
}

impl Asked {
    fn body(&self) -> Value {
        let mut body = json!({ "verb": self.verb });
        match &self.token {
            Some(token) => body["token"] = token.as_str().into(),
            None => body["anonymous"] = true.into(),
        }
        match &self.what {
            What::Path(path) => body["path"] = path.as_str().into(),
            What::Resource(resource) => {
                if let Some(group) = &resource.group {
                    body["group"] = group.as_str().into();
                }
                for (field, text) in [
                    ("resource", &resource.resource),
                    ("subresource", &resource.subresource),
                    ("namespace", &resource.namespace),
                    ("name", &resource.name),
                ] {
                    body[field] = text.as_str().into();
                }
            }
        }
        if let Some(object) = &self.object {
            body["object"] = object.clone();
        }
        body
    }
}

/// The token in a file, or on standard input.
fn token(file: Option<&std::path::Path>) -> Result<String, Failure> {
    let text = pasted::read(None, file)?;
    let token = given::token(&text).map_err(|e| Failure::usage(format!("this is not a token: {e}")))?;
    if token.is_empty() {
        return Err(Failure::usage(
            "this is not a token: it is empty (--anonymous asks about who shows none)",
        ));
    }
    Ok(token)
}

/// An object in a file.
fn object(path: &std::path::Path) -> Result<Value, Failure> {
    let text = pasted::read(None, Some(path))?;
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("--object {}: {why}", path.display()));
    let parsed = match text.trim_start().starts_with(['{', '[']) {
        true => tokensmith_api::json::parse(text.as_bytes()).map_err(|e| wrong(&e))?.value,
        false => tokensmith_api::yaml::parse(text.as_bytes()).map_err(|e| wrong(&e))?.value,
    };
    if parsed.is_object() { Ok(parsed) } else { Err(wrong(&"it is no object")) }
}
