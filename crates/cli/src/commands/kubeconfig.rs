//! `tokensmith kubeconfig`: a kubeconfig that stands alone, for oneself or for a service account.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokensmith_client::Route;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::{Clock, moment};

use super::mint::{self, TokenFlags};
use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::client::target::{Bearer, Target, Trust};
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::kubeconfig;
use crate::output;
use crate::serve::tls::chain_of;
use crate::times;

const EXAMPLES: &str = "Examples:
  # the administrator's, with the CA and the token embedded
  tokensmith kubeconfig > admin.kubeconfig

  # the same for another machine
  tokensmith kubeconfig --advertise https://tokens.example.com:6443 --write admin.kubeconfig

  # where that URL has a certificate that every system trusts
  tokensmith kubeconfig --advertise https://tokens.example.com --advertise-ca system

  # for the service account `builder` in the namespace `ci`, for eight hours
  tokensmith kubeconfig --service-account builder --namespace ci --duration 8h --write builder.kubeconfig";

/// Print or write a kubeconfig.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct KubeconfigArgs {
    /// Mint a token for this service account and use that instead of one's own credentials
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,

    #[command(flatten)]
    request: TokenFlags,

    /// Name the server by this URL in the kubeconfig instead of the one used to reach it
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,

    /// What to trust at the URL of --advertise: a PEM file, or `system` for the roots of whoever uses it. Default: what is
    /// trusted here
    #[arg(long, value_name = "PATH", requires = "advertise")]
    advertise_ca: Option<PathBuf>,

    /// Write to this file (mode 0600) instead of standard output; a file of someone else is left alone
    #[arg(long, value_name = "PATH")]
    write: Option<PathBuf>,

    /// In which form to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,

    #[command(flatten)]
    client: ClientFlags,
}

/// A kubeconfig is no table.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Form {
    Json,
    #[default]
    Yaml,
}

impl KubeconfigArgs {
    /// Makes the kubeconfig.
    ///
    /// # Errors
    /// Wrong flags, the server's refusal, or the file is someone else's.
    pub async fn run(self) -> Result<(), Failure> {
        let body = self.request.body()?;
        if let Some(path) = &self.write {
            kubeconfig::check_ours(path, "--write")?;
        }
        let target = self.client.target()?;
        let server = match &self.advertise {
            Some(url) => crate::client::target::parse_url(url, "--advertise")?,
            None => target.server.clone(),
        };
        let (user, token, namespace) = match &self.service_account {
            Some(name) => {
                let token = mint_for(&target, name, &body).await?;
                (format!("system:serviceaccount:{}:{name}", target.namespace), token, Some(&target.namespace))
            }
            None => own_credentials(&target)?,
        };
        let given = match &self.advertise_ca {
            Some(path) if path.as_os_str() == "system" => Some(Trust::System),
            Some(path) => Some(Trust::Authority(chain_of(path)?.1.into_bytes())),
            None => None,
        };
        let ca = match given.as_ref().unwrap_or(&target.trust) {
            Trust::Authority(pem) => Some(pem.as_slice()),
            Trust::System => None,
            Trust::Anyone | Trust::Leaf(_) => {
                return Err(Failure::guard(
                    "this server's certificate is not verified here, and a kubeconfig for others must not say so; give --certificate-authority",
                ));
            }
        };
        let server = server.as_str().trim_end_matches('/');
        let mut config = kubeconfig::own(server, ca, &user, &token, namespace.map(String::as_str));
        // How one gets to it, and as whom: who reads the file would otherwise ask as more than its maker does.
        for named in &mut config.clusters {
            named.cluster.tls_server_name = target.server_name.clone();
            named.cluster.proxy_url = match &target.route {
                Route::Proxy(proxy) => Some(proxy.with_password()),
                _ => None,
            };
        }
        for named in config.users.iter_mut().filter(|_| self.service_account.is_none()) {
            named.user.impersonate = target.impersonate.clone();
        }
        match (&self.write, self.output) {
            (Some(path), _) => kubeconfig::write_ours(path, &config, "--write", Others::Nobody),
            (None, Form::Yaml) => Ok(output::print_text(&output::yaml(&config)?)?),
            (None, Form::Json) => {
                let text = serde_json::to_string_pretty(&config).map_err(anyhow::Error::from)?;
                Ok(output::print_text(&format!("{text}\n"))?)
            }
        }
    }
}

fn own_credentials(target: &Target) -> Result<(String, String, Option<&String>), Failure> {
    match target.credentials.token.as_ref().map(Bearer::read).transpose()? {
        Some(token) => {
            let user = if target.user.is_empty() { kubeconfig::NAME } else { &target.user };
            Ok((user.to_owned(), token, None))
        }
        None => Err(Failure::failed(
            "there is no bearer token to put into the kubeconfig: give --bearer-token-file, or --service-account to mint one",
        )),
    }
}

async fn mint_for(target: &Target, name: &str, body: &serde_json::Value) -> Result<String, Failure> {
    let answer = mint::request(&connect(target)?, &target.namespace, name, body).await?;
    let token = mint::token_of(&answer)?.to_owned();
    let expires = answer.pointer("/status/expirationTimestamp").and_then(|v| v.as_str()).unwrap_or_default();
    if let Ok(at) = moment::parse(expires) {
        output::aside(&format!(
            "the token in it expires {}",
            times::with_distance(at.unix_timestamp(), SystemClock::new().now())
        ));
    }
    Ok(token)
}
