//! `tokensmith doctor` as a process: what it prints and how it ends, over plain http on this machine.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use futures::FutureExt;
use serde_json::{Value, json};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey};
use tokensmith_core::tokens::jws;

/// An issuer, and a token of it that lives for so long.
fn issuer(life: i64) -> (String, String) {
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let document = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") }).to_string();
    let keys = format!("{{\"keys\":[{}]}}", key.public().jwk());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let body = if first.contains("/jwks") { &keys } else { &document };
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let body = if first.starts_with("HEAD") { "" } else { body };
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    let now = SystemClock::new().unix();
    let claims = json!({
        "iss": url, "aud": ["vault"], "sub": "system:serviceaccount:n:a", "iat": now, "nbf": now, "exp": now + life,
    });
    let (signer, payload) = (LocalSigner::new(&key).unwrap(), claims.to_string());
    let token = jws::sign(&signer, payload.as_bytes()).now_or_never().unwrap().unwrap();
    (url, token)
}

fn run(args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tokensmith"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who asks for no token does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn what_holds_for_whom_is_said_by_the_exit_code() {
    let (url, token) = issuer(3600);
    let of = |args: &[&str]| run(&[&["doctor", "--issuer", &url, "--token", "-"], args].concat(), &token);

    let (code, out, err) = of(&["--for", "python-jose,envoy", "--output", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&data["issuer"], &data["holds"]), (&json!(url), &json!(true)));
    // Nothing is known of TLS where there is none.
    let trusted = &data["verifiers"][0]["rules"][2];
    assert_eq!((&trusted["rule"], &trusted["holds"]), (&json!("trusted"), &Value::Null));

    let (code, out, err) = of(&["--for", "kube-apiserver-oidc"]);
    assert_eq!((code, err.as_str()), (3, "error: not all rules hold: kube-apiserver-oidc: https\n"));
    assert!(out.starts_with("VERIFIER ") && out.contains("\nWhat to do:\n  https: "), "{out}");

    let (code, out, _) = of(&["--for", "go-oidc", "--output", "junit"]);
    assert_eq!(code, 3, "it takes RS256 alone where no algorithms are listed");
    assert!(out.contains("<testcase classname=\"go-oidc\" name=\"algorithms-listed\"><failure "), "{out}");

    let (code, _, err) = of(&["--for", "keycloak"]);
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: no verifier is called \"keycloak\": there are issuer, vault-jwt, "),
        "{err}"
    );
}

#[test]
fn an_issuer_that_is_none_is_told() {
    for (issuer, rules) in
        [("kubernetes", "plain-url, https, reachable"), ("http://127.0.0.1:1", "https, reachable")]
    {
        let (code, _, err) = run(&["doctor", "--issuer", issuer], "");
        assert_eq!((code, err), (3, format!("error: not all rules hold: issuer: {rules}\n")));
    }
    let token = concat!("eyJhbGciOiJFUzI1NiJ9.", "eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSJ9.", "c2lnbmF0dXJl");
    let (code, out, err) = run(&["doctor", "--issuer", token], "");
    assert_eq!((code, &*out), (2, ""));
    assert_eq!(err, "error: --issuer: this is a token, not an issuer: give it with --token FILE\n");
}

#[test]
fn a_proxy_that_is_passed_over_is_told() {
    let doctor = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
        command.args(["doctor", "--issuer", "http://255.255.255.255:1"]).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let note = "note: HTTP_PROXY names a proxy for this issuer; doctor goes directly";
    let proxy = ("HTTP_PROXY", "http://jane:s3cret@127.0.0.1:1");
    let told = doctor(&[proxy]);
    assert!(told.starts_with(note) && !told.contains("s3cret"), "{told}");
    assert!(!doctor(&[proxy, ("NO_PROXY", "255.255.255.255")]).contains("note:"));
}

#[test]
fn a_token_is_held_against_rules_without_asking() {
    let (_, token) = issuer(3 * 86_400);
    let (code, out, err) = run(&["token", "inspect", "--for", "gcp,vault-kubernetes"], &token);
    assert_eq!(
        (code, err.as_str()),
        (3, "error: not all rules hold: vault-kubernetes: kubernetes-claims; gcp: lifetime\n")
    );
    assert!(out.contains("not verified: nobody has checked the signature"), "{out}");
    let (code, out, _) = run(&["token", "inspect", "--for", "envoy", "--output", "json"], &token);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &data["verifiers"][0]["name"]), (0, &json!("envoy")));
}

#[test]
fn with_an_issuer_its_keys_count_too() {
    let (url, token) = issuer(600);
    let args = ["token", "inspect", "--issuer", &url, "--audience", "vault", "--for", "envoy"];
    let (code, out, err) = run(&args, &token);
    let signature: Vec<&str> =
        out.lines().find(|line| line.contains("token-signature")).unwrap().split_whitespace().collect();
    assert_eq!(signature[..4], ["envoy", "token-signature", "ok", "a"], "{code} {out} {err}");
}
