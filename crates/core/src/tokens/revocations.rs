//! The revocations in memory: what every check of a token asks. Reading takes no lock and no memory.

use std::cell::OnceCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::OrdMap;

use super::epochs::Epochs;
use super::mark;
use crate::ledger::{Age, NamespacedName, Revocation, What};

/// What of a token decides whether it is revoked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `jti`; empty for a token without one.
    pub jti: &'a str,
    /// The account's namespace.
    pub namespace: &'a str,
    /// The account.
    pub account: &'a str,
    /// The pod that it is bound to.
    pub pod: Option<&'a str>,
    /// The key that signed.
    pub kid: &'a str,
    /// When it was issued, Unix seconds; `i64::MIN` when it does not say, which every revocation covers.
    pub issued_at: i64,
    /// When it expires, Unix seconds; [`NEVER`](crate::keys::ring::NEVER) when it does not say.
    pub expires_at: i64,
}

impl Subject<'_> {
    fn age(&self, newest: u32) -> Age {
        let mark = mark::read(self.jti, newest);
        Age { mark, issued_at: self.issued_at, expires_at: self.expires_at }
    }
}

/// All revocations in force. Swapped as a whole.
#[derive(Debug, Default)]
pub struct Revocations {
    sets: ArcSwap<Sets>,
    epochs: Epochs,
}

type Map = OrdMap<String, Arc<Revocation>>;

#[derive(Clone, Debug, Default)]
struct Sets {
    jtis: Map,
    keys: Map,
    digests: Map,
    /// By namespace, then by name, so that a look-up needs no joined key.
    accounts: OrdMap<String, Map>,
    pods: OrdMap<String, Map>,
}

impl Revocations {
    /// Those that were stored; no token is marked with a later epoch than `limit`.
    pub fn new(stored: impl IntoIterator<Item = Revocation>, limit: u32) -> Self {
        let mut sets = Sets::default();
        stored.into_iter().for_each(|r| sets.insert(Arc::new(r)));
        Revocations { sets: ArcSwap::from_pointee(sets), epochs: Epochs::new(limit) }
    }

    /// The epoch of tokens and revocations.
    pub(super) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The latest revocation that covers a token; `None` when none does.
    pub fn covering(&self, token: &Subject<'_>) -> Option<Arc<Revocation>> {
        self.latest(token, |revocation| revocation.at)
    }

    /// The epoch from which on a token like this one is covered no more; `None` when none covers it.
    pub(super) fn beyond(&self, token: &Subject<'_>) -> Option<u32> {
        let epoch = |revocation: &Revocation| revocation.epoch.unwrap_or(0);
        self.latest(token, epoch).map(|latest| epoch(&latest))
    }

    /// Of those that cover a token the one that has the most of what is read.
    fn latest<T: Ord>(
        &self,
        token: &Subject<'_>,
        read: impl Fn(&Revocation) -> T,
    ) -> Option<Arc<Revocation>> {
        let sets = self.sets.load();
        // Only where something may cover it is the mark read, and once.
        let age = OnceCell::new();
        let covers = |r: &Revocation| r.covers(age.get_or_init(|| token.age(self.epochs.current())));
        let timed = [
            within(&sets.accounts, token.namespace, token.account),
            token.pod.and_then(|pod| within(&sets.pods, token.namespace, pod)),
            sets.keys.get(token.kid),
        ];
        let timed = timed.into_iter().flatten().filter(|r| covers(r));
        timed.chain(sets.jtis.get(token.jti)).max_by_key(|r| read(r)).cloned()
    }

    /// The revocation of a Secret's token: by its bytes, whosever it is.
    pub fn covering_secret_token(&self, token: &str) -> Option<Arc<Revocation>> {
        let sets = self.sets.load();
        if sets.digests.is_empty() {
            return None;
        }
        sets.digests.get(&digest(token)).cloned()
    }

    /// The revocation of this very thing.
    pub fn get(&self, what: &What) -> Option<Arc<Revocation>> {
        self.sets.load().get(what).cloned()
    }

    /// Puts one in. Where the same thing is revoked already, nothing is taken back of that: the later times count. Gives
    /// what is in force then.
    pub(super) fn raise(&self, revocation: Revocation) -> Arc<Revocation> {
        let mut raised = Arc::new(revocation);
        self.sets.rcu(|sets| {
            let mut next = Sets::clone(sets);
            if let Some(before) = sets.get(&raised.what) {
                raised = Arc::new(Revocation {
                    at: raised.at.max(before.at),
                    until: raised.until.max(before.until),
                    epoch: raised.epoch.max(before.epoch),
                    ahead: raised.ahead.max(before.ahead),
                    ..(*raised).clone()
                });
            }
            next.insert(raised.clone());
            next
        });
        raised
    }

    /// Drops those that were to be kept until before this time.
    pub fn prune(&self, before: i64) {
        if self.sets.load().all().all(|r| r.until >= before) {
            return;
        }
        self.sets.rcu(|sets| {
            let mut next = Sets::clone(sets);
            sets.all().filter(|r| r.until < before).for_each(|gone| next.remove(&gone.what));
            next
        });
    }

    /// All of them, the latest first.
    pub fn all(&self) -> Vec<Arc<Revocation>> {
        let mut all: Vec<_> = self.sets.load().all().cloned().collect();
        all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.what.cmp(&b.what)));
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sets.load().all().count()
    }
}

impl Sets {
    fn get(&self, what: &What) -> Option<&Arc<Revocation>> {
        match what {
            What::Account(name) => self.accounts.get(&name.namespace)?.get(&name.name),
            What::Jti(jti) => self.jtis.get(jti),
            What::Key(kid) => self.keys.get(kid),
            What::Pod(name) => self.pods.get(&name.namespace)?.get(&name.name),
            What::Sha256(digest) => self.digests.get(digest),
        }
    }

    fn insert(&mut self, revocation: Arc<Revocation>) {
        let into = |map: &mut OrdMap<String, Map>, name: &NamespacedName| {
            map.entry(name.namespace.clone()).or_default().insert(name.name.clone(), revocation.clone());
        };
        match &revocation.what {
            What::Account(name) => into(&mut self.accounts, name),
            What::Jti(jti) => drop(self.jtis.insert(jti.clone(), revocation.clone())),
            What::Key(kid) => drop(self.keys.insert(kid.clone(), revocation.clone())),
            What::Pod(name) => into(&mut self.pods, name),
            What::Sha256(digest) => drop(self.digests.insert(digest.clone(), revocation.clone())),
        }
    }

    fn remove(&mut self, what: &What) {
        let from = |map: &mut OrdMap<String, Map>, name: &NamespacedName| {
            let Some(names) = map.get_mut(&name.namespace) else { return };
            names.remove(&name.name);
            if names.is_empty() {
                map.remove(&name.namespace);
            }
        };
        match what {
            What::Account(name) => from(&mut self.accounts, name),
            What::Jti(jti) => drop(self.jtis.remove(jti)),
            What::Key(kid) => drop(self.keys.remove(kid)),
            What::Pod(name) => from(&mut self.pods, name),
            What::Sha256(digest) => drop(self.digests.remove(digest)),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Revocation>> {
        let nested = self.accounts.values().chain(self.pods.values()).flat_map(OrdMap::values);
        self.jtis.values().chain(self.keys.values()).chain(self.digests.values()).chain(nested)
    }
}

fn within<'a>(map: &'a OrdMap<String, Map>, namespace: &str, name: &str) -> Option<&'a Arc<Revocation>> {
    map.get(namespace)?.get(name)
}

/// The SHA-256 of a token, in hexadecimal digits.
pub(super) fn digest(token: &str) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(64);
    for byte in aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn revocation(what: What, at: i64, until: i64) -> Revocation {
        Revocation { what, at, until, by: "admin".into(), reason: String::new(), epoch: None, ahead: None }
    }

    /// The time of the latest that covers a token.
    fn at(all: &Revocations, token: &Subject<'_>) -> Option<i64> {
        all.covering(token).map(|latest| latest.at)
    }

    fn named(namespace: &str, name: &str) -> NamespacedName {
        NamespacedName::new(namespace, name)
    }

    const TOKEN: Subject<'static> = Subject {
        jti: "j",
        namespace: "n",
        account: "a",
        pod: Some("p"),
        kid: "k",
        issued_at: 10,
        expires_at: 90,
    };

    #[test]
    fn what_a_revocation_covers() {
        let covers = |what, at, token: &Subject<'_>| {
            Revocations::new([revocation(what, at, 99)], 0).covering(token).is_some()
        };
        for what in [What::Account(named("n", "a")), What::Pod(named("n", "p")), What::Key("k".into())] {
            assert!(covers(what.clone(), 10, &TOKEN), "{what}: issued in the same second");
            assert!(!covers(what.clone(), 9, &TOKEN), "{what}: issued later");
            assert!(covers(what.clone(), 9, &Subject { issued_at: i64::MIN, ..TOKEN }), "{what}: undated");
        }
        assert!(covers(What::Jti("j".into()), 0, &TOKEN), "one token, whenever it was issued");
        for other in [
            What::Account(named("n", "p")),
            What::Account(named("m", "a")),
            What::Pod(named("n", "a")),
            What::Jti("k".into()),
            What::Key("j".into()),
        ] {
            assert!(!covers(other.clone(), 10, &TOKEN), "{other}");
        }
        let unbound = Subject { pod: None, ..TOKEN };
        assert!(!covers(What::Pod(named("n", "p")), 10, &unbound));
    }

    #[test]
    fn a_secrets_token_is_known_by_its_bytes() {
        // printf a.b.c | sha256sum
        let of = "845e30448809e2bc8958eb025bfc795235d13b077a53d0c3abbd2385170dc9b8";
        let all = Revocations::new([revocation(What::Sha256(of.into()), 10, i64::MAX)], 0);
        assert!(all.covering_secret_token("a.b.c").is_some());
        assert_eq!(all.covering_secret_token("a.b.d"), None);
        all.prune(i64::MAX);
        assert!(all.covering_secret_token("a.b.c").is_some(), "for ever");
    }

    #[test]
    fn the_latest_counts_and_the_expired_go() {
        let all = Revocations::new(
            [
                revocation(What::Account(named("n", "a")), 20, 50),
                revocation(What::Pod(named("n", "p")), 30, 40),
            ],
            0,
        );
        assert_eq!(at(&all, &TOKEN), Some(30));
        all.prune(40);
        assert_eq!(all.count(), 2, "one that is kept until 40 is there at 40");
        all.prune(41);
        assert_eq!((at(&all, &TOKEN), all.count()), (Some(20), 1));
        all.prune(51);
        assert_eq!((all.covering(&TOKEN), all.get(&What::Account(named("n", "a")))), (None, None));
    }

    #[test]
    fn a_revocation_takes_nothing_back_of_the_one_before() {
        let what = || What::Account(named("n", "a"));
        let all = Revocations::new([revocation(what(), 20, 50)], 0);
        let reason = |r: Revocation, text: &str| Revocation { reason: text.into(), ..r };
        assert_eq!(
            *all.raise(reason(revocation(what(), 10, 60), "x")),
            reason(revocation(what(), 20, 60), "x")
        );
        assert_eq!(*all.raise(revocation(what(), 30, 40)), revocation(what(), 30, 60));
        assert_eq!((all.count(), at(&all, &TOKEN)), (1, Some(30)));
        let marked = |epoch, ahead| Revocation { epoch, ahead, ..revocation(what(), 1, 2) };
        all.raise(marked(Some(7), Some(90)));
        let raised = all.raise(marked(Some(6), None));
        assert_eq!((raised.at, raised.epoch, raised.ahead), (30, Some(7), Some(90)));
    }

    #[test]
    fn a_mark_tells_what_was_issued_before_whatever_the_time() {
        let ids = [mark::id(4), mark::id(5), mark::id(6), random::uuid()];
        let [old, new, future, others] = ids.map(|id| id.to_string());
        let subject = |jti| Subject { jti, issued_at: 1000, expires_at: 1090, ..TOKEN };
        for what in [What::Account(named("n", "a")), What::Pod(named("n", "p")), What::Key("k".into())] {
            let by = Revocation { epoch: Some(5), ahead: Some(1090), ..revocation(what, 10, 99) };
            let all = Revocations::new([by], 5);
            assert_eq!((at(&all, &subject(&old)), all.beyond(&subject(&old))), (Some(10), Some(5)));
            assert_eq!(all.covering(&subject(&new)), None);
            assert!(all.covering(&subject(&others)).is_some(), "it may be older");
            assert!(all.covering(&subject(&future)).is_some(), "a mark that cannot be is none");
        }
    }
}
