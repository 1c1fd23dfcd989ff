//! Signature Version 4, from the side of the service: whose request this is, by what the secret key has signed
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//!
//! In a header or, presigned, in the query. Pure: the secret is looked up by the caller between [`Signed::read`] and
//! [`Signed::check`]. The words of refusals are those that people have reported of the real service.

mod canonical;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use ring::hmac;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use tokensmith_core::Moment;

use super::error::Refusal;
use crate::log::shown;
use canonical::Canonical;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
/// How far the clocks of client and service may differ, and for how long a request is good.
const SKEW: time::Duration = time::Duration::minutes(15);
/// No request has more, and a word for each is looked for.
const MAX_SIGNED_HEADERS: usize = 100;

/// What a request says of its signature.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) access_key_id: String,
    pub(super) session_token: Option<String>,
    /// `DATE/REGION/SERVICE/aws4_request`
    scope: [String; 4],
    headers: Vec<String>,
    date: String,
    signature: String,
    presigned: bool,
}

impl Signed {
    /// Reads what there is, and refuses what is incomplete, late, or for another service.
    pub(super) fn read(
        request: &Request<Bytes>,
        service: &str,
        now: OffsetDateTime,
    ) -> Result<Self, Refusal> {
        let query: Vec<_> =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
        let of_query =
            |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let mut authorization = request.headers().get_all(AUTHORIZATION).iter();
        let signed = match (authorization.next(), of_query("X-Amz-Algorithm")) {
            (None, None) => return Err(Refusal::unsigned()),
            (Some(_), Some(_)) => return Err(Refusal::incomplete("The request is signed twice.")),
            (Some(header), None) if authorization.next().is_none() => {
                Self::of_header(request, header.to_str().map_err(|_| incomplete_header(""))?)?
            }
            (Some(_), None) => return Err(incomplete_header("")),
            (None, Some(algorithm)) => Self::of_query(algorithm, &of_query)?,
        };
        signed.judge(request, service, now)?;
        Ok(signed)
    }

    /// `Authorization: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`
    fn of_header(request: &Request<Bytes>, header: &str) -> Result<Self, Refusal> {
        let (algorithm, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(unsupported(algorithm));
        }
        let mut found = [None, None, None];
        for parameter in parameters.split(',').map(str::trim).filter(|parameter| !parameter.is_empty()) {
            // <https://github.com/jenkinsci/aws-credentials-plugin/issues/72>
            let Some((name, value)) = parameter.split_once('=') else {
                return Err(incomplete_header(
                    "a part is not a valid key=value pair (missing equal-sign) in Authorization header.",
                ));
            };
            let Some(at) = PARAMETERS.iter().position(|known| *known == name) else { continue };
            if found[at].replace(value.to_owned()).is_some() {
                return Err(incomplete_header("a parameter is there twice."));
            }
        }
        let date = single(request, "x-amz-date").or_else(|| single(request, "date"));
        let missing = PARAMETERS.iter().zip(&found).filter(|(_, value)| value.is_none());
        let mut missing: Vec<_> =
            missing.map(|(name, _)| format!("Authorization header requires '{name}' parameter.")).collect();
        if date.is_none() {
            let text = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
            missing.push(text.to_owned());
        }
        let ([Some(credential), Some(signature), Some(headers)], Some(date)) = (found, date) else {
            return Err(incomplete_header(&missing.join(" ")));
        };
        let session_token = single(request, "x-amz-security-token").map(str::to_owned);
        Self::new(&credential, &headers, date, signature, session_token, false)
    }

    /// `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=…&X-Amz-Date=…&X-Amz-SignedHeaders=…&X-Amz-Signature=…`
    fn of_query<'a>(algorithm: &str, of: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        if algorithm != ALGORITHM {
            return Err(unsupported(algorithm));
        }
        let names = ["X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Signature"];
        let [Some(credential), Some(headers), Some(date), Some(signature)] = names.map(of) else {
            let missing = names.iter().filter(|name| of(name).is_none());
            let missing: Vec<_> =
                missing.map(|name| format!("AWS query-string parameters must include '{name}'.")).collect();
            return Err(Refusal::incomplete(format!(
                "{} Re-examine the query-string parameters.",
                missing.join(" ")
            )));
        };
        // STS takes what is fresh, however long it says that it is good; but what is said must be a number of seconds.
        if of("X-Amz-Expires")
            .is_some_and(|text| !text.parse().is_ok_and(|s: u32| (1..=604_800).contains(&s)))
        {
            return Err(Refusal::incomplete(
                "X-Amz-Expires must be a number of seconds, and less than a week.",
            ));
        }
        let session_token = of("X-Amz-Security-Token").map(str::to_owned);
        Self::new(credential, headers, date, signature.to_owned(), session_token, true)
    }

    fn new(
        credential: &str,
        headers: &str,
        date: &str,
        signature: String,
        session_token: Option<String>,
        presigned: bool,
    ) -> Result<Self, Refusal> {
        let mut parts = credential.split('/').map(str::to_owned);
        let mut part = || parts.next();
        let read = (part(), part(), part(), part(), part(), part());
        let (Some(access_key_id), Some(day), Some(region), Some(service), Some(term), None) = read else {
            let text = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term,";
            return Err(Refusal::incomplete(text));
        };
        let headers: Vec<_> = headers.split(';').map(str::to_ascii_lowercase).collect();
        if headers.len() > MAX_SIGNED_HEADERS {
            return Err(Refusal::incomplete("There are too many signed headers."));
        }
        let (scope, date) = ([day, region, service, term], date.to_owned());
        Ok(Signed { access_key_id, session_token, scope, headers, date, signature, presigned })
    }

    /// All that can be told without the secret.
    fn judge(&self, request: &Request<Bytes>, service: &str, now: OffsetDateTime) -> Result<(), Refusal> {
        if !self.headers.iter().any(|name| name == "host") {
            let text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
            return Err(Refusal::signature(text));
        }
        // What AWS reads must be signed, or another could have put it there.
        let unsigned = request
            .headers()
            .keys()
            .map(http::HeaderName::as_str)
            .find(|name| name.starts_with("x-amz-") && !self.headers.iter().any(|signed| signed == name));
        if let Some(name) = unsigned {
            let text = format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
            return Err(Refusal::signature(text));
        }
        let Some(date) = parse(&self.date) else {
            let text = format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'.",
                super::query::short(&self.date)
            );
            let refusal = Refusal::incomplete(format!("{text} See http://en.wikipedia.org/wiki/ISO_8601"));
            return Err(refusal.because("the request's date is not in the basic format of ISO 8601"));
        };
        let written = basic(date);
        let (earliest, latest) = (now.minus(SKEW), now.plus(SKEW));
        // <https://github.com/aws/aws-cli/issues/6676>
        if date < earliest {
            return Err(Refusal::signature(format!(
                "Signature expired: {written} is now earlier than {} ({} - 15 min.)",
                basic(earliest),
                basic(now)
            )));
        }
        // <https://github.com/QT-DevOps/DevOpsIssues/issues/989>
        if date > latest {
            return Err(Refusal::signature(format!(
                "Signature not yet current: {written} is still later than {} ({} + 15 min.)",
                basic(latest),
                basic(now)
            )));
        }
        let [day, region, of, term] = &self.scope;
        let mut wrong = String::new();
        let mut parts = Vec::new();
        // <https://github.com/cllunsford/aws-signing-proxy/issues/25>
        if of != service {
            wrong += &format!("Credential should be scoped to correct service: '{service}'. ");
            parts.push("service");
        }
        if term != TERMINATOR {
            parts.push("terminator");
            let term = super::query::short(term);
            wrong += &format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{term}'. "
            );
        }
        // <https://github.com/cognitect-labs/aws-api/issues/27>; here every name that could be a region's is one.
        if region.is_empty()
            || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            parts.push("region");
            let region = super::query::short(region);
            wrong += &format!("Credential should be scoped to a valid region, not '{region}'. ");
        }
        if *day != written[..8] {
            parts.push("day");
            let day = super::query::short(day);
            let of = &written[..8];
            wrong += &format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != '{of}', from '{written}'. "
            );
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let key = shown(&self.access_key_id);
        let why = format!(
            "the scope of the access key {key}'s credential has another {}",
            parts.join(", another ")
        );
        Err(Refusal::signature(wrong).because(why))
    }

    /// Whether the secret has signed the request.
    pub(super) fn check(&self, request: &Request<Bytes>, secret: &str) -> Result<(), Refusal> {
        let canonical = Canonical { request, headers: &self.headers, presigned: self.presigned };
        let canonical = canonical.text().ok_or_else(mismatch)?;
        let date = parse(&self.date).map(basic).unwrap_or_default();
        let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{date}\n{}\n{hash}", self.scope.join("/"));
        let signature = unhex(&self.signature).ok_or_else(mismatch)?;
        hmac::verify(&self.key(secret), text.as_bytes(), &signature).map_err(|_| mismatch())
    }

    /// The key for a day, a region and a service.
    fn key(&self, secret: &str) -> hmac::Key {
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        for part in &self.scope {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

/// In the order in which they are missed.
const PARAMETERS: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];

fn single<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    let mut all = request.headers().get_all(name).iter();
    all.next().filter(|_| all.next().is_none())?.to_str().ok()
}

/// What stands in the header is not repeated: it names a credential.
fn incomplete_header(why: &str) -> Refusal {
    let why = if why.is_empty() { "The Authorization header cannot be read." } else { why };
    Refusal::incomplete(why)
}

/// What stands for the algorithm may be a bearer's token.
fn unsupported(algorithm: &str) -> Refusal {
    let text = format!("Unsupported AWS 'algorithm': '{}'.", super::query::short(algorithm));
    Refusal::incomplete(text).because(format_args!("the request is not signed with {ALGORITHM}"))
}

fn mismatch() -> Refusal {
    Refusal::signature(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
    )
}

/// `20260102T030405Z`
fn parse(text: &str) -> Option<OffsetDateTime> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    PrimitiveDateTime::parse(text, format).ok().map(PrimitiveDateTime::assume_utc)
}

fn basic(at: OffsetDateTime) -> String {
    at.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}
