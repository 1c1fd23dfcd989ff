//! The simulation: what is on the agenda happens, and the server's clock follows. Each token is checked by every
//! verifier at every moment of its life that is on the agenda, and in its last second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use time::OffsetDateTime;

use super::agenda::{Agenda, DAY, What};
use super::issuer::{Issuer, Ring};
use super::keys::LEEWAY;
use super::tally::{Check, Counts, Ought, Tally};
use super::verifier::{Kind, MAX_AGE, Verifier};

/// What is simulated.
pub struct Plan {
    /// The server's.
    pub flags: [&'static str; 4],
    pub seed: u64,
    /// So many rotations at the least.
    pub rotations: usize,
    /// In each so many turns a key is revoked: one that signs and a retired one in turn.
    pub revoke_every: usize,
    /// How often each kind of verifier is there.
    pub fleet: [(Kind, usize); 9],
}

/// What came of it.
pub struct Outcome {
    /// By kind.
    pub counts: BTreeMap<Kind, Counts>,
    /// The server's own TokenReview.
    pub reviews: Counts,
    /// The first wrong answers.
    pub wrong: Vec<String>,
    pub rotations: usize,
    pub tokens: u64,
    pub revocations: usize,
    /// Revocations that the guard refused, as it should.
    pub guarded: usize,
    /// Times that every verifier was shown a token with an unknown `kid`.
    pub pokes: usize,
    /// Simulated seconds.
    pub lasted: i64,
    pub requests: u64,
    /// Lines of the journal and bytes of its JSON.
    pub journal: (usize, usize),
    /// CPU time of the server.
    pub cpu: Duration,
    /// Resident memory after a tenth of the rotations and at the end, bytes.
    pub memory: (u64, u64),
}

struct Token {
    text: Arc<str>,
    kid: Arc<str>,
    /// When its key was published.
    published: i64,
}

/// A key that is withdrawn.
struct Revoked {
    at: i64,
    /// When every verifier was last shown a `kid` that was unknown when the key went.
    shown: Option<i64>,
    /// The key that signed in its place without a wait.
    fresh: Option<Arc<str>>,
}

struct Simulation {
    issuer: Issuer,
    plan: Plan,
    verifiers: Vec<Verifier>,
    agenda: Agenda,
    /// When the server changes its keys next.
    due: Option<i64>,
    signs: String,
    /// When the key that signs was published.
    signs_since: i64,
    live: BTreeMap<u64, Token>,
    /// By `kid`.
    revoked: HashMap<Arc<str>, Revoked>,
    tally: Tally,
    reviews: Counts,
    rotations: usize,
    tokens: u64,
    guarded: usize,
    pokes: usize,
    memory: u64,
}

/// Runs it to the end of the last token.
pub async fn run(plan: Plan) -> Result<Outcome> {
    let issuer = Issuer::start(&plan.flags).await?;
    let start = issuer.now();
    let fleet = plan.fleet.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    let verifiers: Vec<_> = fleet.map(Verifier::new).collect();
    let mut simulation = Simulation {
        issuer,
        agenda: Agenda::new(plan.seed, verifiers.len()),
        verifiers,
        plan,
        due: None,
        signs: String::new(),
        signs_since: 0,
        live: BTreeMap::new(),
        revoked: HashMap::new(),
        tally: Tally::new(),
        reviews: Counts::default(),
        rotations: 0,
        tokens: 0,
        guarded: 0,
        pokes: 0,
        memory: 0,
    };
    simulation.look().await?;
    while let Some(at) = simulation.agenda.next() {
        if let Some(due) = simulation.due.filter(|due| *due <= at) {
            simulation.advance(due).await?;
            simulation.issuer.settle().await?;
            simulation.look().await?;
        } else if let Some((at, what)) = simulation.agenda.pop() {
            simulation.advance(at).await?;
            simulation.happen(what).await.with_context(|| format!("{what:?} at {at}"))?;
        }
    }
    simulation.end(start).await
}

impl Simulation {
    async fn happen(&mut self, what: What) -> Result<()> {
        match what {
            What::Restart(which) => {
                let now = self.issuer.now();
                self.verifiers[which].restart(now);
            }
            What::RevokeTooEarly => {
                let signs = self.signs.clone();
                let answer = self.issuer.revoke(&signs).await?;
                ensure!(answer.status == 409, "not refused: {} {:?}", answer.status, answer.body);
                self.guarded += 1;
            }
            What::RevokeActive => {
                let signs = self.signs.clone();
                self.revoke(&signs).await?;
            }
            What::RevokeFresh => self.revoke_fresh().await?,
            What::Poke => self.poke().await?,
            What::RevokeRetired => {
                let retired = self.issuer.ring().await?.retired().map(|key| key.id.clone());
                self.revoke(&retired.context("no key is retired")?).await?;
            }
            What::Mint(seconds) => self.mint(seconds).await?,
            What::Check => {
                let all: Vec<u64> = self.live.keys().copied().collect();
                self.check(&all).await?;
            }
            What::Review => {
                let all: Vec<u64> = self.live.keys().copied().collect();
                let is_revoked = |id: &u64| self.revoked.contains_key(&self.live[id].kid);
                let (mut seen, good): (Vec<u64>, Vec<u64>) = all.iter().partition(|id| is_revoked(id));
                if !good.is_empty() {
                    seen.push(self.agenda.seeded().one_of(&good));
                }
                for id in seen {
                    self.review(id).await?;
                }
            }
            What::End(id) => self.last_second(id).await?,
        }
        Ok(())
    }

    /// Time passes. Who fetches unasked does so on the way; a fetch that another one follows before anybody asks
    /// is left out, since nobody can see it.
    async fn advance(&mut self, to: i64) -> Result<()> {
        let ticks = self.verifiers.iter().enumerate().filter_map(|(i, v)| Some((v.tick(to)?, i)));
        let ticks: BTreeSet<(i64, usize)> = ticks.collect();
        for (at, which) in ticks {
            self.issuer.move_to(at)?;
            self.verifiers[which].fetch(&mut self.issuer).await?;
        }
        self.issuer.move_to(to)
    }

    /// Looks at the ring after it may have changed; a new key that signs begins a new turn.
    async fn look(&mut self) -> Result<()> {
        let now = self.issuer.now();
        let mut ring = self.issuer.ring().await?;
        ring.check()?;
        let signs = ring.active()?.id.clone();
        let since = ring.active()?.published_at.context("it is not published")?;
        // Some are published within a second: who fetched at its beginning may not have them.
        self.signs_since = since.unix_timestamp();
        if self.signs != signs {
            let first = std::mem::replace(&mut self.signs, signs).is_empty();
            self.rotations += usize::from(!first);
            if self.rotations == self.plan.rotations / 10 {
                self.memory = self.issuer.server.resident()?;
            }
            if self.rotations < self.plan.rotations {
                ring = self.turn(ring).await?;
            }
        }
        self.due = ring.due();
        ensure!(self.due.is_none_or(|due| due > now), "the server answered before it had done what was due");
        Ok(())
    }

    /// Puts a turn on the agenda, and a revocation in it when it is time for one.
    async fn turn(&mut self, mut ring: Ring) -> Result<Ring> {
        let from = self.issuer.now();
        let every = self.plan.revoke_every;
        let revokes = (self.rotations % every == every - 1).then_some(self.rotations / every);
        if revokes.is_some_and(|count| count % 4 == 2) {
            // No spare is waited for.
            let at = from + self.agenda.seeded().within(4000..=6000);
            self.agenda.add(at - 1, What::Mint(DAY));
            self.agenda.revocation(at, What::RevokeFresh);
            // Its tokens are the unknown `kid`, shown at each check.
            for kind in Kind::ALL {
                let known = at + kind.learns_after().unwrap_or_default();
                self.agenda.add(known, What::Check);
                self.agenda.add(known + 1, What::Check);
            }
        } else if let Some(count) = revokes.filter(|count| count % 2 == 0) {
            // As soon as the guard lets it, and once before.
            let safe = ring.spare()?.may_sign_from.context("the spare may never sign")?.unix_timestamp();
            self.agenda.add(from + (safe - from) / 2, What::RevokeTooEarly);
            self.agenda.add(safe - 1, What::Mint(DAY));
            self.agenda.revocation(safe, What::RevokeActive);
            if count % 8 == 4 {
                self.agenda.pokes(safe);
            }
        } else {
            if let Some(count) = revokes {
                let at = from + self.agenda.seeded().within(4000..=6000);
                self.agenda.revocation(at, What::RevokeRetired);
                if count % 4 == 1 {
                    self.agenda.pokes(at);
                }
            }
            // When asked to rotate, the next key signs as early as it is safe, else after the whole period.
            if self.agenda.seeded().once_in(2) {
                self.issuer.rotate().await?;
                ring = self.issuer.ring().await?;
            }
        }
        self.agenda.turn(from, ring.active()?.until().context("nobody follows the key that signs")?);
        Ok(ring)
    }

    async fn revoke(&mut self, id: &str) -> Result<()> {
        self.issuer.revoke(id).await?.success()?;
        self.withdrawn(id, None).await
    }

    async fn revoke_fresh(&mut self) -> Result<()> {
        let (signs, spare) = (self.signs.clone(), self.issuer.ring().await?.spare()?.id.clone());
        let answer = self.issuer.revoke_fresh(&signs, false).await?;
        ensure!(answer.status == 409, "not refused: {} {:?}", answer.status, answer.body);
        self.guarded += 1;
        self.issuer.revoke_fresh(&signs, true).await?.success()?;
        let ring = self.issuer.ring().await?;
        ensure!(ring.spare()?.id == spare, "the spare stands by as before");
        let fresh = ring.active()?.id.clone();
        ensure!(fresh != spare, "nobody knows the key that signs");
        self.withdrawn(&signs, Some(fresh.into())).await
    }

    async fn withdrawn(&mut self, id: &str, fresh: Option<Arc<str>>) -> Result<()> {
        self.revoked.insert(id.into(), Revoked { at: self.issuer.now(), shown: None, fresh });
        // The next spare is due: the server makes it by itself, but in its own time.
        self.issuer.settle().await?;
        self.look().await
    }

    /// Every verifier is shown a token that must open nothing.
    async fn poke(&mut self) -> Result<()> {
        let text = self.issuer.poke().await?;
        let kid = jsonwebtoken::decode_header(&text)?.kid.context("no kid")?;
        for verifier in &mut self.verifiers {
            ensure!(verifier.key(&kid, &mut self.issuer).await?.is_none(), "{:?} knows {kid}", verifier.kind);
        }
        ensure!(!self.issuer.accepts(&text).await?, "the server takes it");
        self.pokes += 1;
        let now = self.issuer.now();
        self.revoked.values_mut().for_each(|revoked| revoked.shown = Some(now));
        Ok(())
    }

    async fn mint(&mut self, seconds: i64) -> Result<()> {
        let text: Arc<str> = self.issuer.mint(seconds).await?.into();
        let kid: Arc<str> = jsonwebtoken::decode_header(&*text)?.kid.context("no kid")?.into();
        ensure!(*kid == *self.signs, "{kid} has signed, not {}", self.signs);
        let exp = self.issuer.now() + seconds;
        self.tokens += 1;
        self.live.insert(self.tokens, Token { text, kid, published: self.signs_since });
        self.agenda.add(exp + LEEWAY, What::End(self.tokens));
        Ok(())
    }

    /// What a verifier ought to say now, by what is known of its kind.
    fn ought(&self, token: &Token, verifier: &Verifier) -> Ought {
        let (kind, now) = (verifier.kind, self.issuer.now());
        let Some(revoked) = self.revoked.get(&token.kid) else {
            let unannounced = self.revoked.values().any(|r| r.fresh.as_ref() == Some(&token.kid));
            let may_not_know = match kind.learns_after() {
                // Whoever fetches once knows what was there by then, however long ago it was published.
                None => verifier.fetched() <= token.published,
                Some(after) => unannounced && now < token.published + after,
            };
            return if may_not_know { Ought::MayNotKnow } else { Ought::Accept };
        };
        let time = kind.keeps().is_some_and(|keeps| now >= revoked.at + keeps);
        let restart = verifier.started() > revoked.at;
        let unknown = kind
            .asks_after()
            .filter(|_| !kind.keeps_each_key())
            .is_some_and(|after| revoked.shown.is_some_and(|shown| shown >= revoked.at + after));
        match () {
            () if time || restart || unknown => Ought::Past,
            () if now > revoked.at + MAX_AGE + 60 => Ought::WithinLong,
            () => Ought::Within,
        }
    }

    /// Every verifier sees these tokens.
    async fn check(&mut self, ids: &[u64]) -> Result<()> {
        for which in 0..self.verifiers.len() {
            for id in ids {
                let check = self.asked(which, &self.live[id].kid.clone(), *id).await?;
                self.tally.add(check);
            }
        }
        // Tokens of a key that came unannounced are what a poke is.
        let now = self.issuer.now();
        for revoked in self.revoked.values_mut() {
            if let Some(fresh) = &revoked.fresh
                && ids.iter().any(|id| self.live[id].kid == *fresh)
            {
                revoked.shown = Some(now);
            }
        }
        Ok(())
    }

    async fn asked(&mut self, which: usize, kid: &str, id: u64) -> Result<Check> {
        let key = self.verifiers[which].key(kid, &mut self.issuer).await?;
        let (kind, token) = (self.verifiers[which].kind, &self.live[&id]);
        let ought = self.ought(token, &self.verifiers[which]);
        Ok(Check { kind, token: token.text.clone(), key, now: self.issuer.now(), ought })
    }

    /// A verifier with a minute of leeway takes a token until here, and no longer, and never a forged one.
    async fn last_second(&mut self, id: u64) -> Result<()> {
        let kid = self.live[&id].kid.clone();
        let forged = self.agenda.seeded().once_in(20);
        for which in 0..self.verifiers.len() {
            let check = self.asked(which, &kid, id).await?;
            let refuse = |now: i64, token: Arc<str>| {
                let (kind, key) = (check.kind, check.key.clone());
                Check { kind, token, key, now, ought: Ought::Refuse }
            };
            self.tally.add(refuse(check.now + 1, check.token.clone()));
            if forged {
                self.tally.add(refuse(check.now, forge(&check.token)));
            }
            self.tally.add(check);
        }
        if self.agenda.seeded().once_in(10) {
            self.review(id).await?;
        }
        self.live.remove(&id);
        Ok(())
    }

    async fn review(&mut self, id: u64) -> Result<()> {
        let token = &self.live[&id];
        let accepted = self.issuer.accepts(&token.text).await?;
        // The server itself needs no time.
        let ought = if self.revoked.contains_key(&token.kid) { Ought::Past } else { Ought::Accept };
        self.reviews.add(ought, accepted);
        Ok(())
    }

    async fn end(mut self, start: i64) -> Result<Outcome> {
        let (changes, bytes) = self.issuer.history().await?;
        let from = OffsetDateTime::from_unix_timestamp(start)?;
        let rotations = changes.iter().filter(|c| c.to == "active" && c.at > from).count();
        ensure!(rotations == self.rotations, "the journal has {rotations}, seen were {}", self.rotations);
        Ok(Outcome {
            counts: self.tally.counts,
            reviews: self.reviews,
            wrong: self.tally.wrong,
            rotations,
            tokens: self.tokens,
            revocations: self.revoked.len(),
            guarded: self.guarded,
            pokes: self.pokes,
            lasted: self.issuer.now() - start,
            requests: self.issuer.requests,
            journal: (changes.len(), bytes),
            cpu: self.issuer.server.cpu()?,
            memory: (self.memory, self.issuer.server.resident()?),
        })
    }
}

/// The same token with another signature.
fn forge(token: &str) -> Arc<str> {
    let at = token.len() - 20;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..]).into()
}
