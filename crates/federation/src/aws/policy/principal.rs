//! Whom a statement is about (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).
//!
//! A name that nobody can have would make a statement silent, so each is judged by its form, and that of an OpenID Connect provider by
//! the providers that there are.

use serde_json::Value;

use super::super::arn::{PARTITIONS, is_account};
use super::PolicyError;
use crate::config::is_domain;

/// Whom a statement is about.
#[derive(Clone, Debug)]
pub(super) enum Principals {
    Everyone,
    /// The ARNs of identity providers; accounts, users and services are no web identities.
    Federated(Vec<String>),
}

impl Principals {
    /// `*`, and `"AWS": "*"`, are everyone, those of other accounts and of identity providers included. `providers` are the ARNs of
    /// those that the role's account has.
    pub(super) fn parse(principal: &Value, providers: &[String]) -> Result<Self, PolicyError> {
        if principal == "*" {
            return Ok(Principals::Everyone);
        }
        let kinds = super::object(principal, "Principal")?;
        if kinds.is_empty() {
            return Err(PolicyError::new("Principal", "there is nobody in it"));
        }
        let (mut everyone, mut federated) = (false, Vec::new());
        for (kind, names) in kinds {
            let place = format!("Principal.{kind}");
            let names = super::strings(names, &place)?;
            let wrong = |name: &String, why: &str| Err(PolicyError::new(&place, format!("{name:?} {why}")));
            let misspelt = |fits: fn(&str) -> bool| names.iter().find(|name| !fits(name));
            match kind.as_str() {
                "AWS" => match misspelt(is_aws) {
                    Some(name) => return wrong(name, "is no account, ARN or id of a principal"),
                    None => everyone |= names.iter().any(|name| name == "*"),
                },
                "Service" => {
                    if let Some(name) = misspelt(is_domain) {
                        return wrong(name, "is no service, as ec2.amazonaws.com");
                    }
                }
                "CanonicalUser" => {
                    if let Some(name) = misspelt(is_canonical) {
                        return wrong(name, "is no canonical user id, of 64 hexadecimal digits");
                    }
                }
                "Federated" => {
                    // In a trust policy a name is whole: nothing stands for a part of it.
                    if names.iter().any(|name| name.contains('*')) {
                        return Err(PolicyError::new(place, "a provider's ARN has no wildcards"));
                    }
                    for name in names {
                        match Federated::of(&name) {
                            Some(Federated::OpenId) if !providers.contains(&name) => {
                                return wrong(&name, "is none of oidcProviders in the role's own account");
                            }
                            // "Federated principals must be valid domain names or SAML metadata ARNs"
                            // (https://github.com/terraform-aws-modules/terraform-aws-iam/issues/202).
                            None => return wrong(&name, "is no provider's ARN, and no domain name"),
                            Some(_) => federated.push(name),
                        }
                    }
                }
                _ => return Err(PolicyError::new(place, "it is not understood here")),
            }
        }
        Ok(if everyone { Principals::Everyone } else { Principals::Federated(federated) })
    }

    /// Whether tokens of the provider with this ARN are among them.
    pub(super) fn has(&self, provider: &str) -> bool {
        match self {
            Principals::Everyone => true,
            Principals::Federated(arns) => arns.iter().any(|arn| arn == provider),
        }
    }
}

/// What a federated principal may be.
enum Federated {
    OpenId,
    /// SAML, or one of the providers that AWS knows by their domains.
    Other,
}

impl Federated {
    fn of(name: &str) -> Option<Self> {
        if !name.starts_with("arn:") {
            return is_domain(name).then_some(Federated::Other);
        }
        match arn(name)? {
            ("iam", resource) if resource.starts_with("oidc-provider/") => Some(Federated::OpenId),
            ("iam", resource)
                if resource.strip_prefix("saml-provider/").is_some_and(|name| !name.is_empty()) =>
            {
                Some(Federated::Other)
            }
            _ => None,
        }
    }
}

/// The service and the resource of an ARN that belongs to an account.
fn arn(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next();
    let (scheme, partition, service, region, account, resource) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    let fits = scheme == "arn" && PARTITIONS.contains(&partition) && region.is_empty() && is_account(account);
    fits.then_some((service, resource))
}

/// An account, an ARN, or the unique id that AWS puts where a principal is gone (`AIDA…`, `AROA…`).
fn is_aws(name: &str) -> bool {
    let unique = name.len() >= 16 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let named = arn(name).is_some_and(|(service, resource)| match service {
        "iam" => resource == "root" || ["user/", "role/"].iter().any(|kind| resource.starts_with(kind)),
        "sts" => ["assumed-role/", "federated-user/"].iter().any(|kind| resource.starts_with(kind)),
        _ => false,
    });
    name == "*" || is_account(name) || unique || named
}

fn is_canonical(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com";

    #[test]
    fn who_can_be_nobody_is_refused() {
        let parse = |principal: Value| Principals::parse(&principal, &[PROVIDER.to_owned()]);
        for known in [
            json!("*"),
            json!({"AWS": "*"}),
            json!({"AWS": ["123456789012", "arn:aws:iam::123456789012:root", "AROACKCEVSQ6C2EXAMPLE"]}),
            json!({"AWS": ["arn:aws:sts::123456789012:assumed-role/a/b", "arn:aws-cn:iam::123456789012:user/x"]}),
            json!({"Service": "ec2.amazonaws.com", "CanonicalUser": "ab".repeat(32)}),
            json!({"Federated": [PROVIDER, "accounts.google.com", "arn:aws:iam::123456789012:saml-provider/x"]}),
        ] {
            assert!(parse(known.clone()).is_ok(), "{known}");
        }
        for (misspelt, why) in [
            (json!({}), "Principal: there is nobody"),
            (json!({"Federated": []}), "Principal.Federated: there is nothing"),
            (json!({"Federated": PROVIDER.replace("oidc.e", "odic.e")}), "is none of oidcProviders"),
            (json!({"Federated": PROVIDER.replace("12:", "13:")}), "is none of oidcProviders"),
            (
                json!({"Federated": PROVIDER.replace("oidc-provider", "oidc-providers")}),
                "is no provider's ARN",
            ),
            (json!({"Federated": PROVIDER.replace("arn:aws:iam::", "arn:aws:iam:")}), "is no provider's ARN"),
            (json!({"Federated": "https://oidc.example.com"}), "is no provider's ARN"),
            (json!({"federated": PROVIDER}), "Principal.federated: it is not understood"),
            (json!({"AWS": PROVIDER}), "is no account, ARN or id"),
            (json!({"AWS": "12345678901"}), "is no account, ARN or id"),
            (json!({"Service": "ec2"}), "is no service"),
            (json!({"CanonicalUser": "ab"}), "is no canonical user id"),
            (json!(PROVIDER), "Principal: it is no object"),
        ] {
            let told = parse(misspelt.clone()).unwrap_err().to_string();
            assert!(told.contains(why), "{misspelt}: {told}");
        }
    }
}
