//! What others have said, as log and audit line have it: short, on one line, and never a token.

/// Bytes of a text.
const LONGEST: usize = 96;
/// Texts of a list.
const MOST: usize = 4;

/// A text.
pub(crate) fn text(text: &str) -> String {
    // What begins as every JSON in base64url does: somebody has given a token in the wrong place.
    if text.contains("eyJ") {
        return "(a token)".into();
    }
    match text.get(..text.floor_char_boundary(LONGEST)) {
        Some(cut) if cut.len() < text.len() => format!("{cut:?}…"),
        _ => format!("{text:?}"),
    }
}

/// A list of texts.
pub(crate) fn texts<T: AsRef<str>>(all: &[T]) -> String {
    let shown: Vec<String> = all.iter().take(MOST).map(|one| text(one.as_ref())).collect();
    match all.len().saturating_sub(MOST) {
        0 if all.is_empty() => "none".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_on_one_line_and_no_token() {
        assert_eq!(text("vault"), "\"vault\"");
        assert_eq!(text("a\r\nb\u{1b}"), "\"a\\r\\nb\\u{1b}\"");
        assert_eq!(text(&"é".repeat(60)), format!("\"{}\"…", "é".repeat(48)));
        assert_eq!(text("Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln"), "(a token)");
        let all: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        assert_eq!(texts(&all), "\"0\", \"1\", \"2\", \"3\" and 2 more");
        assert_eq!(texts(&all[..1]), "\"0\"");
        assert_eq!(texts::<&str>(&[]), "none");
    }
}
