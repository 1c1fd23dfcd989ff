//! What a token costs: the claims, the signature by the library alone, and both together as they are minted.
//! Compare within one run: machines differ.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails here says where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey, Signer};
use tokensmith_core::tokens::{Bound, Claims, Jws, Reference, jws};

fn bench(c: &mut Criterion) {
    let audiences = vec!["https://kubernetes.default.svc".to_owned()];
    let account = Reference::new("builder", "c1c3d9be-0f7a-4b1e-8a54-7b3f0a9d5e33");
    let bound = Bound::Pod {
        pod: Reference::new("web-7c9d8f6b5-x2k4q", "2f7f0f5b-3a77-4d0f-8a52-9d4c1f1f0b22"),
        node: Some(Reference::new("worker-1", "6a5f2c0e-50f1-4a7c-9d2a-0a4f5b1f6a11")),
    };
    let claims = Claims {
        issuer: "https://127.0.0.1:6443",
        audiences: &audiences,
        issued_at: 1_767_261_607,
        expires_at: 1_767_265_207,
        id: "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e",
        namespace: "payments",
        account: &account,
        bound: Some(&bound),
        warn_after: None,
        extra: &[],
    };
    c.bench_function("claims", |b| b.iter(|| black_box(&claims).to_json()));
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let signer = LocalSigner::new(&PrivateKey::generate(algorithm).unwrap()).unwrap();
        let message = claims.to_json();
        // Local signers do not wait: the future is ready at the first poll.
        c.bench_function(&format!("{algorithm} signature alone"), |b| {
            b.iter(|| signer.sign(black_box(&message)).now_or_never().unwrap().unwrap())
        });
        c.bench_function(&format!("{algorithm} token"), |b| {
            b.iter(|| jws::sign(&signer, &black_box(&claims).to_json()).now_or_never().unwrap().unwrap())
        });
        let token = jws::sign(&signer, &message).now_or_never().unwrap().unwrap();
        c.bench_function(&format!("{algorithm} token taken apart"), |b| {
            b.iter(|| Jws::parse(black_box(&token)))
        });
        let (signed, _) = token.rsplit_once('.').unwrap();
        let signature = signer.sign(signed.as_bytes()).now_or_never().unwrap().unwrap();
        c.bench_function(&format!("{algorithm} signature checked"), |b| {
            b.iter(|| assert!(signer.public().verify(algorithm, signed.as_bytes(), black_box(&signature))))
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
