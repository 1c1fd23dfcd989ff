//! What a token costs: the claims, the signature by the library alone, and both together as they are minted; and what
//! is asked before and after: the promise that the key stays published, and whether the token is revoked.
//! Compare within one run: machines differ.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails here says where")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, LocalSigner, PrivateKey, SealKey, Signer};
use tokensmith_core::ledger::{NamespacedName, Revocation, What};
use tokensmith_core::random;
use tokensmith_core::tokens::revocations::{Revocations, Subject};
use tokensmith_core::tokens::{Bound, Claims, ExtraClaims, Jws, Reference, jws};
use tokensmith_store::MemoryStore;

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
    let extra =
        r#"{"department": "payments", "https://aws.amazon.com/tags": {"principal_tags": {"team": ["a"]}}}"#;
    let extra = ExtraClaims::parse(extra).unwrap();
    let more = Claims { extra: extra.as_slice(), ..claims };
    c.bench_function("claims with two extra ones", |b| b.iter(|| black_box(&more).to_json()));
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let key = PrivateKey::generate(algorithm).unwrap();
        c.bench_function(&format!("{algorithm} key opened and tried"), |b| {
            b.iter(|| LocalSigner::new(black_box(&key)).unwrap())
        });
        let signer = LocalSigner::new(&key).unwrap();
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

/// The promise that is there already, which is nearly always so.
fn reserve(c: &mut Criterion) {
    let clock = Arc::new(SystemClock::new());
    let config = KeysConfig {
        algorithm: Some(Algorithm::ES256),
        ..KeysConfig::new("https://issuer.example", SealKey::generate())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let exp = clock.unix() + 3600;
    let keys = runtime.block_on(async {
        let keys = Keys::open(Arc::new(MemoryStore::new()), clock, config).await.unwrap();
        keys.reserve(None, exp).await.unwrap();
        keys
    });
    c.bench_function("a signer reserved", |b| {
        b.iter(|| keys.reserve(None, black_box(exp)).now_or_never().unwrap().unwrap())
    });
}

/// What minting and every check of a token ask.
fn revocations(c: &mut Criterion) {
    let token = Subject {
        jti: "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e",
        namespace: "payments",
        account: "builder",
        pod: Some("web-7c9d8f6b5-x2k4q"),
        kid: "wpFyBbVVdBWGtyJXyUYtyRqCMyExlwWLDBwnmCOlHUE",
        issued_at: 1_767_261_607,
        expires_at: 1_767_265_207,
    };
    for count in [0, 100_000] {
        // Tokens mostly, and every hundredth an account in the token's own namespace.
        let what = |n: usize| match n % 100 {
            0 => What::Account(NamespacedName::new("payments", format!("account-{n}"))),
            _ => What::Jti(random::uuid().to_string()),
        };
        let stored = (0..count).map(|n| Revocation {
            what: what(n),
            at: token.issued_at,
            until: i64::MAX,
            by: "admin".into(),
            reason: String::new(),
            epoch: Some(1),
            ahead: Some(token.issued_at),
        });
        let revocations = Revocations::new(stored, 1);
        c.bench_function(&format!("looked up among {count} revocations"), |b| {
            b.iter(|| assert_eq!(revocations.covering(black_box(&token)), None))
        });
    }
}

criterion_group!(benches, bench, reserve, revocations);
criterion_main!(benches);
