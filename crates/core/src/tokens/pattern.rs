//! Patterns of audiences, subjects and names in files of operators.

/// A text in which each `*` stands for any text, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// From what an operator has written.
    pub fn new(text: impl Into<String>) -> Self {
        Pattern(text.into())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for itself alone.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it stands for this text.
    ///
    /// Each part between stars is looked for once, from left to right: no pattern makes a long audience expensive.
    pub fn matches(&self, audience: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == audience };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let inner = audience.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
        let Some(mut left) = inner else { return false };
        for part in middle.split('*') {
            let Some(at) = left.find(part) else { return false };
            left = &left[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns() {
        for (pattern, audience, want) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "x/y", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("a*bc*c", "abc", false),
            ("a**b", "ab", true),
            ("*ab*ab*", "xabab", true),
            ("*ab*ab*", "xaba", false),
            ("A*", "a", false),
            ("é*é", "éxé", true),
        ] {
            assert_eq!(Pattern(pattern.into()).matches(audience), want, "{pattern} {audience}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_the_textbook_says(pattern in "[ab*]{0,8}", audience in "[ab]{0,10}") {
            fn slow(p: &[u8], a: &[u8]) -> bool {
                match (p.split_first(), a.split_first()) {
                    (None, None) => true,
                    (Some((b'*', p1)), _) if slow(p1, a) => true,
                    (Some((b'*', _)), Some((_, a1))) => slow(p, a1),
                    (Some((x, p1)), Some((y, a1))) => x == y && slow(p1, a1),
                    _ => false,
                }
            }
            prop_assert_eq!(
                Pattern(pattern.clone()).matches(&audience),
                slow(pattern.as_bytes(), audience.as_bytes())
            );
        }
    }
}
