//! Whatever clocks, restarts and modes do: a revocation covers what was issued before it, for ever, and nothing that was
//! issued after it.
#![expect(clippy::unwrap_used, reason = "a model that breaks says where")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::access::{BearerToken, Identity, TokenAuthenticator};
use tokensmith_core::clock::{Clock, ManualClock};
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey};
use tokensmith_core::ledger::{Ledger, NamespacedName, Revocation, What};
use tokensmith_core::tokens::{
    IssuerConfig, LedgerMode, TokenIssuer, TokenLedger, TokenProfiles, Verifier, jws,
};
use tokensmith_core::view::{Snapshot, View};
use tokensmith_objects::validate::Limits;
use tokensmith_objects::{Object, Stored};
use tokensmith_store::{MemoryLedger, MemoryStore};

const START: OffsetDateTime = datetime!(2026-01-01 10:00:07 UTC);
const ISSUER: &str = "https://issuer.test";
const ACCOUNTS: [&str; 2] = ["a", "b"];
/// Longer than any clock here is ever wrong.
const YEAR: i64 = 365 * 86_400;

#[derive(Clone, Debug)]
enum Step {
    /// The clock is set, by so many seconds.
    Jump(i64),
    /// So many seconds pass.
    Pass(u64),
    Mint(usize),
    /// As a version without marks minted, or an issuer elsewhere with the same key.
    MintUnmarked(usize),
    Revoke(usize),
    RevokeKey,
    /// As a version without marks revoked: by the time that it shows.
    RevokedBefore(usize),
    Restart(LedgerMode),
}

struct Token {
    text: String,
    account: usize,
    issued_at: i64,
    marked: bool,
    revoked: bool,
}

struct World {
    clock: Arc<ManualClock>,
    keys: Arc<Keys>,
    view: Arc<View>,
    stored: Arc<MemoryLedger>,
    mode: LedgerMode,
    ledger: Arc<TokenLedger>,
    tokens: Vec<Token>,
}

fn object(value: Value) -> Arc<Stored> {
    Object::from_value(value).expect("it is one").into()
}

impl World {
    async fn new() -> World {
        let clock = Arc::new(ManualClock::new(START));
        let config = KeysConfig {
            algorithm: Some(Algorithm::ES256),
            ..KeysConfig::new(ISSUER, SealKey::new([7; 32]))
        };
        // Nothing rotates here: whether a key is still published is another rule.
        let keys = Keys::open(Arc::new(MemoryStore::new()), clock.clone(), config).await.unwrap();
        let mut objects = Snapshot::default();
        objects.apply("/registry/namespaces/n", Some(object(json!({"metadata": {"name": "n"}}))), 1);
        for name in ACCOUNTS {
            let account = json!({"metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")}});
            objects.apply(&format!("/registry/serviceaccounts/n/{name}"), Some(object(account)), 2);
        }
        let view = Arc::new(View::new(objects));
        let (stored, mode) = (Arc::new(MemoryLedger::new()), LedgerMode::Full);
        let ledger =
            TokenLedger::open(stored.clone(), mode, clock.clone(), keys.clone(), view.clone()).await.unwrap();
        World { clock, keys, view, stored, mode, ledger, tokens: Vec::new() }
    }

    /// A restart; with `off` only where it is allowed.
    async fn restart(&mut self, mode: LedgerMode) {
        let (stored, clock) = (self.stored.clone(), self.clock.clone());
        let opened = TokenLedger::open(stored, mode, clock, self.keys.clone(), self.view.clone()).await;
        if let Ok(opened) = opened {
            (self.mode, self.ledger) = (mode, opened);
        }
    }

    async fn mint(&mut self, account: usize) -> Result<(), TestCaseError> {
        let issuer = TokenIssuer::new(
            self.view.clone(),
            self.clock.clone(),
            self.keys.clone(),
            Arc::default(),
            self.ledger.clone(),
            IssuerConfig {
                issuer: ISSUER.into(),
                api_audiences: vec!["api".into()],
                limits: Limits::default(),
                max_expiration_seconds: None,
                extend_expiration: false,
                profiles: TokenProfiles::default(),
            },
        );
        let request = Object::from_value(json!({"spec": {"expirationSeconds": 3600}})).expect("it is one");
        let minted = issuer.issue(&Identity::default(), "n", ACCOUNTS[account], request, false).await;
        let minted = minted.map_err(|e| TestCaseError::fail(format!("a token must come at once: {e}")))?;
        let text = minted.reply.str_at(&["status", "token"]).to_owned();
        let issued_at = self.clock.unix();
        self.tokens.push(Token { text, account, issued_at, marked: true, revoked: false });
        Ok(())
    }

    async fn mint_unmarked(&mut self, account: usize) {
        let (issued_at, name) = (self.clock.unix(), ACCOUNTS[account]);
        let exp = issued_at + 3600;
        let claims = json!({
            "aud": ["api"], "exp": exp, "iat": issued_at, "iss": ISSUER, "nbf": issued_at,
            "jti": tokensmith_core::random::uuid().to_string(), "sub": format!("system:serviceaccount:n:{name}"),
            "kubernetes.io": {"namespace": "n", "serviceaccount": {"name": name, "uid": format!("uid-{name}")}},
        });
        let signer = self.keys.reserve(None, exp).await.unwrap();
        let text = jws::sign(&*signer, claims.to_string().as_bytes()).await.unwrap();
        self.tokens.push(Token { text, account, issued_at, marked: false, revoked: false });
    }

    async fn revoke(&mut self, what: What, account: Option<usize>) {
        // Where it is off, nothing is revoked.
        if self.ledger.revoke(what, "admin".into(), String::new()).await.is_ok() {
            let all = self.tokens.iter_mut();
            all.filter(|t| account.is_none_or(|a| a == t.account)).for_each(|t| t.revoked = true);
        }
    }

    /// What a version without marks did, after which this one starts again.
    async fn revoked_before(&mut self, account: usize) {
        let what = What::Account(NamespacedName::new("n", ACCOUNTS[account]));
        let ours = self.tokens.iter_mut().filter(|t| t.account == account);
        let at = ours.fold(self.clock.unix(), |at, token| {
            token.revoked = true;
            at.max(token.issued_at)
        });
        let (by, reason) = ("admin".to_owned(), String::new());
        let before = Revocation { what, at, until: at + YEAR, by, reason, epoch: None, ahead: None };
        self.stored.revoke(&[before]).await.unwrap();
        self.restart(if self.mode == LedgerMode::Off { LedgerMode::Full } else { self.mode }).await;
    }

    /// Looks at every token, at the time that it was issued.
    fn check(&self) -> Result<(), TestCaseError> {
        let audiences = vec!["api".to_owned()];
        let revocations = self.ledger.revocations().clone();
        let verifier = Verifier::new(self.keys.clone(), revocations, vec![ISSUER.into()], audiences.clone());
        for token in &self.tokens {
            let now = OffsetDateTime::from_unix_timestamp(token.issued_at).expect("a time");
            let bearer = BearerToken::new(token.text.clone());
            let found = verifier.authenticate(&bearer, &audiences, &self.view.snapshot(), now);
            let error = found.err().map(|e| e.0).unwrap_or_default();
            match (token.revoked, token.marked) {
                (true, _) => prop_assert_eq!(error, "service account token has been revoked"),
                (false, true) => prop_assert_eq!(error, ""),
                // One without a mark may be taken for an older one.
                (false, false) => {}
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let account = |a: usize| What::Account(NamespacedName::new("n", ACCOUNTS[a]));
        match step {
            Step::Jump(by) => self.clock.jump(self.clock.now() + time::Duration::seconds(by)),
            Step::Pass(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Step::Mint(account) => self.mint(account).await?,
            Step::MintUnmarked(account) => self.mint_unmarked(account).await,
            Step::Revoke(a) => self.revoke(account(a), Some(a)).await,
            Step::RevokeKey => self.revoke(What::Key(self.keys.current().active_id().to_owned()), None).await,
            Step::RevokedBefore(a) => self.revoked_before(a).await,
            Step::Restart(mode) => self.restart(mode).await,
        }
        self.check()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let jump = prop_oneof![-5i64..5, -40 * 86_400i64..40 * 86_400];
    let mode = prop_oneof![Just(LedgerMode::Full), Just(LedgerMode::Revocations), Just(LedgerMode::Off)];
    let step = prop_oneof![
        3 => jump.prop_map(Step::Jump),
        2 => (0u64..600).prop_map(Step::Pass),
        4 => (0usize..2).prop_map(Step::Mint),
        1 => (0usize..2).prop_map(Step::MintUnmarked),
        2 => (0usize..2).prop_map(Step::Revoke),
        1 => Just(Step::RevokeKey),
        1 => (0usize..2).prop_map(Step::RevokedBefore),
        2 => mode.prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_revocation_covers_all_that_was_issued_before_it_and_nothing_after(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}

/// Found by the one above: what was revoked meanwhile was over and forgotten as soon as the clock was right.
#[tokio::test]
async fn a_revocation_by_a_clock_that_was_behind_is_kept_for_its_day() {
    let mut world = World::new().await;
    let behind = 26 * 3600 + 7;
    for step in [Step::Jump(-behind), Step::Mint(1), Step::Revoke(1), Step::Jump(behind)] {
        world.step(step).await.unwrap();
    }
    world.step(Step::Restart(LedgerMode::Full)).await.unwrap();
}
