//! What is wrong with a value, and where (`typed/helpers.go`).

use std::fmt;
use std::sync::Arc;

use crate::Element;

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The steps to it, the last first.
    steps: Vec<Arc<str>>,
    text: String,
}

/// What is wrong with a value: the first thousand faults, so that an answer does not grow with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(Vec<Fault>);

const MOST: usize = 1000;
/// They are told until their texts have this many bytes: the keys of a list may be as long as the request.
const ROOM: usize = 1 << 20;

impl Errors {
    pub(crate) fn one(text: impl Into<String>) -> Errors {
        Errors(vec![Fault { steps: Vec::new(), text: text.into() }])
    }

    pub(crate) fn push(&mut self, text: impl Into<String>) {
        self.extend(Errors::one(text));
    }

    pub(crate) fn extend(&mut self, others: Errors) {
        self.0.extend(others.0.into_iter().take(MOST.saturating_sub(self.0.len())));
    }

    /// The same, seen from above.
    pub(crate) fn below(mut self, element: &Element) -> Errors {
        if !self.0.is_empty() {
            let step: Arc<str> = element.to_string().into();
            self.0.iter_mut().for_each(|fault| fault.steps.push(step.clone()));
        }
        self
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn ok(self) -> Result<(), Errors> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().rev().try_for_each(|step| f.write_str(step))?;
        let between = if self.steps.is_empty() { "" } else { ": " };
        write!(f, "{between}{}", self.text)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            all => {
                f.write_str("errors:")?;
                let mut bytes = 0_usize;
                for (at, fault) in all.iter().enumerate() {
                    if bytes > ROOM {
                        return write!(f, "\n  ... and {} more", all.len().saturating_sub(at));
                    }
                    write!(f, "\n  {fault}")?;
                    bytes = fault.steps.iter().fold(bytes, |sum, step| sum.saturating_add(step.len()));
                    bytes = bytes.saturating_add(fault.text.len());
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Errors {}
