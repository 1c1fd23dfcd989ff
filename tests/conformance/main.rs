//! Replays exchanges recorded from a real kube-apiserver and compares the normalised answers.
//!
//! `cases/*.json` are the judge (README.md beside them says how they are read). `differences.json` lists the
//! scenarios that honestly differ, each with its reason; one that no longer differs fails the test too, so
//! that the list stays true.

mod compare;
mod normalise;
mod replay;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokensmith_tests::Server;

/// What `differences.json` holds.
#[derive(Deserialize)]
struct Differences {
    /// Scenarios whose answer differs for a reason that stands.
    honest: BTreeMap<String, String>,
    /// Scenarios that need a capability that is not there yet.
    awaited: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_exchanges_are_answered_alike() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let listed: Differences = serde_json::from_str(&fs::read_to_string(folder.join("differences.json"))?)?;

    let keys = tempfile::tempdir()?;
    let key = tokensmith_tests::server::copy_key("rsa2048.pem", keys.path())?;
    let key = format!("--service-account-signing-key-file={}", key.display());
    let server = Server::start(&["--api-audiences=https://kubernetes.default.svc,api", &key]).await?;
    let replay = replay::Replay::new(server.client()?).await?;

    let mut files: Vec<_> =
        fs::read_dir(folder.join("cases"))?.map(|f| f.map(|f| f.path())).collect::<Result<_, _>>()?;
    files.sort();
    let (mut all, mut passed, mut failures) = (0, 0, Vec::new());
    let mut unseen: BTreeSet<_> = listed.honest.keys().chain(listed.awaited.keys()).cloned().collect();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let scenarios: Vec<replay::Scenario> = serde_json::from_str(&text)?;
        for scenario in scenarios {
            all += 1;
            let name = &scenario.name;
            unseen.remove(name);
            let differs = replay.run(&scenario).await?;
            let known = listed.honest.get(name).or(listed.awaited.get(name));
            match (differs.is_empty(), known) {
                (true, None) => passed += 1,
                (true, Some(_)) => {
                    failures.push(format!("{name}: listed in differences.json, but equal now"))
                }
                (false, Some(reason)) => println!("differs {name}: {reason}"),
                (false, None) => failures.push(format!("{name}:\n{}", differs.join("\n"))),
            }
        }
    }
    failures
        .extend(unseen.iter().map(|name| format!("{name}: listed in differences.json, but no case has it")));
    println!("{passed} scenarios of {all} equal");
    ensure!(listed.honest.len() * 100 <= all, "at most one honest difference in a hundred");
    ensure!(failures.is_empty(), "{} scenarios differ:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
