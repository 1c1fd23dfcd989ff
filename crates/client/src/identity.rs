//! Who asks: what a request carries for that, and what is done when a server refuses it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use rustls::sign::CertifiedKey;

use crate::Error;
use crate::bearer::BearerHeader;
use crate::kubeconfig::Impersonate;
use crate::plugin::{Issued, Plugin};
use crate::target::Credentials;

/// Where the `Authorization` header comes from. A client certificate may be there besides.
pub(crate) enum Identity {
    Anonymous,
    Basic(HeaderValue),
    Bearer(BearerHeader),
    Plugin(Arc<Plugin>),
}

/// What one request shows.
#[derive(Clone)]
pub(crate) enum Shown {
    Nothing,
    Header(HeaderValue),
    Issued(Arc<Issued>),
}

impl Shown {
    pub(crate) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Shown::Nothing => None,
            Shown::Header(value) => Some(value),
            Shown::Issued(issued) => issued.bearer.as_ref(),
        }
    }

    /// The certificate that a plugin gave.
    pub(crate) fn certificate(&self) -> Option<&Arc<CertifiedKey>> {
        match self {
            Shown::Issued(issued) => issued.certificate.as_ref(),
            _ => None,
        }
    }
}

impl Identity {
    /// # Errors
    /// A token cannot be sent: that is told now.
    pub(crate) fn new(credentials: &Credentials) -> Result<Identity, Error> {
        Ok(match credentials {
            Credentials { token: Some(token), .. } => {
                let header = BearerHeader::new(token.clone());
                header.value()?;
                Identity::Bearer(header)
            }
            Credentials { basic: Some(header), .. } => Identity::Basic(header.clone()),
            Credentials { certificate: None, plugin: Some(plugin), .. } => Identity::Plugin(plugin.clone()),
            _ => Identity::Anonymous,
        })
    }

    /// What it is now.
    pub(crate) async fn shown(&self, limit: Option<Duration>) -> Result<Shown, Error> {
        Ok(match self {
            Identity::Anonymous => Shown::Nothing,
            Identity::Basic(header) => Shown::Header(header.clone()),
            Identity::Bearer(header) => Shown::Header(header.value()?),
            Identity::Plugin(plugin) => Shown::Issued(plugin.issued(limit).await?),
        })
    }

    /// A server has refused `sent`: what there is instead by now, if anything.
    pub(crate) async fn instead(
        &self,
        sent: &Shown,
        limit: Option<Duration>,
    ) -> Result<Option<Shown>, Error> {
        Ok(match (self, sent) {
            (Identity::Bearer(own), Shown::Header(sent)) if own.renewed(sent) => {
                Some(Shown::Header(own.value()?))
            }
            (Identity::Plugin(own), Shown::Issued(sent)) => {
                Some(Shown::Issued(own.instead(sent, limit).await?))
            }
            _ => None,
        })
    }
}

/// The headers that say as whom one asks (client-go `transport/round_trippers.go`).
pub(crate) fn impersonation(whom: &Impersonate) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let Some(user) = &whom.user else { return Ok(headers) };
    let mut add = |name: &str, value: &str| -> Result<(), Error> {
        let bad = || {
            Error::failed(format!("{name}: what is to be impersonated holds characters that cannot be sent"))
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
        Ok(())
    };
    add("Impersonate-User", user)?;
    if let Some(uid) = &whom.uid {
        add("Impersonate-Uid", uid)?;
    }
    for group in &whom.groups {
        add("Impersonate-Group", group)?;
    }
    for (key, values) in &whom.extra {
        for value in values {
            add(&format!("Impersonate-Extra-{}", escaped(key)), value)?;
        }
    }
    Ok(headers)
}

/// What no header's name may hold is percent-encoded, `%` itself included (`headerKeyEscape`).
fn escaped(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b);
    key.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impersonation_is_written_as_client_go_does() {
        let whom = Impersonate {
            user: Some("jane".into()),
            groups: vec!["a".into(), "b".into()],
            uid: Some("7".into()),
            extra: [("example.com/a%ü".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into(),
        };
        let headers = impersonation(&whom).unwrap();
        let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("impersonate-user"), ["jane"]);
        assert_eq!(all("impersonate-group"), ["a", "b"]);
        assert_eq!(all("impersonate-uid"), ["7"]);
        assert_eq!(all("impersonate-extra-example.com%2fa%25%c3%bc"), ["1", "2"]);
        assert!(impersonation(&Impersonate { user: Some("a\nb".into()), ..whom }).is_err());
    }
}
