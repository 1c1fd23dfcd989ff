//! Texts that strangers choose, made fit for a line: short, printable, and without tokens.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// What stands for a token.
pub(crate) const HIDDEN: &str = "[token]";
/// No token is shorter; replacing less would make a text longer.
const SHORTEST: usize = 16;

/// As much of a text as takes `most` bytes in JSON, and how much is missing.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let (mut out, mut size) = (String::new(), 0);
    for (at, c) in text.char_indices() {
        let before = out.len();
        match unfit(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
        size += out[before..].chars().map(in_json).sum::<usize>();
        if size > most {
            out.truncate(before);
            return format!("{}…(+{} bytes)", hide(&out), text.len() - at);
        }
    }
    hide(&out)
}

/// As many texts as take `most.0` bytes in JSON, each cut to `most.1`, and how many are missing.
pub(super) fn cut_list(list: &[String], most: (usize, usize)) -> Vec<String> {
    let (mut out, mut size) = (Vec::new(), 0);
    for (at, text) in list.iter().enumerate() {
        let text = cut(text, most.1);
        size += text.chars().map(in_json).sum::<usize>() + r#""","#.len();
        if size > most.0 && at > 0 {
            out.push(format!("…(+{} more)", list.len() - at));
            break;
        }
        out.push(text);
    }
    out
}

/// The bytes of a character in a JSON string.
fn in_json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        c => c.len_utf8(),
    }
}

/// What JSON lets pass and a terminal obeys: control characters beyond ASCII, line separators, and what turns the order
/// of the text around.
fn unfit(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text without the JWTs in it: a base64url header that is a JSON object, a dot, and what follows. Called on what has
/// been cut: of a token whose header does not fit nothing else is there.
fn hide(text: &str) -> String {
    let of_a_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find(of_a_token) {
        let (plain, run) = rest.split_at(from);
        let (run, after) = run.split_at(run.find(|c| !of_a_token(c)).unwrap_or(run.len()));
        out.push_str(plain);
        match token_in(run) {
            Some(at) => out.extend([&run[..at], HIDDEN]),
            None => out.push_str(run),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where a JWT begins in a run of a token's characters.
fn token_in(run: &str) -> Option<usize> {
    // `{` is always an `e` in base64.
    let starts = run.match_indices('e').map(|(at, _)| at);
    starts.filter(|at| run.len() - at >= SHORTEST).find(|at| {
        let header = run[*at..].split_once('.').map(|(header, _)| header);
        let decoded = header.and_then(|header| BASE64_URL_SAFE_NO_PAD.decode(header).ok());
        decoded.is_some_and(|json| serde_json::from_slice::<Map<String, Value>>(&json).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";

    #[test]
    fn a_token_is_hidden_wherever_it_stands() {
        for (text, want) in [
            (TOKEN.to_owned(), "[token]".to_owned()),
            (format!("curl/8 (Bearer {TOKEN})"), "curl/8 (Bearer [token])".into()),
            (format!("/api/{TOKEN}/x?access_token={TOKEN}"), "/api/[token]/x?access_token=[token]".into()),
            (format!("me-{TOKEN}"), "me-[token]".into()),
            (format!("example.{TOKEN}"), "example.[token]".into()),
            ("exact.example.com.example.org".into(), "exact.example.com.example.org".into()),
            (
                "kubectl/v1.34.0 (linux/amd64) kubernetes/abcdef".into(),
                "kubectl/v1.34.0 (linux/amd64) kubernetes/abcdef".into(),
            ),
        ] {
            assert_eq!(cut(&text, 512), want);
        }
        // None of it is left at the cut, however it falls.
        let (_, payload) = TOKEN.split_once('.').unwrap();
        for most in 0..TOKEN.len() + 3 {
            let shown = cut(&format!("x {TOKEN}"), most);
            assert!(!shown.contains(&payload[..4]), "{most}: {shown}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        assert_eq!(cut("a\u{9b}2Jb\u{202e}c\u{7f}", 100), "a\\u{9b}2Jb\\u{202e}c\\u{7f}");
    }

    #[test]
    fn a_cut_says_how_much_is_missing() {
        assert_eq!(cut("abcdef", 4), "abcd…(+2 bytes)");
        assert_eq!(cut("ééé", 4), "éé…(+2 bytes)");
        assert_eq!(cut("abcd", 4), "abcd");
        let list: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
        assert_eq!(cut_list(&list, (19, 10)), ["one", "two", "…(+1 more)"]);
        assert_eq!(cut_list(&list, (50, 3)), ["one", "two", "thr…(+2 bytes)"]);
    }
}
