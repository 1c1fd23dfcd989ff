//! What it costs to let a request in: the signature by the library alone, a token that has not been seen, and one that
//! has. Compare within one run: machines differ.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails here says where")]

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use http::{HeaderMap, header};
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey, Signer};
use tokensmith_core::tokens::{Bound, Claims, Reference, jws};
use tokensmith_verify::{Fetch, FetchError, Fetched, Verifier, VerifierConfig};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example";

/// An issuer that is never away.
struct Issuer {
    jwks: String,
}

#[async_trait]
impl Fetch for Issuer {
    async fn get(&self, url: &str, _: Option<&str>) -> Result<Fetched, FetchError> {
        let discovery = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys"}}"#);
        let body = if url.ends_with("/keys") { self.jwks.clone() } else { discovery };
        let cache_control = Some("max-age=86400".into());
        Ok(Fetched { status: 200, body: body.into(), cache_control, etag: None })
    }
}

fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let signer = LocalSigner::new(&key).unwrap();
        let token = token(&signer);
        let (signed, _) = token.rsplit_once('.').unwrap();
        let signature = signer.sign(signed.as_bytes()).now_or_never().unwrap().unwrap();
        c.bench_function(&format!("{algorithm} signature checked, library alone"), |b| {
            b.iter(|| assert!(key.public().verify(algorithm, signed.as_bytes(), black_box(&signature))))
        });
        let verifier = |entries| {
            let fetch = Arc::new(Issuer { jwks: format!("{{\"keys\":[{}]}}", key.public().jwk()) });
            let mut config = VerifierConfig::new(ISSUER, AUDIENCE, fetch);
            config.cache_entries = entries;
            let verifier = Verifier::new(config).unwrap();
            runtime.block_on(verifier.warm()).unwrap();
            verifier
        };
        // With keys at hand nothing waits: the future is ready at the first poll.
        let verify =
            |verifier: &Verifier| verifier.verify(black_box(&token)).now_or_never().unwrap().unwrap();
        let (cold, warm) = (verifier(0), verifier(16_384));
        assert!(!Arc::ptr_eq(&verify(&cold), &verify(&cold)) && Arc::ptr_eq(&verify(&warm), &verify(&warm)));
        c.bench_function(&format!("{algorithm} token verified, not seen before"), |b| {
            b.iter(|| verify(&cold))
        });
        c.bench_function(&format!("{algorithm} token verified, seen before"), |b| b.iter(|| verify(&warm)));
        if algorithm == Algorithm::RS256 {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            c.bench_function("RS256 request verified, seen before", |b| {
                b.iter(|| warm.verify_request(black_box(&headers)).now_or_never().unwrap().unwrap())
            });
            c.bench_function("SHA-256 of the token, library alone", |b| {
                b.iter(|| ring::digest::digest(&ring::digest::SHA256, black_box(token.as_bytes())))
            });
        }
    }
}

/// As a pod has it.
fn token(signer: &dyn Signer) -> String {
    let now = SystemClock::new().unix();
    let claims = Claims {
        issuer: ISSUER,
        audiences: &[AUDIENCE.to_owned()],
        issued_at: now,
        expires_at: now + 3600,
        id: "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e",
        namespace: "payments",
        account: &Reference::new("builder", "c1c3d9be-0f7a-4b1e-8a54-7b3f0a9d5e33"),
        bound: Some(&Bound::Pod {
            pod: Reference::new("web-7c9d8f6b5-x2k4q", "2f7f0f5b-3a77-4d0f-8a52-9d4c1f1f0b22"),
            node: Some(Reference::new("worker-1", "6a5f2c0e-50f1-4a7c-9d2a-0a4f5b1f6a11")),
        }),
        warn_after: None,
        extra: &[],
    };
    jws::sign(signer, &claims.to_json()).now_or_never().unwrap().unwrap()
}

criterion_group!(benches, bench);
criterion_main!(benches);
