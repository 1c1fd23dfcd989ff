//! Why a certificate and a key in PEM are no pair of a TLS server (Go's `tls.X509KeyPair`), as far as that shows without arithmetic:
//! a public half that a key does not carry is not worked out.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::pem::Block;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];

/// What is wrong with the first certificate and the first key of two texts.
pub(super) fn unusable(certificate: &[Block<'_>], key: &[Block<'_>]) -> Option<String> {
    let labels = |blocks: &[Block<'_>]| blocks.iter().map(|block| block.label).collect::<Vec<_>>().join(" ");
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    let skipped = "after skipping PEM blocks of the following types";
    let Some(leaf) = certificate.iter().find(|block| block.label == "CERTIFICATE") else {
        return Some(match certificate {
            [] => "tls: failed to find any PEM data in certificate input".into(),
            [one] if one.label.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into(),
            more => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input {skipped}: [{}]", labels(more)),
        });
    };
    let Some(key) = key.iter().find(|block| is_key(block.label)) else {
        return Some(match key {
            [] => "tls: failed to find any PEM data in key input".into(),
            [one] if one.label == "CERTIFICATE" => {
                "tls: found a certificate rather than a key in the PEM for the private key".into()
            }
            more => format!(
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input {skipped}: [{}]",
                labels(more)
            ),
        });
    };
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf.der) else {
        return Some("x509: malformed certificate".into());
    };
    let key = match Private::read(&key.der) {
        Ok(key) => key,
        Err(why) => return Some(why.into()),
    };
    let public = leaf.public_key();
    let same = match (public.parsed(), key) {
        (Ok(PublicKey::RSA(public)), Private::Rsa(modulus)) => Some(bare(public.modulus) == bare(modulus)),
        (Ok(PublicKey::EC(public)), Private::Ec(own)) => own.map(|own| own == public.data()),
        (_, Private::Ed25519) if public.algorithm.algorithm.as_bytes() == ED25519 => None,
        (Ok(PublicKey::RSA(_) | PublicKey::EC(_)), _) => {
            return Some("tls: private key type does not match public key type".into());
        }
        _ if public.algorithm.algorithm.as_bytes() == ED25519 => {
            return Some("tls: private key type does not match public key type".into());
        }
        _ => return Some("tls: unknown public key algorithm".into()),
    };
    (same == Some(false)).then(|| "tls: private key does not match public key".into())
}

/// A key, by what of its public half it carries.
enum Private<'a> {
    /// Its modulus.
    Rsa(&'a [u8]),
    /// Its point, if it is there.
    Ec(Option<&'a [u8]>),
    Ed25519,
}

impl<'a> Private<'a> {
    /// As PKCS #1, PKCS #8 or SEC 1 has it.
    fn read(der: &'a [u8]) -> Result<Self, &'static str> {
        let unreadable = "tls: failed to parse private key";
        if let Some(modulus) = pkcs1(der) {
            return Ok(Private::Rsa(modulus));
        }
        if let Some((algorithm, inner)) = pkcs8(der) {
            return match algorithm {
                RSA => pkcs1(inner).map(Private::Rsa).ok_or(unreadable),
                EC => sec1(inner).map(Private::Ec).ok_or(unreadable),
                ED25519 => Ok(Private::Ed25519),
                X25519 => Err("tls: found unknown private key type in PKCS#8 wrapping"),
                _ => Err(unreadable),
            };
        }
        sec1(der).map(Private::Ec).ok_or(unreadable)
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// `RSAPrivateKey` (RFC 8017, A.1.2): its modulus.
fn pkcs1(der: &[u8]) -> Option<&[u8]> {
    let (mut inner, rest) = of(SEQUENCE, der)?;
    let mut numbers = Vec::new();
    // The version, and eight numbers.
    while numbers.len() < 9 {
        let (number, more) = of(INTEGER, inner)?;
        numbers.push(number);
        inner = more;
    }
    rest.is_empty().then(|| numbers[1])
}

/// `OneAsymmetricKey` (RFC 5958): its algorithm, and the key.
fn pkcs8(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inner, _) = of(SEQUENCE, der)?;
    let (_, inner) = of(INTEGER, inner)?;
    let (algorithm, inner) = of(SEQUENCE, inner)?;
    Some((of(OBJECT, algorithm)?.0, of(OCTET_STRING, inner)?.0))
}

/// `ECPrivateKey` (RFC 5915): its public point, if it is there.
fn sec1(der: &[u8]) -> Option<Option<&[u8]>> {
    let (inner, _) = of(SEQUENCE, der)?;
    let (version, inner) = of(INTEGER, inner)?;
    let (_, mut inner) = of(OCTET_STRING, inner)?;
    if version != [1] {
        return None;
    }
    let mut point = None;
    while let Some((tag, content, more)) = next(inner) {
        if tag == 0xa1 {
            // Behind the number of bits that are not used.
            point = of(BIT_STRING, content).and_then(|(bits, _)| bits.get(1..));
        }
        inner = more;
    }
    Some(point)
}

/// A value with a tag, and what comes behind it.
fn of(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    next(der).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The next value of DER: its tag, what it holds, and what comes behind it.
fn next(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                length
                    .iter()
                    .fold(0_usize, |sum, byte| sum.saturating_mul(256).saturating_add(usize::from(*byte))),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A number without the zeros in front of it.
fn bare(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;
    use crate::kinds::pem::blocks;

    #[test]
    fn a_key_belongs_to_its_certificate() {
        let pair = |algorithm: &'static rcgen::SignatureAlgorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
            (certificate, key.serialize_pem())
        };
        let told = |certificate: &str, key: &str| unusable(&blocks(certificate), &blocks(key));
        let (one, other) = (pair(&PKCS_ECDSA_P384_SHA384), pair(&PKCS_ECDSA_P384_SHA384));
        let edwards = pair(&PKCS_ED25519);
        assert_eq!(told(&one.0, &one.1), None);
        assert_eq!(told(&edwards.0, &edwards.1), None);
        let want = |text: &str| Some(text.to_owned());
        assert_eq!(told(&one.0, &other.1), want("tls: private key does not match public key"));
        for (certificate, key) in [(&one.0, &edwards.1), (&edwards.0, &one.1)] {
            assert_eq!(told(certificate, key), want("tls: private key type does not match public key type"));
        }
        let text = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(told(&one.0, text), want("tls: failed to parse private key"));
        assert_eq!(
            told(&text.replace("PRIVATE KEY", "CERTIFICATE"), &one.1),
            want("x509: malformed certificate")
        );
        assert_eq!(
            told(&one.1, &one.0),
            want(
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"
            )
        );
        assert_eq!(told(&one.0, ""), want("tls: failed to find any PEM data in key input"));
    }

    #[test]
    fn a_key_of_rsa_is_known_by_its_modulus() {
        let number = |value: &[u8]| [&[INTEGER, value.len() as u8], value].concat();
        let sequence = |parts: &[u8]| [&[SEQUENCE, parts.len() as u8], parts].concat();
        let numbers: Vec<u8> =
            [[0_u8], [7], [3], [1], [1], [1], [1], [1], [1]].iter().flat_map(|n| number(n)).collect();
        let plain = sequence(&numbers);
        assert!(matches!(Private::read(&plain), Ok(Private::Rsa([7]))));
        let algorithm = sequence(&[&[OBJECT, RSA.len() as u8], RSA].concat());
        let wrapped = [&number(&[0])[..], &algorithm, &[OCTET_STRING, plain.len() as u8], &plain].concat();
        assert!(matches!(Private::read(&sequence(&wrapped)), Ok(Private::Rsa([7]))));
        for end in 0..plain.len() {
            assert!(Private::read(&plain[..end]).is_err(), "{end}");
        }
    }
}
