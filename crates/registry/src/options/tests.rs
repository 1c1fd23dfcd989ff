use tokensmith_objects::schema;

use super::*;

fn text<T: std::fmt::Debug>(read: Result<T, Error>) -> String {
    read.unwrap_err().to_string()
}

#[test]
fn flags_are_true_unless_they_are_plainly_false() {
    for (query, want) in [
        ("orphanDependents=true", Some(Propagation::Orphan)),
        ("orphanDependents=", Some(Propagation::Orphan)),
        ("orphanDependents=no", Some(Propagation::Orphan)),
        ("orphanDependents=FALSE", Some(Propagation::Background)),
        ("orphanDependents=0", Some(Propagation::Background)),
        ("propagationPolicy=Foreground", Some(Propagation::Foreground)),
        ("", None),
    ] {
        assert_eq!(DeleteOptions::from_query(query).unwrap().propagation(), want, "{query}");
    }
}

#[test]
fn a_query_that_go_cannot_read_says_nothing() {
    for query in ["dryRun=%zz", "dryRun=a;b", "dry%Run=x", "&&"] {
        assert!(!WriteOptions::create(query).unwrap().dry_run(), "{query}");
    }
    assert!(WriteOptions::create("dry%52un=%41ll").unwrap().dry_run());
}

#[test]
fn only_an_apply_may_be_forced_and_must_say_who_it_is() {
    assert!(WriteOptions::patch("force=true&fieldManager=me", true).is_ok());
    let said = text(WriteOptions::patch("force=true", true));
    assert_eq!(
        said,
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
}

#[test]
fn lists_and_watches_are_judged_by_their_own_rules() {
    let kind = schema::kind("", "configmaps").unwrap();
    let of = "ListOptions.meta.k8s.io \"\" is invalid: ";
    for (query, want) in [
        (
            "resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=x&resourceVersion=1",
            "resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        ("sendInitialEvents=false", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            "watch=1&sendInitialEvents=false",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            "watch=1&sendInitialEvents=1&resourceVersionMatch=Exact",
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        ),
    ] {
        assert_eq!(text(ListOptions::read(kind, query)), format!("{of}{want}"), "{query}");
    }
    for (query, want) in [
        ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("limit=", "strconv.ParseInt: parsing \"\": invalid syntax"),
        (
            "limit=9223372036854775808",
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range",
        ),
        ("limit=x&labelSelector=%3D%3D", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("labelSelector=%3D%3D", "found '==', expected: !, identifier, or 'end of string'"),
    ] {
        assert_eq!(text(ListOptions::read(kind, query)), want, "{query}");
    }
    let seconds = |query| ListOptions::read(kind, query).unwrap().timeout_seconds();
    assert_eq!((seconds("watch=1&timeoutSeconds=0"), seconds("watch=1&timeoutSeconds=5")), (None, Some(5)));
    let version = |query| ListOptions::read(kind, query).unwrap().revision();
    assert_eq!(version("resourceVersion=7").unwrap(), 7);
    let said = "invalid resource version: resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax";
    assert_eq!(text(version("resourceVersion=-1")), said);
    assert!(version("resourceVersion=%2B1").is_err(), "Go takes no sign there");
}

#[test]
fn a_watch_of_what_is_there_goes_on_from_nowhere() {
    let kind = schema::kind("", "configmaps").unwrap();
    let told = |query: &str| ListOptions::read(kind, &format!("watch=true&continue=x{query}")).map(drop);
    let want = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided";
    assert_eq!(text(told("")), want);
    assert_eq!(text(told("&resourceVersion=0")), want);
    assert!(told("&resourceVersion=5").is_ok());
}
