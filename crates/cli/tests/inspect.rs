//! `tokensmith token inspect --issuer` as a process, with tokens that someone has made up: what was not checked is never
//! valid, in text, in JSON and in the exit code.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures::FutureExt;
use serde_json::{Value, json};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey, Signer};
use tokensmith_core::random;

/// An issuer on this machine, with one key for each algorithm and some that nobody here can read.
struct Issuer {
    url: String,
    signers: Vec<LocalSigner>,
}

impl Issuer {
    fn start() -> Issuer {
        let keys: Vec<_> = Algorithm::ALL.iter().map(|a| PrivateKey::generate(*a).unwrap()).collect();
        let mut jwks: Vec<Value> =
            keys.iter().map(|key| serde_json::from_str(&key.public().jwk()).unwrap()).collect();
        jwks.push(json!({ "kty": "OKP", "crv": "Ed448", "kid": "ed448", "alg": "EdDSA", "x": "AAAA" }));
        jwks.push(json!({ "kty": "AKP", "kid": "ml-dsa", "alg": "ML-DSA-44", "pub": "AAAA" }));
        jwks.push(json!({ "kty": "AKP", "kid": "slh-dsa", "alg": "SLH-DSA-SHA2-128s", "pub": "AAAA" }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/openid/v1/jwks") }).to_string();
        let documents = Arc::new([discovery, json!({ "keys": jwks }).to_string()]);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let documents = documents.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &documents));
            }
        });
        Issuer { url, signers: keys.iter().map(|key| LocalSigner::new(key).unwrap()).collect() }
    }

    fn claims(&self) -> Value {
        let now = SystemClock::new().unix();
        json!({
            "iss": self.url, "aud": ["vault"], "sub": "system:serviceaccount:n:a", "jti": "j",
            "iat": now, "nbf": now, "exp": now + 600,
            "kubernetes.io": { "namespace": "n", "serviceaccount": { "name": "a", "uid": "u" } },
        })
    }

    /// The exit code, the text's first line and what JSON says.
    fn inspect(&self, token: &str) -> (Option<i32>, String, Value) {
        let run = |form: &str| inspect(token, &["--issuer", &self.url, "--audience=vault", "--output", form]);
        let (table, data) = (run("table"), run("json"));
        assert_eq!(table.status.code(), data.status.code());
        let data: Value = serde_json::from_slice(&data.stdout).unwrap();
        let text = String::from_utf8(table.stdout).unwrap();
        let by = text.lines().find(|line| line.contains(", by the key set at ")).unwrap_or_default();
        (table.status.code(), by.to_owned(), data["verification"]["valid"].clone())
    }

    #[track_caller]
    fn is_not_valid(&self, token: &str, what: &str) {
        let (code, line, valid) = self.inspect(token);
        assert_eq!((code, &valid), (Some(1), &Value::Bool(false)), "{what}: {line}");
        assert!(line.starts_with("NOT "), "{what}: {line}");
    }
}

fn answer(mut stream: TcpStream, documents: &[String; 2]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let body = &documents[usize::from(request.contains("/openid/v1/jwks"))];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn inspect(token: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
    command.args(["token", "inspect"]).args(args).env_remove("KUBECONFIG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who has read enough of it closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(token.as_bytes());
    child.wait_with_output().unwrap()
}

fn part(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

fn signed(signer: &LocalSigner, header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    let signature = signer.sign(text.as_bytes()).now_or_never().unwrap().unwrap();
    format!("{text}.{}", BASE64.encode(signature))
}

#[test]
fn what_was_not_checked_is_never_valid() {
    let issuer = Issuer::start();
    let claims = issuer.claims();
    let mut rewritten = claims.clone();
    rewritten["sub"] = "system:serviceaccount:kube-system:root".into();
    rewritten["kubernetes.io"]["namespace"] = "kube-system".into();
    rewritten["kubernetes.io"]["serviceaccount"]["name"] = "root".into();
    for signer in &issuer.signers {
        let (kid, alg) = (signer.key_id(), signer.algorithm());
        let header = json!({ "alg": alg, "kid": kid });
        let good = signed(signer, &header, &claims);
        let (code, line, valid) = issuer.inspect(&good);
        assert_eq!((code, valid), (Some(0), Value::Bool(true)), "{alg}: {line}");
        assert!(line.starts_with("valid as far as was checked (not checked: account,"), "{alg}: {line}");

        let signature = good.rsplit_once('.').unwrap().1;
        issuer.is_not_valid(&format!("{}.{}.{signature}", part(&header), part(&rewritten)), "other claims");
        issuer.is_not_valid(&format!("{}.{}.", part(&header), part(&claims)), "no signature");
    }
    let kids = issuer.signers.iter().map(|s| s.key_id().to_owned());
    let kids: Vec<_> = kids.chain(["ed448", "ml-dsa", "slh-dsa", "gone", ""].map(str::to_owned)).collect();
    let algorithms = ["ES512", "ML-DSA-44", "ML-DSA-87", "Ed25519", "EdDSA", "PS256", "HS256", "none", "x"];
    for (kid, alg) in kids.iter().flat_map(|kid| algorithms.map(|alg| (kid, alg))) {
        let header = json!({ "alg": alg, "kid": kid });
        let junk = BASE64.encode(random::bytes::<64>());
        issuer
            .is_not_valid(&format!("{}.{}.{junk}", part(&header), part(&rewritten)), &format!("{alg} {kid}"));
    }
}

#[test]
fn a_signed_token_with_odd_claims_is_not_valid() {
    let issuer = Issuer::start();
    let signer = &issuer.signers[0];
    let header = json!({ "alg": signer.algorithm(), "kid": signer.key_id() });
    for (claim, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!([issuer.url])),
        ("aud", json!(["other"])),
        ("aud", json!([7, "vault"])),
        ("sub", json!(7)),
        ("sub", json!("system:serviceaccount:kube-system:root")),
        ("exp", json!(null)),
        ("exp", json!("4000000000")),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(4_000_000_000_u64)),
        ("nbf", json!(i64::MIN)),
        ("iat", json!(4_000_000_000_u64)),
        ("iat", json!([])),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value.clone();
        issuer.is_not_valid(&signed(signer, &header, &claims), &format!("{claim} {value}"));
    }
    let mut claims = issuer.claims();
    claims.as_object_mut().unwrap().remove("exp");
    issuer.is_not_valid(&signed(signer, &header, &claims), "no exp");
    for extra in [json!({ "crit": ["exp"] }), json!({ "b64": false })] {
        let mut header = header.clone();
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        issuer.is_not_valid(&signed(signer, &header, &issuer.claims()), &extra.to_string());
    }
}

#[test]
fn without_a_verifier_nothing_is_called_valid() {
    let out = inspect(&format!("{}.{}.AAAA", part(&json!({ "alg": "ES256" })), part(&json!({}))), &[]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        out.status.success() && text.contains("not verified: nobody has checked the signature"),
        "{text}"
    );
}

#[test]
fn a_token_is_found_where_people_have_it() {
    let token = format!("{}.{}.AAAA", part(&json!({ "alg": "ES256" })), part(&json!({ "sub": "somebody" })));
    let data = base64::prelude::BASE64_STANDARD.encode(&token);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "data": { "token": data } });
    for text in [
        format!("\u{feff}Authorization: Bearer {token}\r\n"),
        format!("\"{}\n{}\"", &token[..20], &token[20..]),
        format!("kind: Secret\ndata:\n  token: {data}\n"),
        secret.to_string(),
        data,
    ] {
        let out = inspect(&text, &["--output=json"]);
        let said: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((out.status.code(), &said["claims"]["sub"]), (Some(0), &json!("somebody")), "{text}");
    }
}

#[test]
fn what_is_no_token_is_called_by_its_name() {
    let token = format!("{}.{}.AAAA", part(&json!({ "alg": "ES256" })), part(&json!({})));
    let long = "a".repeat((1 << 20) + 1);
    for (text, said) in [
        ("", "this is not a token: it is empty"),
        (
            "-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----\n",
            "this is not a token: it is a private key (PEM)",
        ),
        (
            "a.b.c.d.e",
            "this is not a token: it has five parts, so it is encrypted (JWE), which Kubernetes does not use",
        ),
        (&format!("{token}\n{token}\n"), "this is not a token: there are 2 tokens: give one of them"),
        ("s3cr3t", "this is not a token: it has 1 part between dots, a JWT has three"),
        (
            "{\"kind\": \"Secret\", \"data\": {\"password\": \"s3cr3t\"}}",
            "this is not a token: it is a Secret without a data.token",
        ),
        (&long, "this is not a token: it is longer than 1 MiB"),
    ] {
        let out = inspect(text, &[]);
        let error = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), error), (Some(1), format!("error: {said}\n")));
    }
}
