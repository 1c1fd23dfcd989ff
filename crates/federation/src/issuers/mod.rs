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
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_api::yaml::ConfigError;
use tokensmith_client::{Error, Route, Trust, Web};
use tokensmith_core::keys::{Document, Keys};
use tokensmith_verify::{Fetch, FetchError, Fetched, discovery};

use config::{Documents, Issuer, bare};
pub(crate) use tokensmith_verify::trust::{SignedClaims, Untrusted};
pub(crate) use trusted::{Rules, Trusted};

/// Why the services cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// This server's documents are another issuer's.
    #[error(transparent)]
    Foreign(#[from] ConfigError),
    /// This server serves none.
    #[error("this server has no documents of its own (`self`): {0}")]
    NoDocuments(String),
    /// Documents cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] Error),
}

/// Where documents are read, for as long as the services are there: who fetches by it goes by the latest configuration.
#[derive(Default)]
pub(crate) struct Issuers {
    places: ArcSwap<Places>,
    /// Whose keys another configuration takes over, one for each cloud's rules.
    trusted: Mutex<Vec<Weak<Trusted>>>,
}

/// Issuers by their names.
#[derive(Default)]
pub(crate) struct Places {
    /// By the issuer's name without a stroke at its end.
    below: HashMap<String, Below>,
    own: Option<Own>,
}

/// Documents elsewhere.
struct Below {
    url: String,
    way: Arc<Way>,
}

/// Who fetches, trusting these certificates besides the system's.
struct Way {
    ca: Option<String>,
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

impl Places {
    /// From the configuration. `keys` are this server's. Ways that there were before are gone on with, and their connections.
    pub(crate) fn new(issuers: &[Issuer], keys: &Arc<Keys>, before: &Places) -> Result<Self, SetupError> {
        let known = before.below.values().map(|below| (below.way.ca.clone(), below.way.clone()));
        let mut ways: HashMap<Option<String>, Arc<Way>> = known.collect();
        let mut below = HashMap::with_capacity(issuers.len());
        let mut own = None;
        for issuer in issuers {
            let Documents::Below { url, ca } = &issuer.documents else {
                issuer.check_own(&[&own_name(keys)?])?;
                own = Some(Own { url: discovery::url(&issuer.name), keys: Arc::downgrade(keys) });
                continue;
            };
            let way = match ways.get(ca) {
                Some(way) => way.clone(),
                None => {
                    let extra = ca.as_deref().map(str::as_bytes);
                    let web = Web::by(Route::of_the_process(), Some(PATIENCE), &Trust::System, extra)?;
                    let way = Arc::new(Way { ca: ca.clone(), web: Arc::new(web) });
                    ways.entry(ca.clone()).or_insert(way).clone()
                }
            };
            below.insert(bare(&issuer.name).to_owned(), Below { url: url.clone(), way });
        }
        Ok(Places { below, own })
    }

    /// Whether an issuer's documents are where they were.
    fn stays(&self, before: &Places, issuer: &str) -> bool {
        match (self.below.get(bare(issuer)), before.below.get(bare(issuer))) {
            (Some(now), Some(then)) => now.url == then.url && Arc::ptr_eq(&now.way, &then.way),
            (None, None) => {
                let own = |places: &Places| places.own.as_ref().map(|own| own.url.clone());
                own(self).is_some() && own(self) == own(before)
            }
            _ => false,
        }
    }

    /// Where a URL leads here: the place of the issuer whose name it begins with, the longest of them, and what is left.
    fn find<'a>(&self, url: &'a str) -> Option<(&Below, &'a str)> {
        // What climbs is below a name only as long as nobody resolves it.
        if url.len() > MAX_URL || discovery::has_dot_segments(url) {
            return None;
        }
        // By the path alone: what stands behind it is no part of a name.
        let mut end = url.find(['?', '#']).unwrap_or(url.len());
        loop {
            if let Some(place) = self.below.get(&url[..end]) {
                return Some((place, &url[end..]));
            }
            end = url[..end].rfind('/')?;
        }
    }
}

impl Issuers {
    /// With these places.
    pub(crate) fn new(places: Places) -> Self {
        Issuers { places: ArcSwap::from_pointee(places), trusted: Mutex::default() }
    }

    /// Those of now.
    pub(crate) fn places(&self) -> Arc<Places> {
        self.places.load_full()
    }

    /// Goes by others from the next fetch on.
    pub(crate) fn replace(&self, places: Places) {
        self.places.store(Arc::new(places));
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
        let places = self.places();
        // This server's key set may be published under another name than its issuer's.
        if let Some(own) = places.own.as_ref().and_then(|own| own.get(url, etag)) {
            return Ok(own);
        }
        let Some((Below { url: below, way }, rest)) = places.find(url) else {
            let url: String = url.chars().take(200).collect();
            return Err(Error::failed(format!("{url:?} is below no issuer of --sts-config")).into());
        };
        way.web.get(&format!("{below}{rest}"), etag).await
    }
}

/// A text of a document.
fn member(document: &Document, name: &str) -> Option<String> {
    let read: serde_json::Value = serde_json::from_slice(&document.bytes).ok()?;
    Some(read.get(name)?.as_str()?.to_owned())
}

/// The issuer in this server's documents.
fn own_name(keys: &Keys) -> Result<String, SetupError> {
    let keys = keys.current();
    let documents = keys.documents();
    let Some(document) = &documents.discovery else {
        let why = documents.problem.as_ref().map(ToString::to_string);
        return Err(SetupError::NoDocuments(why.unwrap_or_default()));
    };
    Ok(member(document, "issuer").unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cloud::Means;
    use crate::fixtures::{ISSUER, NOW, key, means, token};

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
            Issuers::at(
                &[(issuer, issuer)],
                &Arc::new(Way { ca: None, web: Arc::new(Fixed(documents.collect())) }),
            )
        }
    }

    impl Issuers {
        /// Issuers and where their documents are.
        fn at(places: &[(&str, &str)], way: &Arc<Way>) -> Self {
            Issuers::new(placed(places, way))
        }
    }

    fn placed(places: &[(&str, &str)], way: &Arc<Way>) -> Places {
        let below = |url: &str| Below { url: url.to_owned(), way: way.clone() };
        let below = places.iter().map(|(name, url)| ((*name).to_owned(), below(url))).collect();
        Places { below, own: None }
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
        let places = [
            ("https://a.example", "http://127.0.0.1:1"),
            ("https://a.example/tenant", "http://127.0.0.1:2/t"),
        ];
        let issuers = Issuers::at(&places, &Arc::new(Way { ca: None, web: Arc::new(Nobody) }));
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
            // Out of what the configuration names.
            ("https://a.example/tenant/../admin", None),
            ("https://a.example/tenant/%2e%2E/admin", None),
            ("https://a.example/tenant/..%2Fadmin", None),
            ("https://a.example/tenant/..?x", None),
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

    /// Documents in memory, of which it is counted how often they are asked for.
    struct Counting(Fixed, std::sync::atomic::AtomicUsize);

    #[async_trait]
    impl Fetch for Counting {
        async fn get(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.0.get(url, etag).await
        }
    }

    #[tokio::test]
    async fn a_reload_keeps_the_keys_of_issuers_that_stay_where_they_were() {
        let signer = key("p256.pem");
        let jwks = format!("{{\"keys\":[{}]}}", signer.public().jwk());
        let discovery =
            serde_json::json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks")}).to_string();
        let documents = ["http://127.0.0.1:1", "http://127.0.0.1:2"].into_iter().flat_map(|base| {
            [
                (format!("{base}/.well-known/openid-configuration"), discovery.clone().into()),
                (format!("{base}/jwks"), jwks.clone().into()),
            ]
        });
        let web = Arc::new(Counting(Fixed(documents.collect()), 0.into()));
        let way = Arc::new(Way { ca: None, web: web.clone() });
        let issuers = Arc::new(Issuers::at(&[(ISSUER, "http://127.0.0.1:1")], &way));
        let means = Means { issuers: issuers.clone(), ..means().0 };
        let now = NOW.unix_timestamp();
        let claims = serde_json::json!({"iss": ISSUER, "sub": "a", "aud": "x", "iat": now, "exp": now + 600});
        let token = token(&signer, &claims);
        let made = |seconds: u64| {
            let rules = Rules { leeway: Duration::from_secs(seconds), keys: None };
            Trusted::new([ISSUER.to_owned()], rules, &means)
        };
        let asked = async |trusted: &Trusted| {
            trusted.verify(&token).await.expect("the token holds");
            web.1.load(std::sync::atomic::Ordering::SeqCst)
        };
        let first = made(60);
        assert_eq!(asked(&first).await, 2);
        // Another issuer comes, this one stays.
        let other = ("https://other.example.com", "http://127.0.0.1:3");
        issuers.replace(placed(&[(ISSUER, "http://127.0.0.1:1"), other], &way));
        let second = made(60);
        assert_eq!(asked(&second).await, 2, "nothing is fetched anew");
        drop(first);
        assert_eq!(asked(&second).await, 2);
        assert_eq!(asked(&made(61)).await, 4, "other rules, other keys");
        // Elsewhere, and then with other certificates.
        issuers.replace(placed(&[(ISSUER, "http://127.0.0.1:2")], &way));
        let third = made(60);
        assert_eq!(asked(&third).await, 6);
        let way = Arc::new(Way { ca: Some("another".into()), web: web.clone() });
        issuers.replace(placed(&[(ISSUER, "http://127.0.0.1:2")], &way));
        assert_eq!(asked(&made(60)).await, 8);
    }
}
