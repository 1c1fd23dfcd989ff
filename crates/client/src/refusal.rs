//! Answers that are no success.

use std::time::Duration;

use http::header::RETRY_AFTER;
use serde_json::Value;

use crate::Error;
use crate::http::MAX_ANSWER;
use crate::transport::Answer;

/// An answer that is no success.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The `Status` reason, e.g. `NotFound`; may be empty.
    pub reason: String,
    /// The resource that it is about (`details.kind`), e.g. `secrets`; empty for a path that is not served.
    pub about: String,
    /// The fields that it finds fault with (`details.causes`).
    pub fields: Vec<String>,
    /// The `Status` message, or the start of the body.
    pub message: String,
    /// `Retry-After`, if it is in seconds.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// For how long the server wants to be left alone, if it says so in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }

    /// What it says, as it is no success.
    pub(crate) async fn refused(self) -> Result<Refusal, Error> {
        let (code, retry_after, too_long) = (self.status.as_u16(), self.retry_after(), self.too_long);
        let mut refusal = Refusal { retry_after, ..Refusal::of(code, &self.read(MAX_ANSWER).await?) };
        if let Some((wait, limit)) = too_long {
            refusal.message.push_str(&format!(
                "; it asks for a wait of {wait:?}, which is more than is left of the {limit:?} that a request may take (--request-timeout)"
            ));
        }
        Ok(refusal)
    }
}

impl Refusal {
    /// What a body says that came with the code of a failure.
    pub fn of(code: u16, body: &[u8]) -> Refusal {
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let field = |name| {
            value.as_ref().and_then(|v| v.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        Refusal {
            code,
            reason: field("reason").unwrap_or_default().to_owned(),
            about: text(value.as_ref(), "/details/kind"),
            fields: fields(value.as_ref()),
            message: field("message").map_or_else(|| format!("the server answered {code}"), str::to_owned),
            retry_after: None,
        }
    }
}

/// The fields that a refusal finds fault with (`details.causes`).
fn fields(value: Option<&Value>) -> Vec<String> {
    let causes = value.and_then(|value| value.pointer("/details/causes")?.as_array());
    let field = |cause: &Value| Some(cause.get("field")?.as_str()?.to_owned());
    causes.into_iter().flatten().filter_map(field).collect()
}

fn text(value: Option<&Value>, pointer: &str) -> String {
    value.and_then(|value| value.pointer(pointer)?.as_str()).unwrap_or_default().to_owned()
}
