//! kubectl's flags for finding a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokensmith_client::kubeconfig::Impersonate;
use tokensmith_client::target::Bearer;
use tokensmith_client::{Target, TargetOptions, Trust, Web};

use crate::duration::{DurationError, GoDuration};
use crate::failure::Failure;

/// The data directory when none is given.
pub const DATA_DIR: &str = "tokensmith-data";

/// Where the server is and who one is there. In this order: these flags and their variables, the files of `KUBECONFIG`, the data
/// directory's `admin.kubeconfig`, `~/.kube/config`, the account of the pod that this runs in.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub struct ClientFlags {
    /// Read this kubeconfig instead of those in $KUBECONFIG
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig
    #[arg(long, value_name = "NAME", env = "TOKENSMITH_CONTEXT")]
    pub context: Option<String>,

    /// Use this cluster of the kubeconfig instead of the context's
    #[arg(long, value_name = "NAME", env = "TOKENSMITH_CLUSTER")]
    pub cluster: Option<String>,

    /// Use this user of the kubeconfig instead of the context's
    #[arg(long, value_name = "NAME", env = "TOKENSMITH_USER")]
    pub user: Option<String>,

    /// Talk to this server instead of the context's
    #[arg(long, short = 's', value_name = "URL", env = "TOKENSMITH_SERVER")]
    pub server: Option<String>,

    /// Expect this name in the server's certificate instead of the URL's
    #[arg(long, value_name = "NAME", env = "TOKENSMITH_TLS_SERVER_NAME")]
    pub tls_server_name: Option<String>,

    /// Trust this PEM file's certificates for the server
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_CERTIFICATE_AUTHORITY")]
    pub certificate_authority: Option<PathBuf>,

    /// Take any certificate of the server: whoever is in between sees and changes everything
    #[arg(long, env = "TOKENSMITH_INSECURE_SKIP_TLS_VERIFY")]
    pub insecure_skip_tls_verify: bool,

    /// Go through this proxy (http, https or socks5) instead of the kubeconfig's or the environment's
    #[arg(long, value_name = "URL", env = "TOKENSMITH_PROXY_URL")]
    pub proxy_url: Option<String>,

    /// Use the bearer token in this file instead of the context's credentials; it is read again as it is renewed
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_BEARER_TOKEN_FILE")]
    pub bearer_token_file: Option<PathBuf>,

    /// Use this bearer token. Everybody on this machine can read it from the list of processes: better --bearer-token-file
    #[arg(long, value_name = "TOKEN", hide = true)]
    pub token: Option<String>,

    /// Show this client certificate instead of the context's credentials
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_CLIENT_CERTIFICATE")]
    pub client_certificate: Option<PathBuf>,

    /// The client certificate's private key
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_CLIENT_KEY")]
    pub client_key: Option<PathBuf>,

    /// Ask as this user
    #[arg(long = "as", value_name = "NAME", env = "TOKENSMITH_AS")]
    pub impersonate: Option<String>,

    /// Ask as a member of this group; repeat for several
    #[arg(long, value_name = "NAME", env = "TOKENSMITH_AS_GROUP")]
    pub as_group: Vec<String>,

    /// Ask as the user with this UID
    #[arg(long, value_name = "UID", env = "TOKENSMITH_AS_UID")]
    pub as_uid: Option<String>,

    /// Ask as a user of whom this is known, too; repeat for several
    #[arg(long, value_name = "KEY=VALUE", env = "TOKENSMITH_AS_USER_EXTRA")]
    pub as_user_extra: Vec<String>,

    /// Use this namespace instead of the context's
    #[arg(long, short, value_name = "NAME", env = "TOKENSMITH_NAMESPACE")]
    pub namespace: Option<String>,

    /// How long a request may take, and a kubeconfig's exec plugin, e.g. 5s; a number alone is in seconds, 0 is for ever
    /// [default: 40s, and 5m for the plugin]
    #[arg(long, value_name = "DURATION", env = "TOKENSMITH_REQUEST_TIMEOUT", value_parser = timeout)]
    pub request_timeout: Option<Duration>,

    /// Where to look for admin.kubeconfig when neither flags nor $KUBECONFIG name a server
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
}

/// `ParseTimeout` (client-go `clientcmd/helpers.go`)
fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let duration: GoDuration = text.parse().map_err(|e: DurationError| e.to_string())?;
    duration.try_into().map_err(|_| "it must not be negative".to_owned())
}

impl ClientFlags {
    /// The server that they lead to.
    ///
    /// # Errors
    /// Nothing names a server, a name is not in the kubeconfig, a file cannot be read, a field cannot be honoured.
    pub fn target(&self) -> Result<Target, Failure> {
        Ok(Target::resolve(&self.options()?)?)
    }

    fn options(&self) -> Result<TargetOptions, Failure> {
        Ok(TargetOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            server: self.server.clone(),
            tls_server_name: self.tls_server_name.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            certificate_authority: self.certificate_authority.clone(),
            token: self.bearer(),
            certificate: self.certificate()?,
            impersonate: self.impersonate()?,
            proxy_url: self.proxy_url.clone(),
            request_timeout: self.request_timeout,
            namespace: self.namespace.clone(),
            fallback: self.data_dir.join("admin.kubeconfig"),
        })
    }

    /// The token that is named, or the file of it.
    pub fn bearer(&self) -> Option<Bearer> {
        let file = self.bearer_token_file.clone().map(Bearer::File);
        self.token.clone().map(Bearer::Fixed).or(file)
    }

    fn certificate(&self) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
        match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
            (None, None) => Ok(None),
            _ => Err(Failure::usage("--client-certificate and --client-key go together: give both")),
        }
    }

    fn impersonate(&self) -> Result<Impersonate, Failure> {
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        for text in &self.as_user_extra {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| Failure::usage(format!("--as-user-extra {text}: give KEY=VALUE")))?;
            extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        let (user, groups) = (self.impersonate.clone(), self.as_group.clone());
        Ok(Impersonate { user, groups, uid: self.as_uid.clone(), extra })
    }

    /// Documents from anywhere, an issuer's above all. The CA of the kubeconfig's cluster is trusted besides the system's: it is
    /// the one that the issuer most likely has. Its `proxy-url` is the way there.
    ///
    /// # Errors
    /// The kubeconfig that is there, or a file of certificates, cannot be used; or nobody's certificate is to be checked, with which anyone could be
    /// the issuer.
    pub fn web(&self) -> Result<Web, Failure> {
        if self.insecure_skip_tls_verify {
            return Err(Failure::usage(
                "--insecure-skip-tls-verify is not for issuers, whose keys could then be anyone's: give --certificate-authority",
            ));
        }
        let (trust, route) = Target::surroundings(&self.options()?)?;
        let (trust, extra) = match (trust, &self.certificate_authority) {
            (Trust::Authority(pem), None) => (Trust::System, Some(pem)),
            (trust @ Trust::Authority(_), Some(_)) => (trust, None),
            // Also of a kubeconfig that would take anyone's certificate.
            _ => (Trust::System, None),
        };
        Ok(Web::by(route, self.request_timeout, &trust, extra.as_deref())?)
    }

    /// The way to a token endpoint: as to an issuer, or with the certificates in the file `authority`, which `flag` names.
    ///
    /// # Errors
    /// As [`web`](Self::web).
    pub fn endpoint(&self, flag: &'static str, authority: Option<&Path>) -> Result<Web, Failure> {
        let Some(path) = authority else {
            if self.insecure_skip_tls_verify {
                return Err(Failure::usage(format!(
                    "--insecure-skip-tls-verify is not for token endpoints, which are given tokens: give {flag}"
                )));
            }
            return Ok(self.web()?.ca_by(flag));
        };
        let (_, route) = Target::surroundings(&self.options()?)?;
        let pem = std::fs::read(path);
        let pem = pem.map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
        Ok(Web::by(route, self.request_timeout, &Trust::Authority(pem), None)?.ca_by(flag))
    }

    /// These flags without the credentials that variables name, for a command that does without where they are not wanted.
    pub fn with_credentials_by_hand(&self) -> ClientFlags {
        let mut all = self.clone();
        for (flag, variable) in [
            (&mut all.bearer_token_file, "TOKENSMITH_BEARER_TOKEN_FILE"),
            (&mut all.client_certificate, "TOKENSMITH_CLIENT_CERTIFICATE"),
            (&mut all.client_key, "TOKENSMITH_CLIENT_KEY"),
        ] {
            let by_variable = std::env::var_os(variable).map(PathBuf::from);
            *flag = flag.take().filter(|path| by_variable.as_ref() != Some(path));
        }
        all
    }

    /// The token that the command line names, for a command that shows it to others than the server.
    pub fn bearer_by_hand(&self) -> Option<Bearer> {
        let by_variable = std::env::var_os("TOKENSMITH_BEARER_TOKEN_FILE").map(PathBuf::from);
        self.bearer()
            .filter(|bearer| !matches!(bearer, Bearer::File(path) if by_variable.as_ref() == Some(path)))
    }

    /// What the environment says, for a command whose flags do not take it from there: with a server it does something else
    /// than without.
    pub fn with_variables(&self) -> ClientFlags {
        let mut all = self.clone();
        for (flag, variable) in [
            (&mut all.server, "TOKENSMITH_SERVER"),
            (&mut all.context, "TOKENSMITH_CONTEXT"),
            (&mut all.cluster, "TOKENSMITH_CLUSTER"),
        ] {
            let given = flag.take().filter(|text| !text.is_empty());
            *flag = given.or_else(|| std::env::var(variable).ok().filter(|text| !text.is_empty()));
        }
        all
    }

    /// Whether a server is named in any way, so that a command that can do without one should use it.
    pub fn name_a_server(&self) -> bool {
        self.server.is_some() || self.kubeconfig.is_some() || self.context.is_some() || self.cluster.is_some()
    }
}
