//! ARCHITECTURE.md says which crate may use which, and which libraries a few have to themselves; `cargo metadata` says
//! which do. The paths that it names are there. What it says about kinds is in [`rooms`].
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

type Arrows = BTreeMap<String, BTreeSet<String>>;

const DOCUMENT: &str = include_str!("../../ARCHITECTURE.md");

/// The rows of the table with this head, their columns trimmed.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let rows = DOCUMENT.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<_>> =
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "there is no table {head:?}");
    rows
}

/// The names in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What each crate uses: the others of this workspace by the names of their folders, libraries by their own. Tests and
/// build scripts may use more.
fn used() -> Arrows {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"]);
    let done = cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    let short = |name: &Value| {
        let name = name.as_str().unwrap();
        name.strip_prefix("tokensmith-").unwrap_or(name).to_owned()
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    let crates = packages.filter(|package| short(&package["name"]) != "tests");
    crates
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            let normal = all.filter(|dependency| dependency["kind"].is_null());
            (short(&package["name"]), normal.map(|dependency| short(&dependency["name"])).collect())
        })
        .collect()
}

#[test]
fn crates_use_those_that_architecture_says() {
    let used = used();
    let ours: BTreeSet<_> = used.keys().cloned().collect();
    let used: Arrows =
        used.into_iter().map(|(name, uses)| (name, uses.intersection(&ours).cloned().collect())).collect();
    let said: Arrows = table("| crate | may use |")
        .into_iter()
        .map(|row| (row[0].trim_matches('`').trim_start_matches("crates/").to_owned(), names(row[1])))
        .collect();
    assert_eq!(used, said, "left: the manifests, right: the table in ARCHITECTURE.md");
}

#[test]
fn arrows_go_one_way() {
    let said = table("| crate | may use |").into_iter();
    let mut before = BTreeSet::new();
    // A row uses rows above it alone, so that nothing goes round.
    for row in said {
        let name = row[0].trim_matches('`').trim_start_matches("crates/").to_owned();
        let ahead: Vec<_> = names(row[1]).into_iter().filter(|used| !before.contains(used)).collect();
        assert!(ahead.is_empty(), "{name} stands above {ahead:?}, which it uses");
        before.insert(name);
    }
}

#[test]
fn libraries_stay_with_the_crates_that_architecture_says() {
    let used = used();
    for row in table("| library | alone in |") {
        let library = row[0].trim_matches('`');
        let by = used.iter().filter(|(_, uses)| uses.contains(library)).map(|(name, _)| name.clone());
        assert_eq!(by.collect::<BTreeSet<_>>(), names(row[1]), "who uses {library}");
    }
}

#[test]
fn every_crate_has_a_door_that_architecture_names() {
    let doors: BTreeSet<_> =
        table("| crate | its door |").into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let folders = used().into_keys().map(|name| format!("crates/{name}"));
    assert_eq!(doors, folders.collect());
}

/// `server/gate` is below `crates/server/src`; what names no crate is of core's, or stands in the repository as it is.
#[test]
fn every_path_that_architecture_and_contributing_name_is_there() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let is_there = |path: &str| {
        let (first, rest) = path.split_once('/').unwrap();
        let places = [
            path.to_owned(),
            format!("crates/{path}"),
            format!("crates/{first}/src/{rest}"),
            format!("crates/core/src/{path}"),
        ];
        places.iter().any(|place| root.join(place).exists() || root.join(format!("{place}.rs")).exists())
    };
    let of_a_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./".contains(c);
    let mut looked_for = 0;
    for document in [DOCUMENT, include_str!("../../CONTRIBUTING.md")] {
        for path in document.lines().flat_map(names) {
            let inside = !path.starts_with(['/', '.']) && path.contains('/') && path.chars().all(of_a_path);
            if inside {
                assert!(is_there(&path), "{path} is named, and is not there");
                looked_for += 1;
            }
        }
    }
    assert!(looked_for > 80, "of {looked_for} paths");
}
