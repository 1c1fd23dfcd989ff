//! Private keys under a passphrase: PKCS#8 with PBES2 (RFC 5958 §3, RFC 8018), in and out, and openssl's
//! traditional form of PKCS#1 and SEC1 blocks, in only.
//!
//! Promises: a file cannot make its reader work or allocate without bound; plain text is wiped.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use md5::{Digest, Md5};
use pkcs8::der::{Encode, ErrorKind, asn1::OctetStringRef};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::{EncryptedPrivateKeyInfoRef, Error};
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, der};
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
    // The older PBES1 and PKCS#12 schemes derive their keys with MD5 or SHA-1 for DES, RC2 or RC4.
    if der::encryption_scheme(sealed).ok_or(MALFORMED)? != der::PBES2 {
        return Err(KeyError::UnknownCipher);
    }
    let info = EncryptedPrivateKeyInfoRef::try_from(sealed).map_err(|e| match e {
        Error::Asn1(e) if matches!(e.kind(), ErrorKind::OidUnknown { .. }) => KeyError::UnknownCipher,
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

/// Opens a block whose header `DEK-Info` is `dek`: `CIPHER,IV` (openssl `PEM_read_bio_PrivateKey`).
pub(super) fn open_traditional(
    dek: &str,
    sealed: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (cipher, iv) = dek.split_once(',').ok_or(KeyError::Malformed { what: "DEK-Info header" })?;
    let (open, key, block): (Open, usize, usize) = match cipher.trim() {
        "AES-128-CBC" => (cbc::<aes::Aes128>, 16, 16),
        "AES-192-CBC" => (cbc::<aes::Aes192>, 24, 16),
        "AES-256-CBC" => (cbc::<aes::Aes256>, 32, 16),
        "DES-EDE3-CBC" => (cbc::<des::TdesEde3>, 24, 8),
        _ => return Err(KeyError::UnknownCipher),
    };
    let iv = hex(iv.trim()).filter(|iv| iv.len() == block);
    let iv = iv.ok_or(KeyError::Malformed { what: "DEK-Info header" })?;
    let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
    open(&bytes_to_key(passphrase, &iv[..8], key), &iv, sealed)
}

/// Key, IV, cipher text.
type Open = fn(&[u8], &[u8], &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;

fn cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| KeyError::UnknownCipher)?;
    let mut body = Zeroizing::new(sealed.to_vec());
    believed(cipher.decrypt_padded::<Pkcs7>(&mut body).map_err(|_| KeyError::WrongPassphrase)?)
}

/// CBC authenticates nothing, and one wrong passphrase in 256 leaves padding that looks right: what is no private
/// key by its outline was opened with the wrong one.
fn believed(plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match der::looks_private(plain) {
        true => Ok(Zeroizing::new(plain.to_vec())),
        false => Err(KeyError::WrongPassphrase),
    }
}

/// openssl's `EVP_BytesToKey` with MD5 and one round. Weak, and not ours to choose: this only reads.
fn bytes_to_key(passphrase: &Passphrase, salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last = Zeroizing::new([0; 16]);
    while key.len() < length {
        let mut hash = Md5::new();
        if !key.is_empty() {
            hash.update(*last);
        }
        hash.update(passphrase.bytes());
        hash.update(salt);
        *last = hash.finalize().into();
        key.extend_from_slice(&*last);
    }
    key.truncate(length);
    key
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

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.filter(|d| d.len() % 2 == 0).map(|d| d.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
