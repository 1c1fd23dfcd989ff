//! Text with wildcards: `*` for any number of characters, none included, and `?` for one
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>).

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What stands between the stars.
    pieces: Vec<Vec<char>>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Pattern { pieces: text.split('*').map(|piece| piece.chars().collect()).collect() }
    }

    /// Each piece between two stars is looked for once, from left to right: nothing is tried again. A text costs its length
    /// times the longest piece at most, and only where pieces are made to be nearly found everywhere.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (Some((first, rest)), Some(last)) = (self.pieces.split_first(), self.pieces.last()) else {
            return text.is_empty();
        };
        let Some((_, middle)) = rest.split_last() else { return is(first, &text) };
        let Some(inner) = text.len().checked_sub(first.len() + last.len()) else { return false };
        let (head, rest) = text.split_at(first.len());
        let (mut left, tail) = rest.split_at(inner);
        if !is(first, head) || !is(last, tail) {
            return false;
        }
        for piece in middle.iter().filter(|piece| !piece.is_empty()) {
            let Some(at) = left.windows(piece.len()).position(|window| is(piece, window)) else {
                return false;
            };
            left = &left[at + piece.len()..];
        }
        true
    }
}

/// Whether a piece is all of a text.
fn is(piece: &[char], text: &[char]) -> bool {
    piece.len() == text.len() && piece.iter().zip(text).all(|(of, c)| *of == '?' || of == c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("?", "é", true),
            ("?", "", false),
            ("system:serviceaccount:pay:*", "system:serviceaccount:pay:api", true),
            ("system:serviceaccount:pay:*", "system:serviceaccount:pays:api", false),
            ("*:ap?", "x:api", true),
            ("*a?c*", "xxabcabd", true),
            ("A", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), want, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_the_textbook_says(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match (p.split_first(), t.split_first()) {
                    (None, None) => true,
                    (Some((b'*', p1)), _) if slow(p1, t) => true,
                    (Some((b'*', _)), Some((_, t1))) => slow(p, t1),
                    (Some((b'?', p1)), Some((_, t1))) => slow(p1, t1),
                    (Some((x, p1)), Some((y, t1))) => x == y && slow(p1, t1),
                    _ => false,
                }
            }
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
