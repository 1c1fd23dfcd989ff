//! `gcp:` of the configuration: pools, providers and service accounts as Google's own tools print them.
//!
//! A provider is what `gcloud iam workload-identity-pools providers describe` prints, a policy what
//! `gcloud iam service-accounts get-iam-policy` does; what they print besides is taken and not looked at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use tokensmith_api::yaml::{ConfigError, Placed};
use tokensmith_core::keys::PublishedKeys;
use tokensmith_core::keys::issuer::check_discovery;

use super::mapping::{Compiled, Mapping};
use super::names::{self, Named, ProviderName};
use super::uploaded;

/// What is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawConfig {
    #[serde(default)]
    pools: Vec<Placed<RawPool>>,
    providers: Vec<Placed<RawProvider>>,
    #[serde(default)]
    service_accounts: Vec<Placed<RawAccount>>,
}

/// IAM API, `WorkloadIdentityPool`. One that is not written down is there, and open.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawPool {
    name: Placed<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    state: State,
    #[serde(rename = "displayName")]
    _display_name: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// IAM API, `WorkloadIdentityPoolProvider`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawProvider {
    name: Placed<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    state: State,
    attribute_mapping: Placed<BTreeMap<String, Placed<String>>>,
    attribute_condition: Option<Placed<String>>,
    oidc: RawOidc,
    #[serde(rename = "displayName")]
    _display_name: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// IAM API, `Oidc`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawOidc {
    issuer_uri: Placed<String>,
    #[serde(default)]
    allowed_audiences: Vec<Placed<String>>,
    jwks_json: Option<Placed<String>>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    #[default]
    Active,
    Deleted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawAccount {
    email: Placed<String>,
    /// `constraints/iam.allowServiceAccountCredentialLifetimeExtension` of the organization allows it.
    #[serde(default)]
    lifetime_extension: bool,
    #[serde(default)]
    policy: RawPolicy,
}

/// IAM's `Policy`. A `condition` is not known here, and so refused.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(default)]
    bindings: Vec<RawBinding>,
    #[serde(rename = "etag")]
    _etag: Option<String>,
    #[serde(rename = "version")]
    _version: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBinding {
    role: Placed<String>,
    members: Vec<Placed<String>>,
}

/// What is known.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// By name.
    pub(super) providers: HashMap<String, Arc<Provider>>,
    /// The pools that may not be used, by name.
    pub(super) closed_pools: HashSet<String>,
    /// By email.
    pub(super) accounts: HashMap<String, Arc<Account>>,
}

/// A provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: ProviderName,
    /// Whether it may be used.
    pub(super) open: bool,
    pub(super) issuer: String,
    /// One of which a token must be for.
    pub(super) audiences: Vec<String>,
    /// Uploaded, and then the only ones.
    pub(super) keys: Option<PublishedKeys>,
    pub(super) mapping: Mapping,
}

/// A service account.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) email: String,
    /// The longest life of its tokens, in seconds.
    pub(super) longest: i64,
    /// Whose tokens become its own.
    pub(super) bearers: HashSet<String>,
    /// Who may be named as a delegate before it.
    pub(super) creators: HashSet<String>,
}

/// IAM API, `Oidc.allowedAudiences`.
const AUDIENCES: usize = 10;
const AUDIENCE: usize = 256;
/// IAM Credentials API, `generateAccessToken`: an hour, or twelve.
const HOUR: i64 = 3600;
/// Both have `iam.serviceAccounts.getAccessToken`
/// (<https://cloud.google.com/iam/docs/service-account-permissions>).
pub(super) const USER: &str = "roles/iam.workloadIdentityUser";
pub(super) const CREATOR: &str = "roles/iam.serviceAccountTokenCreator";

impl Config {
    /// Judges what is written. `issuers` are those whose documents can be read here.
    pub(crate) fn new(raw: RawConfig, issuers: &HashSet<&str>) -> Result<Self, ConfigError> {
        let mut closed_pools = HashSet::new();
        let mut pools = Pools::new();
        for pool in raw.pools {
            let RawPool { name, disabled, state, .. } = pool.value;
            if !names::is_pool(&name.value) {
                return Err(
                    name.refuse("a pool is called projects/NUMBER/locations/global/workloadIdentityPools/ID")
                );
            }
            pools.entry(name.value.clone()).or_default();
            if disabled || state == State::Deleted {
                closed_pools.insert(name.value);
            }
        }
        let mut providers = HashMap::with_capacity(raw.providers.len());
        let mut compiled = Compiled::default();
        for raw in raw.providers {
            let (name, provider) = provider(raw.value, issuers, &mut compiled)?;
            pools.entry(provider.name.pool().to_owned()).or_default().add(&provider.mapping);
            if providers.insert(provider.name.as_str().to_owned(), Arc::new(provider)).is_some() {
                return Err(name.refuse("the provider is there twice: keep one of them"));
            }
        }
        let mut accounts = HashMap::with_capacity(raw.service_accounts.len());
        for raw in raw.service_accounts {
            let (email, account) = account(raw.value, &pools)?;
            if accounts.insert(account.email.clone(), Arc::new(account)).is_some() {
                return Err(email.refuse("the service account is there twice: keep one of them"));
            }
        }
        Ok(Config { providers, closed_pools, accounts })
    }
}

fn provider(
    raw: RawProvider,
    issuers: &HashSet<&str>,
    compiled: &mut Compiled,
) -> Result<(Placed<String>, Provider), ConfigError> {
    let RawProvider { name, disabled, state, attribute_mapping, attribute_condition, oidc, .. } = raw;
    let Some(parsed) = ProviderName::parse(&name.value) else {
        let why =
            "a provider is called projects/NUMBER/locations/global/workloadIdentityPools/ID/providers/ID";
        return Err(name.refuse(why));
    };
    let RawOidc { issuer_uri, allowed_audiences, jwks_json } = oidc;
    // "Must be an HTTPS endpoint" (`Oidc.issuerUri`).
    check_discovery(&issuer_uri.value).map_err(|why| issuer_uri.refuse(why))?;
    if jwks_json.is_none() && !issuers.contains(issuer_uri.value.as_str()) {
        return Err(issuer_uri.refuse("this is none of `issuers`, and there is no jwksJson"));
    }
    if let Some(first) = allowed_audiences.first().filter(|_| allowed_audiences.len() > AUDIENCES) {
        let there = allowed_audiences.len();
        return Err(first.refuse(format!("there are {there} allowed audiences, and {AUDIENCES} may be")));
    }
    if let Some(long) = allowed_audiences.iter().find(|one| one.value.chars().count() > AUDIENCE) {
        return Err(long.refuse(format!("an audience may have {AUDIENCE} characters")));
    }
    let audiences = match allowed_audiences.is_empty() {
        true => parsed.audiences().into(),
        false => allowed_audiences.into_iter().map(|audience| audience.value).collect(),
    };
    let keys =
        jwks_json.map(|json| uploaded::keys(&json.value).map_err(|why| json.refuse(why))).transpose()?;
    let provider = Provider {
        name: parsed,
        open: !disabled && state == State::Active,
        issuer: issuer_uri.value,
        audiences,
        keys,
        mapping: Mapping::new(&attribute_mapping, attribute_condition.as_ref(), compiled)?,
    };
    Ok((name, provider))
}

fn account(raw: RawAccount, pools: &Pools) -> Result<(Placed<String>, Account), ConfigError> {
    let RawAccount { email, lifetime_extension, policy } = raw;
    let parts = email.value.split_once('@');
    if !parts.is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !email.value.contains(['/', ':'])
    }) {
        return Err(email.refuse("a service account is called by its email"));
    }
    let (mut bearers, mut creators) = (HashSet::new(), HashSet::new());
    for RawBinding { role, members } in policy.bindings {
        let creator = role.value == CREATOR;
        check_role(&role)?;
        for member in members {
            check_member(&member, pools)?;
            if creator {
                creators.insert(member.value.clone());
            }
            if creator || role.value == USER {
                bearers.insert(member.value);
            }
        }
    }
    let longest = if lifetime_extension { 12 * HOUR } else { HOUR };
    let account = Account { email: email.value.clone(), longest, bearers, creators };
    Ok((email, account))
}

/// Pools by name, and what their providers make of tokens.
type Pools = HashMap<String, Mapped>;

/// What members of a pool can be named by.
#[derive(Default)]
struct Mapped {
    /// Whether there is a provider: of a pool without one nothing is known.
    known: bool,
    groups: bool,
    attributes: HashSet<String>,
}

impl Mapped {
    fn add(&mut self, mapping: &Mapping) {
        self.known = true;
        self.groups |= mapping.has_groups();
        self.attributes.extend(mapping.attributes().map(str::to_owned));
    }
}

/// Roles of IAM's that accounts are known to have bindings with (<https://cloud.google.com/iam/docs/roles-permissions/iam>); only two
/// of them let anybody be an account.
const ROLES: [&str; 14] = [
    USER,
    CREATOR,
    "roles/iam.admin",
    "roles/iam.roleAdmin",
    "roles/iam.roleViewer",
    "roles/iam.securityAdmin",
    "roles/iam.securityReviewer",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountApiKeyBindingAdmin",
    "roles/iam.serviceAccountDeleter",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/iam.serviceAccountOpenIdTokenCreator",
    "roles/iam.serviceAccountUser",
    "roles/iam.serviceAccountViewer",
];
/// Those that belong to no service.
const BASIC: [&str; 3] = ["roles/owner", "roles/editor", "roles/viewer"];

/// A role that is misspelt would let nobody in, without a word. Custom roles, and those of other services, are not looked into.
fn check_role(role: &Placed<String>) -> Result<(), ConfigError> {
    let name = role.value.as_str();
    let custom =
        |rest: &str| rest.split_once("/roles/").is_some_and(|(of, id)| !of.is_empty() && !id.is_empty());
    let known = match name.strip_prefix("roles/").map(|rest| rest.split_once('.')) {
        Some(Some(("iam", _))) => ROLES.contains(&name),
        Some(Some((service, id))) => !service.is_empty() && !id.is_empty(),
        Some(None) => BASIC.contains(&name),
        None => ["projects/", "organizations/"].iter().any(|of| name.strip_prefix(of).is_some_and(custom)),
    };
    if known {
        return Ok(());
    }
    Err(role.refuse(format_args!(
        "no role of IAM is known here by this name (an account is lent by {USER} or {CREATOR})"
    )))
}

/// Whether it is a principal of IAM's (<https://cloud.google.com/iam/docs/principal-identifiers>), and one that there can be. Those
/// that are neither federated nor a service account nobody here can be.
fn check_member(member: &Placed<String>, pools: &Pools) -> Result<(), ConfigError> {
    const OTHERS: [&str; 8] = [
        "user:",
        "group:",
        "serviceAccount:",
        "domain:",
        "deleted:",
        "projectOwner:",
        "projectEditor:",
        "projectViewer:",
    ];
    let text = member.value.as_str();
    let named = |kind: &str| text.strip_prefix(kind).is_some_and(|name| !name.is_empty());
    if matches!(text, "allUsers" | "allAuthenticatedUsers") || OTHERS.into_iter().any(named) {
        return Ok(());
    }
    let (pool, what) =
        names::federated(text).ok_or_else(|| member.refuse("no principal of IAM has this form"))?;
    let mapped = pools.get(pool).ok_or_else(|| {
        member.refuse(format_args!("there is no provider of the pool {pool} (and it is none of `pools`)"))
    })?;
    let missing = match what {
        Named::Group if !mapped.groups => "google.groups".to_owned(),
        Named::Attribute(name) if !mapped.attributes.contains(name) => format!("attribute.{name}"),
        _ => return Ok(()),
    };
    if mapped.known {
        return Err(member.refuse(format_args!("no provider of its pool maps {missing}")));
    }
    Ok(())
}
