//! The listener's TLS settings: which certificate, and whose client certificates.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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
use super::given_certificate::{Files, GivenCertificate, OwnHost};
use crate::failure::Failure;
use crate::files::{self, Access, form};

/// What the TLS settings are made from; made again on SIGHUP and when the certificate is to be renewed.
pub struct Sources {
    authority: Authority,
    names: Vec<String>,
    given: Option<Files>,
    external_hostname: Option<String>,
    clients: Option<(std::path::PathBuf, Arc<ClientCertificates>)>,
    serving_cert: std::path::PathBuf,
    /// Where the health check finds the server.
    local: IpAddr,
    /// The host in the kubeconfig, where that is our own CA's.
    kept: Option<OwnHost>,
}

/// How this machine's clients reach and trust the server.
pub struct Local {
    /// The host in the kubeconfig.
    pub host: OwnHost,
    /// What to trust there, PEM.
    pub ca: String,
    /// What pods must trust, PEM.
    pub root_ca: String,
    /// What the certificate of `--tls-cert-file` is for.
    pub given: Option<String>,
}

impl Sources {
    /// From the flags and the data directory. `clients` trusts the CAs of `--client-ca-file` as they are when the settings
    /// are made.
    ///
    /// # Errors
    /// The certificate that was given cannot be read or used.
    pub fn new(
        args: &ServeArgs,
        dir: &DataDir,
        authority: Authority,
        clients: Option<Arc<ClientCertificates>>,
    ) -> Result<(Self, Local)> {
        let mut names = OWN_NAMES.map(str::to_owned).to_vec();
        names.push(args.bind_address.to_string());
        names.extend(args.sts.names());
        names.extend(args.external_hostname.clone());
        names.extend(args.tls_san.iter().filter(|n| !n.is_empty()).cloned());
        names.sort();
        names.dedup();
        // 0.0.0.0 is where one listens, not where one is.
        names.retain(|n| n != "0.0.0.0" && n != "::");
        let files = files_of(args);
        let given = files.as_ref().map(GivenCertificate::read).transpose()?;
        let (local, kept) = local(args.bind_address, given.as_ref(), &authority);
        let sources = Sources {
            authority,
            names,
            given: files,
            external_hostname: args.external_hostname.clone(),
            clients: args.client_ca_file.clone().zip(clients),
            serving_cert: dir.file(SERVING_CERT),
            local: local_address(args.bind_address),
            kept,
        };
        Ok((sources, local))
    }

    /// The settings now, and when to make them again.
    ///
    /// # Errors
    /// A file cannot be read or used; says which.
    pub fn build(&self, now: OffsetDateTime) -> Result<Made> {
        self.judge()?;
        let own = self.authority.serving(&self.names, now)?;
        let cas = self.clients.as_ref().map(|(path, _)| client_cas(path)).transpose()?;
        let config = tokensmith::tls::server(own.chain, own.key, cas.as_ref())?;
        let (settings, pem) = match self.given.as_ref().map(GivenCertificate::read).transpose()? {
            Some(given) => {
                for warning in given.warnings(self.external_hostname.as_deref(), now) {
                    tracing::warn!("{warning}");
                }
                let local = OwnHost::Address(self.local);
                let shown = given.names(local) && self.kept != Some(local);
                let pem = if shown { given.pem.clone() } else { own.pem };
                (given.settings(cas.as_ref(), config, self.kept)?, pem)
            }
            None => (config.into(), own.pem),
        };
        files::write_passing(&self.serving_cert, pem.as_bytes(), Access::Everyone)?;
        if let (Some((_, clients)), Some(cas)) = (&self.clients, cas) {
            clients.replace(cas);
        }
        Ok((settings, Some(own.renew_at)))
    }
}

impl Sources {
    /// Refuses what everyone may write, at a reload as at the start: it may be anyone's.
    fn judge(&self) -> Result<(), Failure> {
        let given = self.given.iter().flat_map(|files| [&files.cert, &files.key]);
        let mut all = given.chain(self.clients.iter().map(|(path, _)| path));
        all.try_for_each(|path| files::check_given(path).map(drop))
    }
}

/// How this machine's clients reach a server that listens there, and the host that is kept for our own CA because of it.
fn local(bound: IpAddr, given: Option<&GivenCertificate>, authority: &Authority) -> (Local, Option<OwnHost>) {
    let address = OwnHost::Address(local_address(bound));
    let hosts = match bound {
        ip if ip.is_unspecified() => vec![OwnHost::Localhost, address],
        ip if ip.is_loopback() => vec![address, OwnHost::Localhost],
        _ => vec![address],
    };
    let own = authority.pem();
    let Some(given) = given else {
        let (ca, root_ca) = (own.to_owned(), own.to_owned());
        return (Local { host: hosts[0], ca, root_ca, given: None }, None);
    };
    let kept = hosts.iter().find(|host| !given.serves(**host)).copied();
    let (kept, ca) = match (kept, given.root()) {
        (None, Some(root)) => (None, root),
        // Nobody here may know who signed it: a kubeconfig that trusts the system's roots would fail with most private CAs.
        (None, None) => (Some(address), own.to_owned()),
        // With the root, so that a kubeconfig that is made of it for the certificate's names is right, too.
        (Some(host), root) => (Some(host), format!("{own}{}", root.unwrap_or_default())),
    };
    let (host, root_ca) = (kept.unwrap_or(hosts[0]), format!("{own}{}", given.top()));
    (Local { host, ca, root_ca, given: Some(given.told()) }, kept)
}

/// The address by which this machine reaches what listens there.
pub fn local_address(bound: IpAddr) -> IpAddr {
    match bound {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn files_of(args: &ServeArgs) -> Option<Files> {
    let pair = args.tls_cert_file.clone().zip(args.tls_private_key_file.clone());
    pair.map(|(cert, key)| Files { cert, key })
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
    files_of(args).as_ref().map(GivenCertificate::read).transpose()?;
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
