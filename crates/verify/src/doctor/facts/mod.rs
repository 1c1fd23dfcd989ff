//! What was seen of an issuer: typed, complete, and judged by nobody yet.

mod chain;
mod document;
mod key_set;

use std::net::IpAddr;

use tokensmith_client::outsider::Url;
use tokensmith_client::outsider::{Answer, Trouble};

use crate::report::UnverifiedToken;

pub use chain::Certificate;
pub use document::Document;
pub use key_set::{KeySet, NoKeySet, PublishedKey};

/// All that rules are held against.
pub struct Facts {
    /// The issuer, as its user writes it.
    pub issuer: String,
    /// It as a URL; `None` where it is none of http.
    pub url: Option<Url>,
    /// Where its name leads.
    pub addresses: Result<Vec<IpAddr>, Trouble>,
    /// This machine's clock when the discovery document came, Unix seconds.
    pub now: i64,
    /// The discovery document.
    pub discovery: Asked,
    /// The same, behind an issuer with a slash at its end that is not cut off.
    pub uncut: Option<Result<Answer, Trouble>>,
    /// The key set; `None` where nothing says where it is.
    pub keys: Option<Asked>,
    /// What the discovery document says; `None` where it is none.
    pub document: Option<Document>,
    /// What the key set holds; `None` where nothing was had.
    pub key_set: Option<Result<KeySet, NoKeySet>>,
    /// One of its tokens.
    pub token: Option<UnverifiedToken>,
    /// For how long its keys are published before they sign, seconds, if somebody knows.
    pub publish_before: Option<u64>,
}

/// A document, asked for in several ways.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its URL.
    pub url: String,
    /// By GET, as verifiers ask.
    pub plain: Result<Answer, Trouble>,
    /// In other ways; empty where the first had no answer.
    pub others: Vec<(Way, Result<Answer, Trouble>)>,
}

/// How a document was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// GET once more, with this `Accept`.
    Accept(&'static str),
    /// HEAD.
    Head,
}

impl Asked {
    /// The answer, if it is a good one: with 200, as most verifiers want it.
    pub fn good(&self) -> Option<&Answer> {
        self.plain.as_ref().ok().filter(|answer| answer.status == 200)
    }
}

impl Facts {
    /// A token by itself: nobody was asked. Its issuer is what it says itself, and is compared with nothing.
    pub(super) fn of_token(token: UnverifiedToken, now: i64) -> Facts {
        let nobody = || Trouble::Url(String::new());
        Facts {
            issuer: String::new(),
            url: None,
            addresses: Err(nobody()),
            now,
            discovery: Asked { url: String::new(), plain: Err(nobody()), others: Vec::new() },
            uncut: None,
            keys: None,
            document: None,
            key_set: None,
            token: Some(token),
            publish_before: None,
        }
    }

    /// The documents and what they are called.
    pub fn asked(&self) -> impl Iterator<Item = (&'static str, &Asked)> {
        [("the discovery document", Some(&self.discovery)), ("the key set", self.keys.as_ref())]
            .into_iter()
            .filter_map(|(name, asked)| Some((name, asked?)))
    }

    /// The answers and what they are to.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, &Answer)> {
        self.asked().filter_map(|(name, asked)| Some((name, asked.plain.as_ref().ok()?)))
    }

    /// The keys, where there are any to look at, and all of them are.
    pub fn published(&self) -> Option<&KeySet> {
        let set = self.key_set.as_ref()?.as_ref().ok()?;
        (1..=KeySet::MAX).contains(&set.count).then_some(set)
    }
}

/// A header's text.
pub(super) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name)?.to_str().ok()
}

/// `Content-Type` without its parameters, in small letters.
pub(super) fn media_type(answer: &Answer) -> Option<String> {
    let whole = header(answer, "content-type")?;
    Some(whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// `max-age` of `Cache-Control`, seconds; `no-store` and `no-cache` are none at all.
pub(super) fn max_age(answer: &Answer) -> Option<u64> {
    let all = header(answer, "cache-control")?.to_ascii_lowercase();
    let mut directives = all.split(',').map(str::trim);
    if directives.clone().any(|one| matches!(one, "no-store" | "no-cache")) {
        return Some(0);
    }
    directives.find_map(|one| one.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

/// `Date`, Unix seconds.
pub(super) fn date(answer: &Answer) -> Option<i64> {
    time_in(answer, "date")
}

/// `Last-Modified`, Unix seconds.
pub(super) fn modified(answer: &Answer) -> Option<i64> {
    time_in(answer, "last-modified")
}

/// A header's time (RFC 9110 §5.6.7, the one form that servers write).
fn time_in(answer: &Answer, name: &str) -> Option<i64> {
    use time::macros::format_description;
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let read = time::PrimitiveDateTime::parse(header(answer, name)?, form).ok()?;
    Some(read.assume_utc().unix_timestamp())
}
