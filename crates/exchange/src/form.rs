//! Bodies of requests: `application/x-www-form-urlencoded` (RFC 6749 §3.2, appendix B), read exactly or refused.

use axum::body::Body;
use axum::extract::Request;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokensmith_server::{Limit, read_body};

use crate::oauth::{Code, Refusal};

/// The longest body: four tokens of the longest kind, escaped, and what else is asked.
const LONGEST: usize = 320 << 10;
/// So many parameters at most.
const PARAMETERS: usize = 64;
/// So many audiences and resources of each at most.
const TARGETS: usize = 16;

/// The parameters of a request, each with a value. Those without one count as left out (RFC 6749 §3.1). Has no `Debug`: it
/// holds tokens.
pub(crate) struct Form(Vec<(String, String)>);

/// What may be there several times (RFC 8693 §2.1).
const REPEATED: [&str; 2] = ["audience", "resource"];

impl Form {
    /// Reads a request's body.
    pub(crate) async fn read(limit: Limit, request: Request<Body>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        if !is_form(&parts.headers) {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "the body must be one of application/x-www-form-urlencoded",
            ));
        }
        let limit = Limit(limit.0.min(LONGEST));
        let bytes = read_body(parts.version, &parts.headers, body, limit).await.map_err(|failure| {
            let status = StatusCode::from_u16(failure.code()).unwrap_or(StatusCode::BAD_REQUEST);
            Refusal::new(Code::InvalidRequest, "the body is too long, or broke off").with_status(status)
        })?;
        Self::parse(&bytes)
    }

    /// Parses a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let bad = |told| Refusal::new(Code::InvalidRequest, told);
        let mut all: Vec<(String, String)> = Vec::new();
        for (count, pair) in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            if count >= PARAMETERS {
                return Err(bad("there are too many parameters"));
            }
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], pair.get(at.saturating_add(1)..).unwrap_or_default()),
                None => (pair, [].as_slice()),
            };
            let read = (decoded(name), decoded(value));
            let (Some(name), Some(value)) = read else {
                return Err(bad("a parameter is not escaped as a form's must be"));
            };
            all.push((name, value));
        }
        // What was there without a value counts for this, so that nobody reads another one than is read here.
        for (at, (name, _)) in all.iter().enumerate() {
            let repeated = REPEATED.contains(&name.as_str());
            let same = all[..at].iter().filter(|(before, _)| before == name).count();
            if same > 0 && !repeated {
                return Err(bad("a parameter is there twice"));
            }
            if same >= TARGETS {
                return Err(bad("there are too many audiences or resources"));
            }
        }
        all.retain(|(_, value)| !value.is_empty());
        Ok(Form(all))
    }

    /// A parameter's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of one that may be repeated.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// One that must be there.
    pub(crate) fn need(&self, name: &str, told: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::new(Code::InvalidRequest, told))
    }
}

/// One header, of that type; a charset is UTF-8's (RFC 6749 appendix B).
fn is_form(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return false };
    let Ok(text) = one.to_str() else { return false };
    let (media, rest) = text.split_once(';').map_or((text, None), |(media, rest)| (media, Some(rest)));
    let utf8 = |rest: &str| {
        let given = rest.trim().to_ascii_lowercase();
        given.is_empty() || given == "charset=utf-8" || given == "charset=\"utf-8\""
    };
    media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") && rest.is_none_or(utf8)
}

/// `+` is a blank, `%XX` a byte; `None` where that is no UTF-8.
fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> &'static str {
        Form::parse(body.as_bytes()).err().map_or("", |refusal| refusal.told)
    }

    #[test]
    fn rfc6749_3_1_parameters_are_read_exactly() {
        let form = Form::parse(b"a=1&b=x+y%2Bz&&c&d=&audience=p&audience=q&e=%C3%A4&f=a=b").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("e")), (Some("1"), Some("x y+z"), Some("ä")));
        assert_eq!((form.get("c"), form.get("d"), form.get("f")), (None, None, Some("a=b")));
        assert_eq!(form.all("audience").collect::<Vec<_>>(), ["p", "q"]);
        assert_eq!(told("a=1&a=1"), "a parameter is there twice");
        assert_eq!(told("a=&%61=1"), "a parameter is there twice");
        for odd in ["a=%", "a=%2", "a=%zz", "a=%ff", "%ff=1", "a=%+1"] {
            assert_eq!(told(odd), "a parameter is not escaped as a form's must be", "{odd}");
        }
        assert_eq!(told(&"resource=x&".repeat(17)), "there are too many audiences or resources");
        let many: String = (0..65).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(told(&many), "there are too many parameters");
    }

    #[test]
    fn only_forms_are_read() {
        for (header, form) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", true),
            ("application/x-www-form-urlencoded;charset=latin1", false),
            ("application/json", false),
            ("multipart/form-data; boundary=x", false),
            ("", false),
        ] {
            let headers = [(CONTENT_TYPE, header.parse().unwrap())].into_iter().collect();
            assert_eq!(is_form(&headers), form, "{header}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }
}
