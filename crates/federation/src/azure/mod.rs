//! Microsoft's: Entra's token endpoint for applications that trust the tokens of an issuer (federated credentials).
//!
//! ```text
//! POST /{tenant}/oauth2[/v2.0]/token ─► config (tenant, application) ─► assertion ─► issuers ─► issued: an access token
//! GET  /{tenant}[/v2.0]/.well-known/openid-configuration, /{tenant}/discovery/v2.0/keys, /common/discovery/instance ─► documents
//! ```
//!
//! Promises: tenants and applications are found by a look-up, however many there are; an application's credentials are twenty at
//! most. Nothing is kept of what is given out.

mod assertion;
mod config;
mod documents;
mod issued;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::Value;
use tokensmith_core::random;
use tokensmith_verify::trust::Untrusted;
use uuid::Uuid;

use crate::answer;
use crate::cloud::{Cloud, Failure, Means, Service};
use crate::form::{Form, Repeated};
use crate::issuers::{Rules, Trusted};
use crate::token::Unverified;
use config::Tenant;
pub(crate) use config::{Config, RawConfig};
use issued::{Grant, Issued};
use refusal::{About, Refusal};

/// The service.
pub(crate) struct Azure {
    means: Means,
    config: Config,
    trusted: Arc<Trusted>,
    issued: Issued,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    Instance,
    Discovery { tenant: &'a str },
    Keys { tenant: &'a str },
    Token { tenant: &'a str, version: Version },
}

/// Of the token endpoint. The first is what Azure's libraries before MSAL ask (`adal` of go-autorest has federated credentials there):
/// a resource by its name instead of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Scopes that say nothing of a resource.
const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
const REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

impl Azure {
    pub(crate) fn new(config: Config, means: Means) -> Self {
        let issuers: Vec<String> = config.issuers().into_iter().map(str::to_owned).collect();
        let leeway = Duration::from_secs(assertion::LEEWAY.unsigned_abs());
        let trusted = Trusted::new(issuers, Rules { leeway, keys: None }, &means);
        Azure { issued: Issued::new(&means.secret), means, config, trusted }
    }

    fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.config.tenants.get(&name.to_ascii_lowercase()).map(|tenant| &**tenant)
    }

    /// A document.
    fn document(&self, endpoint: Endpoint<'_>, query: &str) -> Result<Value, Refusal> {
        let url = &*self.means.url;
        let known = |name: &str| match self.tenant(name) {
            Some(tenant) => Ok(tenant.id),
            None => Err(Refusal::unknown_tenant_document(name)),
        };
        match endpoint {
            Endpoint::Discovery { tenant } => Ok(documents::tenant(url, known(tenant)?)),
            Endpoint::Keys { tenant } => known(tenant).map(|_| self.issued.keys()),
            Endpoint::Instance => {
                let form = Form::parse(query.as_bytes()).map_err(repeated)?;
                let wanted = form.get("authorization_endpoint").unwrap_or_default();
                let version = form.get("api-version").unwrap_or("1.0");
                documents::instance(url, wanted, version).ok_or_else(Refusal::unknown_instance)
            }
            Endpoint::Token { .. } => Err(Refusal::invalid_input("The endpoint only accepts POST requests.")),
        }
    }

    /// A token.
    async fn token(&self, tenant: &str, version: Version, body: &[u8]) -> Result<Value, Refusal> {
        let form = Form::parse(body).map_err(repeated)?;
        let wanted = |name: &'static str| form.get(name).ok_or_else(|| Refusal::missing_parameter(name));
        match wanted("grant_type")? {
            "client_credentials" => {}
            other => return Err(Refusal::unsupported_grant(other)),
        }
        let known = self.tenant(tenant).ok_or_else(|| {
            let possible = tenant.parse::<Uuid>().is_ok() || crate::config::is_domain(tenant);
            if possible { Refusal::unknown_tenant(tenant) } else { Refusal::no_tenant(tenant) }
        })?;
        let client = wanted("client_id")?;
        let resource = match version {
            Version::V1 => wanted("resource")?,
            Version::V2 => resource(wanted("scope")?)?,
        };
        let application = client.parse().ok().and_then(|id: Uuid| known.applications.get(&id));
        let application = application.ok_or_else(|| Refusal::unknown_application(client, &known.name))?;
        let Some(token) = form.get("client_assertion") else {
            let secret = form.get("client_secret").is_some();
            return Err(if secret { Refusal::invalid_secret(client) } else { Refusal::no_credential() });
        };
        if wanted("client_assertion_type")? != ASSERTION_TYPE {
            return Err(Refusal::invalid_input(format!(
                "The client_assertion_type must be '{ASSERTION_TYPE}'."
            )));
        }
        let of = |refusal: Refusal| {
            refusal.about(format_args!("a token for application {} of tenant {}", application.id, known.id))
        };
        let unverified = assertion::read(token).map_err(of)?;
        let (issuer, subject) =
            (unverified.text("iss").unwrap_or_default(), unverified.text("sub").unwrap_or_default());
        let of = |refusal: Refusal| of(refusal.about(format_args!("of {issuer} and {subject:?}")));
        assertion::matching(application, client, &unverified.claims).map_err(of)?;
        let signed = self.trusted.verify(token).await;
        let claims = signed.map_err(|why| of(self.untrusted(&why, &unverified)))?.claims;
        let now = self.means.clock.now();
        assertion::in_time(&claims, now).map_err(of)?;
        tracing::info!(tenant = %known.id, application = %application.id, "access token of an application");
        let grant = Grant {
            url: &self.means.url,
            version,
            tenant: known.id,
            application: application.id,
            resource,
            now: now.unix_timestamp(),
        };
        Ok(self.issued.answer(&grant))
    }

    /// What Entra says of a token that is not believed.
    fn untrusted(&self, why: &Untrusted, unverified: &Unverified) -> Refusal {
        let issuer = unverified.text("iss").unwrap_or_default();
        match why {
            Untrusted::Algorithm | Untrusted::Critical | Untrusted::Signature => {
                Refusal::signature().because(why)
            }
            Untrusted::Issuer => Refusal::issuer(issuer),
            Untrusted::Keys { .. } => Refusal::unreachable().because(why),
            Untrusted::Malformed(_) | Untrusted::NoExpiry | Untrusted::TooLong => Refusal::malformed(why),
            Untrusted::NoKeyId => Refusal::no_key_id(),
            Untrusted::Time(_) => assertion::outside(&unverified.claims, self.means.clock.now()),
            Untrusted::UnknownKey => {
                Refusal::unknown_key(unverified.header("kid").unwrap_or_default(), issuer)
            }
        }
    }

    fn refused(&self, refusal: &Refusal, correlation: Uuid) -> Response<Bytes> {
        tracing::info!(code = refusal.code, %correlation, cause = %refusal, "Azure: a request is refused");
        refusal.answer(About { correlation, now: self.means.clock.now() })
    }

    async fn answered(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        let endpoint = endpoint(request.uri().path());
        if let (&Method::POST, Some(Endpoint::Token { tenant, version })) = (request.method(), endpoint) {
            let answer = self.token(tenant, version, request.body()).await?;
            return Ok(answer::json(StatusCode::OK, &answer));
        }
        match endpoint {
            Some(endpoint) if request.method() == Method::GET => {
                let document = self.document(endpoint, request.uri().query().unwrap_or_default())?;
                let mut response = answer::json(StatusCode::OK, &document);
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                Ok(response)
            }
            _ => Err(Refusal::invalid_input("The request is not valid for this endpoint.")),
        }
    }
}

#[async_trait]
impl Service for Azure {
    fn cloud(&self) -> Cloud {
        Cloud::Azure
    }

    fn owns(&self, path: &str) -> bool {
        endpoint(path).is_some()
    }

    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let asked = request_id(request.headers());
        let answered = self.answered(&request).await;
        let correlation = asked.unwrap_or_else(random::uuid);
        let mut response = answered.unwrap_or_else(|refusal| self.refused(&refusal, correlation));
        // "return-client-request-id: true" asks for it back.
        let back = request.headers().get("return-client-request-id");
        if asked.is_some() && back.is_some_and(|back| back.as_bytes().eq_ignore_ascii_case(b"true")) {
            let value =
                HeaderValue::from_str(&correlation.to_string()).expect("hexadecimal digits and strokes");
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }

    fn id(&self, headers: &HeaderMap) -> Option<Uuid> {
        request_id(headers)
    }

    fn failed(&self, failure: Failure, id: Option<Uuid>) -> Response<Bytes> {
        self.refused(&Refusal::failed(failure), id.unwrap_or_else(random::uuid))
    }
}

/// Which endpoint a path is. Two strokes are one, as at Entra: an authority with a stroke at its end makes two of them.
fn endpoint(path: &str) -> Option<Endpoint<'_>> {
    if path.ends_with('/') {
        return None;
    }
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match std::array::from_fn(|_| parts.next().unwrap_or_default()) {
        ["common", "discovery", "instance", "", ""] => Some(Endpoint::Instance),
        // Where version 1 has its document there is the same one: the tokens are those of version 2.
        [tenant, "v2.0", ".well-known", "openid-configuration", ""]
        | [tenant, ".well-known", "openid-configuration", "", ""] => Some(Endpoint::Discovery { tenant }),
        [tenant, "discovery", "v2.0", "keys", ""] => Some(Endpoint::Keys { tenant }),
        [tenant, "oauth2", "v2.0", "token", ""] => Some(Endpoint::Token { tenant, version: Version::V2 }),
        [tenant, "oauth2", "token", "", ""] => Some(Endpoint::Token { tenant, version: Version::V1 }),
        _ => None,
    }
}

/// The id that the client has given its request.
fn request_id(headers: &HeaderMap) -> Option<Uuid> {
    headers.get(REQUEST_ID)?.to_str().ok()?.parse().ok()
}

/// What an access token is for: "the scope … should be the resource identifier … affixed with the .default suffix"
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>). Beside it there may be the
/// scopes of OpenID Connect (Core §5.4 and §11), which some libraries of Microsoft's put into every request; they give nothing.
fn resource(scope: &str) -> Result<&str, Refusal> {
    // RFC 6749 §3.3: in any order, with spaces between them.
    let mut wanted = scope.split(' ').filter(|one| !one.is_empty() && !OPENID.contains(one));
    let resource = match (wanted.next(), wanted.next()) {
        (Some(one), None) => one.strip_suffix("/.default"),
        _ => None,
    };
    resource
        .filter(|resource| !resource.is_empty() && !resource.contains(char::is_whitespace))
        .ok_or_else(|| Refusal::invalid_scope(scope))
}

fn repeated(repeated: Repeated) -> Refusal {
    let name = repeated.name();
    Refusal::invalid_input(format!("The parameter '{name}' must not be given more than once."))
}
