//! Client certificates (apiserver `request/x509`): who holds one that a trusted CA vouches for, and means for clients, is its
//! CN, in the groups that its O name.
//!
//! ```text
//! handshake: the peer holds the key ─► Shown ─► trust (pure) ─► subject ─► Identity
//! ```
//!
//! Nothing is trusted in the handshake: who shows a wrong certificate may hold a good token. What is shown stays with its
//! connection and is judged with each request, so an end of validity and new CAs count on open connections, too.

mod anchor;
mod subject;
mod trust;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

pub use subject::identity_of;

use crate::access::Identity;
use anchor::{Anchor, UntrustedAnchor};

/// Why a certificate does not count. For the log: a caller is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("the client certificate cannot be read")]
    Malformed,
    /// No common name.
    #[error("the client certificate has no common name")]
    NoName,
    /// No trusted CA vouches for it now, or not as a client's.
    #[error("verifying the client certificate failed: {0}")]
    Untrusted(#[from] Untrusted),
}

/// Why no CA vouches for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It stands in the file of CAs itself.
    #[error("it is trusted by name, but not valid now, or not a client's")]
    Itself,
    /// Its time has not come, or is over.
    #[error("it is not valid now")]
    NotNow,
    /// There is no path to a CA.
    #[error(transparent)]
    Path(#[from] webpki::Error),
    /// X.509 v1 must be signed by a CA of the file.
    #[error("X.509 v1, and no trusted CA signed it")]
    V1,
}

/// A file of CAs holds something else.
#[derive(Debug, thiserror::Error)]
#[error("certificate {number} is none that can be trusted: {source}")]
pub struct AnchorError {
    number: usize,
    source: UntrustedAnchor,
}

/// The CAs that vouch for clients.
pub struct ClientCas(Vec<Anchor>);

impl ClientCas {
    /// Reads the certificates of a file.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse(certificates: &[CertificateDer<'_>]) -> Result<Self, AnchorError> {
        let anchors = certificates.iter().enumerate().map(|(at, certificate)| {
            Anchor::parse(certificate).map_err(|source| AnchorError { number: at + 1, source })
        });
        Ok(ClientCas(anchors.collect::<Result<_, _>>()?))
    }

    /// Their names, DER without the outermost header: what a server tells clients that choose among certificates.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Anchor::name)
    }
}

/// What a peer has shown, leaf first; it holds the leaf's key, and that is all that is known. Belongs to one connection.
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    verdict: ArcSwapOption<Verdict>,
}

/// What was found, and when it is found again.
struct Verdict {
    cas: Arc<ClientCas>,
    /// Seconds in which no certificate begins or ceases to be valid.
    span: Range<i64>,
    outcome: Result<Identity, CertificateError>,
}

impl Shown {
    /// A chain as the peer has sent it.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Shown { chain, verdict: ArcSwapOption::empty() }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({} certificates)", self.chain.len())
    }
}

/// Tells who has shown a certificate.
pub struct ClientCertificates {
    cas: ArcSwap<ClientCas>,
}

impl ClientCertificates {
    /// Trusts these.
    pub fn new(cas: ClientCas) -> Self {
        ClientCertificates { cas: ArcSwap::from_pointee(cas) }
    }

    /// Whom it trusts now.
    pub fn cas(&self) -> Arc<ClientCas> {
        self.cas.load_full()
    }

    /// Trusts others from now on, on open connections too.
    pub fn replace(&self, cas: ClientCas) {
        self.cas.store(Arc::new(cas));
    }

    /// Who it is, if the certificate counts now. What was found is kept as long as it cannot change.
    ///
    /// # Errors
    /// It does not count.
    pub fn authenticate(&self, shown: &Shown, now: OffsetDateTime) -> Result<Identity, CertificateError> {
        let (cas, now) = (self.cas.load(), now.unix_timestamp());
        if let Some(known) = &*shown.verdict.load()
            && Arc::ptr_eq(&known.cas, &cas)
            && known.span.contains(&now)
        {
            return known.outcome.clone();
        }
        let outcome = trust::judge(&shown.chain, &cas.0, now)
            .and_then(|()| shown.chain.first().ok_or(CertificateError::Malformed))
            .and_then(|leaf| identity_of(leaf));
        let span = steady(now, cas.0.iter().map(|a| a.validity).chain(trust::validities(&shown.chain)));
        let verdict = Verdict { cas: Arc::clone(&cas), span, outcome: outcome.clone() };
        shown.verdict.store(Some(Arc::new(verdict)));
        outcome
    }
}

/// First and last second in which a certificate is valid.
type Validity = (i64, i64);

/// The seconds around `now` in which none of these begins or ends.
fn steady(now: i64, validities: impl Iterator<Item = Validity>) -> Range<i64> {
    let edges = validities.flat_map(|(first, last)| [first, last.saturating_add(1)]);
    edges.fold(i64::MIN..i64::MAX, |span, edge| match edge <= now {
        true => span.start.max(edge)..span.end,
        false => span.start..span.end.min(edge),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_holds_until_a_validity_begins_or_ends() {
        let validities = [(10, 19), (5, 30)];
        let span = |now| steady(now, validities.into_iter());
        assert_eq!(span(4), i64::MIN..5);
        assert_eq!(span(5), 5..10);
        assert_eq!(span(10), 10..20);
        assert_eq!(span(19), 10..20);
        assert_eq!(span(20), 20..31);
        assert_eq!(span(31), 31..i64::MAX);
        assert_eq!(steady(0, [(i64::MIN, i64::MAX)].into_iter()), i64::MIN..i64::MAX);
    }
}
