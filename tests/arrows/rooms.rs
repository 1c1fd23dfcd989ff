//! A kind's rules are in its room: what reads, writes and shows objects of all kinds names none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokensmith_objects::schema::Schema;

/// The crates through which every kind goes.
const OF_ALL_KINDS: [&str; 3] = ["objects", "registry", "server"];

/// What is about certain kinds, and why.
const ABOUT_SOME: [(&str, &str); 18] = [
    ("objects/src/bootstrap.rs", "the RBAC objects that every cluster has"),
    ("objects/src/kinds", "the rooms"),
    ("objects/src/validate/meta.rs", "an event owns nothing, whatever it is an owner of"),
    ("registry/src/admission", "a member is about the kinds that it names"),
    ("registry/src/builtin.rs", "what every cluster and every namespace has"),
    ("registry/src/controllers", "a controller is about a kind"),
    ("registry/src/evict.rs", "what is below a pod: its eviction, which asks budgets"),
    ("registry/src/legacy.rs", "what the server itself writes about tokens in Secrets"),
    ("registry/src/options/list.rs", "the view's index of pods by their nodes"),
    ("registry/src/pods.rs", "what is below a pod: its binding and its further containers"),
    ("registry/src/quota", "what of a kind quotas count, under names that they have for it"),
    ("registry/src/scale.rs", "what is below workloads: a kind that is answered alone"),
    ("registry/src/services", "addresses and ports, which services share"),
    ("server/src/audit/about.rs", "which account a token was asked for"),
    ("server/src/routes/connect.rs", "what a kubelet would answer of pods, services and nodes"),
    (
        "server/src/routes/mod.rs",
        "tokens and reviews are the server's own work; the form of paths below namespaces",
    ),
    ("server/src/routes/pods.rs", "what is below a pod"),
    (
        "server/src/routes/why",
        "who may read roles is told of them; a token is not minted to see whether it may be",
    ),
];

#[test]
fn a_kind_is_named_in_its_room_alone() {
    let mut names = BTreeSet::new();
    for kind in Schema::builtin().kinds().filter(|kind| kind.stored) {
        names.extend([&kind.kind, &kind.plural, &kind.group].map(|name| format!("\"{name}\"")));
    }
    names.remove("\"\"");
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates"));
    let (mut found, mut excused) = (Vec::new(), BTreeSet::new());
    for path in OF_ALL_KINDS.iter().flat_map(|name| sources(&crates.join(name).join("src"))) {
        let below = path.strip_prefix(crates).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        // Tests stand at the end.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let named = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = named.filter(|line| names.iter().any(|name| line.contains(name)));
        let named: Vec<_> = named.map(|line| format!("{}: {}", below.display(), line.trim())).collect();
        match ABOUT_SOME.iter().find(|(place, _)| below.starts_with(place)) {
            Some((place, _)) if !named.is_empty() => drop(excused.insert(*place)),
            Some(_) => {}
            None => found.extend(named),
        }
    }
    assert!(found.is_empty(), "these go by a kind's name:\n{}", found.join("\n"));
    let wanted: BTreeSet<_> = ABOUT_SOME.iter().map(|(place, _)| *place).collect();
    assert_eq!(excused, wanted, "left: what names kinds of what may");
}

/// The files with code of a folder, those of tests left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let others =
        entries.filter(|path| !["tests", "testing"].contains(&path.file_stem().unwrap().to_str().unwrap()));
    let into = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    others.flat_map(into).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}
