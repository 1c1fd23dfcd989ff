//! Bodies: the token endpoint takes a form, as OAuth has it, and JSON, as Google's APIs do
//! (<https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>); the others take JSON alone.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use tokensmith_api::json;

use super::refusal::Refusal;
use crate::form::{Form, Repeated};
use crate::log::shown;

/// Parameters by their names, whichever body they came in.
#[derive(Debug)]
pub(super) struct Parameters(Form);

impl Parameters {
    /// Reads a body.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        if is(headers, "application/json") {
            return Self::of_json(object(body)?);
        }
        if !is(headers, "application/x-www-form-urlencoded") {
            let message =
                "Unsupported content type: application/x-www-form-urlencoded and application/json are taken.";
            return Err(Refusal::invalid_argument(message));
        }
        Form::parse(body).map(Parameters).map_err(repeated)
    }

    /// A parameter, by its name in OAuth or in Google's APIs (`subject_token`, `subjectToken`).
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let camel = camel(name);
        let other = if camel == name { None } else { self.0.take(&camel) };
        match (self.0.take(name), other) {
            (Some(_), Some(_)) => Err(repeated(Repeated(name.to_owned()))),
            (one, other) => Ok(one.or(other)),
        }
    }

    fn of_json(object: Map<String, Value>) -> Result<Self, Refusal> {
        let mut form = Form::default();
        for (name, value) in object {
            match value {
                Value::String(value) => form.put(name, value),
                // As in all of Google's APIs: a null is no value.
                Value::Null => {}
                // Google repeats the value. It may be a token, which is not put into logs.
                _ => {
                    let message = format!("Invalid value at '{}' (TYPE_STRING)", shown(&snake(&name)));
                    return Err(Refusal::invalid_argument(message));
                }
            }
        }
        Ok(Parameters(form))
    }
}

/// Reads an object of JSON.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let refused = |why: &str| Refusal::invalid_argument(format!("Invalid JSON payload received. {why}"));
    let read = json::parse(body).map_err(|why| refused(&why.to_string()))?;
    if let Some(name) = read.duplicates.first() {
        return Err(refused(&format!("\"{}\" is there more than once.", shown(name))));
    }
    match read.value {
        Value::Object(object) => Ok(object),
        _ => Err(refused("It must be an object.")),
    }
}

/// Whether the body says that it is of a type, whatever its parameters.
pub(super) fn is(headers: &HeaderMap, media: &str) -> bool {
    let there = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    there.split(';').next().is_some_and(|there| there.trim().eq_ignore_ascii_case(media))
}

fn repeated(repeated: Repeated) -> Refusal {
    let name = repeated.name();
    Refusal::invalid_request(format!("The parameter \"{name}\" must not be given more than once."))
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn snake(name: &str) -> String {
    let parts = name.chars().flat_map(|c| {
        let [upper, lower] = [c.is_ascii_uppercase().then_some('_'), Some(c.to_ascii_lowercase())];
        upper.into_iter().chain(lower)
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(media: &'static str, body: &str) -> Result<Parameters, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        Parameters::read(&headers, body.as_bytes())
    }

    #[test]
    fn both_bodies_and_both_spellings() {
        for (media, body) in [
            ("application/x-www-form-urlencoded", "subject_token=a.b.c&scope=x+y&unknown=1"),
            ("application/x-www-form-urlencoded; charset=utf-8", "subjectToken=a.b.c&scope=x%20y"),
            ("application/json", r#"{"subjectToken":"a.b.c","scope":"x y","unknown":"z"}"#),
            ("Application/JSON;charset=UTF-8", r#"{"subject_token":"a.b.c","scope":"x y","options":null}"#),
        ] {
            let mut read = read(media, body).unwrap();
            assert_eq!(read.take("subject_token").unwrap().as_deref(), Some("a.b.c"), "{media} {body}");
            assert_eq!(read.take("scope").unwrap().as_deref(), Some("x y"));
            assert_eq!(read.take("options").unwrap(), None);
        }
    }

    #[test]
    fn a_refusal_repeats_no_values() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
        for (media, body) in [
            ("application/json", format!(r#"{{"subject_token":["{token}"]}}"#)),
            ("application/json", format!(r#"{{"subjectToken":{{"{token}":"{token}"}}}}"#)),
            ("application/json", format!(r#"{{"{token}":1}}"#)),
            ("application/json", format!(r#"{{"{token}":"a","{token}":"a"}}"#)),
            ("application/json", token.to_owned()),
            ("application/x-www-form-urlencoded", format!("{token}&{token}")),
        ] {
            let logged = read(media, &body).unwrap_err().to_string();
            assert!(!logged.contains("eyJ") && !logged.contains("ey_j"), "{logged}");
        }
        let told = read("application/json", r#"{"subjectToken":[]}"#).unwrap_err().to_string();
        assert!(told.contains("'subject_token'"), "{told}");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (media, body) in [
            ("application/x-www-form-urlencoded", "scope=a&scope=b"),
            ("application/json", "scope=a"),
            ("application/json", r#"{"scope":"a","scope":"b"}"#),
            ("application/json", r#"{"scope":["a"]}"#),
            ("application/json", "[]"),
            ("application/json", ""),
            ("application/json", "\u{feff}{}"),
            ("text/plain", "scope=a"),
            ("", "scope=a"),
        ] {
            assert!(read(media, body).is_err(), "{media} {body}");
        }
        let mut both = read("application/json", r#"{"subjectToken":"a","subject_token":"b"}"#).unwrap();
        assert!(both.take("subject_token").is_err());
        let deep = format!(r#"{{"scope":{}"#, "[".repeat(60_000));
        assert!(read("application/json", &deep).is_err());
    }
}
