//! A server with a policy, an issuer elsewhere, and who asks.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokensmith::{ExchangePolicies, LedgerMode, Options, Server};
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey, Signer, signature};

pub const ISSUER: &str = "https://tokens.example.com";
pub const ENDPOINT: &str = "https://tokens.example.com/oauth2/token";
pub const OTHER: &str = "https://ci.example.com";

pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The policy of most tests; `{keys}` is the other issuer's key set.
pub const POLICY: &str = r#"
issuers:
- issuer: https://ci.example.com
  keysFile: jwks.json
clients:
- name: gateway
  from: {serviceAccount: {namespace: edge, name: gateway}}
  may: [introspect, revoke]
- name: billing
  from: {serviceAccount: {namespace: edge, name: billing}}
  may: [introspect, revoke]
  audiences: [billing]
rules:
- name: payments
  from: {serviceAccount: {namespace: pay, name: api}}
  audiences: [vault, 'https://*.example.com']
  resources: ['https://db.example.com/*']
  scopes: [read, write]
  claims: {team: "'payments'", from: claims.sub}
  lifetime: 20m
  boundLifetime: 5m
- name: onward
  from: {exchanged: {audience: vault}}
  audiences: [ledger, billing]
  scopes: [read, admin]
- name: delegated
  from: {serviceAccount: {namespace: pay, name: front}}
  actors: {from: [{serviceAccount: {namespace: pay}}], mayAct: required}
  audiences: [vault, billing]
- name: ci
  from: {issuer: 'https://ci.example.com', subject: 'repo:acme/*', conditions: ["claims.ref == 'main'"]}
  audiences: [registry]
  lifetime: 1h
- name: any-subject
  from: {issuer: 'https://ci.example.com', subject: 'evil:*'}
  audiences: [registry]
  audiencesFrom: "has(claims.wants) ? [claims.wants] : ['registry']"
  subject: claims.as
  claims: {extra: "has(claims.extra) ? claims.extra : null"}
"#;

pub struct World {
    pub server: Server,
    pub http: reqwest::Client,
    pub other: PrivateKey,
    pub policies: Arc<ExchangePolicies>,
    pub folder: tempfile::TempDir,
    audit: Arc<Mutex<Vec<u8>>>,
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of an error.
    pub fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or(&self.text))
    }
}

impl World {
    pub async fn new() -> World {
        World::with(POLICY, |_| {}).await
    }

    pub async fn with(policy: &str, change: impl FnOnce(&mut Options)) -> World {
        World::beside(&[], policy, change).await
    }

    /// With these files beside the policy.
    pub async fn beside(files: &[(&str, &str)], policy: &str, change: impl FnOnce(&mut Options)) -> World {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let other = PrivateKey::generate(Algorithm::ES256).unwrap();
        let jwks = format!(r#"{{"keys":[{}]}}"#, other.public().jwk());
        std::fs::write(folder.path().join("jwks.json"), jwks).unwrap();
        let policies = ExchangePolicies::open(policy.as_bytes(), folder.path()).unwrap();
        let audit = Arc::new(Mutex::new(Vec::new()));
        let builder = Server::ephemeral().issuer(ISSUER).audit(Lines(audit.clone()));
        let given = policies.clone();
        let server = builder.with(move |options| {
            options.exchange = Some(given);
            options.ledger = LedgerMode::Full;
            change(options);
        });
        let server = server.start().await.unwrap();
        let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
        let http = http.no_proxy().build().unwrap();
        World { server, http, other, policies, folder, audit }
    }

    /// A form to an endpoint.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(path, form, &[]).await
    }

    pub async fn send(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body: String = form.iter().map(|(name, value)| format!("{name}={}&", escaped(value))).collect();
        self.raw(path, "application/x-www-form-urlencoded", body.into_bytes(), headers).await
    }

    pub async fn raw(&self, path: &str, media: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
        let asked = self.http.post(format!("{}{path}", self.server.url())).header("content-type", media);
        let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
        answer(asked.body(body).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.http.get(format!("{}{path}", self.server.url())).send().await.unwrap()).await
    }

    /// An account's token for this endpoint.
    pub async fn account(&self, account: &str) -> String {
        self.server.token(account).audience(ISSUER).await.unwrap().as_str().to_owned()
    }

    /// Exchanges a token, with more parameters.
    pub async fn exchange(&self, subject: &str, more: &[(&str, &str)]) -> Answer {
        let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token", subject), ("subject_token_type", JWT)];
        self.post("/oauth2/token", &[&form, more].concat()).await
    }

    /// The token that an account's is exchanged for.
    pub async fn exchanged(&self, account: &str, audience: &str) -> String {
        let subject = self.account(account).await;
        let answer = self.exchange(&subject, &[("audience", audience)]).await.ok();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// As a client that the policy lets introspect.
    pub async fn introspect(&self, token: &str) -> Value {
        self.introspect_as("edge/gateway", token).await.ok()
    }

    pub async fn introspect_as(&self, account: &str, token: &str) -> Answer {
        let assertion = self.account(account).await;
        let client = [("client_assertion_type", ASSERTION), ("client_assertion", &assertion)];
        self.post("/oauth2/introspect", &[&[("token", token)], &client[..]].concat()).await
    }

    /// A token of the other issuer, with these claims in the place of the usual ones; `null` leaves one out.
    pub async fn other_token(&self, claims: Value) -> String {
        self.other_with(json!({}), claims).await
    }

    pub async fn other_with(&self, header: Value, claims: Value) -> String {
        let now = self.server.clock().now().unix_timestamp();
        let usual = json!({
            "iss": OTHER, "sub": "repo:acme/shop", "aud": ISSUER, "iat": now, "exp": now + 600,
            "jti": uuid(), "ref": "main",
        });
        let signer = LocalSigner::new(&self.other).unwrap();
        signed(&signer, header, merged(usual, claims)).await
    }

    pub fn now(&self) -> i64 {
        self.server.clock().now().unix_timestamp()
    }

    pub async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.server.call(method, path, body).await.unwrap()
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> String {
        let config: Value = serde_json::from_str(&self.server.kubeconfig()).unwrap();
        config["users"][0]["user"]["token"].as_str().unwrap().to_owned()
    }

    /// The audit lines of an action.
    pub async fn lines(&self, action: &str, wanted: usize) -> Vec<Value> {
        for _ in 0..1_000_000 {
            let text = self.audit.lock().unwrap().clone();
            let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            let lines: Vec<Value> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
            let found: Vec<_> = lines.into_iter().filter(|line| line["action"] == action).collect();
            if found.len() >= wanted {
                return found;
            }
            tokio::task::yield_now().await;
        }
        panic!("no {wanted} lines of {action}");
    }
}

pub async fn answer(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
}

/// Signs any claims under any header; `alg` and `kid` are the signer's unless the header says others.
pub async fn signed(signer: &dyn Signer, header: Value, claims: Value) -> String {
    let own = json!({"alg": signer.algorithm().to_string(), "kid": signer.key_id()});
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&merged(own, header)), encode(&claims));
    let signature = signature(signer, text.as_bytes()).await.unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn merged(mut usual: Value, changed: Value) -> Value {
    for (name, value) in changed.as_object().unwrap() {
        match value.is_null() {
            true => drop(usual.as_object_mut().unwrap().remove(name)),
            false => usual[name] = value.clone(),
        }
    }
    usual
}

pub fn uuid() -> String {
    tokensmith_core::random::uuid().to_string()
}

/// A part of a token.
pub fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub fn header(token: &str) -> Value {
    part(token, 0)
}

pub fn claims(token: &str) -> Value {
    part(token, 1)
}

pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}
