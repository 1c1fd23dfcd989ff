//! The certificate of `--tls-cert-file`, and where it is served.
//!
//! The rule: it is shown to everyone, for whatever name. Only this machine's own names (`localhost`, and the address of a
//! connection from this machine, which names nothing) get a certificate of our own CA, unless the file's has them. So
//! verifiers elsewhere see what they were promised, and `admin.kubeconfig` works on this machine, whoever signed the file's:
//! it names one of those names that the file's certificate has not. If that has them all, the kubeconfig trusts the root in
//! the file; where there is none, the address stays our own CA's. The name that was chosen at the start stays ours: a reload gives it
//! to no other certificate.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use time::OffsetDateTime;
use tokensmith_core::access::authenticators::ClientCas;
use tokensmith_listen::{Here, TlsSettings};
use tokensmith_objects::object::timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::{chain_of, key_of};

/// A host by which this machine reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnHost {
    /// An address.
    Address(IpAddr),
    /// `localhost`.
    Localhost,
}

/// Where it comes from.
#[derive(Clone, Debug)]
pub struct Files {
    /// `--tls-cert-file`.
    pub cert: PathBuf,
    /// `--tls-private-key-file`.
    pub key: PathBuf,
}

/// A certificate with its key, and what it says.
pub struct GivenCertificate {
    files: Files,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The file's text.
    pub pem: String,
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
    from: OffsetDateTime,
    until: OffsetDateTime,
    root: Option<usize>,
    /// It is a CA's own, as `openssl req -x509` makes them.
    ca: bool,
}

impl GivenCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read or holds something else, or they do not belong together.
    pub fn read(files: &Files) -> Result<Self> {
        let (chain, pem) = chain_of(&files.cert)?;
        let key = key_of(&files.key)?;
        tokensmith::tls::server(chain.clone(), key.clone_key(), None)
            .map_err(|e| anyhow::anyhow!("{}: {}", e, files.pair()))?;
        let mut given = GivenCertificate {
            files: files.clone(),
            key,
            pem,
            dns: Vec::new(),
            addresses: Vec::new(),
            from: OffsetDateTime::UNIX_EPOCH,
            until: OffsetDateTime::UNIX_EPOCH,
            root: None,
            ca: false,
            chain: Vec::new(),
        };
        for (at, der) in chain.iter().enumerate() {
            let parsed = X509Certificate::from_der(der);
            let (_, parsed) = parsed.with_context(|| format!("cannot read {}", files.cert.display()))?;
            if at == 0 {
                given.leaf(&parsed);
            }
            if parsed.subject().as_raw() == parsed.issuer().as_raw() {
                given.root = given.root.or(Some(at));
            }
        }
        given.chain = chain;
        Ok(given)
    }

    fn leaf(&mut self, leaf: &X509Certificate<'_>) {
        (self.from, self.until) =
            (leaf.validity().not_before.to_datetime(), leaf.validity().not_after.to_datetime());
        self.ca = leaf.is_ca();
        let names = leaf.subject_alternative_name().ok().flatten();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => self.addresses.extend(address(bytes)),
                _ => {}
            }
        }
    }

    /// Whether it is for this host.
    pub fn names(&self, host: OwnHost) -> bool {
        match host {
            OwnHost::Localhost => self.dns.iter().any(|name| name.eq_ignore_ascii_case("localhost")),
            OwnHost::Address(ip) => self.addresses.contains(&ip),
        }
    }

    /// Whether clients on this machine can be led to it at this host. Strict ones (rustls, and so tokensmith's own commands)
    /// take no CA's certificate for a server's.
    pub fn serves(&self, host: OwnHost) -> bool {
        !self.ca && self.names(host)
    }

    /// Its names and addresses, as a list for people.
    pub fn told(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<_> = self.dns.iter().cloned().chain(addresses).collect();
        if all.is_empty() { "no name".to_owned() } else { all.join(", ") }
    }

    /// The root that ends its chain, PEM, if it is in the file; a certificate that is signed with its own key is its own.
    pub fn root(&self) -> Option<String> {
        self.root.and_then(|at| self.chain.get(at)).map(|der| pem(der))
    }

    /// The last of the chain, PEM: the root or, without it, what is nearest to it. Go's and newer OpenSSL's clients take that
    /// for an anchor, too.
    pub fn top(&self) -> String {
        self.root().or_else(|| self.chain.last().map(|der| pem(der))).unwrap_or_default()
    }

    /// What clients will not like about it.
    pub fn warnings(&self, external_hostname: Option<&str>, now: OffsetDateTime) -> Vec<String> {
        let file = self.files.cert.display();
        let mut out = Vec::new();
        if self.until < now {
            out.push(format!(
                "the certificate in {file} has expired ({}): clients refuse it",
                timestamp(self.until)
            ));
        }
        if now < self.from {
            out.push(format!(
                "the certificate in {file} is not good before {}: clients refuse it until then",
                timestamp(self.from)
            ));
        }
        if self.dns.is_empty() && self.addresses.is_empty() {
            out.push(format!(
                "the certificate in {file} has no subjectAltName: clients refuse it by any name"
            ));
        }
        if self.ca {
            out.push(format!(
                "the certificate in {file} is a CA's own: strict clients refuse it, and this machine's address stays our CA's; openssl makes one that is none with -addext basicConstraints=CA:FALSE"
            ));
        }
        let named = |host: &str| {
            let name = ServerName::try_from(host).ok()?;
            let leaf = ParsedCertificate::try_from(self.chain.first()?).ok()?;
            verify_server_name(&leaf, &name).ok()
        };
        if let Some(host) = external_hostname.filter(|host| named(host).is_none()) {
            out.push(format!(
                "the certificate in {file} is for {}, not for --external-hostname {host}: clients refuse it there",
                self.told()
            ));
        }
        out
    }

    /// The settings that serve it, and `own` where it is not for this machine's own names, or where `kept` is asked for.
    ///
    /// # Errors
    /// The library's.
    pub fn settings(
        self,
        clients: Option<&ClientCas>,
        own: ServerConfig,
        kept: Option<OwnHost>,
    ) -> Result<TlsSettings> {
        let but_localhost = self.names(OwnHost::Localhost) && kept != Some(OwnHost::Localhost);
        let mut but = self.addresses;
        but.retain(|ip| kept != Some(OwnHost::Address(*ip)));
        let config = tokensmith::tls::server(self.chain, self.key, clients)?;
        Ok(TlsSettings::from(config).here(Here { config: Arc::new(own), but_localhost, but }))
    }
}

impl Files {
    fn pair(&self) -> String {
        let shown = |path: &Path| path.display().to_string();
        format!("{} and {}", shown(&self.cert), shown(&self.key))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A certificate in PEM.
fn pem(der: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}
