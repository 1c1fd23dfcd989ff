//! A walk over JSON. Most is as this program writes it: compact. Who needs it so is told of everything else.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use tokensmith_api::json::{MAX_DEPTH, plain};

/// It is no JSON, or none that is compact, from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) usize);

/// Where in the JSON we are.
pub(crate) struct Cursor<'a> {
    json: &'a str,
    at: usize,
    depth: usize,
    /// Whether the byte before opens an object or a list: its first element has no comma before it.
    entered: bool,
    /// Whether space may stand between tokens.
    spaced: bool,
    /// Whether somebody has read all of it and found it to be JSON.
    known: bool,
}

/// A string as it stands there.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    /// With its quotes.
    quoted: &'a str,
    /// How many escapes are in it. A number, for a flag beside a reference is copied byte by byte.
    escapes: usize,
}

impl<'a> Text<'a> {
    /// As it stands there, with its quotes.
    pub(crate) fn quoted(self) -> &'a str {
        self.quoted
    }

    /// What stands between the quotes, where that is what it says.
    pub(crate) fn plain(self) -> Option<&'a str> {
        self.quoted.get(1..self.quoted.len() - 1).filter(|_| self.escapes == 0)
    }

    /// What it says.
    pub(crate) fn read(self) -> Option<Cow<'a, str>> {
        match self.plain() {
            Some(text) => Some(text.into()),
            None => serde_json::from_str::<String>(self.quoted).ok().map(Cow::Owned),
        }
    }
}

impl<'a> Cursor<'a> {
    /// At the beginning of compact JSON.
    pub(crate) fn new(json: &'a [u8]) -> Result<Self, Malformed> {
        // Once for all of it: that is many times faster than string by string.
        let json = std::str::from_utf8(json).map_err(|e| Malformed(e.valid_up_to()))?;
        Ok(Cursor { json, at: 0, depth: 0, entered: false, spaced: false, known: false })
    }

    /// At the beginning of any JSON.
    pub(crate) fn spaced(json: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Cursor { spaced: true, ..Cursor::new(json)? };
        from.space();
        Ok(from)
    }

    /// Of JSON that has been read as such before: what is passed is not judged again.
    pub(crate) fn known(self) -> Self {
        Cursor { known: true, ..self }
    }

    /// Passes what stands between tokens. It is not done behind a value, so that [`Self::since`] ends with it.
    fn space(&mut self) {
        while self.spaced && matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// How far it has come.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What stands from there to here.
    pub(crate) fn since(&self, from: usize) -> &'a str {
        self.json.get(from..self.at).unwrap_or_default()
    }

    /// The byte to come; 0 at the end, which no JSON has.
    pub(crate) fn peek(&self) -> u8 {
        self.json.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// What is wrong is here.
    pub(crate) fn malformed(&self) -> Malformed {
        Malformed(self.at)
    }

    /// Passes these bytes.
    pub(crate) fn pass(&mut self, bytes: &str) -> Result<(), Malformed> {
        if !self.meets(bytes) {
            return Err(self.malformed());
        }
        self.at += bytes.len();
        self.entered = false;
        Ok(())
    }

    /// Whether these bytes come.
    pub(crate) fn meets(&self, bytes: &str) -> bool {
        self.json.as_bytes()[self.at..].starts_with(bytes.as_bytes())
    }

    /// Nothing may follow.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.json.len() { Ok(()) } else { Err(self.malformed()) }
    }

    /// Passes a `null`, if there is one.
    pub(crate) fn null(&mut self) -> Result<bool, Malformed> {
        let null = self.peek() == b'n';
        if null {
            self.pass("null")?;
        }
        Ok(null)
    }

    /// Passes `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        let set = self.peek() == b't';
        self.pass(if set { "true" } else { "false" })?;
        Ok(set)
    }

    /// The text of a number.
    pub(crate) fn number(&mut self) -> Result<&'a str, Malformed> {
        if !matches!(self.peek(), b'-' | b'0'..=b'9') {
            return Err(self.malformed());
        }
        let from = self.at;
        while matches!(self.peek(), b'+' | b'-' | b'.' | b'0'..=b'9' | b'E' | b'e') {
            self.at += 1;
        }
        let text = &self.json[from..self.at];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let valid = match digits.bytes().all(|c| c.is_ascii_digit()) {
            true => !digits.is_empty() && (digits.len() == 1 || !digits.starts_with('0')),
            false => serde_json::from_str::<IgnoredAny>(text).is_ok(),
        };
        if valid { Ok(text) } else { Err(self.malformed()) }
    }

    /// Passes a string.
    #[expect(
        clippy::inline_always,
        reason = "a text that is returned through memory stalls whoever copies it at once: a third of the walk"
    )]
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let from = self.at;
        let escapes = self.quoted()?;
        Ok(Text { quoted: &self.json[from..self.at], escapes })
    }

    /// Passes a string, whose escapes are counted: what it says is looked at by few.
    fn quoted(&mut self) -> Result<usize, Malformed> {
        if self.peek() != b'"' {
            return Err(self.malformed());
        }
        let (bytes, mut escapes) = (self.json.as_bytes(), 0);
        self.at += 1;
        loop {
            self.at += plain(&bytes[self.at..]);
            match self.peek() {
                b'"' => break,
                b'\\' => escapes += 1,
                _ => return Err(self.malformed()),
            }
            // Of `\u` the rest is plain.
            self.at = (self.at + 2).min(bytes.len());
        }
        self.at += 1;
        Ok(escapes)
    }

    /// Passes a string whose escapes are some.
    fn skip_string(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        let escapes = self.quoted()?;
        let text = Text { quoted: &self.json[from..self.at], escapes };
        if escapes == 0 || text.read().is_some() { Ok(()) } else { Err(self.malformed()) }
    }

    /// Enters an object or a list.
    pub(crate) fn enter(&mut self, bracket: &str) -> Result<(), Malformed> {
        self.pass(bracket)?;
        self.depth += 1;
        self.entered = true;
        if self.depth > MAX_DEPTH { Err(self.malformed()) } else { Ok(()) }
    }

    /// The next member's name, or the object's end, which is passed.
    #[expect(
        clippy::inline_always,
        reason = "a text that is returned through memory stalls whoever copies it at once: a third of the walk"
    )]
    #[inline(always)]
    pub(crate) fn member(&mut self) -> Result<Option<Text<'a>>, Malformed> {
        if !self.another(b'}')? {
            return Ok(None);
        }
        let name = self.string()?;
        self.colon()?;
        Ok(Some(name))
    }

    /// Passes what stands between a name and its value.
    fn colon(&mut self) -> Result<(), Malformed> {
        self.space();
        self.pass(":")?;
        self.space();
        Ok(())
    }

    /// Whether the list has another item; its end is passed.
    pub(crate) fn item(&mut self) -> Result<bool, Malformed> {
        self.another(b']')
    }

    #[inline]
    fn another(&mut self, end: u8) -> Result<bool, Malformed> {
        self.space();
        let next = self.peek();
        let entered = std::mem::take(&mut self.entered);
        if next == end {
            self.at += 1;
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !entered {
            if next != b',' {
                return Err(self.malformed());
            }
            self.at += 1;
            self.space();
        }
        Ok(true)
    }

    /// Passes a value.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            b'{' | b'[' if self.known => self.leap()?,
            b'{' => {
                self.enter("{")?;
                while self.another(b'}')? {
                    self.skip_string()?;
                    self.colon()?;
                    self.skip()?;
                }
            }
            b'[' => {
                self.enter("[")?;
                while self.item()? {
                    self.skip()?;
                }
            }
            b'"' => self.skip_string()?,
            b'n' => self.pass("null")?,
            b't' | b'f' => drop(self.bool()?),
            _ => drop(self.number()?),
        }
        Ok(())
    }

    /// Passes an object or a list of JSON that is known to be some: its brackets are counted.
    fn leap(&mut self) -> Result<(), Malformed> {
        let (bytes, mut open) = (self.json.as_bytes(), 0_usize);
        loop {
            match self.peek() {
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                b'"' => {
                    self.at += 1;
                    loop {
                        self.at += plain(&bytes[self.at..]);
                        match self.peek() {
                            b'\\' => self.at = (self.at + 2).min(bytes.len()),
                            b'"' => break,
                            _ => return Err(self.malformed()),
                        }
                    }
                }
                0 => return Err(self.malformed()),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::Value;

    use super::*;

    const TOKENS: [&str; 20] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\\u0061\\n\"",
        "\"\\q\"",
        "\"[{,\\\"\"",
        "\"",
        "0",
        "-1.5e3",
        "01",
        "-",
        "null",
        "true",
        "false",
        "nul",
        "\0",
    ];

    /// JSON in tokens.
    fn value() -> impl Strategy<Value = Vec<&'static str>> {
        let leaf = prop::sample::select(vec![
            "\"a\"",
            "\"\\u0061\\n\"",
            "\"[{,\\\"\"",
            "0",
            "-1.5e3",
            "null",
            "true",
            "false",
        ]);
        leaf.prop_map(|token| vec![token]).prop_recursive(4, 24, 4, |inner| {
            let name = prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\""]);
            let list = |items: Vec<Vec<&'static str>>, [open, close]: [&'static str; 2]| {
                [vec![open], items.join(&","), vec![close]].concat()
            };
            let member = (name, inner.clone()).prop_map(|(name, value)| [vec![name, ":"], value].concat());
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(move |items| list(items, ["[", "]"])),
                prop::collection::vec(member, 0..4).prop_map(move |items| list(items, ["{", "}"])),
            ]
        })
    }

    fn skipped(from: Result<Cursor<'_>, Malformed>) -> bool {
        from.is_ok_and(|mut from| from.skip().and_then(|()| from.end()).is_ok())
    }

    /// Walked by names and items, as who reads does.
    fn walked(from: &mut Cursor<'_>) -> Result<(), Malformed> {
        match from.peek() {
            b'{' => {
                from.enter("{")?;
                while let Some(name) = from.member()? {
                    name.read().ok_or_else(|| from.malformed())?;
                    walked(from)?;
                }
                Ok(())
            }
            b'[' => {
                from.enter("[")?;
                while from.item()? {
                    walked(from)?;
                }
                Ok(())
            }
            _ => from.skip(),
        }
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<Value>(text).is_ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whether it is JSON is seen as serde sees it, whatever was put in, left out or changed.
        #[test]
        fn what_is_json_is_passed_and_nothing_else(
            mut tokens in value(),
            changes in prop::collection::vec((any::<Index>(), 0..3, prop::sample::select(TOKENS.to_vec())), 0..3),
            spaces in prop::collection::vec(prop::sample::select(vec!["", "", " ", "\n\t", "\r"]), 1..8),
        ) {
            for (at, change, token) in changes {
                let at = at.index(tokens.len() + 1);
                match (change, at < tokens.len()) {
                    (0, true) => drop(tokens.remove(at)),
                    (1, true) => tokens[at] = token,
                    _ => tokens.insert(at, token),
                }
            }
            let compact = tokens.concat();
            let json = is_json(&compact);
            prop_assert_eq!(skipped(Cursor::new(compact.as_bytes())), json, "{}", compact);
            prop_assert_eq!(skipped(Cursor::spaced(compact.as_bytes())), json, "{}", compact);
            let mut from = Cursor::new(compact.as_bytes()).unwrap();
            prop_assert_eq!(walked(&mut from).and_then(|()| from.end()).is_ok(), json, "{}", compact);
            // Of what is known to be JSON nothing is judged, and all is passed.
            prop_assert!(!json || skipped(Cursor::new(compact.as_bytes()).map(Cursor::known)), "{}", compact);
            let spaced: String =
                spaces.iter().cycle().zip(&tokens).map(|(space, token)| format!("{space}{token}{space}")).collect();
            let json = is_json(&spaced);
            prop_assert_eq!(skipped(Cursor::spaced(spaced.as_bytes())), json, "{}", spaced);
            let mut from = Cursor::spaced(spaced.as_bytes()).unwrap();
            prop_assert_eq!(walked(&mut from).and_then(|()| from.end()).is_ok(), json, "{}", spaced);
            prop_assert!(!json || skipped(Cursor::spaced(spaced.as_bytes()).map(Cursor::known)), "{}", spaced);
        }
    }
}
