//! Whether a trusted CA vouches for a chain, as a client's, at a moment. Pure.
//!
//! webpki builds and checks the path; crypto/x509's rules that it lacks are added: what an anchor says of itself, key usage of
//! CAs, `anyExtendedKeyUsage`. It is stricter than crypto/x509 in four points: six CAs between at most, no RSA key below 2048
//! bits, no CA's certificate as a client's (unless it is itself in the file), and no certificate with two names for one thing.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter,
    KeyUsage, RawPublicKeyEntity, RequiredEkuNotFoundContext, VerifiedPath, spki_for_anchor,
};
use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, X509Version};

use super::anchor::{Anchor, may_sign, validity};
use super::{CertificateError, Untrusted, Validity};

/// Judges a chain, leaf first, of which the peer holds the leaf's key.
pub(super) fn judge(
    chain: &[CertificateDer<'_>],
    anchors: &[Anchor],
    now: i64,
) -> Result<(), CertificateError> {
    let (leaf, between) = chain.split_first().ok_or(CertificateError::Malformed)?;
    let parsed = parse(leaf).ok_or(CertificateError::Malformed)?;
    if let Some(anchor) = anchors.iter().find(|anchor| anchor.is(leaf)) {
        return match anchor.stands_for_client(now) {
            true => Ok(()),
            false => Err(Untrusted::Itself.into()),
        };
    }
    match parsed.version() {
        X509Version::V1 => v1(leaf, &parsed, anchors, now),
        _ => Ok(v3(leaf, between, anchors, now).map_err(Untrusted::from)?),
    }
}

/// When the certificates of a chain are valid, as far as they can be read.
pub(super) fn validities(chain: &[CertificateDer<'_>]) -> impl Iterator<Item = Validity> {
    chain.iter().filter_map(|certificate| parse(certificate)).map(|parsed| validity(&parsed))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, parsed)| parsed)
}

fn v3(
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    anchors: &[Anchor],
    now: i64,
) -> Result<(), webpki::Error> {
    let trusted: Vec<TrustAnchor<'_>> =
        anchors.iter().filter(|anchor| anchor.vouches(now)).map(|anchor| anchor.trust.clone()).collect();
    let fits = |path: &VerifiedPath<'_>| {
        let mut cas = 0;
        for ca in path.intermediate_certificates() {
            cas += 1;
            if !parse(&ca.der()).is_some_and(|ca| may_sign(&ca)) {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
        }
        let mut same = anchors.iter().filter(|anchor| anchor.vouches(now) && anchor.trust == *path.anchor());
        match same.any(|anchor| anchor.path_len.is_none_or(|most| cas <= most)) {
            true => Ok(()),
            false => Err(webpki::Error::PathLenConstraintViolated),
        }
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
    let leaf = EndEntityCert::try_from(leaf)?;
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &trusted, between, time, Clients, None, Some(&fits))?;
    Ok(())
}

/// X.509 v1 has no extensions, so it cannot say what it is for, nor that it is no CA: such a certificate counts as a client's
/// when a trusted CA signed it itself, and never as one between.
fn v1(
    leaf: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    anchors: &[Anchor],
    now: i64,
) -> Result<(), CertificateError> {
    let tbs = &parsed.tbs_certificate;
    let (first, last) = validity(parsed);
    if !(first..=last).contains(&now) {
        return Err(Untrusted::NotNow.into());
    }
    let odd = !tbs.extensions().is_empty() || tbs.issuer_uid.is_some() || tbs.subject_uid.is_some();
    if odd || tbs.signature != parsed.signature_algorithm || parsed.signature_value.unused_bits != 0 {
        return Err(CertificateError::Malformed);
    }
    let algorithm = signature_algorithm(leaf).ok_or(CertificateError::Malformed)?;
    let issuer = content(parsed.issuer().as_raw()).ok_or(CertificateError::Malformed)?;
    let signed_by = |anchor: &&Anchor| {
        let key = spki_for_anchor(&anchor.trust);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        let mut known = ALL_VERIFICATION_ALGS.iter().filter(|a| a.signature_alg_id().as_ref() == algorithm);
        known.any(|a| key.verify_signature(*a, tbs.as_ref(), &parsed.signature_value.data).is_ok())
    };
    // Names that a CA is bound to cannot be compared with those of a certificate that has none but its subject.
    let mut vouching =
        anchors.iter().filter(|a| a.vouches(now) && a.name() == issuer && a.trust.name_constraints.is_none());
    vouching.find(signed_by).map(drop).ok_or(Untrusted::V1.into())
}

/// What its `signatureAlgorithm` holds.
fn signature_algorithm<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let (after_tbs, _) = Any::from_der(content(certificate)?).ok()?;
    content(after_tbs)
}

/// What the first element holds.
fn content(der: &[u8]) -> Option<&[u8]> {
    Any::from_der(der).ok().map(|(_, element)| element.data)
}

/// Extended key usage as crypto/x509 wants it of clients: none, any, or theirs, in each certificate of the path.
struct Clients;

impl ExtendedKeyUsageValidator for Clients {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        /// 2.5.29.37.0 and 1.3.6.1.5.5.7.3.2.
        const FITS: [KeyPurposeId<'static>; 2] = [
            KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0x00]),
            KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02]),
        ];
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if FITS.contains(&purpose) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = KeyUsage::client_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}
