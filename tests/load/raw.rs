//! How often one core signs and verifies, without a server around it.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom as AwsRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::now;

/// A JWT's signing input is about this long.
const MESSAGE: [u8; 700] = [b'x'; 700];

/// RS256 signatures per second.
pub fn rs256() -> Result<f64> {
    let key = RsaKeyPair::generate(rsa::KeySize::Rsa2048).ok().context("no RSA key")?;
    let (random, mut out) = (AwsRandom::new(), vec![0; key.public_modulus_len()]);
    per_second(|| key.sign(&RSA_PKCS1_SHA256, &random, black_box(&MESSAGE), &mut out).ok())
}

/// RS256 verifications per second.
pub fn rs256_verify() -> Result<f64> {
    let pair = RsaKeyPair::generate(rsa::KeySize::Rsa2048).ok().context("no RSA key")?;
    let (random, mut signature) = (AwsRandom::new(), vec![0; pair.public_modulus_len()]);
    pair.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut signature).ok().context("no signature")?;
    let public = pair.public_key();
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref());
    let key = key.ok().context("no parsed key")?;
    per_second(|| key.verify_sig(black_box(&MESSAGE), &signature).ok())
}

/// ES256 signatures per second.
pub fn es256() -> Result<f64> {
    let (scheme, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(scheme, &random).ok().context("no EC key")?;
    let key = EcdsaKeyPair::from_pkcs8(scheme, pkcs8.as_ref(), &random).ok().context("no EC key")?;
    per_second(|| {
        key.sign(&random, black_box(&MESSAGE)).ok().map(|s| {
            black_box(s);
        })
    })
}

/// How often `work` runs in a second on one core.
fn per_second(mut work: impl FnMut() -> Option<()>) -> Result<f64> {
    let (start, mut count) = (now(), 0u32);
    while start.elapsed() < Duration::from_secs(1) {
        work().context("signing failed")?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
