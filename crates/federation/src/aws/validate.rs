//! Parameters, by the constraints of the service's model.

use super::arn::is_of_name;
use super::error::Refusal;
use super::query::{Parameters, short};

/// Collects what is wrong, since the service tells all of it at once.
pub(super) struct Validator<'a> {
    parameters: &'a Parameters,
    problems: Vec<String>,
    /// The same without values, for the log.
    reasons: Vec<String>,
}

/// What a parameter must be.
pub(super) struct Constraint {
    pub(super) name: &'static str,
    pub(super) length: [usize; 2],
    pub(super) pattern: Option<Pattern>,
    /// Its value is not shown.
    pub(super) secret: bool,
}

/// Which characters there may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    /// Any that XML can hold, and one at least.
    Text,
    /// Of names.
    Word,
}

impl Pattern {
    /// As the model writes it.
    const fn as_str(self) -> &'static str {
        match self {
            Pattern::Text => {
                r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+"
            }
            Pattern::Word => r"[\w+=,.@-]*",
        }
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Pattern::Text => !text.is_empty() && text.chars().all(is_text),
            Pattern::Word => text.bytes().all(is_of_name),
        }
    }
}

/// `arnType`
pub(super) const fn arn(name: &'static str) -> Constraint {
    Constraint { name, length: [20, 2048], pattern: Some(Pattern::Text), secret: false }
}

/// `roleSessionNameType`
pub(super) const SESSION_NAME: Constraint =
    Constraint { name: "RoleSessionName", length: [2, 64], pattern: Some(Pattern::Word), secret: false };
/// `clientTokenType`
pub(super) const TOKEN: Constraint =
    Constraint { name: "WebIdentityToken", length: [4, 20_000], pattern: None, secret: true };
/// `urlType`
pub(super) const PROVIDER_ID: Constraint =
    Constraint { name: "ProviderId", length: [4, 2048], pattern: None, secret: false };
/// `sessionPolicyDocumentType`
pub(super) const POLICY: Constraint =
    Constraint { name: "Policy", length: [1, 2048], pattern: None, secret: false };

impl<'a> Validator<'a> {
    pub(super) fn new(parameters: &'a Parameters) -> Self {
        Validator { parameters, problems: Vec::new(), reasons: Vec::new() }
    }

    /// A parameter that must be there.
    pub(super) fn required(&mut self, of: &Constraint) -> &'a str {
        match self.parameters.get(of.name) {
            Some(_) => self.optional(of).unwrap_or_default(),
            None => {
                self.problem("null", of.name, "Member must not be null");
                ""
            }
        }
    }

    /// A parameter that may be there.
    pub(super) fn optional(&mut self, of: &Constraint) -> Option<&'a str> {
        let value = self.parameters.get(of.name)?;
        self.judge(of, value);
        Some(value)
    }

    /// A value of a parameter.
    pub(super) fn judge(&mut self, of: &Constraint, value: &str) {
        let shown = if of.secret { "***".to_owned() } else { format!("'{}'", short(value)) };
        let length = value.chars().count();
        if let Some(pattern) = of.pattern.filter(|pattern| !pattern.fits(value)) {
            let why = format!("Member must satisfy regular expression pattern: {}", pattern.as_str());
            self.problem(&shown, of.name, &why);
        }
        let [least, most] = of.length;
        if length < least {
            let why = format!("Member must have length greater than or equal to {least}");
            self.problem(&shown, of.name, &why);
        }
        if length > most {
            let why = format!("Member must have length less than or equal to {most}");
            self.problem(&shown, of.name, &why);
        }
    }

    /// `roleDurationSecondsType`
    pub(super) fn duration(&mut self) -> Option<i64> {
        let text = self.parameters.get("DurationSeconds")?;
        let Ok(seconds) = text.parse::<i64>() else {
            self.problem(&format!("'{}'", short(text)), "DurationSeconds", "Member must be an integer");
            return None;
        };
        if seconds < 900 {
            self.problem(
                &format!("'{text}'"),
                "DurationSeconds",
                "Member must have value greater than or equal to 900",
            );
        }
        if seconds > 43_200 {
            self.problem(
                &format!("'{text}'"),
                "DurationSeconds",
                "Member must have value less than or equal to 43200",
            );
        }
        Some(seconds)
    }

    /// The service names members as its model does: with a small letter at the beginning.
    pub(super) fn problem(&mut self, shown: &str, name: &str, why: &str) {
        let (first, rest) = name.split_at(1);
        let member = format!("{}{rest}", first.to_lowercase());
        self.problems.push(format!("Value {shown} at '{member}' failed to satisfy constraint: {why}"));
        self.reasons.push(format!("{name}: {why}"));
    }

    /// Everything that was found.
    pub(super) fn end(self) -> Result<(), Refusal> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Refusal::validation(&self.problems, &self.reasons))
    }
}

fn is_text(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
