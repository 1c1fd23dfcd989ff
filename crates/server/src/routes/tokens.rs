//! `GET /admin/v1/tokens`: which tokens there are. What is known of them, never the tokens.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_core::Error;
use tokensmith_core::access::request::parameters;
use tokensmith_core::ledger::{Filter, Issued, NamespacedName, Position};
use tokensmith_core::tokens::TokenLedger;
use tokensmith_core::tokens::ledger::Standing;
use tokensmith_objects::object::timestamp;

use crate::failure::Failure;
use crate::reply::{self, Format};

/// Tokens on a page when the request does not say, and at most.
const PAGE: (usize, usize) = (500, 5000);

/// Unexpired tokens, those that expire first first.
pub(super) async fn list(
    State(ledger): State<Arc<TokenLedger>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let format = Format::of(&headers, &query, |_| false)?;
    let wanted = TokenQuery::parse(&query)?;
    let page = ledger.list(wanted.filter, wanted.limit, wanted.after.as_ref()).await?;
    let moment = ledger.moment();
    let tokens: Vec<_> = page.records.iter().map(|r| show(r, moment.standing(r))).collect();
    let mut answer = json!({ "tokens": tokens });
    if let (true, Some(last)) = (page.more, page.records.last()) {
        answer["continue"] = continue_token(&last.position()).into();
    }
    Ok(reply::object(StatusCode::OK, &answer, &format))
}

#[derive(Debug)]
struct TokenQuery {
    filter: Filter,
    limit: usize,
    after: Option<Position>,
}

impl TokenQuery {
    fn parse(query: &str) -> Result<Self, Failure> {
        let mut wanted = TokenQuery { filter: Filter::default(), limit: PAGE.0, after: None };
        let filter = &mut wanted.filter;
        let mut given = HashSet::new();
        for (name, value) in parameters(query) {
            // Which of the two was meant, and whether a filter that a script left empty means all, is not ours to guess.
            if !given.insert(name.clone()) {
                return Err(Error::BadRequest(format!("query parameter {name} is given twice")).into());
            }
            match (name.as_str(), value.as_str()) {
                ("account" | "audience" | "jti" | "key" | "pod", "") => {
                    return Err(Error::BadRequest(format!("query parameter {name} is empty")).into());
                }
                // The first page, the usual size.
                ("continue" | "limit", "") => continue,
                _ => {}
            }
            match name.as_str() {
                "account" => filter.account = Some(parse::<NamespacedName>(&name, &value)?),
                "audience" => filter.audience = Some(value),
                "continue" => wanted.after = Some(position(&value)?),
                "jti" => filter.jti = Some(value),
                "key" => filter.key = Some(value),
                "limit" => match parse::<usize>(&name, &value)? {
                    0 => {}
                    limit => wanted.limit = limit.min(PAGE.1),
                },
                "pod" => filter.pod = Some(parse::<NamespacedName>(&name, &value)?),
                "pretty" => {}
                // Ignoring a misspelt filter would show what was not asked for.
                _ => return Err(Error::BadRequest(format!("unknown query parameter {name:?}")).into()),
            }
        }
        Ok(wanted)
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|e| Error::BadRequest(format!("query parameter {name}: {value:?}: {e}")).into())
}

/// `EXPIRY.JTI`, so that it fits a query as it is.
fn continue_token(position: &Position) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{}.{}", position.expires_at, position.jti))
}

fn position(text: &str) -> Result<Position, Failure> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
    let position = decoded.as_deref().and_then(|text| {
        let (expires_at, jti) = text.split_once('.')?;
        Some(Position { expires_at: expires_at.parse().ok()?, jti: jti.to_owned() })
    });
    position.ok_or_else(|| Error::BadRequest("continue key is not valid".into()).into())
}

fn show(issued: &Issued, standing: Standing) -> Value {
    let mut out = Map::new();
    let account = issued.account.to_string();
    for (field, text) in [("jti", &issued.jti), ("account", &account), ("uid", &issued.uid)] {
        out.insert(field.into(), text.as_str().into());
    }
    if let Some(bound) = &issued.bound {
        let bound = json!({"kind": bound.kind, "name": bound.name, "uid": bound.uid});
        out.insert("boundObject".into(), bound);
    }
    out.insert("audiences".into(), issued.audiences.clone().into());
    if issued.audiences_cut {
        out.insert("audiencesCut".into(), true.into());
    }
    out.insert("kid".into(), issued.kid.as_str().into());
    out.insert("issuedAt".into(), time(issued.issued_at));
    out.insert("expiresAt".into(), time(issued.expires_at));
    out.insert("requester".into(), issued.requester.as_str().into());
    if let Some(exchanged) = &issued.exchanged {
        out.insert("exchangedAs".into(), exchanged.subject.as_str().into());
    }
    match standing {
        Standing::Accepted => {}
        Standing::Elsewhere => drop(out.insert("elsewhere".into(), true.into())),
        Standing::Refused(why) => drop(out.insert("refused".into(), why.into())),
        Standing::Revoked => drop(out.insert("revoked".into(), true.into())),
    }
    Value::Object(out)
}

/// A time from Unix seconds; `null` for one that no calendar has.
pub(super) fn time(unix: i64) -> Value {
    OffsetDateTime::from_unix_timestamp(unix).map_or(Value::Null, |at| timestamp(at).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_comes_back() {
        for at in [(5, "a.b"), (i64::MIN, ""), (i64::MAX, "ä")] {
            let place = Position { expires_at: at.0, jti: at.1.into() };
            assert_eq!(position(&continue_token(&place)).ok(), Some(place));
        }
        for junk in ["", "x", "!", "MQ"] {
            assert!(position(junk).is_err(), "{junk:?}");
        }
    }
}
