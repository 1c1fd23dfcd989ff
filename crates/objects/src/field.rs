//! Field errors: what validation says, in Kubernetes' words (apimachinery `util/validation/field`).

use std::fmt;

use serde_json::Value;

use crate::path::Path;

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The same value twice in a set.
    Duplicate,
    /// May not be given at all here.
    Forbidden,
    /// Could not be judged.
    Internal,
    /// A format or a range is not kept.
    Invalid,
    /// Refers to something that is not there.
    NotFound,
    /// Not one of an enumeration.
    NotSupported,
    /// Must be given.
    Required,
    /// Longer than allowed.
    TooLong,
    /// More items than allowed.
    TooMany,
    /// Of another type than the schema says.
    TypeInvalid,
}

impl Reason {
    /// The cause's `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::Internal => "InternalError",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotFound => "FieldValueNotFound",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Required => "FieldValueRequired",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One finding of a validation. `Display` gives `FIELD: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path, e.g. `spec.volumes[0].projected.path`.
    pub field: String,
    /// What kind of finding.
    pub reason: Reason,
    /// The whole text after the path, e.g. `Invalid value: 300: may not …`.
    pub message: String,
}

impl FieldError {
    /// `FIELD: Invalid value: VALUE: DETAIL`; `value` is rendered as Go's `%q` for strings, bare for numbers
    /// and booleans, JSON for the rest.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl fmt::Display) -> Self {
        Self::invalid_as(field, &render(value), detail)
    }

    /// The same with a value that is rendered already.
    fn invalid_as(field: impl Into<String>, shown: &str, detail: impl fmt::Display) -> Self {
        let message = match detail.to_string() {
            d if d.is_empty() => format!("Invalid value: {shown}"),
            d => format!("Invalid value: {shown}: {d}"),
        };
        FieldError { field: field.into(), reason: Reason::Invalid, message }
    }

    /// The same with a value that other findings show, too.
    pub fn invalid_shared(field: impl Into<String>, value: &mut Shared, detail: impl fmt::Display) -> Self {
        Self::invalid_as(field, value.text(), detail)
    }

    /// `FIELD: Required value` with an optional detail.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".into() } else { format!("Required value: {detail}") };
        FieldError { field: field.into(), reason: Reason::Required, message }
    }

    /// `FIELD: Forbidden: DETAIL`.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        FieldError { field: field.into(), reason: Reason::Forbidden, message: format!("Forbidden: {detail}") }
    }

    /// `FIELD: Unsupported value: VALUE: supported values: "a", "b"`; the values are listed in the order given.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<_> = supported.iter().map(|s| go_quote(s)).collect();
        let message = format!("Unsupported value: {}: supported values: {}", render(value), list.join(", "));
        FieldError { field: field.into(), reason: Reason::NotSupported, message }
    }

    /// `FIELD: Duplicate value: VALUE`.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::duplicate_as(field, &render(value))
    }

    fn duplicate_as(field: impl Into<String>, shown: &str) -> Self {
        FieldError {
            field: field.into(),
            reason: Reason::Duplicate,
            message: format!("Duplicate value: {shown}"),
        }
    }

    /// `FIELD: Not found: VALUE`.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        FieldError {
            field: field.into(),
            reason: Reason::NotFound,
            message: format!("Not found: {}", render(value)),
        }
    }

    /// `FIELD: Too long: may not be more than MAX bytes`.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        FieldError {
            field: field.into(),
            reason: Reason::TooLong,
            message: format!("Too long: may not be more than {max} {unit}"),
        }
    }

    /// `FIELD: Too many: COUNT: must have at most MAX items`.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        let message = format!("Too many: {count}: must have at most {max} {items}");
        FieldError { field: field.into(), reason: Reason::TooMany, message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// What a validation finds. It keeps the first thousand, of long ones as many as have room, and counts the rest, whose texts
/// are never made: upstream tells all, but then a list of empty owners makes an answer that is three hundred times as long as
/// the request, and holds forty times as much memory meanwhile; nobody reads the second thousand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<FieldError>,
    more: usize,
    /// How long the texts are that are kept.
    bytes: usize,
}

/// A value as a finding shows it, made only where the finding is kept.
pub(crate) trait Shown {
    fn shown(self) -> String;
}

impl Shown for &Value {
    fn shown(self) -> String {
        render(self)
    }
}

impl Shown for &str {
    fn shown(self) -> String {
        go_quote(self)
    }
}

impl Shown for &String {
    fn shown(self) -> String {
        go_quote(self)
    }
}

impl Shown for String {
    fn shown(self) -> String {
        go_quote(&self)
    }
}

impl Shown for &mut Shared {
    fn shown(self) -> String {
        self.text().to_owned()
    }
}

macro_rules! shown {
    ($($type:ty)*) => {$(
        impl Shown for $type {
            fn shown(self) -> String {
                render(&self.into())
            }
        }
    )*};
}

shown!(Value Vec<&str> Vec<String> bool f64 i32 i64 u64 usize);

impl Findings {
    /// So many are told.
    pub const MOST: usize = 1_000;
    /// Until their texts have this many bytes: a value may be as long as the request.
    pub const ROOM: usize = 8 << 20;

    /// Adds one.
    pub fn push(&mut self, finding: impl FnOnce() -> FieldError) {
        if self.kept.len() < Self::MOST && self.bytes < Self::ROOM {
            let finding = finding();
            self.bytes += finding.field.len() + finding.message.len();
            self.kept.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Adds the same `Invalid value` so many times, as upstream tells it.
    pub(crate) fn invalid_again(&mut self, times: usize, at: &Path<'_>, value: &mut Shared, detail: &str) {
        let (before, mut left) = (self.more, times);
        while left > 0 && self.more == before {
            self.invalid(at, &mut *value, detail);
            left -= 1;
        }
        self.more += left;
    }

    /// Adds `Invalid value`.
    pub(crate) fn invalid(&mut self, at: &Path<'_>, value: impl Shown, detail: impl fmt::Display) {
        self.push(|| FieldError::invalid_as(at, &value.shown(), detail));
    }

    /// Adds `Invalid value` for each of what a look at a text has found.
    pub(crate) fn each(&mut self, at: &Path<'_>, text: &str, found: Vec<String>) {
        found.into_iter().for_each(|detail| self.invalid(at, text, detail));
    }

    /// Adds `Required value`.
    pub(crate) fn required(&mut self, at: &Path<'_>, detail: &str) {
        self.push(|| FieldError::required(at, detail));
    }

    /// Adds `Forbidden`.
    pub(crate) fn forbidden(&mut self, at: &Path<'_>, detail: impl fmt::Display) {
        self.push(|| FieldError::forbidden(at, &detail.to_string()));
    }

    /// Adds `Unsupported value`; the values are listed in the order given.
    pub(crate) fn not_supported(&mut self, at: &Path<'_>, text: &str, supported: &[&str]) {
        self.push(|| FieldError::not_supported(at, &text.into(), supported));
    }

    /// Adds `Duplicate value`.
    pub(crate) fn duplicate(&mut self, at: &Path<'_>, value: impl Shown) {
        self.push(|| FieldError::duplicate_as(at, &value.shown()));
    }

    /// Adds `Not found`.
    pub(crate) fn not_found(&mut self, at: &Path<'_>, text: &str) {
        self.push(|| FieldError::not_found(at, &text.into()));
    }

    /// Adds `Too long`.
    pub(crate) fn too_long(&mut self, at: &Path<'_>, max: usize) {
        self.push(|| FieldError::too_long(at, max));
    }

    /// Adds `Too many`.
    pub(crate) fn too_many(&mut self, at: &Path<'_>, count: usize, max: usize) {
        self.push(|| FieldError::too_many(at, count, max));
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.kept.len() + self.more
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those that are kept; the last one tells how many more there are.
    pub fn told(mut self) -> Vec<FieldError> {
        if let (1.., Some(last)) = (self.more, self.kept.last_mut()) {
            last.message.push_str(&format!(" ... and {} more", self.more));
        }
        self.kept
    }
}

impl From<Vec<FieldError>> for Findings {
    fn from(mut all: Vec<FieldError>) -> Self {
        let more = all.len().saturating_sub(Self::MOST);
        all.truncate(Self::MOST);
        let bytes = all.iter().map(|finding| finding.field.len() + finding.message.len()).sum();
        Findings { kept: all, more, bytes }
    }
}

/// A text that several findings show. Upstream shows it with each of them; here the first sixteen do, with a very long one
/// fewer, and if it is long the others say that it is left out. Else the answer could be as long as the request squared: a
/// list of ten thousand owners, shown once for each of them, is a gigabyte.
#[derive(Debug)]
pub struct Shared {
    text: String,
    shown: usize,
}

impl Shared {
    /// So many findings show it.
    pub const WHOLE: usize = 16;
    /// Unless all that they show is more than this, bytes: the first one alone shows what is longer.
    pub const MOST: usize = 1 << 18;
    /// What is no longer than this is always shown, bytes.
    pub const SHORT: usize = 64;
    /// What upstream says where it leaves a value out.
    const OMITTED: &str = "<value omitted>";

    /// A value as findings render it.
    pub fn value(value: &Value) -> Self {
        Shared { text: render(value), shown: 0 }
    }

    /// A text as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Shared { text: text.into(), shown: 0 }
    }

    /// The text for one more finding.
    pub fn text(&mut self) -> &str {
        let whole = (Self::MOST / self.text.len().max(1)).clamp(1, Self::WHOLE);
        self.shown = self.shown.saturating_add(1);
        if self.shown > whole && self.text.len() > Self::SHORT { Self::OMITTED } else { &self.text }
    }
}

fn render(value: &Value) -> String {
    match value {
        Value::String(s) => go_quote(s),
        other => other.to_string(),
    }
}

/// Go's `strconv.ParseBool`, which knows no `yes`.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.Quote`, which Kubernetes' messages show for every string.
pub fn go_quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_unprintable(c) && (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if is_unprintable(c) => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint`, nearly.
pub fn is_printable(c: char) -> bool {
    !is_unprintable(c)
}

/// Approximates Go's `!unicode.IsPrint` for what matters in messages: controls, separators and format characters.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c as u32, 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe000..=0xf8ff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_made_that_is_not_told() {
        let (mut found, mut made) = (Findings::default(), 0);
        for _ in 0..60_000 {
            found.push(|| {
                made += 1;
                FieldError::required("f", "")
            });
        }
        assert_eq!((found.len(), made), (60_000, 1_000));
        let told = found.told();
        assert_eq!(told.last().unwrap().to_string(), "f: Required value ... and 59000 more");
        assert_eq!(told.iter().filter(|e| e.message.contains("more")).count(), 1);
        let all = |count| Findings::from(vec![FieldError::required("f", ""); count]);
        assert!(all(1_000).told().iter().all(|e| !e.message.contains("more")));
        assert!(all(1_001).told().pop().unwrap().message.ends_with(" ... and 1 more"));
    }

    /// A value may be as long as the request, and be shown by each of its parts.
    #[test]
    fn long_texts_are_told_as_far_as_there_is_room() {
        let long = Value::from("x".repeat(1 << 20));
        let mut found = Findings::default();
        (0..50_000).for_each(|_| found.invalid(&Path::new("f"), &long, "is wrong"));
        assert_eq!(found.len(), 50_000);
        assert_eq!(found.told().len(), 8);
        let mut found = Findings::default();
        found.invalid_again(1_000_000_000_000, &Path::new("f"), &mut Shared::new("x"), "is wrong");
        assert_eq!((found.len(), found.told().len()), (1_000_000_000_000, 1_000));
    }

    /// Message and causes both say it: an answer is a few times as long as what was sent.
    #[test]
    fn findings_show_a_long_text_seldom() {
        let of = |length: usize| {
            let mut shown = Shared::new("x".repeat(length));
            (0..1000).filter(|_| shown.text() != Shared::OMITTED).count()
        };
        assert_eq!((of(1 << 20), of(1 << 18), of(1 << 17)), (1, 1, 2));
        assert_eq!((of(10_000), of(Shared::SHORT + 1)), (Shared::WHOLE, Shared::WHOLE));
        assert_eq!((of(Shared::SHORT), of(0)), (1000, 1000));
    }
}
