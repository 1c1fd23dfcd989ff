//! Private keys under a passphrase: PKCS#8 with PBES2 (RFC 5958 §3, RFC 8018), in and out.
//!
//! Promises: a file cannot make its reader work or allocate without bound; plain text is wiped.

use der::asn1::OctetStringRef;
use der::{Decode, Encode, ErrorKind, Tag};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::{KeyError, Passphrase};
use crate::random;

/// The rounds of PBKDF2 that are done for a file at most: some seconds. openssl writes 2,048, OWASP asks for 600,000.
const MOST_ROUNDS: u32 = 10_000_000;
/// The memory that scrypt may take for a file at most: 128 · r · (N + p) bytes. openssl takes 16 MiB.
const MOST_MEMORY: u64 = 128 << 20;
/// How often scrypt may go over that memory (p).
const MOST_PASSES: u64 = 16;
/// The rounds of PBKDF2-HMAC-SHA-256 that are written (OWASP, 2023).
const ROUNDS: u32 = 600_000;

/// Opens an `EncryptedPrivateKeyInfo`; what comes out is a DER private key, of which kind is not known yet.
pub(super) fn open_pkcs8(
    sealed: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    const MALFORMED: KeyError = KeyError::Malformed { what: "encrypted private key" };
    // The older PBES1 and PKCS#12 schemes derive their keys with MD5 or SHA-1 for DES, RC2 or RC4; of the latter the library
    // says that they have no right OID.
    let info = EncryptedPrivateKeyInfoRef::from_der(sealed).map_err(|e| match e.kind() {
        ErrorKind::OidUnknown { .. } | ErrorKind::Value { tag: Tag::ObjectIdentifier } => {
            KeyError::UnknownCipher
        }
        _ => MALFORMED,
    })?;
    let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else {
        return Err(KeyError::UnknownCipher);
    };
    let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
    if !affordable(&scheme.kdf) {
        return Err(KeyError::TooCostly);
    }
    let mut body = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let plain = scheme.decrypt_in_place(passphrase.bytes(), &mut body).map_err(|e| match e {
        pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } => KeyError::UnknownCipher,
        pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. } => MALFORMED,
        _ => KeyError::WrongPassphrase,
    })?;
    believed(plain)
}

/// Writes an `EncryptedPrivateKeyInfo`: PBKDF2-HMAC-SHA-256 and AES-256-CBC, which every openssl since 1.0 opens.
pub(super) fn seal_pkcs8(pkcs8: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, KeyError> {
    let (salt, iv): ([u8; 16], [u8; 16]) = (random::bytes(), random::bytes());
    let write = || {
        let scheme = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv).ok()?;
        let body = scheme.encrypt(passphrase.bytes(), pkcs8).ok()?;
        let encrypted_data = OctetStringRef::new(&body).ok()?;
        EncryptedPrivateKeyInfoRef { encryption_algorithm: scheme.into(), encrypted_data }.to_der().ok()
    };
    write().ok_or(KeyError::Malformed { what: "private key" })
}

/// CBC authenticates nothing, and one wrong passphrase in 256 leaves padding that looks right: what is no private
/// key by its outline was opened with the wrong one.
fn believed(plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match PrivateKeyInfoRef::from_der(plain) {
        Ok(_) => Ok(Zeroizing::new(plain.to_vec())),
        Err(_) => Err(KeyError::WrongPassphrase),
    }
}

fn affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(params) => params.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(params) => {
            let (n, r, p) = (params.cost_parameter, params.block_size, u64::from(params.parallelization));
            let memory = n.checked_add(p).and_then(|blocks| blocks.checked_mul(128 * u64::from(r)));
            memory.is_some_and(|m| m <= MOST_MEMORY) && p <= MOST_PASSES
        }
        _ => false,
    }
}
