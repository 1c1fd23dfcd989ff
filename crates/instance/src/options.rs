//! What an operator decides, as types: no flag, no file and no environment is read here.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use time::OffsetDateTime;
use tokensmith_core::access::admission::Admission;
use tokensmith_core::access::authenticators::ClientCertificates;
use tokensmith_core::access::chain::{AlwaysAllow, AlwaysDeny};
use tokensmith_core::access::node::NodeAuthorizer;
use tokensmith_core::access::rbac::Rbac;
use tokensmith_core::access::{Authorizer, Authorizers, TokenAuthenticator};
use tokensmith_core::keys::issuer::check_issuers;
use tokensmith_core::tokens::{LedgerMode, TokenProfiles};
use tokensmith_exchange::{ENDPOINTS, Policies};
use tokensmith_objects::Object;
use tokensmith_objects::schema::Schema;
use tokensmith_objects::validate::{Limits, MAX_TOKEN_EXPIRATION};
use tokensmith_registry::ServiceRanges;
use tokensmith_server::{AppConfig, Route, routes};

use crate::error::StartError;
use crate::issuers::StartIssuers;
use crate::testing_clock;

/// What [`Limits::min_token_expiration_seconds`] may be: a token that is dead when it is minted is of no use.
pub const MIN_TOKEN_SECONDS: RangeInclusive<i64> = 1..=MAX_TOKEN_EXPIRATION;
/// What [`Options::max_token_seconds`] may be: an hour at the least, as kube-apiserver has it.
pub const MAX_TOKEN_SECONDS: RangeInclusive<i64> = 3600..=MAX_TOKEN_EXPIRATION;

/// What a server does. The defaults are those of `tokensmith serve`.
pub struct Options {
    /// Where others reach the server: the endpoints of the service `kubernetes` lead there. None: nobody keeps them.
    pub advertised: Option<SocketAddr>,
    /// Who else is asked about every write, after the members of admission that every server has.
    pub admission: Vec<Arc<dyn Admission>>,
    /// What tokens are for that name no audience, and what they must be for here. None: the issuers.
    pub api_audiences: Vec<String>,
    /// Who is asked whether a request may be done, in order.
    pub authorization: Vec<Authorization>,
    /// Who else knows callers, before the tokens of service accounts are looked at.
    pub authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    /// Which client certificates are believed.
    pub client_certificates: Option<Arc<ClientCertificates>>,
    /// Audiences of the API that were accepted so far, and whose tokens may be refused from now on.
    pub dropped_audiences: Vec<String>,
    /// Issuers that were accepted so far, and whose tokens may be refused from now on.
    pub dropped_issuers: Vec<String>,
    /// Who gets what for a token at the token endpoint, which there is where this is.
    pub exchange: Option<Arc<Policies>>,
    /// How long events are kept; none: for ever.
    pub event_ttl: Option<time::Duration>,
    /// Whether tokens of automatic volumes live for a year, for clients that do not read them again.
    pub extend_tokens: bool,
    /// What HTTP allows.
    pub http: AppConfig,
    /// Whether pods get a token volume of themselves.
    pub implicit_tokens: bool,
    /// `iss` of new tokens, then those that are accepted besides.
    pub issuers: Vec<String>,
    /// What is written down of tokens.
    pub ledger: LedgerMode,
    /// What validation allows.
    pub limits: Limits,
    /// From which networks services get their addresses, and which ports of nodes.
    pub services: ServiceRanges,
    /// The longest that a token may live, seconds.
    pub max_token_seconds: Option<i64>,
    /// So long at most a pod that is deleted on its node takes to stop, whatever it asks for.
    pub pod_grace: Option<time::Duration>,
    /// Lifetimes, algorithms and claims by audience.
    pub profiles: TokenProfiles,
    /// What clients must trust, PEM: `ca.crt` in every namespace.
    pub root_ca: String,
    /// Endpoints besides the server's own, each with who may come.
    pub routes: Vec<Route>,
}

/// An authorizer (`--authorization-mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Everyone may do everything.
    AlwaysAllow,
    /// Nobody may do anything, but system:masters.
    AlwaysDeny,
    /// Nodes may what their pods need.
    Node,
    /// Roles and bindings.
    Rbac,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            advertised: None,
            admission: Vec::new(),
            api_audiences: Vec::new(),
            authorization: vec![Authorization::Node, Authorization::Rbac],
            authenticators: Vec::new(),
            client_certificates: None,
            dropped_audiences: Vec::new(),
            dropped_issuers: Vec::new(),
            event_ttl: Some(time::Duration::HOUR),
            exchange: None,
            extend_tokens: true,
            http: AppConfig {
                anonymous_auth: true,
                anonymous_oidc: false,
                max_request_bytes: 3 << 20,
                served: Schema::builtin().clone(),
                version: env!("CARGO_PKG_VERSION"),
            },
            implicit_tokens: true,
            issuers: Vec::new(),
            ledger: LedgerMode::Full,
            limits: Limits::default(),
            services: ServiceRanges::default(),
            max_token_seconds: None,
            pod_grace: None,
            profiles: TokenProfiles::default(),
            root_ca: String::new(),
            routes: Vec::new(),
        }
    }
}

impl Options {
    /// Whether all that is decided goes together: the rules that `tokensmith serve` holds its flags against. No issuers are
    /// none that are wrong; a server that starts has one.
    ///
    /// # Errors
    /// Something does not go; says what.
    pub fn check(&self) -> Result<(), StartError> {
        if self.http.anonymous_oidc && !self.http.anonymous_auth {
            return Err(StartError::AnonymousOidc);
        }
        if !self.issuers.is_empty() {
            check_issuers(&self.issuers)?;
        }
        let min = self.limits.min_token_expiration_seconds;
        if !MIN_TOKEN_SECONDS.contains(&min) {
            return Err(StartError::MinTokenSeconds(min));
        }
        if let Some(max) = self.max_token_seconds.filter(|max| !MAX_TOKEN_SECONDS.contains(max)) {
            return Err(StartError::MaxTokenSeconds(max));
        }
        self.services.check()?;
        if let Some(at) = self.advertised.filter(|at| !is_reached(*at)) {
            return Err(StartError::Advertised(at));
        }
        // Who names no audience gets these: they must go together, or nobody would get such a token.
        self.profiles.choose(self.audiences())?;
        // The clock's path is not free on any server, so that a clock that can be moved changes nothing else.
        let own = ENDPOINTS.iter().map(|(path, _)| *path).filter(|_| self.exchange.is_some());
        let more = self.routes.iter().map(|route| route.path).chain([testing_clock::PATH]);
        Ok(routes::check(more.chain(own))?)
    }

    /// What a start asks for at this time, where no issuer of before is known and no key signs elsewhere.
    pub fn start_issuers(&self, now: OffsetDateTime) -> StartIssuers<'_> {
        StartIssuers {
            issuers: &self.issuers,
            audiences: self.audiences(),
            dropped_issuers: &self.dropped_issuers,
            dropped_audiences: &self.dropped_audiences,
            kept: None,
            listed: false,
            now,
        }
    }

    /// What tokens are for that name no audience.
    pub fn audiences(&self) -> &[String] {
        match self.api_audiences.as_slice() {
            [] => &self.issuers,
            given => given,
        }
    }

    /// The authorizers, as one. `bootstrap` are the built-in RBAC objects.
    pub(crate) fn authorizer(&self, bootstrap: &[Object]) -> Arc<dyn Authorizer> {
        let modes = self.authorization.iter().map(|mode| -> Arc<dyn Authorizer> {
            match mode {
                Authorization::AlwaysAllow => Arc::new(AlwaysAllow),
                Authorization::AlwaysDeny => Arc::new(AlwaysDeny),
                Authorization::Node => Arc::new(NodeAuthorizer::new(bootstrap)),
                Authorization::Rbac => Arc::new(Rbac::new()),
            }
        });
        Arc::new(Authorizers::new(modes.collect()))
    }
}

/// Whether an address can be an endpoint (`ValidateEndpointIP`).
fn is_reached(at: SocketAddr) -> bool {
    let own = match at.ip() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            first & 0xffc0 == 0xfe80 || first & 0xff0f == 0xff02 || ip.to_ipv4_mapped().is_some()
        }
    };
    at.port() != 0 && !at.ip().is_unspecified() && !at.ip().is_loopback() && !own
}
