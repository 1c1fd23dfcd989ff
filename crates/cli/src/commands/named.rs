//! What a command names as `[NAMESPACE/]NAME`.

use tokensmith_client::Target;

use crate::client::flags::ClientFlags;
use crate::failure::Failure;

/// The namespace and the name: the flag's or the context's namespace, where none is written.
///
/// # Errors
/// `--namespace` says another one, or one of both could not stand in a URL.
pub fn named<'a>(
    what: &str,
    text: &'a str,
    flags: &ClientFlags,
    target: &'a Target,
) -> Result<(&'a str, &'a str), Failure> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, _)) if flags.namespace.as_ref().is_some_and(|given| given != namespace) => {
            return Err(Failure::usage(
                "--namespace names another namespace than [NAMESPACE/]NAME: leave one out",
            ));
        }
        Some(named) => named,
        None => (target.namespace.as_str(), text),
    };
    path_segment(what, name)?;
    path_segment("namespace", namespace)?;
    Ok((namespace, name))
}

/// A name that would change the URL's path is refused before it does (client-go `rest.IsValidPathSegmentName`).
fn path_segment(what: &str, name: &str) -> Result<(), Failure> {
    let finding = match name {
        "" => "must not be empty",
        "." | ".." => "may not be '.' or '..'",
        n if n.contains('/') => "may not contain '/'",
        n if n.contains('%') => "may not contain '%'",
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("invalid {what} name {name:?}: it {finding}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_change_the_path() {
        for name in ["", "..", "a/b", "a%2fb"] {
            assert!(matches!(path_segment("service account", name), Err(Failure::Usage(_))), "{name:?}");
        }
        assert!(path_segment("service account", "builder").is_ok());
    }
}
