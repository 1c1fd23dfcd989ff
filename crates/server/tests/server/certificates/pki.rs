//! CAs and what they sign, right and wrong.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SigningKey as _,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::Duration;

use crate::world::START;

pub struct Ca {
    pub der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A chain and the key that its holder signs with.
pub struct Client {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

pub fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (START - Duration::days(1), START + Duration::days(365));
    params
}

pub fn ca_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A client's, of user `name` in group `certified`.
pub fn client_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.distinguished_name.push(DnType::OrganizationName, "certified");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

impl Ca {
    pub fn new(name: &str) -> Ca {
        Ca::of(ca_params(name), key())
    }

    /// Signed by itself.
    pub fn of(params: CertificateParams, key: KeyPair) -> Ca {
        let der = params.self_signed(&key).unwrap().der().clone();
        Ca { issuer: Issuer::new(params, key), der }
    }

    /// Signed by this one.
    pub fn between(&self, params: CertificateParams) -> Ca {
        let key = key();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Ca { issuer: Issuer::new(params, key), der }
    }

    pub fn client(&self, params: CertificateParams) -> Client {
        self.client_with(params, &key())
    }

    pub fn client_with(&self, params: CertificateParams, key: &KeyPair) -> Client {
        let leaf = params.signed_by(key, &self.issuer).unwrap().der().clone();
        Client { chain: vec![leaf], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
    }

    /// Its own certificate as a client's.
    pub fn as_client(&self) -> Client {
        let key = PrivatePkcs8KeyDer::from(self.issuer.key().serialize_der()).into();
        Client { chain: vec![self.der.clone()], key }
    }

    /// A client of X.509 v1: what a certificate of version 3 holds, without version and extensions, signed anew.
    pub fn client_v1(&self, params: CertificateParams) -> Client {
        let v3 = self.client(params);
        Client { chain: vec![self.v1(&v3.chain[0])], key: v3.key }
    }

    /// A CA of X.509 v1, signed by this one.
    pub fn between_v1(&self, params: CertificateParams) -> Ca {
        let mut ca = self.between(params);
        ca.der = self.v1(&ca.der);
        ca
    }

    fn v1(&self, v3: &CertificateDer<'_>) -> CertificateDer<'static> {
        let outer = parts(parts(v3)[0].content);
        let inner = parts(outer[0].content);
        let fields: Vec<u8> = inner[1..7].iter().flat_map(|part| part.whole).copied().collect();
        let tbs = wrap(0x30, &fields);
        let signature = [&[0], self.issuer.key().sign(&tbs).unwrap().as_slice()].concat();
        wrap(0x30, &[tbs.as_slice(), outer[1].whole, &wrap(0x03, &signature)].concat()).into()
    }
}

impl Client {
    /// With more certificates behind its own.
    pub fn behind(mut self, cas: &[&Ca]) -> Client {
        self.chain.extend(cas.iter().map(|ca| ca.der.clone()));
        self
    }
}

struct Part<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// The elements of DER, one after the other.
fn parts(mut der: &[u8]) -> Vec<Part<'_>> {
    let mut all = Vec::new();
    while !der.is_empty() {
        let (head, length) = match der[1] {
            short @ 0..0x80 => (2, usize::from(short)),
            long => {
                let bytes = usize::from(long & 0x7f);
                (2 + bytes, der[2..2 + bytes].iter().fold(0, |n, b| n << 8 | usize::from(*b)))
            }
        };
        let (whole, rest) = der.split_at(head + length);
        all.push(Part { whole, content: &whole[head..] });
        der = rest;
    }
    all
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head.as_slice(), content].concat()
}
