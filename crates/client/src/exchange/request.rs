//! What is asked for (RFC 8693 §2.1), and the rules of its parts.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use url::{Url, form_urlencoded};

/// A token exchange. `Debug` shows no token.
#[derive(Clone, Default)]
pub struct ExchangeRequest {
    /// The token that is given.
    pub subject_token: String,
    /// Of which kind it is.
    pub subject_token_type: TokenType,
    /// The token of who acts for the subject, and its kind.
    pub actor_token: Option<(String, TokenType)>,
    /// For whom the new token is, by names.
    pub audience: Vec<String>,
    /// For whom it is, by URIs.
    pub resource: Vec<String>,
    /// What it permits.
    pub scope: Vec<String>,
    /// Which kind is wanted; `None` leaves it to the endpoint.
    pub requested_token_type: Option<TokenType>,
    /// The token by which the client itself is known (RFC 7523 §2.2).
    pub client_assertion: Option<String>,
}

/// Of which kind a token is (RFC 8693 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// One for a resource server.
    AccessToken,
    /// OpenID Connect's.
    IdToken,
    /// Any JWT: what a service account's token is.
    #[default]
    Jwt,
    /// Another URI.
    Other(String),
}

const PREFIX: &str = "urn:ietf:params:oauth:token-type:";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an audience, a resource or a scope is not; the value is not repeated.
pub type Judged = Result<(), &'static str>;

/// Whether a text is the name of a target service (RFC 8693 §2.1, `audience`): whatever the endpoint knows, on one line.
///
/// # Errors
/// Why not.
pub fn audience(text: &str) -> Judged {
    match text {
        "" => Err("must not be empty"),
        text if text.len() > 1024 => Err("must have at most 1024 bytes"),
        text if text.chars().any(char::is_control) => Err("must not have control characters"),
        _ => Ok(()),
    }
}

/// Whether a text is a target resource (RFC 8707 §2): an absolute URI without a fragment.
///
/// # Errors
/// Why not.
pub fn resource(text: &str) -> Judged {
    audience(text)?;
    match Url::parse(text) {
        Ok(url) if url.fragment().is_none() => Ok(()),
        Ok(_) => Err("must not have a fragment (#…)"),
        Err(_) => Err("must be an absolute URI, as https://api.example.com"),
    }
}

/// Whether a text is one scope (RFC 6749 §3.3, `scope-token`).
///
/// # Errors
/// Why not.
pub fn scope(text: &str) -> Judged {
    audience(text)?;
    match text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
        true => Ok(()),
        false => Err("must be printable ASCII without blanks, quotes and backslashes"),
    }
}

impl ExchangeRequest {
    /// The body, `application/x-www-form-urlencoded`. Repeated parameters are those that RFC 8693 lets be repeated.
    pub(super) fn form(&self) -> Bytes {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT);
        form.extend_pairs(self.audience.iter().map(|one| ("audience", one)));
        form.extend_pairs(self.resource.iter().map(|one| ("resource", one)));
        if !self.scope.is_empty() {
            form.append_pair("scope", &self.scope.join(" "));
        }
        if let Some(kind) = &self.requested_token_type {
            form.append_pair("requested_token_type", kind.uri().as_ref());
        }
        form.append_pair("subject_token", &self.subject_token);
        form.append_pair("subject_token_type", self.subject_token_type.uri().as_ref());
        if let Some((token, kind)) = &self.actor_token {
            form.append_pair("actor_token", token).append_pair("actor_token_type", kind.uri().as_ref());
        }
        if let Some(assertion) = &self.client_assertion {
            form.append_pair("client_assertion_type", ASSERTION).append_pair("client_assertion", assertion);
        }
        form.finish().into()
    }

    /// All that no text may show.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let actor = self.actor_token.iter().map(|(token, _)| token);
        let all = std::iter::once(&self.subject_token).chain(actor).chain(&self.client_assertion);
        all.map(String::as_str).filter(|secret| !secret.is_empty())
    }
}

impl TokenType {
    /// As it goes over the wire.
    pub fn uri(&self) -> String {
        match self {
            TokenType::AccessToken => format!("{PREFIX}access_token"),
            TokenType::IdToken => format!("{PREFIX}id_token"),
            TokenType::Jwt => format!("{PREFIX}jwt"),
            TokenType::Other(uri) => uri.clone(),
        }
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

/// Text that is no [`TokenType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("say jwt, access_token, id_token, or the URI of another kind of token")]
pub struct NoTokenType;

impl FromStr for TokenType {
    type Err = NoTokenType;

    /// The URI, or what stands behind `urn:ietf:params:oauth:token-type:` in it.
    fn from_str(text: &str) -> Result<Self, NoTokenType> {
        match text.strip_prefix(PREFIX).unwrap_or(text) {
            "access_token" => Ok(TokenType::AccessToken),
            "id_token" => Ok(TokenType::IdToken),
            "jwt" => Ok(TokenType::Jwt),
            _ if resource(text).is_ok() => Ok(TokenType::Other(text.to_owned())),
            _ => Err(NoTokenType),
        }
    }
}

impl fmt::Debug for ExchangeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("audience", &self.audience)
            .field("resource", &self.resource)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(request: &ExchangeRequest) -> Vec<(String, String)> {
        form_urlencoded::parse(&request.form()).into_owned().collect()
    }

    #[test]
    fn rfc_8693_section_2_1_parameters() {
        let least = ExchangeRequest { subject_token: "a.b+c".into(), ..ExchangeRequest::default() };
        let pairs = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
        let jwt = "urn:ietf:params:oauth:token-type:jwt";
        let want = [grant, ("subject_token", "a.b+c"), ("subject_token_type", jwt)];
        assert_eq!(fields(&least), pairs(&want));
        let all = ExchangeRequest {
            actor_token: Some(("d".into(), TokenType::AccessToken)),
            audience: vec!["x".into(), "y&z".into()],
            resource: vec!["https://a".into(), "https://b".into()],
            scope: vec!["read".into(), "write".into()],
            requested_token_type: Some(TokenType::Jwt),
            client_assertion: Some("e".into()),
            ..least
        };
        let want = [
            grant,
            ("audience", "x"),
            ("audience", "y&z"),
            ("resource", "https://a"),
            ("resource", "https://b"),
            ("scope", "read write"),
            ("requested_token_type", jwt),
            ("subject_token", "a.b+c"),
            ("subject_token_type", jwt),
            ("actor_token", "d"),
            ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "e"),
        ];
        assert_eq!(fields(&all), pairs(&want));
        assert!(!format!("{all:?}").contains("a.b"));
    }

    #[test]
    fn rfc_6749_section_3_3_and_rfc_8707_section_2_say_what_may_be_asked_for() {
        for (judge, good, bad) in [
            (
                audience as fn(&str) -> Judged,
                &["vault", "a b", "ä", "https://a"][..],
                &["", "a\nb", "a\0"][..],
            ),
            (resource, &["https://a/b?c", "urn:x:y"], &["", "a", "/a", "https://a#b", "https://a\n"]),
            (scope, &["read", "https://a/b", "a:b!"], &["", "a b", "a\"", "a\\", "ä", "a\tb"]),
        ] {
            assert!(good.iter().all(|text| judge(text).is_ok()), "{good:?}");
            assert!(bad.iter().all(|text| judge(text).is_err()), "{bad:?}");
        }
        assert!(audience(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn kinds_of_tokens_have_short_names() {
        for text in ["jwt", "urn:ietf:params:oauth:token-type:jwt"] {
            assert_eq!(text.parse(), Ok(TokenType::Jwt));
        }
        let saml = "urn:ietf:params:oauth:token-type:saml2";
        assert_eq!(saml.parse::<TokenType>().unwrap().to_string(), saml);
        for bad in ["", "JWT", "jwt ", "token", "a b"] {
            assert_eq!(bad.parse::<TokenType>(), Err(NoTokenType), "{bad}");
        }
    }
}
