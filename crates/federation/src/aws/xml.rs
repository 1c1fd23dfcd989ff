//! Answers in XML, as the query protocol has them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tokensmith_core::random;

use super::error::Refusal;
use crate::answer;

/// The namespace, which names the version of the interface.
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// An element that is being written.
#[derive(Default)]
pub(super) struct Element(String);

impl Element {
    /// With a text in it.
    pub(super) fn text(mut self, name: &str, text: &str) -> Self {
        self.0 += &format!("<{name}>{}</{name}>", escaped(text));
        self
    }

    /// With a text in it, if there is one.
    pub(super) fn optional(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// With another element in it.
    pub(super) fn element(mut self, name: &str, inner: &Element) -> Self {
        self.0 += &format!("<{name}>{}</{name}>", inner.0);
        self
    }
}

/// The answer to an action.
pub(super) fn answer(action: &str, result: &Element) -> Response<Bytes> {
    let id = random::uuid().to_string();
    let metadata = Element::default().text("RequestId", &id);
    let body =
        Element::default().element(&format!("{action}Result"), result).element("ResponseMetadata", &metadata);
    reply(
        StatusCode::OK,
        format!("<{action}Response xmlns=\"{NAMESPACE}\">{}</{action}Response>\n", body.0),
        &id,
    )
}

/// A refusal, whose request has been given an id.
pub(super) fn refusal(refusal: &Refusal, id: &str) -> Response<Bytes> {
    let error = Element::default()
        .text("Type", refusal.kind())
        .text("Code", refusal.code)
        .text("Message", &refusal.message);
    let body = Element::default().element("Error", &error).text("RequestId", id);
    reply(refusal.status, format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{}</ErrorResponse>\n", body.0), id)
}

fn reply(status: StatusCode, body: String, id: &str) -> Response<Bytes> {
    let mut response = answer::of(status, "text/xml", body);
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// What XML 1.0 has no character for (§2.2) becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out += &format!("&#{};", u32::from(c)),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_sends_stays_text() {
        assert_eq!(escaped("a<b>&\"'\n\0"), "a&lt;b&gt;&amp;&quot;&#39;&#10;\u{fffd}");
        let response = refusal(&Refusal::no_provider("https://x/<y>"), "id");
        let body = String::from_utf8(response.into_body().to_vec()).unwrap();
        assert_eq!(
            body,
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider found in your account for https://x/&lt;y&gt;</Message></Error><RequestId>id</RequestId></ErrorResponse>\n"
        );
    }
}
