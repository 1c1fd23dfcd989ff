//! What requests and certificates say, and whether who asks has the key (Go's `crypto/x509`).

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, AttributeTypeAndValue};

use crate::Object;
use crate::field::go_quote;
use crate::kinds::pem::{Block, blocks};

/// Looks into the request that a text is; or why it is none. It has one block: whoever signs may take another one of several
/// for the first, and would then sign what nobody has judged here.
pub(super) fn request<T>(
    text: &str,
    look: impl FnOnce(&X509CertificationRequest<'_>) -> T,
) -> Result<T, &'static str> {
    let pem = decoded(text);
    if pem.matches("-----BEGIN").count() > 1 {
        return Err("must hold one PEM block");
    }
    let found = blocks(&pem);
    let Some(Block { label: "CERTIFICATE REQUEST", der, .. }) = found.first() else {
        return Err("PEM block type must be CERTIFICATE REQUEST");
    };
    match X509CertificationRequest::from_der(der) {
        Ok(([], asked)) => Ok(look(&asked)),
        _ => Err("asn1: structure error: malformed certificate request"),
    }
}

/// The organizations that a request's subject names: the groups of whom its certificate would be. `None`: there is one that
/// cannot be read. What is no request names none, and validation refuses it.
pub fn organizations(request: &Object) -> Option<Vec<String>> {
    let all = self::request(request.str_at(&["spec", "request"]), |asked| {
        asked.certification_request_info.subject.iter_organization().map(told_by).collect()
    });
    all.unwrap_or_else(|_| Some(Vec::new()))
}

/// A name as Go reads it (`encoding/asn1`), which signers are written in; it reads two more forms of text than our parser.
fn told_by(name: &AttributeTypeAndValue<'_>) -> Option<String> {
    const T61: u32 = 0x14;
    const BMP: u32 = 0x1e;
    let value = name.attr_value();
    match value.header.tag().0 {
        T61 => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        BMP if value.data.len() % 2 == 0 => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => name.as_str().ok().map(str::to_owned),
    }
}

fn decoded(text: &str) -> String {
    BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Whether a request is signed with the key that it is for (`CheckSignature`): whoever does not have that key could have a
/// certificate made for somebody else's.
pub(super) fn signature(asked: &X509CertificationRequest<'_>) -> Result<(), &'static str> {
    let info = &asked.certification_request_info;
    let Some((algorithm, problem)) = algorithm(&asked.signature_algorithm, &info.subject_pki.algorithm)
    else {
        return Err("x509: cannot verify signature: algorithm unimplemented");
    };
    UnparsedPublicKey::new(algorithm, &info.subject_pki.subject_public_key.data)
        .verify(info.raw, &asked.signature_value.data)
        .map_err(|_| problem)
}

const RSA: &str = "crypto/rsa: verification error";
const ECDSA: &str = "x509: ECDSA verification failure";
const ED25519: &str = "x509: Ed25519 verification failure";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

/// How a signature is checked, and what is said of one that is wrong: by its algorithm and the kind of the key.
fn algorithm(
    signed: &AlgorithmIdentifier<'_>,
    key: &AlgorithmIdentifier<'_>,
) -> Option<(&'static dyn VerificationAlgorithm, &'static str)> {
    let curve = key.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
    let found: (&dyn VerificationAlgorithm, _) = match signed.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" => (&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA),
        "1.2.840.113549.1.1.11" => (&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA),
        "1.2.840.113549.1.1.12" => (&signature::RSA_PKCS1_2048_8192_SHA384, RSA),
        "1.2.840.113549.1.1.13" => (&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA),
        "1.2.840.113549.1.1.10" => (pss(signed)?, RSA),
        "1.2.840.10045.4.3.2" => match curve.as_str() {
            P256 => (&signature::ECDSA_P256_SHA256_ASN1, ECDSA),
            P384 => (&signature::ECDSA_P384_SHA256_ASN1, ECDSA),
            P521 => (&signature::ECDSA_P521_SHA256_ASN1, ECDSA),
            _ => return None,
        },
        "1.2.840.10045.4.3.3" => match curve.as_str() {
            P256 => (&signature::ECDSA_P256_SHA384_ASN1, ECDSA),
            P384 => (&signature::ECDSA_P384_SHA384_ASN1, ECDSA),
            P521 => (&signature::ECDSA_P521_SHA384_ASN1, ECDSA),
            _ => return None,
        },
        "1.2.840.10045.4.3.4" => match curve.as_str() {
            P256 => (&signature::ECDSA_P256_SHA512_ASN1, ECDSA),
            P384 => (&signature::ECDSA_P384_SHA512_ASN1, ECDSA),
            P521 => (&signature::ECDSA_P521_SHA512_ASN1, ECDSA),
            _ => return None,
        },
        "1.3.101.112" => (&signature::ED25519, ED25519),
        _ => return None,
    };
    Some(found)
}

fn pss(signed: &AlgorithmIdentifier<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    let parameters = RsaSsaPssParams::try_from(signed.parameters.as_ref()?).ok()?;
    Some(match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => &signature::RSA_PSS_2048_8192_SHA256,
        "2.16.840.1.101.3.4.2.2" => &signature::RSA_PSS_2048_8192_SHA384,
        "2.16.840.1.101.3.4.2.3" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Reads what a signer has issued: blocks of certificates and nothing else. No text is none yet.
pub(super) fn certificates(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let pem = decoded(text);
    let found = blocks(&pem);
    if found.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    for block in found {
        if block.label != "CERTIFICATE" {
            let label = go_quote(block.label);
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {label}"));
        }
        if block.headers {
            return Err("no PEM block headers are permitted".into());
        }
        if block.der.is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        let mut rest = &block.der[..];
        while !rest.is_empty() {
            (rest, _) = X509Certificate::from_der(rest).map_err(|_| "x509: malformed certificate")?;
        }
    }
    Ok(())
}
