//! The signing keys' flags and files, and the keys that come of them: the same for `serve` and `signer`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokensmith_core::Clock;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{
    Algorithm, KeyError, KeyRing, Keys, KeysConfig, KeysError, PolicyError, PrivateKey, PrivatePem,
    PublicKey, RotationPolicy,
};
use tokensmith_core::store::Store;
use tokensmith_signer::check_algorithm;
use tracing::warn;

use super::data_dir::DataDir;
use super::fail::FailPoints;
use super::first_start::{FirstStart, lost};
use super::sealing::SealingFile;
use crate::duration::GoDuration;
use crate::failure::Failure;
use crate::files::unreadable;

/// Which keys sign and verify, and for how long.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// Publish these keys (PEM) and accept their signatures, as long as they are listed; repeatable
    #[arg(
        long,
        value_name = "PATH",
        env = "TOKENSMITH_SERVICE_ACCOUNT_KEY_FILE",
        value_delimiter = ',',
        help_heading = "Tokens"
    )]
    pub service_account_key_file: Vec<PathBuf>,

    /// The longest that a token may live; 0 for no bound
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_SERVICE_ACCOUNT_MAX_TOKEN_EXPIRATION",
        default_value = "0",
        help_heading = "Tokens"
    )]
    pub service_account_max_token_expiration: GoDuration,

    /// Sign with this key (PEM). Another one than signs now is published first, and signs when verifiers know it
    #[arg(
        long,
        value_name = "PATH",
        env = "TOKENSMITH_SERVICE_ACCOUNT_SIGNING_KEY_FILE",
        help_heading = "Keys"
    )]
    pub service_account_signing_key_file: Option<PathBuf>,

    /// Sign with a key of this algorithm: RS256 (default), ES256, ES384 or ES512
    #[arg(long, value_name = "NAME", env = "TOKENSMITH_SIGNING_ALGORITHM", value_parser = algorithm, help_heading = "Keys")]
    pub signing_algorithm: Option<Algorithm>,

    /// Let a key sign for so long before the next one does
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_KEY_ROTATION_PERIOD",
        default_value = "720h",
        help_heading = "Keys"
    )]
    pub key_rotation_period: GoDuration,

    /// Publish a key for so long before it signs: at least as long as the slowest verifier goes on without asking for a key
    /// that it does not know
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_KEY_PUBLISH_BEFORE",
        default_value = "24h",
        help_heading = "Keys"
    )]
    pub key_publish_before: GoDuration,

    /// Keep a retired key for so long after its last token has expired (and for --key-set-max-age)
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_KEY_TOKEN_LEEWAY",
        default_value = "1m",
        help_heading = "Keys"
    )]
    pub key_token_leeway: GoDuration,

    /// Let verifiers keep the key set for so long (Cache-Control). When you lower it, do not rotate before the old time has
    /// run out
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_KEY_SET_MAX_AGE",
        default_value = "1h",
        help_heading = "Keys"
    )]
    pub key_set_max_age: GoDuration,

    /// Stop signing when the key ring has not been seen for so long; a change of keys that is later than five times this (and
    /// than a minute) makes the server unready
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_KEY_REPLICA_LAG",
        default_value = "1m",
        help_heading = "Keys"
    )]
    pub key_replica_lag: GoDuration,

    /// Seal private keys in the store under the first key of this file (32 bytes in base64 a line); all of them open.
    /// Default: seal.key in the data directory, made at the first start
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_SEALING_KEY_FILE", help_heading = "Keys")]
    pub sealing_key_file: Option<PathBuf>,
}

/// What the default key may sign with: what Kubernetes signs with, so that every verifier of its tokens knows it.
fn algorithm(name: &str) -> Result<Algorithm, NoDefault> {
    match name.parse::<Algorithm>() {
        Ok(algorithm) if Algorithm::KUBERNETES.contains(&algorithm) => Ok(algorithm),
        Ok(other) => Err(NoDefault::ProfilesOnly(other)),
        Err(_) => Err(NoDefault::Unknown),
    }
}

/// What the default key may not sign with.
#[derive(Debug, thiserror::Error)]
enum NoDefault {
    #[error("{0} keys sign only where a token profile asks for it: use {usual} here", usual = Algorithm::list(Algorithm::KUBERNETES))]
    ProfilesOnly(Algorithm),
    #[error("unknown signing algorithm: use {}", Algorithm::list(Algorithm::KUBERNETES))]
    Unknown,
}

impl KeyArgs {
    /// When keys change.
    ///
    /// # Errors
    /// Wrong usage: what does not go together.
    pub fn rotation(&self) -> Result<RotationPolicy, Failure> {
        // What is below zero or has a fraction is no span that the check would take.
        let span = |value: GoDuration| {
            let seconds = if value.is_whole() { value.whole_seconds() } else { 0 };
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let policy = RotationPolicy {
            signs_for: span(self.key_rotation_period),
            publish_before: span(self.key_publish_before),
            max_token_lifetime: self.max_token_seconds()?.map(|s| Duration::from_secs(s.unsigned_abs())),
            leeway: span(self.key_token_leeway),
            max_age: span(self.key_set_max_age),
            lag: span(self.key_replica_lag),
        };
        policy.check().map_err(policy_refused)?;
        Ok(policy)
    }

    /// Seconds; `None` for no bound.
    ///
    /// # Errors
    /// Wrong usage, in kube-apiserver's words.
    pub fn max_token_seconds(&self) -> Result<Option<i64>, Failure> {
        match self.service_account_max_token_expiration.whole_seconds() {
            0 => Ok(None),
            seconds if tokensmith::MAX_TOKEN_SECONDS.contains(&seconds) => Ok(Some(seconds)),
            _ => Err(Failure::usage(
                "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds",
            )),
        }
    }
}

/// The same in the flags' names.
fn policy_refused(e: PolicyError) -> Failure {
    Failure::usage(match e {
        PolicyError::Lag => "--key-replica-lag must be below --key-set-max-age".into(),
        PolicyError::PublishBefore { least } => format!(
            "--key-publish-before must be at least {}s: --key-set-max-age, for which verifiers keep a key set, and twice --key-replica-lag",
            least.as_secs()
        ),
        PolicyError::SignsFor => {
            "--key-rotation-period must be at least --key-publish-before: the next key is published only when the last one has begun to sign".into()
        }
        PolicyError::Span { field, least } => {
            let flag = match field {
                "signs_for" => "--key-rotation-period",
                "publish_before" => "--key-publish-before",
                "leeway" => "--key-token-leeway",
                "max_age" => "--key-set-max-age",
                _ => "--key-replica-lag",
            };
            let least = if least.as_secs() == 60 { "1m" } else { "1s" };
            format!("{flag} must be between {least} and 87600h, in whole seconds")
        }
    })
}

/// What the key files hold, read and checked.
pub(super) struct KeyFiles {
    pub(super) signing: Option<PrivatePem>,
    pub(super) verification: Vec<PublicKey>,
    /// What is to sign, if the operator says.
    pub(super) algorithm: Option<Algorithm>,
    rotation: RotationPolicy,
    sealing: Option<PathBuf>,
}

impl KeyFiles {
    /// Reads all that the flags name.
    pub(super) fn read(args: &KeyArgs) -> Result<Self, Failure> {
        let mut verification = Vec::new();
        for path in &args.service_account_key_file {
            let text = read(path)?;
            let (found, skipped) = PublicKey::readable_in_pem(&text);
            let cause = skipped.first().cloned().unwrap_or(KeyError::NoPublicKey);
            if found.is_empty() {
                return Err(unreadable(
                    &format!("error reading public key file {}: {cause}", path.display()),
                    &text,
                ));
            }
            // As Kubernetes does; it says nothing of them.
            for cause in skipped {
                warn!(file = %path.display(), "a part of the public key file is skipped: {cause}");
            }
            verification.extend(found);
        }
        let mut files = KeyFiles {
            signing: None,
            verification,
            algorithm: args.signing_algorithm,
            rotation: args.rotation()?,
            sealing: args.sealing_key_file.clone(),
        };
        let Some(path) = &args.service_account_signing_key_file else { return Ok(files) };
        let pem = PrivatePem::new(read(path)?);
        let key = PrivateKey::from_pem(&pem).map_err(|e| {
            unreadable(&format!("error reading private key file {}: {e}", path.display()), pem.expose())
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
        (files.signing, files.algorithm) = (Some(pem), Some(file));
        Ok(files)
    }

    /// Refuses to prepare a key that a kube-apiserver would not accept from an external signer.
    pub(super) fn fit_api_server(&self) -> Result<(), Failure> {
        self.algorithm.map_or(Ok(()), check_algorithm).map_err(|e| Failure::usage(e.to_string()))
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// Where keys live.
pub(super) struct Place<'a> {
    pub(super) dir: &'a DataDir,
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) fail: &'a FailPoints,
    /// What this start may make.
    pub(super) first: &'a FirstStart,
}

/// What the discovery document is to point to; the defaults where nothing is given.
#[derive(Clone, Copy, Default)]
pub(super) struct Urls<'a> {
    pub(super) jwks_uri: Option<&'a str>,
    pub(super) authorization_endpoint: Option<&'a str>,
}

/// Opens the keys in the store; a first start makes them. `profiles` are the algorithms that token profiles ask for.
pub(super) async fn open(
    files: KeyFiles,
    profiles: BTreeSet<Algorithm>,
    place: Place<'_>,
    issuer: &str,
    urls: Urls<'_>,
) -> Result<Arc<Keys>, Failure> {
    let Place { dir, store, clock, fail, first } = place;
    let sealing = fail.sealing(sealing(files.sealing.as_deref(), dir, &**store, first).await?);
    let config = KeysConfig {
        algorithm: files.algorithm,
        profile_algorithms: profiles,
        signing_key: files.signing,
        verification_keys: files.verification,
        policy: files.rotation,
        anew: first.forced,
        jwks_uri: urls.jwks_uri.map(str::to_owned),
        authorization_endpoint: urls.authorization_endpoint.map(str::to_owned),
        ..KeysConfig::new(issuer, sealing)
    };
    let keys = Keys::open(store.clone(), clock.clone(), config).await.map_err(anyhow::Error::new)?;
    first.has_ring()?;
    Ok(keys)
}

/// Where the sealing keys are; makes the first one, but never where something is sealed already.
async fn sealing(
    given: Option<&Path>,
    dir: &DataDir,
    store: &dyn Store,
    first: &FirstStart,
) -> Result<SealingFile, Failure> {
    let ring = store.get(RING_KEY).await.context("cannot read the key ring")?;
    let in_use = !store.list("/", None, 1).await.context("cannot read the store")?.entries.is_empty();
    if ring.is_none() && in_use && !first.forced {
        // Said before a sealing key is made that belongs to nothing.
        return Err(anyhow::Error::new(KeysError::Missing).into());
    }
    if ring.is_none() && !first.may_make {
        return Err(lost(dir, &["its key ring"]));
    }
    let ring = ring.map(|entry| KeyRing::from_json(&entry.value)).transpose();
    let ring = ring.map_err(anyhow::Error::new).context("the key ring cannot be used")?;
    let sealed = ring.iter().flat_map(KeyRing::keys).filter(|k| k.sealed.is_some());
    let sealed: Vec<String> = sealed.map(|k| k.id.clone()).collect();
    Ok(match given {
        Some(path) => SealingFile::given(path, &sealed, dir.others())?,
        None => SealingFile::own(dir, &sealed)?,
    })
}
