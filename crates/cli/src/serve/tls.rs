//! The listener's TLS settings: which certificate, and whose client certificates.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use time::OffsetDateTime;
use tokensmith::certificates::{Authority, OWN_NAMES};
use tokensmith::renewal::Made;
use tokensmith_core::access::authenticators::{ClientCas, ClientCertificates};
use zeroize::Zeroizing;

use super::data_dir::{DataDir, SERVING_CERT};
use super::flags::ServeArgs;
use crate::failure::Failure;
use crate::files::{self, Access, form};

/// What the TLS settings are made from; made again on SIGHUP and when the certificate is to be renewed.
pub struct Sources {
    authority: Authority,
    names: Vec<String>,
    own: Option<(std::path::PathBuf, std::path::PathBuf)>,
    clients: Option<(std::path::PathBuf, Arc<ClientCertificates>)>,
    serving_cert: std::path::PathBuf,
}

impl Sources {
    /// From the flags and the data directory. `clients` trusts the CAs of `--client-ca-file` as they are when the settings
    /// are made.
    pub fn new(
        args: &ServeArgs,
        dir: &DataDir,
        authority: Authority,
        clients: Option<Arc<ClientCertificates>>,
    ) -> Self {
        let mut names = OWN_NAMES.map(str::to_owned).to_vec();
        names.push(args.bind_address.to_string());
        names.extend(args.external_hostname.clone());
        names.extend(args.tls_san.iter().filter(|n| !n.is_empty()).cloned());
        names.sort();
        names.dedup();
        // 0.0.0.0 is where one listens, not where one is.
        names.retain(|n| n != "0.0.0.0" && n != "::");
        Sources {
            authority,
            names,
            own: args.tls_cert_file.clone().zip(args.tls_private_key_file.clone()),
            clients: args.client_ca_file.clone().zip(clients),
            serving_cert: dir.file(SERVING_CERT),
        }
    }

    /// What clients must trust, PEM: our CA, or the operator's own certificate file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn trust(&self) -> Result<String> {
        match &self.own {
            Some((cert, _)) => {
                std::fs::read_to_string(cert).with_context(|| format!("cannot read {}", cert.display()))
            }
            None => Ok(self.authority.pem().to_owned()),
        }
    }

    /// The settings now, and when to make them again.
    ///
    /// # Errors
    /// A file cannot be read or used; says which.
    pub fn build(&self, now: OffsetDateTime) -> Result<Made> {
        let (chain, key, pem, renew_at) = match &self.own {
            Some((cert, key)) => {
                let (chain, pem) = chain_of(cert)?;
                let key = key_of(key)?;
                (chain, key, pem, None)
            }
            None => {
                let made = self.authority.serving(&self.names, now)?;
                (made.chain, made.key, made.pem, Some(made.renew_at))
            }
        };
        let cas = self.clients.as_ref().map(|(path, _)| client_cas(path)).transpose()?;
        let config = tokensmith::tls::server(chain, key, cas.as_ref())?;
        files::write(&self.serving_cert, pem.as_bytes(), Access::Everyone)?;
        if let (Some((_, clients)), Some(cas)) = (&self.clients, cas) {
            clients.replace(cas);
        }
        Ok((config, renew_at))
    }
}

/// Reads the files that the flags name, so that a wrong one stops the start before anything is made.
///
/// # Errors
/// A file cannot be read, or holds something else.
pub fn check(args: &ServeArgs) -> Result<(), Failure> {
    let host = args.external_hostname.iter().map(|name| ("--external-hostname", name));
    let names = args.tls_san.iter().filter(|name| !name.is_empty()).map(|name| ("--tls-san", name));
    if let Some((flag, name)) = host.chain(names).find(|(_, name)| !is_name(name)) {
        return Err(Failure::usage(format!(
            "{flag}: {name:?} is neither a host name nor an IP address: give it without scheme, port and path"
        )));
    }
    args.tls_cert_file.as_deref().map(chain_of).transpose()?;
    args.tls_private_key_file.as_deref().map(key_of).transpose()?;
    Ok(())
}

/// Whether a certificate can have this name; `*.` may stand before it.
fn is_name(name: &str) -> bool {
    ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

/// The CAs that vouch for clients.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn client_cas(path: &Path) -> Result<ClientCas> {
    ClientCas::parse(&chain_of(path)?.0).with_context(|| format!("cannot use {}", path.display()))
}

/// An unencrypted private key, PEM.
///
/// # Errors
/// The file cannot be read or holds none.
pub fn key_of(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = Zeroizing::new(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    let key = PrivateKeyDer::from_pem_slice(&text);
    key.with_context(|| format!("cannot read a private key from {}{}", path.display(), form(&text)))
}

/// A certificate with those between it and its CA, and the file's text.
///
/// # Errors
/// The file cannot be read or holds none.
pub fn chain_of(path: &Path) -> Result<(Vec<CertificateDer<'static>>, String)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.ok().filter(|c| !c.is_empty());
    let none = || format!("{} holds no certificate (PEM){}", path.display(), form(&bytes));
    let chain = chain.with_context(none)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok((chain, text))
}
