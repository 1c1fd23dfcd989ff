//! A resource as `kubectl auth can-i` writes it, and where a server serves it.

use serde_json::Value;
use tokensmith_core::access::Attributes;

use crate::client::http::{Client, segment};
use crate::failure::Failure;

/// What is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// As it was written: a plural, a singular, a short name.
    pub resource: String,
    /// `None` where none was written.
    pub group: Option<String>,
    /// E.g. `log`.
    pub subresource: String,
    /// Empty for all.
    pub namespace: String,
    /// Empty for none.
    pub name: String,
}

impl Resource {
    /// `RESOURCE`, `RESOURCE.GROUP` or `RESOURCE.VERSION.GROUP` (apimachinery `ParseResourceArg`).
    ///
    /// # Errors
    /// It has a slash, which is a name to kubectl and a subresource to RBAC; or two groups.
    pub fn parse(text: &str, api_group: Option<&str>) -> Result<Resource, Failure> {
        if let Some((before, after)) = text.split_once('/') {
            return Err(Failure::usage(format!(
                "--resource {text}: give --resource {before} with --subresource {after} or --name {after}"
            )));
        }
        let (resource, rest) = text.split_once('.').unwrap_or((text, ""));
        if resource.is_empty() {
            return Err(Failure::usage("--resource must not be empty"));
        }
        let group = match rest.split_once('.') {
            Some((version, group)) if is_version(version) => group,
            _ => rest,
        };
        let group = match (api_group, group) {
            (Some(given), named) if !named.is_empty() && given != named => {
                return Err(Failure::usage("--api-group names another group than --resource: leave one out"));
            }
            (Some(given), _) => Some(given.to_owned()),
            (None, "") => None,
            (None, named) => Some(named.to_owned()),
        };
        Ok(Resource { resource: resource.to_owned(), group, ..Resource::default() })
    }

    /// What a review asks about; by what the server says that it serves. One that it does not serve is asked about as it is written.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn attributes(&self, client: &Client, verb: &str) -> Result<(Attributes, Discovered), Failure> {
        let found = self.discover(client).await?;
        let served = found.served.as_ref();
        let namespaced = served.is_none_or(|served| served.namespaced);
        let (group, version, resource) = match served {
            Some(served) => (served.group.clone(), served.version.clone(), served.plural.clone()),
            None => (self.group.clone().unwrap_or_default(), "v1".to_owned(), self.resource.clone()),
        };
        // A request for a namespace is one in it.
        let namespace = match namespaced {
            true => self.namespace.clone(),
            false if group.is_empty() && resource == "namespaces" => self.name.clone(),
            false => String::new(),
        };
        let attributes = Attributes {
            verb: verb.to_owned(),
            group,
            version,
            resource,
            subresource: self.subresource.clone(),
            namespace,
            name: self.name.clone(),
            resource_request: true,
            ..Attributes::default()
        };
        Ok((attributes, found))
    }

    async fn discover(&self, client: &Client) -> Result<Discovered, Failure> {
        let mut places = Vec::new();
        let mut found = Discovered { served: None, names: Vec::new(), whole: true };
        if self.group.as_deref().is_none_or(str::is_empty) {
            places.push((String::new(), "v1".to_owned()));
        }
        if self.group.as_deref() != Some("") {
            let groups = client.get("/apis").await?;
            found.whole &= groups.is_ok();
            let groups = groups.unwrap_or_default();
            for group in groups["groups"].as_array().into_iter().flatten() {
                let name = group["name"].as_str().unwrap_or_default();
                if self.group.as_deref().is_none_or(|wanted| wanted == name) {
                    let version = group["preferredVersion"]["version"].as_str().unwrap_or("v1");
                    places.push((name.to_owned(), version.to_owned()));
                }
            }
        }
        for (group, version) in places {
            let path = match group.as_str() {
                "" => format!("/api/{}", segment(&version)),
                group => format!("/apis/{}/{}", segment(group), segment(&version)),
            };
            let list = client.get(&path).await?;
            found.whole &= list.is_ok();
            let list = list.unwrap_or_default();
            let all = || list["resources"].as_array().into_iter().flatten();
            let names = all().filter_map(|one| one["name"].as_str());
            if let Some(one) = all().find(|one| self.is(one)) {
                let plural = one["name"].as_str().unwrap_or_default().to_owned();
                let of = |name: &str| name.strip_prefix(&plural)?.strip_prefix('/').map(str::to_owned);
                let (subresources, namespaced) = (names.filter_map(of).collect(), one["namespaced"] == true);
                found.served = Some(Served { group, version, plural, namespaced, subresources });
                break;
            }
            found.names.extend(names.filter(|name| !name.contains('/')).map(str::to_owned));
        }
        Ok(found)
    }

    fn is(&self, listed: &Value) -> bool {
        let wanted = self.resource.to_lowercase();
        let is = |field: &str| listed[field].as_str() == Some(&wanted);
        let short =
            listed["shortNames"].as_array().is_some_and(|names| names.iter().any(|name| *name == *wanted));
        is("name") || is("singularName") || short
    }
}

/// What a server says that it serves.
pub struct Discovered {
    /// What is meant.
    pub served: Option<Served>,
    /// What was looked through until that was found.
    pub names: Vec<String>,
    /// Nothing of it could not be read.
    pub whole: bool,
}

/// A resource of it.
pub struct Served {
    group: String,
    version: String,
    plural: String,
    namespaced: bool,
    /// `log`, `status`.
    pub subresources: Vec<String>,
}

/// `v1`, `v2beta1`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_as_kubectl_writes_them() {
        for (text, group, want) in [
            ("pods", None, Ok(("pods", None))),
            ("deployments.apps", None, Ok(("deployments", Some("apps")))),
            ("deployments.v1.apps", None, Ok(("deployments", Some("apps")))),
            ("roles.rbac.authorization.k8s.io", None, Ok(("roles", Some("rbac.authorization.k8s.io")))),
            ("roles.v1.rbac.authorization.k8s.io", None, Ok(("roles", Some("rbac.authorization.k8s.io")))),
            ("deployments", Some("apps"), Ok(("deployments", Some("apps")))),
            ("pods", Some(""), Ok(("pods", Some("")))),
            ("deployments.apps", Some("x"), Err(())),
            ("pods/log", None, Err(())),
            ("", None, Err(())),
            (".apps", None, Err(())),
        ] {
            let found = Resource::parse(text, group);
            let found = found.as_ref().map(|r| (r.resource.as_str(), r.group.as_deref())).map_err(|_| ());
            assert_eq!(found, want, "{text}");
        }
    }
}
