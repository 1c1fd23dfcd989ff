//! Names of pools and providers, as IAM has them: what a request names, what the configuration declares, and the principals that
//! bindings are for.
//!
//! IAM API, `projects.locations.workloadIdentityPools` (`name`), and
//! <https://cloud.google.com/iam/docs/principal-identifiers>.

/// What stands before each name as a full resource name, and in principals.
const HOST: &str = "//iam.googleapis.com/";

/// A provider's name: `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProviderName {
    text: String,
    /// Where the name of the pool ends.
    pool: usize,
}

impl ProviderName {
    /// Reads a name as the configuration has it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (pool, provider) = text.split_once("/providers/")?;
        (is_pool(pool) && is_id(provider)).then(|| ProviderName { text: text.to_owned(), pool: pool.len() })
    }

    /// Reads the full name that a request has as its `audience`.
    pub(super) fn of_audience(audience: &str) -> Option<Self> {
        Self::parse(audience.strip_prefix(HOST)?)
    }

    /// The name.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The pool's.
    pub(super) fn pool(&self) -> &str {
        &self.text[..self.pool]
    }

    /// The audiences that a token may have where the provider says nothing (IAM API, `Oidc.allowedAudiences`).
    pub(super) fn audiences(&self) -> [String; 2] {
        let full = format!("{HOST}{}", self.text);
        [format!("https:{full}"), full]
    }
}

/// Whether it is the name of a pool. The project is its number: a full resource name has no other form there.
pub(super) fn is_pool(text: &str) -> bool {
    let mut parts = text.split('/');
    let fixed = parts.next() == Some("projects")
        && parts
            .next()
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        && [parts.next(), parts.next()] == [Some("locations"), Some("global")]
        && parts.next() == Some("workloadIdentityPools");
    fixed && parts.next().is_some_and(is_id) && parts.next().is_none()
}

/// 4 to 32 of `a-z0-9-` (IAM API, `workloadIdentityPoolId`, `workloadIdentityPoolProviderId`).
fn is_id(text: &str) -> bool {
    (4..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The principal of one subject of a pool.
pub(super) fn principal(pool: &str, subject: &str) -> String {
    format!("principal:{HOST}{pool}/subject/{subject}")
}

/// The principals of a group of a pool.
pub(super) fn group(pool: &str, group: &str) -> String {
    format!("principalSet:{HOST}{pool}/group/{group}")
}

/// The principals of a pool that have a value as an attribute.
pub(super) fn attribute(pool: &str, name: &str, value: &str) -> String {
    format!("principalSet:{HOST}{pool}/attribute.{name}/{value}")
}

/// All principals of a pool.
pub(super) fn everyone(pool: &str) -> String {
    format!("principalSet:{HOST}{pool}/*")
}

/// What a member of a binding names of a pool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Subject,
    Group,
    Attribute(&'a str),
    Everyone,
}

/// The pool of a member of a binding that has one of the forms above, and what of it.
pub(super) fn federated(member: &str) -> Option<(&str, Named<'_>)> {
    let one = member.strip_prefix("principal:").and_then(|rest| rest.strip_prefix(HOST));
    let set = || member.strip_prefix("principalSet:").and_then(|rest| rest.strip_prefix(HOST));
    if let Some(rest) = one {
        return Some((pool_before(rest, "/subject/")?, Named::Subject));
    }
    let rest = set()?;
    if let Some((pool, after)) = rest.split_once("/attribute.").filter(|(pool, _)| is_pool(pool)) {
        let (name, value) = after.split_once('/')?;
        return (!name.is_empty() && !value.is_empty()).then_some((pool, Named::Attribute(name)));
    }
    if let Some(pool) = pool_before(rest, "/group/") {
        return Some((pool, Named::Group));
    }
    let pool = rest.strip_suffix("/*").filter(|pool| is_pool(pool))?;
    Some((pool, Named::Everyone))
}

/// The pool before what a member names of it, which must be something.
fn pool_before<'a>(rest: &'a str, what: &str) -> Option<&'a str> {
    let (pool, named) = rest.split_once(what)?;
    (is_pool(pool) && !named.is_empty()).then_some(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "projects/123456789012/locations/global/workloadIdentityPools/laptop";

    #[test]
    fn providers() {
        let name =
            ProviderName::of_audience(&format!("//iam.googleapis.com/{POOL}/providers/cluster")).unwrap();
        assert_eq!((name.pool(), name.as_str()), (POOL, format!("{POOL}/providers/cluster").as_str()));
        assert_eq!(name.audiences()[0], format!("https://iam.googleapis.com/{POOL}/providers/cluster"));
        for wrong in [
            "",
            "//iam.googleapis.com/",
            "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/laptop/providers/cluster",
            "//iam.googleapis.com/projects/my-project/locations/global/workloadIdentityPools/laptop/providers/cluster",
            "//iam.googleapis.com/projects//locations/global/workloadIdentityPools/laptop/providers/cluster",
            "//iam.googleapis.com/projects/1/locations/eu/workloadIdentityPools/laptop/providers/cluster",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/laptop",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/laptop/providers/",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/laptop/providers/a/b",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/Laptop/providers/cluster",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/abc/providers/cluster",
            "//iam.googleapis.com/locations/global/workforcePools/laptop/providers/cluster",
        ] {
            assert_eq!(ProviderName::of_audience(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn principals_are_those_that_bindings_have() {
        for made in [
            principal(POOL, "system:serviceaccount:a:b"),
            principal(POOL, "a/subject/b"),
            group(POOL, "admins"),
            attribute(POOL, "namespace", "default/x"),
            everyone(POOL),
        ] {
            assert_eq!(federated(&made).map(|(pool, _)| pool), Some(POOL), "{made}");
        }
        for wrong in [
            "principal://iam.googleapis.com/",
            &principal(POOL, ""),
            &group(POOL, ""),
            &attribute(POOL, "", "v"),
            &attribute(POOL, "n", ""),
            &format!("principalSet://iam.googleapis.com/{POOL}"),
            &format!("principal://iam.googleapis.com/{POOL}/*"),
            "principalSet://iam.googleapis.com/projects/x/locations/global/workloadIdentityPools/laptop/*",
            "user:a@example.com",
        ] {
            assert_eq!(federated(wrong), None, "{wrong}");
        }
    }
}
