//! Randomness: the one place where it enters.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// `N` random bytes from the operating system.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    SystemRandom::new()
        .fill(&mut out)
        .expect("the operating system gives random bytes, or nothing here is safe");
    out
}

/// A number in [0, 1), evenly spread: for jitter.
pub fn fraction() -> f64 {
    unit(u64::from_be_bytes(bytes()))
}

/// A whole number below another one, as evenly as places to begin a search need it; 0 below 0.
pub fn below(bound: u64) -> u64 {
    // A float that is converted is cut, and never too large for its type.
    ((fraction() * bound as f64) as u64).min(bound.saturating_sub(1))
}

/// Bits as a number in [0, 1).
pub fn unit(bits: u64) -> f64 {
    // 53 bits are what a double holds: more would round up to 1.
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A random UUID (version 4), for object UIDs and `jti`.
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

/// A `kid` that looks like one of ours and is no key's: 256 bits that hash nothing known.
pub fn key_id() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// `len` characters of the alphabet that Kubernetes uses for generated names (no vowels, no look-alikes;
/// apimachinery `util/rand`).
pub fn suffix(len: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut out = String::with_capacity(len);
    while out.len() < len {
        for b in bytes::<16>() {
            // 243 = 9 * 27: bytes above would favour the first letters.
            if b < 243 && out.len() < len {
                out.push(ALPHABET[b as usize % ALPHABET.len()] as char);
            }
        }
    }
    out
}
