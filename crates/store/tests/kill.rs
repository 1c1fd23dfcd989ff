//! `kill -9` at each moment of a write: before and after the batch, after the flush, in the midst of the anchor, after it.
//! What was acknowledged is there, objects and revocations; no revision is used again.
#![cfg(debug_assertions)]

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tokensmith_core::ledger::{Ledger, Revocation, What};
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::{Options, SledStore};

const MOMENTS: [&str; 5] = ["before-batch", "after-batch", "after-flush", "half-anchor", "after-anchor"];
/// The child's store, and where it is to die.
const DIR: &str = "TOKENSMITH_TEST_STORE";
const KILL_AT: &str = "TOKENSMITH_TEST_KILL_AT";

/// Not a test but the child of one: it writes, tells what was acknowledged, and is killed.
#[tokio::test]
async fn child() {
    let (Ok(dir), Ok(at)) = (std::env::var(DIR), std::env::var(KILL_AT)) else { return };
    let options = Options { kill_at: Some(Arc::new(at.parse().unwrap())), ..Options::default() };
    let store = SledStore::open(Path::new(&dir), options).unwrap();
    let ledger = store.ledger().unwrap();
    for n in 0.. {
        let value = Bytes::from(vec![n as u8; n * 1000]);
        let revision = store.put(&format!("/o{}", n % 4), value, Expect::Any).await.unwrap();
        println!("\nput {n} {revision}");
        if n % 3 == 2 {
            ledger.revoke(&[revocation(n)]).await.unwrap();
            println!("\nrevoked {n}");
        }
        if n % 5 == 4 {
            let revision = store.delete(&format!("/o{}", n % 4), Expect::Any).await.unwrap().unwrap();
            println!("\ndeleted {n} {revision}");
        }
        std::io::stdout().flush().unwrap();
    }
}

fn revocation(n: usize) -> Revocation {
    Revocation {
        what: What::Jti(n.to_string()),
        at: 1,
        until: 2,
        by: "admin".into(),
        reason: String::new(),
        epoch: None,
        ahead: None,
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_each_moment() {
    for moment in MOMENTS {
        let home = tempfile::tempdir().unwrap();
        let (mut model, mut revoked, mut last) = (std::collections::BTreeMap::new(), Vec::new(), 0_u64);
        // One after the other on the same store: what a crash leaves must bear the next.
        for step in [1, 2, 3, 5, 8, 13] {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["child", "--exact", "--nocapture", "--test-threads=1"])
                .env(DIR, home.path().join("store"))
                .env(KILL_AT, format!("{moment}:{step}"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.signal(), Some(9), "{moment}:{step}: {output:?}");
            for line in said.lines() {
                let words: Vec<_> = line.split(' ').collect();
                let number = |n: usize| words[n].parse::<u64>().unwrap();
                match words[0] {
                    "put" => {
                        model.insert(format!("/o{}", number(1) % 4), number(1));
                        assert!(number(2) > last, "{moment}:{step}: revision {} after {last}", number(2));
                        last = number(2);
                    }
                    "deleted" => {
                        model.remove(&format!("/o{}", number(1) % 4));
                        last = number(2);
                    }
                    "revoked" => revoked.push(number(1).to_string()),
                    _ => {}
                }
            }
            let store = SledStore::open(&home.path().join("store"), Options::default()).unwrap();
            let ledger = store.ledger().unwrap();
            let revision = store.revision().await.unwrap();
            // One that was not acknowledged may be there.
            assert!(revision >= last && revision <= last + 1, "{moment}:{step}: {revision}, {last}");
            let there: std::collections::BTreeMap<_, _> = store
                .list("/", None, 0)
                .await
                .unwrap()
                .entries
                .into_iter()
                .map(|e| (e.key, (e.value.len() / 1000) as u64))
                .collect();
            let differ = (0..4).map(|n| format!("/o{n}")).filter(|k| there.get(k) != model.get(k)).count();
            assert!(differ as u64 <= revision - last, "{moment}:{step}: {there:?}, {model:?}");
            let kept: Vec<_> = ledger.revocations().await.unwrap().into_iter().map(|r| r.what).collect();
            for jti in &revoked {
                assert!(
                    kept.contains(&What::Jti(jti.clone())),
                    "{moment}:{step}: {jti} is not revoked any more"
                );
            }
            // What was not acknowledged and is there counts from now on.
            (model, last) = (there, revision);
            last = last.max(store.put("/between", Bytes::new(), Expect::Any).await.unwrap());
            store.delete("/between", Expect::Any).await.unwrap();
            last += 1;
        }
    }
}
