//! A start that would refuse every token that is out there says so.

use std::fs;
use std::path::Path;

use crate::process::{refused, run, serve, text};

const OLD: &str = "--service-account-issuer=https://old.example";
const NEW: &str = "--service-account-issuer=https://new.example";

fn accepted(dir: &Path, file: &str) -> bool {
    run(dir, &["token", "inspect", "--file", file, "--server"]).status.success()
}

fn mint(dir: &Path, file: &str) {
    let minted = run(dir, &["token", "create", "default"]);
    assert!(minted.status.success(), "{}", text(&minted.stderr));
    fs::write(dir.join(file), minted.stdout).unwrap();
}

#[test]
fn another_issuer_is_refused_unless_the_old_one_is_kept_or_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut server = serve(at, &[OLD]);
    mint(at, "old");
    assert_eq!(server.stop(), Some(0));

    let wrong = run(at, &["serve", "--secure-port=0", NEW]);
    refused(&wrong, 3, "tokens of issuer https://old.example are out there until ");
    let said = text(&wrong.stderr);
    for part in [
        "(unexpired in the ledger: 1)",
        "`--service-account-issuer https://new.example --service-account-issuer https://old.example`",
        "--drop-service-account-issuer=https://old.example",
    ] {
        assert!(said.contains(part), "{said}");
    }
    refused(&run(at, &["serve", "--secure-port=0"]), 3, "tokens of issuer https://old.example");
    assert!(!at.join("tokensmith-data/issuer").exists(), "nothing is made by who is refused");

    let mut server = serve(at, &[NEW, OLD]);
    assert!(accepted(at, "old"));
    mint(at, "new");
    assert!(accepted(at, "new"));
    assert_eq!(server.stop(), Some(0));
    refused(&run(at, &["serve", "--secure-port=0", NEW]), 3, "tokens of issuer https://old.example");
    let both =
        run(at, &["serve", "--secure-port=0", NEW, "--drop-service-account-issuer=https://new.example"]);
    refused(&both, 2, "it is one of those that are kept");

    let mut server = serve(at, &[NEW, "--drop-service-account-issuer=https://old.example"]);
    assert!(!accepted(at, "old") && accepted(at, "new"));
    assert_eq!(server.stop(), Some(0));
    assert_eq!(serve(at, &[NEW]).stop(), Some(0), "it was meant, once and for all");
}

#[test]
fn another_audience_of_the_api_is_refused_unless_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut server = serve(at, &[OLD, "--api-audiences=one"]);
    mint(at, "token");
    assert_eq!(server.stop(), Some(0));
    let wrong = run(at, &["serve", "--secure-port=0", OLD, "--api-audiences=two"]);
    refused(&wrong, 3, "keep both with `--api-audiences two --api-audiences one`");
    let mut server = serve(at, &[OLD, "--api-audiences=two,one"]);
    assert!(accepted(at, "token"));
    assert_eq!(server.stop(), Some(0));
    assert_eq!(serve(at, &[OLD, "--api-audiences=two", "--drop-api-audience=one"]).stop(), Some(0));
}

#[test]
fn an_audience_may_go_as_soon_as_all_tokens_have_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut server = serve(at, &[OLD, "--api-audiences=one,two"]);
    mint(at, "token");
    assert_eq!(server.stop(), Some(0));
    let mut server = serve(at, &[OLD, "--api-audiences=two"]);
    assert!(accepted(at, "token"));
    mint(at, "alone");
    assert_eq!(server.stop(), Some(0));
    // Tokens with one name are out there, but not with this one alone.
    let mut server = serve(at, &[OLD, "--api-audiences=three,two"]);
    assert!(accepted(at, "token") && accepted(at, "alone"));
    assert_eq!(server.stop(), Some(0));
    let wrong = run(at, &["serve", "--secure-port=0", OLD, "--api-audiences=three,one"]);
    refused(&wrong, 3, "tokens for the API audience two may be out there until ");
    let said = text(&wrong.stderr);
    assert!(said.contains("--drop-api-audience=two") && !said.contains("audience=one"), "{said}");
    let mut server = serve(at, &[OLD, "--api-audiences=three,one", "--drop-api-audience=two"]);
    assert!(accepted(at, "token") && !accepted(at, "alone"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_default_issuer_counts_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut server = serve(at, &[]);
    mint(at, "token");
    assert_eq!(server.stop(), Some(0));
    refused(&run(at, &["serve", "--secure-port=0", NEW]), 3, "keep both with");
    assert_eq!(serve(at, &[]).stop(), Some(0));
}
