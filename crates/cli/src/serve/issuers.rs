//! Why a start would let tokens go that are out there, in the flags' names.

use tokensmith::Options;
use tokensmith::issuers::{IssuersError, LostAudiences};

use crate::failure::Failure;

/// A guard's refusal with the flags that keep both, wrong usage, or what has failed. `options` are those of this start.
pub(super) fn refused(e: IssuersError, options: &Options) -> Failure {
    match e {
        IssuersError::Audiences(lost) => audience_refused(&lost, options.audiences()),
        IssuersError::DroppedAudience(name) => both("api-audience", &name),
        IssuersError::DroppedIssuer(name) => both("service-account-issuer", &name),
        IssuersError::Issuer(lost) => Failure::guard(format!(
            "{lost}: keep both with `{}`, the first signs and all are accepted, or let the old tokens go with --drop-service-account-issuer={}",
            pair("--service-account-issuer", &options.issuers, &lost.name),
            lost.name,
        )),
        e => anyhow::Error::new(e).into(),
    }
}

fn both(flag: &str, name: &str) -> Failure {
    Failure::usage(format!("--drop-{flag}={name}: it is one of those that are kept"))
}

fn audience_refused(lost: &LostAudiences, audiences: &[String]) -> Failure {
    let names = lost.names.as_slice();
    let keep = if names.len() == 1 { "both" } else { "one of them" };
    Failure::guard(format!(
        "{lost}: keep {keep} with `{}`, or let the old tokens go with --drop-api-audience={}",
        pair("--api-audiences", audiences, names.first().map_or("", String::as_str)),
        names.join(","),
    ))
}

fn pair(flag: &str, kept: &[String], lost: &str) -> String {
    let all = kept.iter().map(String::as_str).chain([lost]);
    all.map(|name| format!("{flag} {name}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_flags_that_keep_one_of_several() {
        let lost = LostAudiences { names: vec!["a".into(), "b".into()], until: 0 };
        let options = Options { api_audiences: vec!["c".into()], ..Options::default() };
        let said = format!("{:?}", refused(IssuersError::Audiences(lost), &options));
        for part in ["keep one of them with `--api-audiences c --api-audiences a`", "--drop-api-audience=a,b"]
        {
            assert!(said.contains(part), "{said}");
        }
    }
}
