//! The policy's file as it is written. Every name that nobody knows is refused, with its place.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

/// Why a policy cannot be used: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct PolicyError {
    /// From 1 on; 0 where the whole file is meant.
    pub line: u64,
    /// From 1 on.
    pub column: u64,
    /// On one line, with the mend where there is one.
    pub problem: String,
}

impl PolicyError {
    pub(crate) fn at(place: Location, problem: impl Into<String>) -> Self {
        PolicyError { line: place.line(), column: place.column(), problem: problem.into() }
    }
}

/// A text, and where it stands.
pub(crate) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct File {
    /// Where this server is reached: in the metadata, and what client assertions are for. Default: the issuer.
    #[serde(default)]
    pub(crate) url: Option<Text>,
    /// CAs (PEM) that the issuers' servers are trusted by, besides the system's.
    #[serde(default)]
    pub(crate) ca_file: Option<Text>,
    /// What is asked of this server's own service-account tokens.
    #[serde(default)]
    pub(crate) service_accounts: Option<RawTakes>,
    #[serde(default)]
    pub(crate) issuers: Vec<RawIssuer>,
    #[serde(default)]
    pub(crate) clients: Vec<RawClient>,
    pub(crate) rules: Vec<RawRule>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawTakes {
    /// What a token must be for, one of them.
    #[serde(default)]
    pub(crate) audiences: Vec<Text>,
    /// Whether an assertion counts once.
    #[serde(default)]
    pub(crate) assertions: Option<RawUse>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RawUse {
    Once,
    Reusable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawIssuer {
    pub(crate) issuer: Text,
    #[serde(default)]
    pub(crate) audiences: Vec<Text>,
    #[serde(default)]
    pub(crate) assertions: Option<RawUse>,
    /// Where its documents are read, if not where its name says.
    #[serde(default)]
    pub(crate) discovery: Option<Text>,
    /// A JWK set on disk instead of discovery.
    #[serde(default)]
    pub(crate) keys_file: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawClient {
    pub(crate) name: Text,
    pub(crate) from: Spanned<RawFrom>,
    pub(crate) may: Vec<RawMay>,
    /// Of tokens for these audiences alone. Default: all.
    #[serde(default)]
    pub(crate) audiences: Vec<Text>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RawMay {
    Introspect,
    Revoke,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawRule {
    pub(crate) name: Text,
    #[serde(default)]
    pub(crate) grants: Option<Spanned<Vec<RawGrant>>>,
    pub(crate) from: Spanned<RawFrom>,
    #[serde(default)]
    pub(crate) actors: Option<RawActors>,
    #[serde(default)]
    pub(crate) audiences: Vec<Text>,
    /// CEL: a list of texts.
    #[serde(default)]
    pub(crate) audiences_from: Option<Text>,
    #[serde(default)]
    pub(crate) resources: Vec<Text>,
    #[serde(default)]
    pub(crate) scopes: Vec<Text>,
    /// CEL: a text.
    #[serde(default)]
    pub(crate) subject: Option<Text>,
    /// CEL, by the claims' names.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, Text>,
    #[serde(default)]
    pub(crate) lifetime: Option<Text>,
    #[serde(default)]
    pub(crate) bound_lifetime: Option<Text>,
    #[serde(default)]
    pub(crate) never_longer_than_subject: Option<bool>,
    #[serde(default)]
    pub(crate) rate: Option<Spanned<RawRate>>,
    #[serde(default)]
    pub(crate) upstream: Option<Spanned<Value>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawGrant {
    ClientCredentials,
    JwtBearer,
    TokenExchange,
}

/// Exactly one of the three, and conditions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawFrom {
    #[serde(default)]
    pub(crate) service_account: Option<RawAccount>,
    #[serde(default)]
    pub(crate) issuer: Option<Text>,
    /// Of an issuer's token its `sub`.
    #[serde(default)]
    pub(crate) subject: Option<Text>,
    #[serde(default)]
    pub(crate) exchanged: Option<RawExchanged>,
    /// CEL: each must be true.
    #[serde(default)]
    pub(crate) conditions: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawAccount {
    pub(crate) namespace: Text,
    #[serde(default)]
    pub(crate) name: Option<Text>,
    #[serde(default)]
    pub(crate) labels: Option<Text>,
    #[serde(default)]
    pub(crate) namespace_labels: Option<Text>,
    #[serde(default)]
    pub(crate) pod_labels: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawExchanged {
    pub(crate) audience: Text,
    #[serde(default)]
    pub(crate) subject: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawActors {
    pub(crate) from: Spanned<Vec<Spanned<RawFrom>>>,
    /// Whether there must be one.
    #[serde(default)]
    pub(crate) required: bool,
    #[serde(default)]
    pub(crate) may_act: RawMayAct,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RawMayAct {
    /// A subject without `may_act` lets the policy decide.
    Optional,
    /// The subject token must name the actor.
    #[default]
    Required,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawRate {
    pub(crate) tokens: u32,
    pub(crate) per: Text,
}

/// The longest file, bytes: some ten thousand issuers.
const LONGEST: usize = 8 << 20;

impl File {
    pub(crate) fn parse(text: &[u8]) -> Result<File, PolicyError> {
        let whole = |problem: &str| PolicyError { line: 0, column: 0, problem: problem.to_owned() };
        if text.len() > LONGEST {
            return Err(whole("the file is longer than 8 MiB"));
        }
        let text = std::str::from_utf8(text).map_err(|_| whole("the file is not UTF-8"))?;
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_depth: 64,
                max_documents: 1,
                max_nodes: 1_000_000,
                max_aliases: 1_000,
            },
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|e| {
            let place = e.location();
            let said = e.without_snippet().to_string();
            let problem = said.lines().next().unwrap_or("cannot be read");
            let problem = problem
                .split_once(": ")
                .filter(|(place, _)| is_place(place))
                .map_or(problem, |(_, rest)| rest);
            let (line, column) = place.map_or((0, 0), |at| (at.line(), at.column()));
            // The library says the place at the end, where it says it.
            let said = format!(" at line {line}, column {column}");
            let problem: String = problem.strip_suffix(&said).unwrap_or(problem).chars().take(300).collect();
            PolicyError { line, column, problem }
        })
    }
}

/// Whether a text is the place that the library puts before what it says.
fn is_place(text: &str) -> bool {
    text.starts_with("error") || text.starts_with("line ")
}
