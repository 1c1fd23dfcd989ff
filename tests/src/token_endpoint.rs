//! A token endpoint over TLS (RFC 8693) that says what it was asked, and refuses when it is told to: what clients of any such
//! endpoint are tried against.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The parameters of a request, in their order.
pub type Form = Vec<(String, String)>;

/// An endpoint, until it is dropped.
pub struct TokenEndpoint {
    dir: TempDir,
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<Form>,
    issued: u64,
    refusal: Option<(u16, String)>,
}

impl TokenEndpoint {
    /// Starts one with a certificate of its own for `localhost`.
    ///
    /// # Errors
    /// There is no port, or no certificate.
    pub async fn start() -> Result<TokenEndpoint> {
        let dir = tempfile::tempdir()?;
        let key = rcgen::KeyPair::generate()?;
        let made = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
        fs::write(dir.path().join("ca.crt"), made.pem())?;
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let state = Arc::<Mutex<State>>::default();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), state.clone()));
        Ok(TokenEndpoint { dir, port, state })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/oauth2/token", self.port)
    }

    /// Whom to trust for it, a PEM file.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<Form> {
        std::mem::take(&mut self.state().asked)
    }

    /// Answers with this status and body from now on; `None`: with tokens.
    pub fn refuse(&self, refusal: Option<(u16, &str)>) {
        self.state().refusal = refusal.map(|(status, body)| (status, body.to_owned()));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first value of a parameter.
pub fn value<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let state = state.clone();
                async move {
                    let body = request.into_body().collect().await.map(|body| body.to_bytes());
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    Ok::<_, Infallible>(answer(&mut state, &body.unwrap_or_default()))
                }
            });
            let io = TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

fn answer(state: &mut State, body: &[u8]) -> Response<Full<Bytes>> {
    let form: Form = url::form_urlencoded::parse(body).into_owned().collect();
    let audience = value(&form, "audience").unwrap_or_default().to_owned();
    state.asked.push(form);
    let (status, body) = match &state.refusal {
        Some((status, body)) => (*status, body.clone()),
        None => {
            state.issued += 1;
            let token = json!({
                "access_token": format!("exchanged-{audience}-{}", state.issued),
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 600,
            });
            (200, token.to_string())
        }
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    let response = response.header("location", "https://localhost:1/elsewhere").body(Full::from(body));
    response.unwrap_or_default()
}
