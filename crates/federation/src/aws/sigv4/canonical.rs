//! The canonical form of a request: what client and service both sign.

use bytes::Bytes;
use http::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use ring::digest::{SHA256, digest};

use super::hex;

/// A request with what was signed of it.
pub(super) struct Canonical<'a> {
    pub(super) request: &'a Request<Bytes>,
    /// In lower case, as they are listed.
    pub(super) headers: &'a [String],
    pub(super) presigned: bool,
}

/// All but RFC 3986's unreserved characters (§2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Canonical<'_> {
    /// The text; `None` where a signed header is not there. The one path of the query protocol is `/`.
    pub(super) fn text(&self) -> Option<String> {
        let mut headers = String::new();
        for name in self.headers {
            headers += &format!("{name}:{}\n", self.header(name)?);
        }
        let signed = self.headers.join(";");
        let (method, query) = (self.request.method(), self.query());
        let body = hex(digest(&SHA256, self.request.body()).as_ref());
        Some(format!("{method}\n/\n{query}\n{headers}\n{signed}\n{body}"))
    }

    /// The values of a header, each without white space around it and with single blanks in it.
    fn header(&self, name: &str) -> Option<String> {
        let values: Option<Vec<_>> =
            self.request.headers().get_all(name).iter().map(|value| value.to_str().ok()).collect();
        let mut values = values?;
        if values.is_empty() && name == "host" {
            // HTTP/2 has it in the target.
            values.extend(self.request.uri().authority().map(http::uri::Authority::as_str));
        }
        let folded = |value: &str| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        (!values.is_empty()).then(|| values.into_iter().map(folded).collect::<Vec<_>>().join(","))
    }

    /// Decoded, encoded by the one rule, and sorted; without the signature itself.
    fn query(&self) -> String {
        let query = self.request.uri().query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded(name), encoded(value))
        });
        let signature = |name: &str| self.presigned && name == "X-Amz-Signature";
        let mut pairs: Vec<_> = pairs.filter(|(name, _)| !signature(name)).collect();
        pairs.sort();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

/// A blank may come as `+`.
fn encoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let decoded = percent_decode(text.as_bytes()).decode_utf8_lossy();
    utf8_percent_encode(&decoded, ENCODED).to_string()
}
