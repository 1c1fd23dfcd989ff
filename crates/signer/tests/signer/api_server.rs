//! kube-apiserver's side: its checks of each answer and its key cache, written after
//! `pkg/serviceaccount/externaljwt/plugin` (Kubernetes 1.36). It stands in for the real one.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::signature as aws;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokensmith_signer::protocol::{v1, v1alpha1};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use v1::external_jwt_signer_client::ExternalJwtSignerClient as V1;
use v1alpha1::external_jwt_signer_client::ExternalJwtSignerClient as V1Alpha1;

/// A connection to the signer's socket; `\0name` for an abstract one.
pub async fn connect(path: &Path) -> Result<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(connector).await?)
}

/// A client of either version of the protocol.
#[derive(Clone)]
pub enum Client {
    V1(V1<Channel>),
    V1Alpha1(V1Alpha1<Channel>),
}

/// Runs the same code with the client and the messages of either version.
macro_rules! either {
    ($client:expr, |$c:ident, $version:ident| $body:expr) => {
        match $client {
            Client::V1($c) => {
                use tokensmith_signer::protocol::v1 as $version;
                $body
            }
            Client::V1Alpha1($c) => {
                use tokensmith_signer::protocol::v1alpha1 as $version;
                $body
            }
        }
    };
}

/// `FetchKeys`' answer, as it came.
pub struct Fetched {
    pub keys: Vec<(String, Vec<u8>, bool)>,
    pub timestamp: Option<(i64, i32)>,
    pub hint: i64,
}

impl Client {
    /// Of Kubernetes 1.34 and later.
    pub async fn v1(path: &Path) -> Result<Self> {
        Ok(Client::V1(V1::new(connect(path).await?)))
    }

    /// Of Kubernetes 1.32 and 1.33.
    pub async fn v1alpha1(path: &Path) -> Result<Self> {
        Ok(Client::V1Alpha1(V1Alpha1::new(connect(path).await?)))
    }

    /// `Sign`: header and signature.
    pub async fn sign(&mut self, claims: &str) -> Result<(String, String), tonic::Status> {
        let claims = claims.to_owned();
        either!(self, |c, version| {
            let answer = c.sign(version::SignJwtRequest { claims }).await?.into_inner();
            Ok((answer.header, answer.signature))
        })
    }

    /// `FetchKeys`.
    pub async fn fetch_keys(&mut self) -> Result<Fetched, tonic::Status> {
        either!(self, |c, version| {
            let answer = c.fetch_keys(version::FetchKeysRequest {}).await?.into_inner();
            let keys = answer.keys.into_iter().map(|k| (k.key_id, k.key, k.exclude_from_oidc_discovery));
            let timestamp = answer.data_timestamp.map(|t| (t.seconds, t.nanos));
            Ok(Fetched { keys: keys.collect(), timestamp, hint: answer.refresh_hint_seconds })
        })
    }

    /// `Metadata`.
    pub async fn metadata(&mut self) -> Result<i64, tonic::Status> {
        either!(self, |c, version| {
            let answer = c.metadata(version::MetadataRequest {}).await?.into_inner();
            Ok(answer.max_token_expiration_seconds)
        })
    }
}

/// An API server with its key cache.
pub struct ApiServer {
    client: Client,
    /// How long the cache is used; `None`: as the signer hints.
    refresh: Option<Duration>,
    keys: HashMap<String, Key>,
    refresh_at: OffsetDateTime,
    /// When the keys last changed, as the signer says.
    pub timestamp: OffsetDateTime,
    /// The hint of the last fetch.
    pub hint: i64,
    /// The longest lifetime, as the signer says.
    pub max_seconds: i64,
    /// How often a token's `kid` was not in the cache.
    pub unknown: usize,
}

struct Key {
    spki: Vec<u8>,
    excluded: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(default)]
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    typ: String,
}

impl ApiServer {
    /// Starts: asks for the metadata, fills the cache.
    pub async fn start(mut client: Client, refresh: Option<Duration>, now: OffsetDateTime) -> Result<Self> {
        let max_seconds = client.metadata().await?;
        ensure!(
            max_seconds >= 600,
            "max token life supported by external-jwt-signer (10m) is {max_seconds}s"
        );
        let epoch = OffsetDateTime::UNIX_EPOCH;
        let keys = HashMap::new();
        let mut server = ApiServer {
            client,
            refresh,
            keys,
            refresh_at: epoch,
            timestamp: epoch,
            hint: 0,
            max_seconds,
            unknown: 0,
        };
        server.fetch(now).await?;
        Ok(server)
    }

    /// What its timer does.
    pub async fn tick(&mut self, now: OffsetDateTime) -> Result<()> {
        if now >= self.refresh_at { self.fetch(now).await } else { Ok(()) }
    }

    /// Fetches the keys, whether it is time or not.
    pub async fn fetch(&mut self, now: OffsetDateTime) -> Result<()> {
        let fetched = self.client.fetch_keys().await?;
        ensure!(fetched.hint > 0, "found invalid refresh hint ({}s)", fetched.hint);
        ensure!(!fetched.keys.is_empty(), "found no keys");
        let (seconds, nanos) = fetched.timestamp.context("no timestamp")?;
        ensure!((0..1_000_000_000).contains(&nanos), "invalid timestamp");
        self.timestamp = OffsetDateTime::from_unix_timestamp(seconds)? + Duration::nanoseconds(nanos.into());
        self.keys.clear();
        for (id, spki, excluded) in fetched.keys {
            ensure!((1..=1024).contains(&id.len()), "key id {id:?}");
            let (rest, _) = SubjectPublicKeyInfo::from_der(&spki).context("not PKIX")?;
            ensure!(rest.is_empty(), "bytes after the key");
            let twice = self.keys.insert(id, Key { spki, excluded });
            ensure!(twice.is_none(), "a key is there twice");
        }
        self.hint = fetched.hint;
        self.refresh_at = now + self.refresh.unwrap_or(Duration::seconds(fetched.hint));
        Ok(())
    }

    /// The cached key ids.
    pub fn ids(&self) -> Vec<&str> {
        self.keys.keys().map(String::as_str).collect()
    }

    /// Has a token signed and puts it together.
    pub async fn token(&mut self, payload: &Value) -> Result<String> {
        let claims = BASE64.encode(serde_json::to_vec(payload)?);
        let (header, signature) = self.client.sign(&claims).await.context("while signing jwt")?;
        let json = BASE64.decode(&header).context("while validating header")?;
        let parsed: Header = serde_json::from_slice(&json).context("while validating header")?;
        ensure!(parsed.typ == "JWT", "bad type");
        ensure!(!parsed.kid.is_empty(), "key id missing");
        ensure!(parsed.kid.len() <= 1024, "key id longer than 1 kb");
        ensure!(["RS256", "ES256", "ES384", "ES512"].contains(&parsed.alg.as_str()), "bad signing algorithm");
        let excluded = self.keys.get(&parsed.kid).is_some_and(|key| key.excluded);
        ensure!(!excluded, "key used for signing JWT is excluded from OIDC discovery docs");
        ensure!(!signature.is_empty(), "empty signature returned");
        Ok(format!("{header}.{claims}.{signature}"))
    }

    /// Verifies a token with the cached keys, looking for an unknown one once; gives its `kid`.
    pub async fn verify(&mut self, token: &str, now: OffsetDateTime) -> Result<String> {
        let (signed, signature) = token.rsplit_once('.').context("no token")?;
        let (header, _) = signed.split_once('.').context("no token")?;
        let header: Header = serde_json::from_slice(&BASE64.decode(header)?)?;
        if !self.keys.contains_key(&header.kid) {
            self.unknown += 1;
            self.fetch(now).await?;
        }
        let key = self.keys.get(&header.kid).context("no key has this kid")?;
        let (_, spki) = SubjectPublicKeyInfo::from_der(&key.spki)?;
        let algorithm: &'static dyn aws::VerificationAlgorithm = match header.alg.as_str() {
            "RS256" => &aws::RSA_PKCS1_2048_8192_SHA256,
            "ES256" => &aws::ECDSA_P256_SHA256_FIXED,
            "ES384" => &aws::ECDSA_P384_SHA384_FIXED,
            "ES512" => &aws::ECDSA_P521_SHA512_FIXED,
            other => bail!("algorithm {other}"),
        };
        let public = aws::UnparsedPublicKey::new(algorithm, &*spki.subject_public_key.data);
        let verified = public.verify(signed.as_bytes(), &BASE64.decode(signature)?);
        verified.ok().context("the signature is wrong")?;
        Ok(header.kid)
    }
}
