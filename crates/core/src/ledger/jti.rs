//! What people give where a token's id is asked for: the id, as `token list`, an audit line or a TokenReview shows it, or
//! the token itself. What is clearly meant is understood; a token is told from an id, so that none is ever kept as one.

use uuid::Uuid;

use crate::tokens::Jws;

/// What was given. Has no `Debug`: a token is a credential.
pub enum Given {
    /// A token's id, in the form in which tokens have it.
    Jti(String),
    /// A whole token.
    Token(String),
}

/// Why a text names no token. The text is not repeated: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// A part of a token, from which its id cannot be had.
    #[error("this is a token that was cut off or changed: give it whole, or its jti")]
    Cut,
    /// Nothing.
    #[error("must not be empty")]
    Empty,
    /// Neither an id nor a token.
    #[error("this is neither the id of a token nor a token")]
    Neither,
}

/// The longest id that is taken; Kubernetes' are UUIDs.
const LONGEST: usize = 128;

/// Understands `JTI=…` of a TokenReview's `credential-id`, `Bearer …`, quotes, blanks, line breaks and capital letters.
///
/// # Errors
/// It names no token.
pub fn given(text: &str) -> Result<Given, NotGiven> {
    let text = bare(text);
    if resembles_token(text) {
        let whole: String = text.split_whitespace().collect();
        return match Jws::parse(&whole) {
            Some(_) => Ok(Given::Token(whole)),
            None => Err(NotGiven::Cut),
        };
    }
    // Blanks within an id come from a terminal's or a letter's line breaks.
    let compact: String = text.split_whitespace().collect();
    if let Ok(uuid) = Uuid::try_parse(&compact) {
        return Ok(Given::Jti(uuid.hyphenated().to_string()));
    }
    match text {
        "" => Err(NotGiven::Empty),
        text if text.len() > LONGEST || text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(NotGiven::Neither)
        }
        text => Ok(Given::Jti(text.to_owned())),
    }
}

/// Whether an id has the form of those that Kubernetes and tokensmith give. What has another may be a secret.
pub fn is_usual(jti: &str) -> bool {
    Uuid::try_parse(jti).is_ok_and(|uuid| uuid.hyphenated().to_string() == jti)
}

/// Whether there is a token in a text, whole or in part: what is kept or shown must have none.
pub fn holds_token(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).any(resembles_token)
}

/// A JOSE header in base64url, `{"…`, and a part after it.
fn resembles_token(text: &str) -> bool {
    const SHORTEST: usize = 24;
    let begins = ["eyJ", "eyA", "ewo", "ewk", "ew0"].iter().any(|start| text.starts_with(start));
    text.len() >= SHORTEST && begins && (text.contains('.') || text.len() > LONGEST)
}

/// Without what surrounds it where it was copied from.
fn bare(mut text: &str) -> &str {
    const PREFIXES: [&str; 4] = ["authorization:", "bearer ", "jti=", "jti:"];
    loop {
        let before = text;
        text = text.trim_matches(|c: char| c.is_whitespace() || "\"'`,;".contains(c));
        for prefix in PREFIXES {
            if let Some(start) = text.get(..prefix.len())
                && start.eq_ignore_ascii_case(prefix)
            {
                text = &text[prefix.len()..];
            }
        }
        if text == before {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JTI: &str = "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e";
    /// `{"alg":"ES256","kid":"k"}`, `{}`, three bytes.
    const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA";

    fn jti(text: &str) -> Option<String> {
        match given(text) {
            Ok(Given::Jti(jti)) => Some(jti),
            _ => None,
        }
    }

    #[test]
    fn what_is_clearly_meant_is_understood() {
        for text in [
            JTI.to_owned(),
            JTI.to_uppercase(),
            format!("JTI={JTI}"),
            format!("jti={}", JTI.to_uppercase()),
            format!("\"JTI={JTI}\","),
            format!("'{JTI}'"),
            format!("  {JTI}\r\n"),
            format!("jti: {JTI}"),
            JTI.replace('-', ""),
            JTI.replace("-4b63", "-\n 4b63"),
            format!("{{{JTI}}}"),
            format!("urn:uuid:{JTI}"),
        ] {
            assert_eq!(jti(&text).as_deref(), Some(JTI), "{text:?}");
        }
        assert_eq!(jti(" other-id ").as_deref(), Some("other-id"), "not every issuer's are UUIDs");
        assert!(is_usual(JTI) && !is_usual(&JTI.to_uppercase()) && !is_usual("other-id"));
    }

    #[test]
    fn a_token_is_told_from_an_id() {
        let broken = TOKEN.replace(".e30", ".e3\n0");
        for text in [
            TOKEN.to_owned(),
            format!("Bearer {TOKEN}"),
            format!("Authorization: bearer {TOKEN}\n"),
            format!("\"{TOKEN}\""),
            broken,
        ] {
            assert!(matches!(given(&text), Ok(Given::Token(t)) if t == TOKEN), "{text:?}");
        }
        let cut = TOKEN.rsplit_once('.').unwrap().0;
        let long = format!("eyJ{}", "a".repeat(200));
        for text in [cut, &long, &format!("{TOKEN}.more")] {
            assert_eq!(given(text).err(), Some(NotGiven::Cut), "{text:?}");
        }
    }

    #[test]
    fn what_names_no_token_is_refused_and_not_repeated() {
        assert_eq!(given("").err(), Some(NotGiven::Empty));
        assert_eq!(given(" '\" ").err(), Some(NotGiven::Empty));
        assert_eq!(given("JTI=").err(), Some(NotGiven::Empty));
        assert_eq!(given("two words").err(), Some(NotGiven::Neither));
        assert_eq!(given("a\u{1b}b").err(), Some(NotGiven::Neither));
        assert_eq!(given(&"x".repeat(129)).err(), Some(NotGiven::Neither));
    }

    #[test]
    fn a_token_in_a_text_is_noticed() {
        for text in [
            TOKEN.to_owned(),
            format!("leaked: {TOKEN} in a log"),
            format!("token={TOKEN}"),
            format!("<{}>", &TOKEN[..36]),
        ] {
            assert!(holds_token(&text), "{text}");
        }
        for text in
            ["", "leaked in build.log", JTI, "eyJ is how they begin", "https://eyes.example/a.b.c.d.e.f.g.h"]
        {
            assert!(!holds_token(text), "{text}");
        }
    }
}
