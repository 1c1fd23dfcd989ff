//! What strict reading finds in a body: fields that are unknown or repeated.
//!
//! As sigs.k8s.io/json collects them: each text once, a hundred at most. A body of nothing but unknown fields then costs a
//! hundred texts, not one for each field.

use std::collections::HashSet;

/// Findings, in document order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Told before the others, and not counted with them.
    before: Vec<String>,
    texts: Vec<String>,
    seen: HashSet<String>,
    bytes: usize,
}

impl Findings {
    /// As many are kept,
    pub const MOST: usize = 100;
    /// and no more once they have so many bytes: each tells its whole path, and one key can be as long as the body.
    pub const MOST_BYTES: usize = 256 << 10;

    /// Findings that follow on others, which do not count: what a decoder of another layer has found.
    pub fn after(before: Vec<String>) -> Self {
        Findings { before, ..Findings::default() }
    }

    /// Whether another one would be dropped. Who asks first need not make its text.
    pub fn is_full(&self) -> bool {
        self.texts.len() >= Self::MOST || self.bytes >= Self::MOST_BYTES
    }

    /// Notes a finding. Its text is made only if it can be kept.
    pub fn push(&mut self, text: impl FnOnce() -> String) {
        if self.is_full() {
            return;
        }
        let text = text();
        if self.seen.insert(text.clone()) {
            self.bytes += text.len();
            self.texts.push(text);
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.texts.is_empty()
    }

    /// All that are told.
    pub fn into_texts(self) -> Vec<String> {
        let mut all = self.before;
        all.extend(self.texts);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_findings_are_kept_each_once() {
        let mut findings = Findings::after(vec!["first".into()]);
        let mut made = 0;
        for n in 0..100_000 {
            findings.push(|| {
                made += 1;
                format!("{}", n / 2)
            });
        }
        assert_eq!(made, 199, "a text that is dropped is not made");
        let texts = findings.into_texts();
        assert_eq!((texts.len(), texts[0].as_str(), texts[100].as_str()), (101, "first", "99"));
    }

    #[test]
    fn long_texts_are_bounded_together() {
        let mut findings = Findings::default();
        for n in 0..100 {
            findings.push(|| format!("{n}{}", "x".repeat(200 << 10)));
        }
        assert_eq!(findings.into_texts().len(), 2);
    }
}
