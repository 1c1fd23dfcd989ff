//! `SubjectPublicKeyInfo` (RFC 5280 §4.1) of each kind of key, written in one way: a key's id is a hash over it.

use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::oid::ObjectIdentifier;
use der::{Encode, Error};
use pkcs1::RsaPublicKey;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

/// `rsaEncryption`.
pub(super) const RSA: ObjectIdentifier = pkcs1::ALGORITHM_OID;
/// `id-ecPublicKey`.
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `secp256r1`.
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// `secp384r1`.
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// `secp521r1`.
pub(super) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// `id-Ed25519`.
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// `id-ml-dsa-44`.
pub(super) const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
/// `id-ml-dsa-65`.
pub(super) const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
/// `id-ml-dsa-87`.
pub(super) const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// What kind of key an algorithm identifier names: its OID, and that of the curve if it names one.
pub(super) fn kind(algorithm: &AlgorithmIdentifierRef<'_>) -> (ObjectIdentifier, Option<ObjectIdentifier>) {
    (algorithm.oid, algorithm.parameters.and_then(|curve| curve.decode_as().ok()))
}

/// The name of a kind of key that is not supported.
pub(super) fn unsupported(oid: ObjectIdentifier) -> &'static str {
    match (oid, oid.to_string().as_str()) {
        (EC, _) => "EC (other than P-256, P-384 and P-521)",
        (ML_DSA_44 | ML_DSA_65 | ML_DSA_87, _) => "ML-DSA",
        (_, "1.2.840.10040.4.1") => "DSA",
        (_, "1.2.840.113549.1.1.10") => "RSASSA-PSS",
        (_, "1.3.101.113") => "Ed448",
        _ => "such",
    }
}

/// An RSA key's, from its numbers (RFC 3279 §2.3.1).
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Vec<u8>, Error> {
    let key = RsaPublicKey { modulus: UintRef::new(n)?, public_exponent: UintRef::new(e)? };
    write(RSA, Some(AnyRef::NULL), &key.to_der()?)
}

/// That of a point on a named curve (RFC 5480 §2).
pub(super) fn ec(curve: ObjectIdentifier, point: &[u8]) -> Result<Vec<u8>, Error> {
    write(EC, Some(AnyRef::from(&curve)), point)
}

/// That of a key that is raw bytes, of a type without parameters (RFC 8410 §3, RFC 9881 §4).
pub(super) fn raw(oid: ObjectIdentifier, key: &[u8]) -> Result<Vec<u8>, Error> {
    write(oid, None, key)
}

fn write(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<Vec<u8>, Error> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters };
    SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(key)? }.to_der()
}
