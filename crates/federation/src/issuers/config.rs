//! `issuers:` of the configuration.

use std::collections::HashSet;

use serde::Deserialize;
use tokensmith_api::yaml::{ConfigError, Placed};
use tokensmith_client::{Trust, tls};
use tokensmith_core::keys::issuer::check_discovery;
use url::Url;

/// An issuer as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIssuer {
    issuer: Placed<String>,
    documents: Placed<String>,
    ca: Option<Placed<String>>,
}

/// An issuer as a cloud would see it, and where its documents are read here.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    /// `iss`, byte for byte.
    pub(crate) name: String,
    pub(crate) documents: Documents,
}

/// Where documents are.
#[derive(Clone, Debug)]
pub(crate) enum Documents {
    /// At the same paths below this URL, without a stroke at its end; trusting these certificates (PEM) besides the system's.
    Below { url: String, ca: Option<String> },
    /// This very server's, without HTTP; and where that is written.
    Own(Placed<()>),
}

/// What stands for this server's own documents.
const OWN: &str = "self";

impl Issuer {
    pub(super) fn new(raw: RawIssuer) -> Result<Self, ConfigError> {
        let RawIssuer { issuer, documents, ca } = raw;
        // All three clouds take https alone (their sources stand with their rules), and ask for the document by this name.
        check_discovery(&issuer.value).map_err(|why| issuer.refuse(why))?;
        let url = Url::parse(&issuer.value).ok().filter(|url| url.username().is_empty() && url.has_host());
        if url.is_none_or(|url| url.fragment().is_some() || url.password().is_some()) {
            return Err(issuer.refuse("the issuer must be a URL with a host, and without user and fragment"));
        }
        if documents.value == OWN {
            return match ca {
                Some(ca) => Err(ca.refuse("documents of this server itself need no `ca`: leave it out")),
                None => Ok(Issuer { name: issuer.value, documents: Documents::Own(documents.map(|_| ())) }),
            };
        }
        let url = Url::parse(&documents.value).ok().filter(|url| {
            let plain = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https")
                && plain
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if url.is_none() {
            let why = "`documents` must be `self` or an http or https URL without user, query and fragment";
            return Err(documents.refuse(why));
        }
        if let Some(ca) = &ca {
            tls::config(&Trust::System, Some(ca.value.as_bytes())).map_err(|why| ca.refuse(why))?;
        }
        let url = documents.value.strip_suffix('/').unwrap_or(&documents.value).to_owned();
        Ok(Issuer { name: issuer.value, documents: Documents::Below { url, ca: ca.map(|ca| ca.value) } })
    }

    /// Whether documents of this server would be the issuer's, where it asks for them: the server has one of these names.
    pub(crate) fn check_own(&self, own: &[&str]) -> Result<(), ConfigError> {
        let Issuer { name, documents: Documents::Own(place) } = self else { return Ok(()) };
        if own.contains(&name.as_str()) {
            return Ok(());
        }
        Err(place.refuse(format_args!(
            "the documents of {name:?} cannot be this server's own (`self`), whose issuer is {:?}: serve with --service-account-issuer={name}, or say where they are",
            own.first().unwrap_or(&""),
        )))
    }

    /// Each of them once: one with a stroke at its end has the same documents as the one without.
    pub(crate) fn all(raw: Vec<Placed<RawIssuer>>) -> Result<Vec<Self>, ConfigError> {
        let mut names = HashSet::with_capacity(raw.len());
        let mut all = Vec::with_capacity(raw.len());
        for raw in raw {
            let name = &raw.value.issuer;
            if !names.insert(bare(&name.value).to_owned()) {
                return Err(name.refuse("the issuer is there twice: keep one of them"));
            }
            all.push(Issuer::new(raw.value)?);
        }
        Ok(all)
    }
}

/// Without one stroke at its end, as its document is asked for (OpenID Connect Discovery §4.1).
pub(super) fn bare(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}
