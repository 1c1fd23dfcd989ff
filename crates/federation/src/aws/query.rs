//! The parameters of the query protocol: in the URL, or in a form.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};

use super::error::Refusal;
use crate::form::{Form, Repeated};

/// Parameters by name, each of which is there once.
#[derive(Debug)]
pub(super) struct Parameters(Form);

/// The one version of the interface.
pub(super) const VERSION: &str = "2011-06-15";

impl Parameters {
    /// Of GET those in the URL, of POST those of the form besides.
    pub(super) fn read(request: &Request<Bytes>) -> Result<Self, Refusal> {
        let mut all = Form::parse(request.uri().query().unwrap_or_default().as_bytes()).map_err(repeated)?;
        match *request.method() {
            Method::GET => {}
            Method::POST => {
                let media = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
                let media = media
                    .map(|media| media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
                if media.is_none_or(|media| media == "application/x-www-form-urlencoded") {
                    all.read(request.body()).map_err(repeated)?;
                }
            }
            _ => return Err(Refusal::bad("InvalidRequest", "The request method must be GET or POST.")),
        }
        Ok(Parameters(all))
    }

    /// A parameter that is there.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.raw(name)
    }

    /// The action and, where it is one of this interface's, nothing more to say of the version.
    pub(super) fn action(&self) -> Result<&str, Refusal> {
        let missing = "The request is missing an action or a required parameter.";
        let action = self.get("Action").ok_or_else(|| Refusal::bad("MissingAction", missing))?;
        match self.get("Version") {
            Some(VERSION) => Ok(action),
            version => Err(Refusal::unknown_action(&short(action), version.map(short).as_deref())),
        }
    }

    /// The names of a list's members: `NAME.member.1.FIELD`, counted from one without a gap.
    pub(super) fn members(&self, name: &str, field: &str) -> Result<Vec<&str>, Refusal> {
        let prefix = format!("{name}.");
        let count = self.0.names().filter(|key| key.starts_with(&prefix)).count();
        let all = (1..=count).map(|at| self.get(&format!("{name}.member.{at}.{field}")));
        let gap = || malformed().because(format_args!("the members of {name} are not counted from one"));
        all.collect::<Option<_>>().ok_or_else(gap)
    }
}

/// What is shown of a stranger's word.
pub(super) fn short(text: &str) -> String {
    text.chars().take(128).collect()
}

fn repeated(repeated: Repeated) -> Refusal {
    malformed().because(format_args!("the parameter {} is there more than once", repeated.name()))
}

fn malformed() -> Refusal {
    let text = "The AWS query string is malformed or does not adhere to AWS standards.";
    Refusal::bad("InvalidQueryParameter", text)
}
