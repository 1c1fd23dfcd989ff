//! Reading the profile file. Each error is one line that names the place and the mend; the caller adds the file.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokensmith_api::duration::{self, DurationError};
use tokensmith_api::{GoDuration, yaml};
use tokensmith_objects::field::go_quote;
use tokensmith_objects::names;
use tokensmith_objects::validate::MAX_TOKEN_EXPIRATION;

use super::{ExtraClaims, Pattern, TokenProfile};
use crate::keys::Algorithm;
use crate::keys::algorithm::UnknownAlgorithm;
use crate::tokens::extra_claims::ClaimsError;

/// What the server's own flags allow: a profile narrows it and never widens it.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// `--min-token-expiration`, seconds.
    pub min_seconds: i64,
    /// `--service-account-max-token-expiration`, seconds.
    pub max_seconds: Option<i64>,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits { min_seconds: 600, max_seconds: None }
    }
}

/// Why a profile file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A bound that the server's flags do not allow, or two that contradict each other.
    #[error("{place}: {given} {problem}")]
    Bound {
        /// Where.
        place: String,
        /// The bound.
        given: GoDuration,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// Claims that tokens cannot carry.
    #[error("{place}: {source}")]
    Claims {
        /// Where.
        place: String,
        /// Why.
        source: ClaimsError,
    },
    /// A key that is there twice.
    #[error("the key {} is there twice: keep one of them", go_quote(.0))]
    DuplicateKey(String),
    /// A field of the wrong form, or that nobody knows.
    #[error("{place}: {problem}")]
    Field {
        /// Where.
        place: String,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// No YAML.
    #[error(transparent)]
    Yaml(#[from] yaml::YamlError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    profiles: Vec<Value>,
}

/// The fields are read one by one afterwards, so that each error can name its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawProfile {
    name: Option<Value>,
    audiences: Option<Value>,
    algorithm: Option<Value>,
    min_expiration: Option<Value>,
    max_expiration: Option<Value>,
    single_audience: Option<Value>,
    claims: Option<Value>,
}

pub(super) fn profiles(text: &[u8], limits: &ServerLimits) -> Result<Vec<TokenProfile>, ProfileError> {
    let parsed = yaml::parse(text)?;
    if let Some(key) = parsed.duplicates.into_iter().next() {
        return Err(ProfileError::DuplicateKey(key));
    }
    if !parsed.value.is_object() {
        return Err(field("the file", "must be an object with the list `profiles`"));
    }
    let raw: RawFile = typed(&parsed.value, "the file")?;
    let mut profiles: Vec<TokenProfile> = Vec::with_capacity(raw.profiles.len());
    for (at, value) in raw.profiles.iter().enumerate() {
        let place = format!("profiles[{at}]");
        let profile = profile(value, &place, limits)?;
        if profiles.iter().any(|other| other.name == profile.name) {
            let problem =
                format!("{} is the name of an earlier profile: use another", go_quote(&profile.name));
            return Err(field(format!("{place}.name"), problem));
        }
        profiles.push(profile);
    }
    Ok(profiles)
}

fn profile(value: &Value, place: &str, limits: &ServerLimits) -> Result<TokenProfile, ProfileError> {
    if !value.is_object() {
        return Err(field(place, "must be an object with at least `name` and `audiences`"));
    }
    let raw: RawProfile = typed(value, place)?;
    let at = |name: &str| format!("{place}.{name}");
    let name: String = required(raw.name, &at("name"), "e.g. `name: azure`")?;
    if !names::label(&name).is_empty() {
        let problem = format!(
            "{} is no name: use up to 63 lower-case letters, digits and '-', e.g. `azure`",
            go_quote(&name)
        );
        return Err(field(at("name"), problem));
    }
    let audiences: Vec<String> =
        required(raw.audiences, &at("audiences"), "e.g. `audiences: [sts.amazonaws.com]`")?;
    if audiences.is_empty() {
        return Err(field(at("audiences"), "lists nothing: name an audience, '*' for all"));
    }
    if let Some(empty) = audiences.iter().position(String::is_empty) {
        return Err(field(
            format!("{}[{empty}]", at("audiences")),
            "is empty: name an audience, '*' for all",
        ));
    }
    let (min, max) = (at("minExpiration"), at("maxExpiration"));
    let min_seconds = bound(raw.min_expiration, &min, limits)?;
    let max_seconds = bound(raw.max_expiration, &max, limits)?;
    if let Some((shortest, longest)) = min_seconds.zip(max_seconds).filter(|(min, max)| min.0 > max.0) {
        let problem = format!("is longer than maxExpiration, which is {}: lower it", longest.1);
        return Err(ProfileError::Bound { place: min, given: shortest.1, problem });
    }
    Ok(TokenProfile {
        name,
        audiences: audiences.into_iter().map(Pattern::new).collect(),
        algorithm: raw.algorithm.map(|v| algorithm(&v, &at("algorithm"))).transpose()?,
        min_seconds: min_seconds.map(|(seconds, _)| seconds),
        max_seconds: max_seconds.map(|(seconds, _)| seconds),
        single_audience: optional(raw.single_audience, &at("singleAudience"))?.unwrap_or(false),
        claims: claims(raw.claims, &at("claims"))?,
    })
}

fn algorithm(value: &Value, place: &str) -> Result<Algorithm, ProfileError> {
    let name: String = typed(value, place)?;
    name.parse().map_err(|e: UnknownAlgorithm| field(place, e.to_string()))
}

/// A bound in seconds, and as it was written, within what the server allows.
fn bound(
    value: Option<Value>,
    place: &str,
    limits: &ServerLimits,
) -> Result<Option<(i64, GoDuration)>, ProfileError> {
    let Some(text) = optional::<String>(value, place)? else { return Ok(None) };
    let unread = |e: DurationError| field(place, format!("{e}: write e.g. 10m, 1h30m or 7d"));
    let given = duration::typed(&text).map_err(unread)?;
    let seconds = given.whole_seconds();
    let refuse = |problem: String| Err(ProfileError::Bound { place: place.to_owned(), given, problem });
    if !given.is_whole() || seconds < 1 {
        return refuse("is no whole number of seconds above zero: round it".into());
    }
    if seconds < limits.min_seconds {
        return refuse(format!(
            "is below the server's minimum of {} s: raise it, or lower --min-token-expiration",
            limits.min_seconds
        ));
    }
    match limits.max_seconds {
        Some(longest) if seconds > longest => refuse(format!(
            "is above the server's maximum of {longest} s: lower it, or raise --service-account-max-token-expiration"
        )),
        _ if seconds > MAX_TOKEN_EXPIRATION => refuse("is above 2^32 seconds: lower it".into()),
        _ => Ok(Some((seconds, given))),
    }
}

fn claims(value: Option<Value>, place: &str) -> Result<ExtraClaims, ProfileError> {
    let Some(map) = optional::<Map<String, Value>>(value, place)? else { return Ok(ExtraClaims::default()) };
    ExtraClaims::new(&map).map_err(|source| ProfileError::Claims { place: place.to_owned(), source })
}

fn required<T: DeserializeOwned>(
    value: Option<Value>,
    place: &str,
    example: &str,
) -> Result<T, ProfileError> {
    optional(value, place)?.ok_or_else(|| field(place, format!("is missing: give it, {example}")))
}

fn optional<T: DeserializeOwned>(value: Option<Value>, place: &str) -> Result<Option<T>, ProfileError> {
    value.map(|value| typed(&value, place)).transpose()
}

fn typed<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, ProfileError> {
    T::deserialize(value).map_err(|e| field(place, e.to_string()))
}

fn field(place: impl Into<String>, problem: impl Into<String>) -> ProfileError {
    ProfileError::Field { place: place.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<TokenProfile>, String> {
        let limits = ServerLimits { min_seconds: 600, max_seconds: Some(86_400) };
        profiles(text.as_bytes(), &limits).map_err(|e| e.to_string())
    }

    /// A profile with these further lines.
    fn with(lines: &str) -> Result<Vec<TokenProfile>, String> {
        read(&format!("profiles:\n- name: a\n  audiences: ['*']\n  {}\n", lines.replace('\n', "\n  ")))
    }

    #[test]
    fn everything_that_can_be_said() {
        let found = with(
            "algorithm: ES256\nminExpiration: 15m\nmaxExpiration: 1h\nsingleAudience: true\nclaims: {team: {b: 1, a: [x]}, n: 0.5}",
        )
        .unwrap();
        let profile = &found[0];
        assert_eq!((profile.name(), profile.algorithm()), ("a", Some(Algorithm::ES256)));
        assert_eq!((profile.min_seconds(), profile.max_seconds()), (Some(900), Some(3600)));
        assert!(profile.single_audience);
        let claims: Vec<_> =
            profile.claims().iter().map(|c| std::str::from_utf8(c.json()).unwrap()).collect();
        assert_eq!(claims, [r#""n":0.5"#, r#""team":{"a":["x"],"b":1}"#]);
        let bare = &with("").unwrap()[0];
        assert_eq!((bare.algorithm(), bare.min_seconds(), bare.max_seconds()), (None, None, None));
        assert!(read("profiles: []").unwrap().is_empty());
    }

    #[test]
    fn each_error_names_its_place_and_the_mend() {
        let two = "profiles:\n- {name: a, audiences: [x]}\n- {name: a, audiences: [z]}";
        for (found, want) in [
            (read(""), "the file: must be an object with the list `profiles`"),
            (read("- a"), "the file: must be an object with the list `profiles`"),
            (read("{}"), "the file: missing field `profiles`"),
            (read("profile: []"), "the file: unknown field `profile`, expected `profiles`"),
            (read("profiles: 1"), "the file: invalid type: integer `1`, expected a sequence"),
            (read("profiles: [1]"), "profiles[0]: must be an object with at least `name` and `audiences`"),
            (
                read("profiles: [{name: a}]"),
                "profiles[0].audiences: is missing: give it, e.g. `audiences: [sts.amazonaws.com]`",
            ),
            (
                read("profiles: [{audiences: [a]}]"),
                "profiles[0].name: is missing: give it, e.g. `name: azure`",
            ),
            (
                read("profiles: [{name: A b, audiences: [a]}]"),
                "profiles[0].name: \"A b\" is no name: use up to 63 lower-case letters, digits and '-', e.g. `azure`",
            ),
            (
                read("profiles: [{name: a, audiences: []}]"),
                "profiles[0].audiences: lists nothing: name an audience, '*' for all",
            ),
            (
                read("profiles: [{name: a, audiences: [a, '']}]"),
                "profiles[0].audiences[1]: is empty: name an audience, '*' for all",
            ),
            (
                read("profiles: [{name: a, audiences: a}]"),
                "profiles[0].audiences: invalid type: string \"a\", expected a sequence",
            ),
            (read(two), "profiles[1].name: \"a\" is the name of an earlier profile: use another"),
            (with("name: b"), "the key \"name\" is there twice: keep one of them"),
            (with("algorithm: RS257"), "profiles[0].algorithm: unknown signing algorithm \"RS257\""),
            (with("algorithm: 1"), "profiles[0].algorithm: invalid type: integer `1`, expected a string"),
            (
                with("maxExpiration: 3600"),
                "profiles[0].maxExpiration: invalid type: integer `3600`, expected a string",
            ),
            (
                with("maxExpiration: '3600'"),
                "profiles[0].maxExpiration: time: missing unit in duration \"3600\": write e.g. 10m, 1h30m or 7d",
            ),
            (
                with("maxExpiration: 25h"),
                "profiles[0].maxExpiration: 25h0m0s is above the server's maximum of 86400 s: lower it, or raise --service-account-max-token-expiration",
            ),
            (
                with("minExpiration: 5m"),
                "profiles[0].minExpiration: 5m0s is below the server's minimum of 600 s: raise it, or lower --min-token-expiration",
            ),
            (
                with("minExpiration: 10m0.5s"),
                "profiles[0].minExpiration: 10m0.5s is no whole number of seconds above zero: round it",
            ),
            (
                with("maxExpiration: -1h"),
                "profiles[0].maxExpiration: -1h0m0s is no whole number of seconds above zero: round it",
            ),
            (
                with("minExpiration: 2h\nmaxExpiration: 1h"),
                "profiles[0].minExpiration: 2h0m0s is longer than maxExpiration, which is 1h0m0s: lower it",
            ),
            (
                with("singleAudience: 'yes'"),
                "profiles[0].singleAudience: invalid type: string \"yes\", expected a boolean",
            ),
            (with("claims: [a]"), "profiles[0].claims: invalid type: sequence, expected a map"),
            (
                with("claims: {Iss: a}"),
                "profiles[0].claims: the claim \"Iss\" is set by the issuer alone: use another name",
            ),
            (with("claim: {a: b}"), "profiles[0]: unknown field `claim`, expected one of `name`"),
        ] {
            let error = found.unwrap_err();
            assert!(error.starts_with(want) && error.lines().count() == 1, "{error}\nshould be\n{want}");
        }
        assert!(read("profiles: [").unwrap_err().starts_with("error converting YAML to JSON: yaml: "));
    }
}
