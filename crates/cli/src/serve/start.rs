//! What is checked before anything is made, and the store.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokensmith_core::access::authenticators::TokenFile;
use tokensmith_core::keys::issuer::{check_issuers, check_jwks_uri};
use tokensmith_core::keys::{Algorithm, KeysError, PrivateKey, PrivatePem, PublicKey, RotationPolicy};
use tokensmith_core::store::Store;
use tokensmith_core::tokens::TokenProfiles;
use tokensmith_store::{MemoryStore, OpenError, Options, SledStore};

use super::flags::ServeArgs;
use super::tls;
use crate::failure::Failure;

/// What the flags and their files say, read and checked.
pub(super) struct Settings {
    pub(super) implicit_token: bool,
    pub(super) max_token_seconds: Option<i64>,
    pub(super) min_token_seconds: i64,
    pub(super) profiles: TokenProfiles,
    pub(super) signing_key: Option<PrivatePem>,
    pub(super) verification_keys: Vec<PublicKey>,
    pub(super) token_file: Option<Arc<TokenFile>>,
    pub(super) rotation: RotationPolicy,
}

impl Settings {
    /// Reads all that the flags name.
    pub(super) fn read(args: &ServeArgs) -> Result<Self, Failure> {
        if !args.service_account_issuer.is_empty() {
            check_issuers(&args.service_account_issuer).map_err(|e| Failure::usage(e.to_string()))?;
        }
        if let Some(uri) = &args.service_account_jwks_uri {
            check_jwks_uri(uri).map_err(|e| Failure::usage(e.to_string()))?;
        }
        let mut verification_keys = Vec::new();
        for path in &args.service_account_key_file {
            let found = PublicKey::list_from_pem(&read(path)?);
            let found = found.map_err(|e| {
                Failure::failed(format!("error reading public key file {}: {e}", path.display()))
            })?;
            verification_keys.extend(found);
        }
        let signing_key = match &args.service_account_signing_key_file {
            None => None,
            Some(path) => {
                let pem = PrivatePem::new(read(path)?);
                let key = PrivateKey::from_pem(&pem).map_err(|e| {
                    Failure::failed(format!("error reading private key file {}: {e}", path.display()))
                })?;
                let (file, flag) = (key.public().algorithm(), args.signing_algorithm);
                if !Algorithm::KUBERNETES.contains(&file) {
                    return Err(Failure::failed(format!(
                        "error reading private key file {}: Kubernetes signs with no {} keys: use RSA, P-256, P-384 or P-521 here; a token profile can ask for {file}",
                        path.display(),
                        key.public().family()
                    )));
                }
                if let Some(flag) = flag.filter(|flag| *flag != file) {
                    return Err(Failure::usage(KeysError::Algorithm { file, flag }.to_string()));
                }
                Some(pem)
            }
        };
        let token_file = match &args.token_auth_file {
            None => None,
            Some(path) => {
                let text = String::from_utf8_lossy(&read(path)?).into_owned();
                let parsed = TokenFile::parse(&text);
                Some(Arc::new(parsed.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?))
            }
        };
        let profiles = super::profiles::read(args)?;
        tls::check(args)?;
        Ok(Settings {
            implicit_token: args.implicit_token()?,
            max_token_seconds: args.max_token_seconds()?,
            min_token_seconds: args.min_token_seconds()?,
            profiles,
            signing_key,
            verification_keys,
            token_file,
            rotation: args.rotation()?,
        })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// The store, and what can be told of its health.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) healthy: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Opens the store. One that another process uses is left alone.
pub(super) fn open_store(args: &ServeArgs) -> Result<Opened, Failure> {
    if args.ephemeral {
        return Ok(Opened { store: Arc::new(MemoryStore::new()), healthy: Box::new(|| true) });
    }
    let path = args.data_dir.join("store");
    super::data_dir::DataDir::open(&args.data_dir)?;
    let opened = SledStore::open(&path, Options::default()).map_err(|e| match &e {
        OpenError::InUse { .. } => {
            Failure::failed(format!("{e}: stop that server, or give this one another --data-dir"))
        }
        _ => Failure::from(anyhow::Error::new(e)),
    })?;
    let store = Arc::new(opened);
    let watched = Arc::downgrade(&store);
    let healthy = Box::new(move || watched.upgrade().is_some_and(|s| s.healthy()));
    Ok(Opened { store, healthy })
}
