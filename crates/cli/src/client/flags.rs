//! kubectl's flags for finding a server.

use std::path::PathBuf;

use clap::Args;
use tokensmith_client::target::Bearer;
use tokensmith_client::{Target, TargetOptions, Trust, Web};

use crate::failure::Failure;

/// The data directory when none is given.
pub const DATA_DIR: &str = "tokensmith-data";

/// Where the server is and who one is there. In this order: these flags, the files of `KUBECONFIG`, the data
/// directory's `admin.kubeconfig`, the account of the pod that this runs in.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub struct ClientFlags {
    /// Read this kubeconfig instead of those in $KUBECONFIG
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Talk to this server instead of the context's
    #[arg(long, short = 's', value_name = "URL")]
    pub server: Option<String>,

    /// Use this bearer token instead of the context's credentials
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Use the bearer token in this file, read again as it is renewed
    #[arg(long, value_name = "PATH", conflicts_with = "token")]
    pub bearer_token_file: Option<PathBuf>,

    /// Trust this PEM file's certificates for the server
    #[arg(long, value_name = "PATH")]
    pub certificate_authority: Option<PathBuf>,

    /// Use this namespace instead of the context's
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Where to look for admin.kubeconfig when nothing else names a server
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
}

impl ClientFlags {
    /// The server that they lead to.
    ///
    /// # Errors
    /// Nothing names a server, a name is not in the kubeconfig, a file cannot be read.
    pub fn target(&self) -> Result<Target, Failure> {
        Ok(Target::resolve(&TargetOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            server: self.server.clone(),
            token: self.bearer(),
            certificate_authority: self.certificate_authority.clone(),
            namespace: self.namespace.clone(),
            fallback: self.data_dir.join("admin.kubeconfig"),
        })?)
    }

    /// The token that is named, or the file of it.
    pub fn bearer(&self) -> Option<Bearer> {
        let file = self.bearer_token_file.clone().map(Bearer::File);
        self.token.clone().map(Bearer::Fixed).or(file)
    }

    /// Documents from anywhere, an issuer's above all. A local server's CA is trusted besides the system's: it is the one
    /// that the issuer most likely has.
    ///
    /// # Errors
    /// The file of `--certificate-authority` cannot be used.
    pub fn web(&self) -> Result<Web, Failure> {
        let (trust, extra) = match &self.certificate_authority {
            Some(path) => {
                let pem = std::fs::read(path);
                let pem = pem.map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
                (Trust::Authority(pem), None)
            }
            None => match self.target().map(|target| target.trust) {
                Ok(Trust::Authority(pem)) => (Trust::System, Some(pem)),
                _ => (Trust::System, None),
            },
        };
        Ok(Web::new(&trust, extra.as_deref())?)
    }

    /// Whether a server is named in any way, so that a command that can do without one should use it.
    pub fn name_a_server(&self) -> bool {
        self.server.is_some() || self.kubeconfig.is_some() || self.context.is_some()
    }
}
