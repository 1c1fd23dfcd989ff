//! `Warning` headers (RFC 7234 §5.5, as kubectl prints them), bounded as upstream has it (apiserver
//! `endpoints/filters/warning.go`): each text once; when all together grow long each is cut short, and then the first of
//! them are told.

use std::collections::HashSet;

use axum::response::Response;
use http::HeaderValue;
use http::header::WARNING;

/// The texts, put on a response by its handler; the gate makes headers of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warnings(pub(crate) Vec<String>);

/// Characters that all texts may have together before they are cut short.
const TOTAL: usize = 4 << 10;
/// Characters of a text that is cut short.
const EACH: usize = 256;

/// Puts the texts on a reply.
pub(crate) fn put(response: &mut Response, texts: &[String]) {
    for text in told(texts) {
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// What is told of the texts. Upstream writes headers as texts come, and all anew once they have grown too long; so what
/// came before that moment is told whatever it adds up to, and what comes after it until the total is reached.
fn told(texts: &[String]) -> Vec<&str> {
    let (mut seen, mut distinct) = (HashSet::new(), Vec::new());
    let (mut written, mut cut) = (0, false);
    for text in texts.iter().map(String::as_str).filter(|text| !text.is_empty()) {
        if cut && written >= TOTAL {
            break;
        }
        if !seen.insert(text) {
            continue;
        }
        distinct.push(text);
        if cut {
            written += length(first(text));
        } else {
            written += length(text);
            if written > TOTAL {
                cut = true;
                written = distinct.iter().map(|text| length(first(text))).sum();
            }
        }
    }
    if cut { distinct.into_iter().map(first).collect() } else { distinct }
}

/// The first characters of a text.
fn first(text: &str) -> &str {
    text.char_indices().nth(EACH).map_or(text, |(at, _)| &text[..at])
}

/// Characters, as Go counts runes; beyond the total it does not matter how many.
fn length(text: &str) -> usize {
    text.chars().take(TOTAL + 1).count()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::StatusCode;

    use super::*;

    fn headers(texts: &[String]) -> Vec<String> {
        let mut response = StatusCode::OK.into_response();
        put(&mut response, texts);
        let all = response.headers().get_all(WARNING).iter();
        all.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn warnings_are_quoted_and_said_once() {
        let texts = ["unknown field \"a\"\n".to_owned(), String::new(), "unknown field \"a\"\n".into()];
        assert_eq!(headers(&texts), [r#"299 - "unknown field \"a\"""#]);
    }

    #[test]
    fn many_warnings_are_cut_short_and_then_left_out() {
        let short: Vec<_> = (0..10).map(|n| format!("{n}{}", "ä".repeat(400))).collect();
        assert_eq!(headers(&short).len(), 10, "4010 characters fit");
        assert!(headers(&short).iter().all(|h| h.chars().count() > 400));
        let long: Vec<_> = (0..1000).map(|n| format!("{n:04}{}", "ä".repeat(400))).collect();
        let all = headers(&long);
        assert_eq!(all.len(), 16, "sixteen of 256 characters are as many as fit");
        assert!(all.iter().all(|h| h.chars().count() == 256 + r#"299 - """#.len()), "{all:?}");
        let one = headers(&["x".repeat(1 << 20)]);
        assert_eq!(one, [format!("299 - \"{}\"", "x".repeat(256))]);
        // What came before the total was passed is told, cut short, whatever came then.
        let mixed: Vec<_> = (0..40).map(|n| format!("{n:0100}")).chain(["y".repeat(500)]).collect();
        assert_eq!(headers(&mixed).len(), 41);
    }

    #[test]
    fn texts_without_end_cost_one_look_each() {
        let texts: Vec<_> = (0..200_000).map(|n| format!("unknown field \"f{n}\"")).collect();
        assert!(headers(&texts).len() < 300);
    }
}
