//! Whose tokens there are, and where their issuers' documents are read here.
//!
//! A verifier believes an issuer's own name: it asks `https://oidc.example.com` for the document, and the host that the document
//! names for the keys. Here each of these URLs is looked up in the configuration before anything is fetched, so that the rules
//! of issuers hold as they do for a cloud, and nothing is asked that the configuration does not name.
//!
//! This server's own documents (`self`) come without HTTP and are otherwise like anybody's, `max-age` included: no cloud promises
//! to see a rotation or a revocation sooner. A `kid` that is not known has them read again.

pub(crate) mod config;
mod trusted;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_client::{Error, Route, Trust, Web};
use tokensmith_core::keys::{Document, Keys};
use tokensmith_verify::{Fetch, FetchError, Fetched, discovery};

use config::{Documents, Issuer, bare};
pub(crate) use tokensmith_verify::trust::{SignedClaims, Untrusted};
pub(crate) use trusted::{Rules, Trusted};

/// Why the services cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// This server has another name in its documents.
    #[error(
        "the documents of {issuer:?} cannot be this server's own (`self`): its issuer is {own:?}: serve with --service-account-issuer={issuer}, or say where they are"
    )]
    Foreign {
        /// Whose documents are asked for.
        issuer: String,
        /// Whose they are.
        own: String,
    },
    /// This server serves none.
    #[error("this server has no documents of its own (`self`): {0}")]
    NoDocuments(String),
    /// Documents cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] Error),
}

/// Issuers by their names.
#[derive(Default)]
pub(crate) struct Issuers {
    /// By the issuer's name without a stroke at its end.
    places: HashMap<String, Below>,
    own: Option<Own>,
}

/// Documents elsewhere.
struct Below {
    url: String,
    web: Arc<dyn Fetch>,
}

/// This server's.
struct Own {
    /// Of the discovery document.
    url: String,
    /// An attempt to fetch something may outlive the server, whose store they have.
    keys: Weak<Keys>,
}

/// As long as any cloud waits for an answer: AWS's five seconds are the one number that is published
/// (<https://repost.aws/knowledge-center/iam-sts-invalididentitytoken>).
const PATIENCE: Duration = Duration::from_secs(5);
/// No URL of a key set is longer. Each of its parts is looked up.
const MAX_URL: usize = 2048;

impl Issuers {
    /// From the configuration. `keys` are this server's.
    pub(crate) fn new(issuers: &[Issuer], keys: &Arc<Keys>) -> Result<Self, SetupError> {
        let mut webs: HashMap<Option<&str>, Arc<dyn Fetch>> = HashMap::new();
        let mut places = HashMap::with_capacity(issuers.len());
        let mut own = None;
        for issuer in issuers {
            let Documents::Below { url, ca } = &issuer.documents else {
                check_own(&issuer.name, keys)?;
                own = Some(Own { url: discovery::url(&issuer.name), keys: Arc::downgrade(keys) });
                continue;
            };
            let web = match webs.get(&ca.as_deref()) {
                Some(web) => web.clone(),
                None => {
                    let extra = ca.as_deref().map(str::as_bytes);
                    let web = Web::by(Route::of_the_process(), Some(PATIENCE), &Trust::System, extra)?;
                    webs.entry(ca.as_deref()).or_insert(Arc::new(web)).clone()
                }
            };
            places.insert(bare(&issuer.name).to_owned(), Below { url: url.clone(), web });
        }
        Ok(Issuers { places, own })
    }

    /// Where a URL leads here: the place of the issuer whose name it begins with, the longest of them, and what is left.
    fn find<'a>(&self, url: &'a str) -> Option<(&Below, &'a str)> {
        if url.len() > MAX_URL {
            return None;
        }
        // By the path alone: what stands behind it is no part of a name.
        let mut end = url.find(['?', '#']).unwrap_or(url.len());
        loop {
            if let Some(place) = self.places.get(&url[..end]) {
                return Some((place, &url[end..]));
            }
            end = url[..end].rfind('/')?;
        }
    }
}

impl Own {
    /// One of the two documents, if the URL is its.
    fn get(&self, url: &str, etag: Option<&str>) -> Option<Fetched> {
        let keys = self.keys.upgrade()?.current();
        let documents = keys.documents();
        let discovery = documents.discovery.as_ref()?;
        let document = match url {
            url if url == self.url => discovery,
            url if member(discovery, "jwks_uri").as_deref() == Some(url) => documents.jwks.as_ref()?,
            _ => return None,
        };
        let same = etag == Some(document.etag.as_str());
        Some(Fetched {
            status: if same { 304 } else { 200 },
            body: if same { Bytes::new() } else { document.bytes.clone() },
            cache_control: Some(format!("public, max-age={}", documents.max_age.as_secs())),
            etag: Some(document.etag.clone()),
        })
    }
}

#[async_trait]
impl Fetch for Issuers {
    async fn get(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError> {
        // This server's key set may be published under another name than its issuer's.
        if let Some(own) = self.own.as_ref().and_then(|own| own.get(url, etag)) {
            return Ok(own);
        }
        let Some((Below { url: below, web }, rest)) = self.find(url) else {
            let url: String = url.chars().take(200).collect();
            return Err(Error::failed(format!("{url:?} is below no issuer of --sts-config")).into());
        };
        web.get(&format!("{below}{rest}"), etag).await
    }
}

/// A text of a document.
fn member(document: &Document, name: &str) -> Option<String> {
    let read: serde_json::Value = serde_json::from_slice(&document.bytes).ok()?;
    Some(read.get(name)?.as_str()?.to_owned())
}

/// Whether this server's documents are those of an issuer.
fn check_own(issuer: &str, keys: &Keys) -> Result<(), SetupError> {
    let keys = keys.current();
    let documents = keys.documents();
    let Some(document) = &documents.discovery else {
        let why = documents.problem.as_ref().map(ToString::to_string);
        return Err(SetupError::NoDocuments(why.unwrap_or_default()));
    };
    let own = member(document, "issuer").unwrap_or_default();
    if own == issuer { Ok(()) } else { Err(SetupError::Foreign { issuer: issuer.into(), own }) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Documents in memory, by URL.
    pub(crate) struct Fixed(pub(crate) HashMap<String, Bytes>);

    #[async_trait]
    impl Fetch for Fixed {
        async fn get(&self, url: &str, _: Option<&str>) -> Result<Fetched, FetchError> {
            let found = self.0.get(url).cloned();
            Ok(Fetched {
                status: if found.is_some() { 200 } else { 404 },
                body: found.unwrap_or_default(),
                ..Fetched::default()
            })
        }
    }

    impl Issuers {
        /// One issuer with its discovery document and these keys.
        pub(crate) fn fixed(issuer: &str, keys: &serde_json::Value) -> Self {
            let discovery = serde_json::json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")});
            let documents = [(discovery::url(issuer), discovery), (format!("{issuer}/jwks"), keys.clone())];
            let documents = documents.into_iter().map(|(url, document)| (url, document.to_string().into()));
            let below = Below { url: issuer.to_owned(), web: Arc::new(Fixed(documents.collect())) };
            Issuers { places: HashMap::from([(issuer.to_owned(), below)]), own: None }
        }
    }

    struct Nobody;

    #[async_trait]
    impl Fetch for Nobody {
        async fn get(&self, url: &str, _: Option<&str>) -> Result<Fetched, FetchError> {
            Ok(Fetched { status: 200, body: url.to_owned().into(), ..Fetched::default() })
        }
    }

    #[tokio::test]
    async fn urls_lead_where_the_configuration_says_and_nowhere_else() {
        let place = |url: &str| Below { url: url.into(), web: Arc::new(Nobody) as Arc<dyn Fetch> };
        let places = [
            ("https://a.example", place("http://127.0.0.1:1")),
            ("https://a.example/tenant", place("http://127.0.0.1:2/t")),
        ];
        let places = places.into_iter().map(|(name, place)| (name.to_owned(), place)).collect();
        let issuers = Issuers { places, own: None };
        for (url, want) in [
            (
                "https://a.example/.well-known/openid-configuration",
                Some("http://127.0.0.1:1/.well-known/openid-configuration"),
            ),
            ("https://a.example/tenant/jwks?v=1", Some("http://127.0.0.1:2/t/jwks?v=1")),
            ("https://a.example/tenants/jwks", Some("http://127.0.0.1:1/tenants/jwks")),
            ("https://a.example", Some("http://127.0.0.1:1")),
            ("https://a.example.evil/jwks", None),
            ("https://a.example:8443/jwks", None),
            ("https://b.example/jwks?https://a.example/", None),
            ("http://a.example/jwks", None),
            ("", None),
        ] {
            let found = issuers
                .get(url, None)
                .await
                .ok()
                .map(|found| String::from_utf8(found.body.to_vec()).unwrap());
            assert_eq!(found.as_deref(), want, "{url}");
        }
        let long = format!("https://a.example/{}", "/".repeat(MAX_URL));
        assert!(issuers.get(&long, None).await.is_err());
    }
}
