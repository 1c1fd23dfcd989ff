//! The audit log as a file: where requests came from, and a log that is moved away.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{run, serve, until};

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_tells_where_the_request_came_from_and_a_moved_log_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &["--audit-log-path=audit"]);
    let (log, moved) = (dir.path().join("audit"), dir.path().join("audit.1"));
    assert!(run(dir.path(), &["token", "create", "default", "--audience=before"]).status.success());
    assert!(!run(dir.path(), &["token", "create", "default", "--token=a-wrong-token"]).status.success());
    until("two lines", || lines(&log).len() == 2);
    let before = lines(&log);
    for line in &before {
        assert_eq!(line["sourceIPs"], json!(["127.0.0.1"]), "{line}");
        assert!(line["userAgent"].as_str().unwrap().starts_with("tokensmith/"), "{line}");
    }
    assert_eq!((&before[0]["code"], &before[1]["code"]), (&json!(201), &json!(401)));

    fs::rename(&log, &moved).unwrap();
    server.signal("HUP");
    until("there is a new log", || log.exists());
    assert!(run(dir.path(), &["token", "create", "default", "--audience=after"]).status.success());
    until("its line", || lines(&log).len() == 1);
    assert_eq!(lines(&log)[0]["audiences"], json!(["after"]));
    assert_eq!(lines(&moved), before, "the old one is whole");
}
