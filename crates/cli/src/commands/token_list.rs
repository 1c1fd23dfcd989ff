//! `tokensmith token list`: the server's ledger, seen through its admin API (openapi/tokensmith.yaml).

use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::{Clock, Moment, moment};

use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Listing, Output};
use crate::times;

const PATH: &str = "/admin/v1/tokens";
/// Tokens on a page: few enough that an answer is soon there, and takes little room.
const PAGE: u64 = 500;

const EXAMPLES: &str = "Examples:
  # all tokens of an account
  tokensmith token list --account payments/api

  # those that a pod holds, those for vault
  tokensmith token list --pod payments/api-0
  tokensmith token list --audience vault

  # the hundred that expire first
  tokensmith token list --limit 100

  # what a key has signed, for a program
  tokensmith token list --key KID --output json";

/// List the unexpired tokens.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    /// Of this service account
    #[arg(long, value_name = "NAMESPACE/NAME")]
    account: Option<String>,

    /// Bound to this pod
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,

    /// For this audience, perhaps among others
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,

    /// Signed by this key
    #[arg(long, value_name = "KID")]
    key: Option<String>,

    /// So many at most; those that expire first come first
    #[arg(long, value_name = "NUMBER", value_parser = limit)]
    limit: Option<u64>,

    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

fn limit(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("not a whole number from 1 on")
}

impl ListArgs {
    /// Asks for page after page and prints them as one list.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn run(self) -> Result<(), Failure> {
        if self.client.namespace.is_some() {
            return Err(Failure::usage(
                "--namespace chooses no tokens: give --account NAMESPACE/NAME or --pod NAMESPACE/NAME",
            ));
        }
        let client = connect(&self.client.target()?)?;
        let filters = [
            ("account", &self.account),
            ("pod", &self.pod),
            ("audience", &self.audience),
            ("key", &self.key),
        ];
        let filters: Vec<_> = filters.iter().filter_map(|(k, v)| Some((*k, v.as_deref()?))).collect();
        if let Some((name, _)) = filters.iter().find(|(_, value)| value.is_empty()) {
            return Err(Failure::usage(format!("--{name} must not be empty")));
        }
        // A page is printed before the next one is asked for: however many tokens there are, one page is in memory.
        let now = SystemClock::new().now();
        let mut listing = Listing::new(self.output, "tokens", &HEAD);
        let (mut left, mut more) = (self.limit.unwrap_or(u64::MAX), String::new());
        loop {
            let limit = left.min(PAGE).to_string();
            let mut query = filters.clone();
            query.extend([("limit", limit.as_str()), ("continue", more.as_str())]);
            let page = client.get_with(PATH, &query).await?;
            let mut page =
                page.map_err(|r| Failure::failed(format!("failed to list tokens: {}", r.message)))?;
            let mut tokens = match page.get_mut("tokens").map(Value::take) {
                Some(Value::Array(tokens)) => tokens,
                _ => Vec::new(),
            };
            tokens.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left = left.saturating_sub(tokens.len() as u64);
            output::print_text(&listing.part(tokens, |token| row(token, now))?)?;
            match page.get("continue").and_then(Value::as_str) {
                Some(next) if next != more && left > 0 => more = next.to_owned(),
                next => {
                    output::print_text(&listing.end()?)?;
                    if next.is_some() && left == 0 {
                        output::aside("note: there are more tokens than --limit shows");
                    }
                    return Ok(());
                }
            }
        }
    }
}

const HEAD: [&str; 8] =
    ["JTI", "ACCOUNT", "BOUND TO", "AUDIENCES", "ISSUED", "EXPIRES", "REQUESTER", "STATE"];

fn row(token: &Value, now: OffsetDateTime) -> Vec<String> {
    let text = |pointer: &str| token.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let when = |pointer: &str| match moment::parse(&text(pointer)) {
        Ok(at) => times::distance(at.since(now)),
        Err(_) => "-".to_owned(),
    };
    let bound = match text("/boundObject/kind") {
        kind if kind.is_empty() => "-".to_owned(),
        kind => format!("{kind}/{}", text("/boundObject/name")),
    };
    let audiences = token.get("audiences").and_then(Value::as_array);
    let mut audiences: Vec<_> = audiences.into_iter().flatten().filter_map(Value::as_str).collect();
    if token.get("audiencesCut").is_some_and(|cut| cut == true) {
        audiences.push("…");
    }
    let is = |field: &str| token.get(field).and_then(Value::as_bool).unwrap_or_default();
    // As a review would say now; of what an API server elsewhere issued, only that server knows.
    let state = match text("/refused") {
        _ if is("revoked") => "revoked".to_owned(),
        _ if is("elsewhere") => "not known here".to_owned(),
        why if why.is_empty() => "valid".to_owned(),
        why => format!("refused: {why}"),
    };
    vec![
        text("/jti"),
        text("/account"),
        bound,
        audiences.join(","),
        when("/issuedAt"),
        when("/expiresAt"),
        text("/requester"),
        state,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_row_per_token() {
        let list = json!([
            { "jti": "j1", "account": "n/a", "boundObject": { "kind": "Pod", "name": "web", "uid": "u" },
              "audiences": ["api", "vault"], "kid": "k", "issuedAt": "2026-01-01T10:00:00Z",
              "expiresAt": "2026-01-01T12:00:00Z", "requester": "admin" },
            { "jti": "j2", "account": "n/b", "audiences": ["api"], "kid": "k", "issuedAt": "2026-01-01T10:00:00Z",
              "expiresAt": "2026-01-01T11:00:30Z", "requester": "jane", "revoked": true, "audiencesCut": true },
            { "jti": "j3", "account": "n/c", "issuedAt": "2026-01-01T10:00:00Z", "expiresAt": "2026-01-01T12:00:00Z",
              "requester": "jane", "refused": "serviceaccounts \"c\" not found" },
            { "jti": "j4", "account": "n/d", "issuedAt": "2026-01-01T10:00:00Z", "expiresAt": "2026-01-01T12:00:00Z",
              "requester": "external-signer", "elsewhere": true },
        ]);
        let rows = |token: &Value| row(token, datetime!(2026-01-01 11:00 UTC));
        let mut listing = Listing::new(Output::Table, "tokens", &HEAD);
        assert_eq!(
            listing.part(list.as_array().unwrap().clone(), rows).unwrap(),
            "JTI   ACCOUNT   BOUND TO   AUDIENCES   ISSUED    EXPIRES   REQUESTER         STATE\n\
             j1    n/a       Pod/web    api,vault   60m ago   in 60m    admin             valid\n\
             j2    n/b       -          api,…       60m ago   in 30s    jane              revoked\n\
             j3    n/c       -                      60m ago   in 60m    jane              refused: serviceaccounts \"c\" not found\n\
             j4    n/d       -                      60m ago   in 60m    external-signer   not known here\n"
        );
    }
}
