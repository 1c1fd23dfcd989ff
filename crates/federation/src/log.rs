//! What a log may have of a request: ids and reasons, in few words and on one line, and no token.
//!
//! What is configured, and what a token says of itself, is told. What a stranger has put where an id belongs may be a token in a
//! wrong place: it is told where it can be a name, and else not at all.

use std::fmt;

/// No reason is longer, in characters.
const MOST: usize = 1000;

/// A reason, cut, and without control characters.
pub(crate) fn plain(text: impl fmt::Display) -> String {
    let text = text.to_string();
    text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The name of a parameter or a member as it may be told and logged: letters, digits and `_-.`, few of them.
pub(crate) fn shown(name: &str) -> &str {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if plain && name.len() <= 40 { name } else { "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_not_told() {
        assert_eq!(
            (shown("subject_token"), shown("options.userProject")),
            ("subject_token", "options.userProject")
        );
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
        assert_eq!((shown(token), shown("a b"), shown("'")), ("…", "…", "…"));
    }

    #[test]
    fn a_reason_is_one_line_and_short() {
        assert_eq!(plain("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(plain("é".repeat(2000)).chars().count(), MOST);
    }
}
