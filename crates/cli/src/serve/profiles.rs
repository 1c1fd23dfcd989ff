//! `--token-profile-file`, read before anything is made.

use tokensmith_core::tokens::TokenProfiles;
use tokensmith_core::tokens::profile::ServerLimits;

use super::flags::ServeArgs;
use super::keys;
use crate::failure::Failure;

/// The profiles; none without the flag.
///
/// # Errors
/// The file cannot be read, makes no sense, or does not go with the other flags; says which place of it.
pub(super) fn read(args: &ServeArgs) -> Result<TokenProfiles, Failure> {
    let Some(path) = &args.token_profile_file else { return Ok(TokenProfiles::default()) };
    let limits =
        ServerLimits { min_seconds: args.min_token_seconds()?, max_seconds: args.keys.max_token_seconds()? };
    let refuse = |e: &dyn std::error::Error| {
        Failure::failed(format!("the token profile file {} cannot be used: {e}", path.display()))
    };
    let profiles = TokenProfiles::parse(&keys::read(path)?, &limits).map_err(|e| refuse(&e))?;
    // Who names no audience gets these: they must go together, or nobody would get such a token.
    let own = match args.api_audiences.as_slice() {
        [] => &args.service_account_issuer,
        given => given,
    };
    profiles.choose(own).map_err(|e| refuse(&e))?;
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use tokensmith_core::keys::Algorithm;

    use super::*;

    #[test]
    fn the_example_in_the_help_is_one() {
        let example = include_str!("token-profiles.example.yaml");
        let profiles = TokenProfiles::parse(example.as_bytes(), &ServerLimits::default()).unwrap();
        let azure = profiles.choose(&["api://AzureADTokenExchange".into()]).unwrap().unwrap();
        assert_eq!((azure.name(), azure.algorithm()), ("azure", Some(Algorithm::RS256)));
        assert!(profiles.choose(&["sts.amazonaws.com".into(), "x".into()]).is_err());
    }
}
