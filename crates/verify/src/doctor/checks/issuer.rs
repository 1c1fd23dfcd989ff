//! The issuer's name, and where it leads.

use tokensmith_client::outsider::Reach;

use super::Outcome;
use crate::doctor::facts::Facts;

pub(super) fn https(facts: &Facts) -> Outcome {
    let https = facts.url.as_ref().is_some_and(|url| url.scheme() == "https");
    Outcome::when(
        https,
        "it begins with https://",
        format!("{:?} does not begin with https://", facts.issuer),
    )
}

pub(super) fn length(facts: &Facts, limit: usize) -> Outcome {
    let length = facts.issuer.chars().count();
    Outcome::when(length <= limit, format!("{length} characters"), format!("it has {length} characters"))
}

pub(super) fn no_port(facts: &Facts) -> Outcome {
    let Some(url) = &facts.url else { return Outcome::unknown("the issuer is no URL") };
    // What `Url` does not keep as it is usual, `:443`, is a port nevertheless.
    let authority =
        facts.issuer.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let host_ends = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    let port = host_ends.contains(':') || url.port().is_some();
    Outcome::when(!port, "it names none", format!("{:?} names a port", facts.issuer))
}

pub(super) fn outside(facts: &Facts) -> Outcome {
    let addresses = match &facts.addresses {
        Ok(addresses) => addresses,
        Err(trouble) => return Outcome::unknown(trouble.to_string()),
    };
    let inside = addresses.iter().find(|address| Reach::of(**address) != Reach::Public);
    match (inside, addresses.first()) {
        (Some(address), _) => Outcome::fails(format!("{address} is {}", Reach::of(*address))),
        (None, Some(address)) => Outcome::holds(format!(
            "{address} is public; whether a firewall lets others in is not seen from here"
        )),
        (None, None) => Outcome::unknown("it has no address"),
    }
}

/// Some cut it off before they put their path behind it, and some do not; and who types the issuer may forget it.
pub(super) fn no_final_slash(facts: &Facts) -> Outcome {
    let ends = facts.issuer.ends_with('/');
    Outcome::when(!ends, "it has none", format!("{:?} ends with a slash", facts.issuer))
}

pub(super) fn plain_url(facts: &Facts) -> Outcome {
    let Some(url) = &facts.url else {
        return Outcome::fails(format!("{:?} is no URL of http", facts.issuer));
    };
    let odd = [
        (url.query().is_some(), "a query"),
        (url.fragment().is_some(), "a fragment"),
        (!url.username().is_empty() || url.password().is_some(), "a user"),
        (facts.issuer.trim() != facts.issuer, "blanks around it"),
    ];
    match odd.iter().find(|(is, _)| *is) {
        Some((_, what)) => Outcome::fails(format!("{:?} has {what}", facts.issuer)),
        None => Outcome::holds("it has neither query, fragment nor user"),
    }
}
