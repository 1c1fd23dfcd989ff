//! Asking a server in its own process, as its administrator: by the router that answers the network, without the network.

use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokensmith_core::moment;
use tower::ServiceExt;
use zeroize::Zeroizing;

use crate::server::Server;

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A service account that is none.
    #[error("{0:?} is no service account: it is NAMESPACE/NAME")]
    Account(String),
    /// An answer that is none.
    #[error("the server's answer cannot be read")]
    Answer,
    /// A path that is none.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    /// A `Status` that is no success, in Kubernetes' words.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// E.g. `NotFound`.
        reason: String,
        /// For people.
        message: String,
    },
}

/// A token that was minted. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Token {
    text: Zeroizing<String>,
    expires_at: OffsetDateTime,
}

impl Token {
    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it expires, by the server's clock.
    pub fn expires_at(&self) -> OffsetDateTime {
        self.expires_at
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Asks for a token of a service account: `.await` it.
#[must_use = "nothing is asked before it is awaited"]
pub struct TokenRequest<'a> {
    server: &'a Server,
    account: String,
    spec: Value,
}

impl<'a> TokenRequest<'a> {
    pub(crate) fn new(server: &'a Server, account: &str) -> Self {
        TokenRequest { server, account: account.to_owned(), spec: json!({ "audiences": [] }) }
    }

    /// Whom it is for; may be said more than once. Nobody: the API.
    pub fn audience(mut self, audience: &str) -> Self {
        if let Some(audiences) = self.spec["audiences"].as_array_mut() {
            audiences.push(audience.into());
        }
        self
    }

    /// How long it is to live; Kubernetes' usual hour else, and ten minutes at least.
    pub fn seconds(mut self, seconds: i64) -> Self {
        self.spec["expirationSeconds"] = seconds.into();
        self
    }

    /// Binds it to an object of the account's namespace: `Pod` or `Secret`; or to a `Node`.
    pub fn bound_to(mut self, kind: &str, name: &str) -> Self {
        self.spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": name});
        self
    }

    async fn send(self) -> Result<Token, CallError> {
        let path = self.server.ensure_account(&self.account).await?;
        let body = json!({ "spec": self.spec });
        let answer = self.server.call(Method::POST, &format!("{path}/token"), Some(&body)).await?;
        let status = &answer["status"];
        let expires_at = status["expirationTimestamp"].as_str().and_then(|text| moment::parse(text).ok());
        match (status["token"].as_str(), expires_at) {
            (Some(text), Some(expires_at)) => Ok(Token { text: Zeroizing::new(text.into()), expires_at }),
            _ => Err(CallError::Answer),
        }
    }
}

impl<'a> IntoFuture for TokenRequest<'a> {
    type Output = Result<Token, CallError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// How a patch says what changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// A list of operations (RFC 6902).
    Json,
    /// The parts that change (RFC 7396).
    Merge,
}

/// What a TokenReview says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Whether the token is good for the audience.
    pub authenticated: bool,
    /// Whose it is: empty when it is not good.
    pub user: String,
    /// Why it is not good, in Kubernetes' words.
    pub error: String,
}

impl Server {
    /// Asks the API as the administrator and gives the answer's JSON.
    ///
    /// # Errors
    /// The answer is a `Status` that is no success.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CallError> {
        self.ask(method, path, "application/json", body).await
    }

    /// Changes an object as the administrator.
    ///
    /// # Errors
    /// As [`Server::call`].
    pub async fn patch(&self, path: &str, patch: Patch, body: &Value) -> Result<Value, CallError> {
        let media_type = match patch {
            Patch::Json => "application/json-patch+json",
            Patch::Merge => "application/merge-patch+json",
        };
        self.ask(Method::PATCH, path, media_type, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let mut bearer = http::HeaderValue::try_from(format!("Bearer {}", &**self.admin_token()))
            .map_err(http::Error::from)?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, media_type);
        let request = request.body(body.map_or(Body::empty(), |body| body.to_string().into()))?;
        let answer: Response = match self.router().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.map_err(|_| CallError::Answer)?.to_bytes();
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| CallError::Answer)?;
        if parts.status.is_success() {
            return Ok(value);
        }
        let text = |key: &str| value[key].as_str().unwrap_or("").to_owned();
        Err(CallError::Refused {
            code: parts.status.as_u16(),
            reason: text("reason"),
            message: text("message"),
        })
    }

    /// Asks the server about a token, as a verifier would that cannot check it by itself.
    ///
    /// # Errors
    /// As [`Server::call`]. That a token is no good is none.
    pub async fn review(&self, token: &str, audience: &str) -> Result<Review, CallError> {
        let body = json!({"spec": {"token": token, "audiences": [audience]}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer = self.call(Method::POST, path, Some(&body)).await?;
        let status = &answer["status"];
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        Ok(Review {
            authenticated: status["authenticated"].as_bool().unwrap_or(false),
            user: text(&status["user"]["username"]),
            error: text(&status["error"]),
        })
    }

    /// Makes an account and its namespace where they are not there. Gives the account's path.
    async fn ensure_account(&self, account: &str) -> Result<String, CallError> {
        let none = || CallError::Account(account.to_owned());
        let (namespace, name) = account.split_once('/').ok_or_else(none)?;
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(none());
        }
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let there = self.app().view.snapshot();
        if there.get("", "namespaces", "", namespace).is_none() {
            self.create("/api/v1/namespaces", namespace).await?;
        }
        if there.get("", "serviceaccounts", namespace, name).is_none() {
            self.create(&accounts, name).await?;
        }
        Ok(format!("{accounts}/{name}"))
    }

    /// Makes an object of no more than a name, unless somebody else was faster.
    async fn create(&self, path: &str, name: &str) -> Result<(), CallError> {
        let body = json!({ "metadata": { "name": name } });
        match self.call(Method::POST, path, Some(&body)).await {
            Err(CallError::Refused { code: 409, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }
}
