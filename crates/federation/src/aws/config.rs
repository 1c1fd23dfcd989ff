//! `aws:` of the configuration: what an account would be told by `CreateOpenIDConnectProvider` and `CreateRole`.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use tokensmith_api::yaml::{ConfigError, Placed};
use url::Url;

use super::arn::RoleArn;
use super::policy::TrustPolicy;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawConfig {
    oidc_providers: Vec<Placed<RawProvider>>,
    roles: Vec<Placed<RawRole>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawProvider {
    account: Placed<String>,
    url: Placed<String>,
    client_id_list: Placed<Vec<String>>,
    #[serde(default)]
    thumbprint_list: Option<Placed<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRole {
    arn: Placed<String>,
    max_session_duration: Option<Placed<i64>>,
    assume_role_policy_document: Placed<Value>,
}

/// What it was told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// By account and issuer.
    pub(super) providers: Providers,
    /// By ARN.
    pub(super) roles: HashMap<String, Role>,
}

type Providers = HashMap<(String, String), Provider>;

/// An OpenID Connect provider of an account.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    /// The issuer without its scheme: in the provider's ARN, and before the colon of its condition keys.
    pub(super) name: String,
    pub(super) client_ids: Vec<String>,
}

/// A role.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) arn: RoleArn,
    /// Seconds.
    pub(super) max_session_duration: i64,
    pub(super) trust: TrustPolicy,
}

/// `MaxSessionDuration`: an hour to twelve, an hour where nothing is said
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>).
const SESSIONS: std::ops::RangeInclusive<i64> = 3600..=43_200;

impl Config {
    /// Judges what is written. `issuers` are those whose documents can be read here.
    pub(crate) fn new(raw: RawConfig, issuers: &HashSet<&str>) -> Result<Self, ConfigError> {
        let mut providers = HashMap::new();
        for raw in raw.oidc_providers {
            let url = raw.value.url.clone();
            let (key, provider) = Provider::new(raw.value, issuers)?;
            if providers.insert(key, provider).is_some() {
                return Err(url.refuse("the account has this provider already: keep one of them"));
            }
        }
        let mut roles = HashMap::new();
        for raw in raw.roles {
            let arn = raw.value.arn.clone();
            if roles.insert(arn.value.clone(), Role::new(raw.value, &providers)?).is_some() {
                return Err(arn.refuse("the role is there twice: keep one of them"));
            }
        }
        Ok(Config { providers, roles })
    }
}

impl Provider {
    /// The rules of `CreateOpenIDConnectProvider`
    /// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>).
    fn new(raw: RawProvider, issuers: &HashSet<&str>) -> Result<((String, String), Self), ConfigError> {
        let RawProvider { account, url, client_id_list, thumbprint_list } = raw;
        if !super::arn::is_account(&account.value) {
            return Err(account.refuse("an account is 12 digits, in quotation marks"));
        }
        let name = url.value.strip_prefix("https://");
        let Some(name) = name.filter(|_| (1..=255).contains(&url.value.chars().count())) else {
            return Err(
                url.refuse("AWS takes issuers that begin with https:// and have 255 characters at most")
            );
        };
        // "The URL should not contain a port number"; a query and a fragment are refused as well.
        let parsed =
            Url::parse(&url.value).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
        // As it is written: the parsed URL has no port where it is https' own.
        let authority = name.split('/').next().unwrap_or_default();
        let port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
        if parsed.is_none() || port {
            return Err(url.refuse("AWS takes issuers without port, query and fragment"));
        }
        if !issuers.contains(url.value.as_str()) {
            return Err(url.refuse("`issuers` does not say where the documents of this issuer are read"));
        }
        let clients = &client_id_list.value;
        if clients.len() > 100 || clients.iter().any(|id| !(1..=255).contains(&id.chars().count())) {
            return Err(client_id_list.refuse("AWS takes 100 client ids of 1 to 255 characters"));
        }
        if let Some(list) = thumbprint_list {
            let fits = |text: &String| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
            if list.value.len() > 5 || !list.value.iter().all(fits) {
                return Err(list.refuse("AWS takes five thumbprints of 40 hexadecimal digits"));
            }
        }
        let provider = Provider { name: name.to_owned(), client_ids: client_id_list.value };
        Ok(((account.value, url.value), provider))
    }

    /// Its ARN in an account.
    pub(super) fn arn(&self, role: &RoleArn) -> String {
        format!("arn:{}:iam::{}:oidc-provider/{}", role.partition(), role.account(), self.name)
    }
}

impl Role {
    fn new(raw: RawRole, providers: &Providers) -> Result<Self, ConfigError> {
        let RawRole { arn, max_session_duration, assume_role_policy_document: document } = raw;
        let Some(parsed) = RoleArn::parse(&arn.value) else {
            return Err(arn.refuse("this is no role's ARN, as arn:aws:iam::123456789012:role/NAME"));
        };
        let max = match max_session_duration {
            None => *SESSIONS.start(),
            Some(max) if SESSIONS.contains(&max.value) => max.value,
            Some(max) => return Err(max.refuse("AWS takes 3600 to 43200 seconds")),
        };
        // A role of an account trusts that account's own providers.
        let own = providers.iter().filter(|((account, _), _)| account == parsed.account());
        let own: Vec<String> = own.map(|(_, provider)| provider.arn(&parsed)).collect();
        let trust = TrustPolicy::parse(&document.value, &own).map_err(|why| document.refuse(why))?;
        Ok(Role { arn: parsed, max_session_duration: max, trust })
    }
}
