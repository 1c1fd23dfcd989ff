//! The few DER shapes that keys need (X.690 §10; RFC 5280, 5480, 5958, 8017): read strictly, written canonically.
//!
//! A key id is a hash over DER, so there must be exactly one encoding per key: what is read is taken apart and
//! written anew.

/// `rsaEncryption`, 1.2.840.113549.1.1.1.
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1.
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`, 1.2.840.10045.3.1.7.
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`, 1.3.132.0.34.
pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// `secp521r1`, 1.3.132.0.35.
pub(super) const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// `id-Ed25519`, 1.3.101.112.
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// `PBES2`, 1.2.840.113549.1.5.13.
pub(super) const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
/// `id-ml-dsa-44`, 2.16.840.1.101.3.4.3.17.
#[cfg(feature = "ml-dsa")]
pub(super) const ML_DSA_44: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11];
/// `id-ml-dsa-65`, 2.16.840.1.101.3.4.3.18.
#[cfg(feature = "ml-dsa")]
pub(super) const ML_DSA_65: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12];
/// `id-ml-dsa-87`, 2.16.840.1.101.3.4.3.19.
#[cfg(feature = "ml-dsa")]
pub(super) const ML_DSA_87: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// A `SubjectPublicKeyInfo`, taken apart.
pub(super) struct Spki<'a> {
    /// What kind of key.
    pub(super) algorithm: AlgorithmIdentifier<'a>,
    /// The key itself: PKCS#1 for RSA, a curve point for EC, else the raw key.
    pub(super) key: &'a [u8],
}

/// An `AlgorithmIdentifier`: the OID, and the OID of the named curve if there is one.
pub(super) struct AlgorithmIdentifier<'a> {
    pub(super) oid: &'a [u8],
    pub(super) curve: Option<&'a [u8]>,
}

/// Reads a `SubjectPublicKeyInfo`; `None` if it is none.
pub(super) fn spki(der: &[u8]) -> Option<Spki<'_>> {
    let mut outer = Reader(der).whole(SEQUENCE)?;
    let algorithm = identifier(outer.next(SEQUENCE)?)?;
    // The first byte counts unused bits; keys are whole bytes.
    let key = outer.next(BIT_STRING)?.strip_prefix(&[0])?;
    outer.0.is_empty().then_some(Spki { algorithm, key })
}

/// Reads the algorithm of a PKCS#8 private key without looking at the key.
pub(super) fn pkcs8_algorithm(der: &[u8]) -> Option<AlgorithmIdentifier<'_>> {
    let mut outer = Reader(der).whole(SEQUENCE)?;
    outer.next(INTEGER)?;
    identifier(outer.next(SEQUENCE)?)
}

/// Reads the OID of the scheme that a PKCS#8 `EncryptedPrivateKeyInfo` is encrypted with.
pub(super) fn encryption_scheme(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader(der).whole(SEQUENCE)?;
    Reader(outer.next(SEQUENCE)?).next(OID)
}

/// Whether it has the outline of a private key in any of the forms here: one sequence that begins with a version.
pub(super) fn looks_private(der: &[u8]) -> bool {
    Reader(der).whole(SEQUENCE).is_some_and(|mut inner| inner.next(INTEGER).is_some_and(|v| v.len() == 1))
}

/// Reads the modulus' length in bits of a PKCS#8 or PKCS#1 RSA private key.
pub(super) fn rsa_private_bits(der: &[u8]) -> Option<usize> {
    let mut outer = Reader(der).whole(SEQUENCE)?;
    outer.next(INTEGER)?;
    let mut pkcs1 = match outer.clone().next(INTEGER) {
        Some(_) => outer,
        None => {
            outer.next(SEQUENCE)?;
            let mut inner = Reader(outer.next(0x04)?).whole(SEQUENCE)?;
            inner.next(INTEGER)?;
            inner
        }
    };
    Some(bits(pkcs1.unsigned()?))
}

/// Reads a PKCS#1 `RSAPublicKey`: modulus and exponent without leading zeros.
pub(super) fn rsa_public(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader(der).whole(SEQUENCE)?;
    let (n, e) = (outer.unsigned()?, outer.unsigned()?);
    outer.0.is_empty().then_some((n, e))
}

/// The length in bits of an unsigned number without leading zeros.
pub(super) fn bits(number: &[u8]) -> usize {
    match number.first() {
        Some(first) => number.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

/// Writes the `SubjectPublicKeyInfo` of an RSA key.
pub(super) fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    let pkcs1 = rsa_pkcs1(n, e);
    let algorithm = [tlv(OID, RSA), tlv(NULL, &[])].concat();
    tlv(SEQUENCE, &[tlv(SEQUENCE, &algorithm), tlv(BIT_STRING, &[&[0], pkcs1.as_slice()].concat())].concat())
}

/// Writes a PKCS#1 `RSAPublicKey`.
pub(super) fn rsa_pkcs1(n: &[u8], e: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[unsigned(n), unsigned(e)].concat())
}

/// Writes the `SubjectPublicKeyInfo` of a point on a named curve.
pub(super) fn ec_spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = [tlv(OID, EC), tlv(OID, curve)].concat();
    tlv(SEQUENCE, &[tlv(SEQUENCE, &algorithm), tlv(BIT_STRING, &[&[0], point].concat())].concat())
}

/// Writes the `SubjectPublicKeyInfo` of a key that is raw bytes, of a type without parameters (RFC 8410 §3).
pub(super) fn raw_spki(oid: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = tlv(SEQUENCE, &tlv(OID, oid));
    tlv(SEQUENCE, &[algorithm, tlv(BIT_STRING, &[&[0], key].concat())].concat())
}

fn identifier(der: &[u8]) -> Option<AlgorithmIdentifier<'_>> {
    let mut parts = Reader(der);
    let oid = parts.next(OID)?;
    Some(AlgorithmIdentifier { oid, curve: parts.next(OID) })
}

#[derive(Clone)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the only element.
    fn whole(mut self, tag: u8) -> Option<Reader<'a>> {
        let content = self.next(tag)?;
        self.0.is_empty().then_some(Reader(content))
    }

    /// The content of the next element if it has that tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], mut rest) = self.0.split_first_chunk::<2>()?;
        if found != tag {
            return None;
        }
        let length = match first {
            short @ 0..=0x7f => short as usize,
            long @ 0x81..=0x83 => {
                let (digits, after) = rest.split_at_checked((long & 0x7f) as usize)?;
                rest = after;
                let length = digits.iter().fold(0, |n, d| n << 8 | *d as usize);
                // DER: the shortest form only.
                if digits.first() == Some(&0) || length < 0x80 {
                    return None;
                }
                length
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// A number that is not negative, without the sign's zero byte.
    fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.next(INTEGER)? {
            // The zero is there only if the number would look negative without it.
            [0, rest @ ..] if rest.first() >= Some(&0x80) => Some(rest),
            number @ [0x01..0x80, ..] => Some(number),
            _ => None,
        }
    }
}

fn unsigned(number: &[u8]) -> Vec<u8> {
    match number.first() {
        Some(0x80..) => tlv(INTEGER, &[&[0], number].concat()),
        _ => tlv(INTEGER, number),
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 5);
    out.push(tag);
    let length = (content.len() as u64).to_be_bytes();
    let digits = &length[length.iter().position(|d| *d != 0).unwrap_or(7)..];
    if content.len() >= 0x80 {
        out.push(0x80 | digits.len() as u8);
    }
    out.extend_from_slice(digits);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_lengths_round_trip() {
        for length in [1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![1; length];
            let der = tlv(SEQUENCE, &content);
            assert_eq!(Reader(&der).whole(SEQUENCE).map(|r| r.0.len()), Some(length));
        }
    }

    #[test]
    fn only_canonical_der_is_read() {
        let refused: [&[u8]; 6] = [
            &[0x30, 0x81, 0x01, 0x00], // long form for a short length
            &[0x30, 0x82, 0x00, 0x80], // leading zero in a length
            &[0x30, 0x80, 0x00, 0x00], // indefinite length
            &[0x30, 0x02, 0x00],       // cut short
            &[0x30, 0x00, 0x00],       // something after the end
            &[],
        ];
        for der in refused {
            assert!(Reader(der).whole(SEQUENCE).is_none(), "{der:02x?}");
        }
        let numbers: [&[u8]; 4] =
            [&[0x02, 0x01, 0x80], &[0x02, 0x02, 0x00, 0x7f], &[0x02, 0x01, 0x00], &[0x02, 0x00]];
        for der in numbers {
            assert!(Reader(der).unsigned().is_none(), "negative, padded, zero or empty: {der:02x?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(der in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (spki(&der).is_some(), looks_private(&der), encryption_scheme(&der), pkcs8_algorithm(&der).is_some(), rsa_private_bits(&der), rsa_public(&der));
        }
    }
}
