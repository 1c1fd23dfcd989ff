//! `azure:` of the configuration: tenants, their applications, and whom those trust, as Graph and `az` print it.
//!
//! A federated credential is what `az ad app federated-credential list` prints, or `az identity federated-credential list`; what
//! says nothing of whom it trusts (`id`, `description`, `resourceGroup`, …) is taken and not looked at.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokensmith_api::yaml::{ConfigError, Placed};
use uuid::Uuid;

use crate::config::is_domain;

/// What is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    tenants: Vec<RawTenant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawTenant {
    tenant_id: Placed<String>,
    display_name: Option<String>,
    #[serde(default)]
    domains: Vec<Placed<String>>,
    #[serde(default)]
    applications: Vec<RawApplication>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawApplication {
    app_id: Placed<String>,
    display_name: Option<String>,
    #[serde(default)]
    federated_identity_credentials: Vec<Placed<RawCredential>>,
}

/// Graph, `federatedIdentityCredential`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawCredential {
    name: Placed<String>,
    issuer: Placed<String>,
    subject: Placed<String>,
    audiences: Vec<Placed<String>>,
    #[serde(rename = "id")]
    _id: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    /// What `az identity federated-credential list` prints beside, of Azure's Resource Manager.
    #[serde(rename = "resourceGroup")]
    _resource_group: Option<IgnoredAny>,
    #[serde(rename = "systemData")]
    _system_data: Option<IgnoredAny>,
    #[serde(rename = "type")]
    _type: Option<IgnoredAny>,
    /// A rule on claims instead of a subject (Graph, beta). A null is none.
    claims_matching_expression: Option<Placed<IgnoredAny>>,
}

/// What is known.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// By id and by domain, in lower case.
    pub(super) tenants: HashMap<String, Arc<Tenant>>,
}

/// A directory.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) applications: HashMap<Uuid, Application>,
}

/// An application, or a managed identity.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) credentials: Vec<Credential>,
}

/// Whose tokens it takes. All three are compared letter by letter.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
}

/// "A maximum of 20 federated identity credentials can be added to an application or user-assigned managed identity"
/// (<https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation-considerations>).
const CREDENTIALS: usize = 20;
/// Graph, `federatedIdentityCredential`: how long issuer, subject and audience may be, and the name.
const LONGEST: usize = 600;
const NAME: usize = 120;

impl Config {
    /// Judges what is written. `issuers` are those whose documents can be read here.
    pub(crate) fn new(raw: RawConfig, issuers: &HashSet<&str>) -> Result<Self, ConfigError> {
        let mut tenants = HashMap::with_capacity(raw.tenants.len());
        for RawTenant { tenant_id, display_name, domains, applications } in raw.tenants {
            let id = guid(&tenant_id)?;
            let mut known = HashMap::with_capacity(applications.len());
            for raw in applications {
                let (place, application) = application(raw, issuers)?;
                if known.insert(application.id, application).is_some() {
                    return Err(
                        place.refuse("the application is there twice in its tenant: keep one of them")
                    );
                }
            }
            let name = display_name.unwrap_or_else(|| tenant_id.value.clone());
            let tenant = Arc::new(Tenant { id, name, applications: known });
            for name in std::iter::once(tenant_id).chain(domains) {
                let key = name.value.to_ascii_lowercase();
                if key != id.to_string() && !is_domain(&key) {
                    return Err(name.refuse("a domain is needed"));
                }
                if tenants.insert(key, tenant.clone()).is_some() {
                    return Err(name.refuse("the tenant is there twice: keep one of them"));
                }
            }
        }
        Ok(Config { tenants })
    }

    /// Whose tokens are taken anywhere.
    pub(super) fn issuers(&self) -> HashSet<&str> {
        let applications = self.tenants.values().flat_map(|tenant| tenant.applications.values());
        applications.flat_map(|one| &one.credentials).map(|credential| credential.issuer.as_str()).collect()
    }
}

fn application(
    raw: RawApplication,
    issuers: &HashSet<&str>,
) -> Result<(Placed<String>, Application), ConfigError> {
    let RawApplication { app_id, display_name, federated_identity_credentials } = raw;
    let id = guid(&app_id)?;
    let (mut names, mut pairs) = (HashSet::new(), HashSet::new());
    let mut credentials = Vec::with_capacity(federated_identity_credentials.len());
    for raw in federated_identity_credentials {
        if credentials.len() == CREDENTIALS {
            return Err(raw.refuse(format!("an application may have {CREDENTIALS} federated credentials")));
        }
        if let Some(expression) = &raw.value.claims_matching_expression {
            let why = "claimsMatchingExpression is not judged here: give a subject instead";
            return Err(expression.refuse(why));
        }
        if raw.value.audiences.len() != 1 {
            let there = raw.value.audiences.len();
            return Err(
                raw.refuse(format!("a federated credential has exactly one audience, and not {there}"))
            );
        }
        let RawCredential { name, issuer, subject, audiences, .. } = raw.value;
        let plain = name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !plain || !(3..=NAME).contains(&name.value.len()) {
            return Err(name.refuse("a name has 3 to 120 letters, digits, - and _"));
        }
        if !names.insert(name.value.clone()) {
            return Err(name.refuse("the name is there twice in its application"));
        }
        let audience = &audiences[0];
        for text in [&issuer, &subject, audience] {
            if text.value.is_empty() || text.value.chars().count() > LONGEST {
                return Err(text.refuse("issuer, subject and audience have 1 to 600 characters"));
            }
        }
        if !issuers.contains(issuer.value.as_str()) {
            return Err(issuer.refuse("this is none of `issuers`"));
        }
        if !pairs.insert((issuer.value.clone(), subject.value.clone())) {
            return Err(subject.refuse("issuer and subject are there twice in this application"));
        }
        credentials.push(Credential {
            issuer: issuer.value,
            subject: subject.value,
            audience: audience.value.clone(),
        });
    }
    let name = display_name.unwrap_or_else(|| app_id.value.clone());
    Ok((app_id, Application { id, name, credentials }))
}

fn guid(text: &Placed<String>) -> Result<Uuid, ConfigError> {
    // The form with strokes alone: the others that the library reads nobody writes.
    let plain = Some(&text.value).filter(|value| value.len() == 36);
    plain.and_then(|value| value.parse().ok()).ok_or_else(|| text.refuse("a GUID is needed"))
}
