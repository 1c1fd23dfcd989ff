//! `--token-profile-file`, read before anything is made.

use std::error::Error;
use std::path::Path;

use tokensmith_core::tokens::TokenProfiles;
use tokensmith_core::tokens::profile::ServerLimits;

use super::flags::ServeArgs;
use super::keys;
use crate::failure::Failure;

/// The profiles; none without the flag.
///
/// # Errors
/// The file cannot be read, makes no sense, or does not go with the bounds of the flags; says which place of it.
pub(super) fn read(args: &ServeArgs) -> Result<TokenProfiles, Failure> {
    let Some(path) = &args.token_profile_file else { return Ok(TokenProfiles::default()) };
    let limits =
        ServerLimits { min_seconds: args.min_token_seconds()?, max_seconds: args.keys.max_token_seconds()? };
    TokenProfiles::parse(&keys::read(path)?, &limits).map_err(|e| refused(args, &e))
}

/// Why the file cannot be used.
pub(super) fn refused(args: &ServeArgs, e: &dyn Error) -> Failure {
    let path = args.token_profile_file.as_deref().unwrap_or(Path::new(""));
    Failure::failed(format!("the token profile file {} cannot be used: {e}", path.display()))
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
