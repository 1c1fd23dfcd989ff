//! What TLS asks of a client's certificate: that the peer holds its key, and no more. Whom it names, and whether anyone
//! vouches for it, is the authenticator's to say (apiserver asks with `tls.RequestClientCert`): a caller with a wrong
//! certificate may have a good token, and one without either is told so in HTTP.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use tokensmith_core::access::authenticators::ClientCas;
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Asks clients for a certificate, takes none for an answer, and has each key proved that is shown.
#[derive(Debug)]
pub struct Possession {
    algorithms: WebPkiSupportedAlgorithms,
    names: Vec<DistinguishedName>,
}

impl Possession {
    /// `cas` are named to clients, which choose their certificate by that.
    pub fn new(cas: &ClientCas, provider: &CryptoProvider) -> Self {
        let names = cas.names().map(DistinguishedName::in_sequence).collect();
        Possession { algorithms: provider.signature_verification_algorithms, names }
    }
}

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    /// Says nothing about trust: rustls asks for the signature next, and ends the handshake where it is wrong. A certificate
    /// whose key cannot be read ends it here, since nothing can be proved with it.
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        key_of(leaf).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) = known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let key = key_of(leaf)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad(CertificateError::BadEncoding))?;
        // In TLS 1.2 a scheme names a hash and a kind of key, and the curve is the key's.
        let mut right =
            algorithms.iter().filter(|a| key.verify_signature(**a, message, signed.signature()).is_ok());
        right.next().map(|_| HandshakeSignatureValid::assertion()).ok_or(bad(CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &key_of(leaf)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The public key in a certificate of any version; rustls itself reads version 3 alone.
fn key_of(leaf: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    match X509Certificate::from_der(leaf) {
        Ok(([], certificate)) => Ok(certificate.tbs_certificate.subject_pki.raw.to_vec().into()),
        _ => Err(bad(CertificateError::BadEncoding)),
    }
}

fn bad(what: CertificateError) -> Error {
    Error::InvalidCertificate(what)
}
