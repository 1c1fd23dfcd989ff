//! What all the evaluations of a request may cost together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Steps that several evaluations share: each takes its own from what those before have left. Who has many expressions
/// evaluated for one stranger's claims bounds the sum with it, beside what each of them is bounded by
/// ([`Expression::BUDGET`](crate::Expression::BUDGET)).
///
/// ```
/// use tokensmith_expressions::{Budget, EvaluationError, Expression, Variables};
///
/// let budget = Budget::new(10);
/// let (variables, sum) = (Variables::within(&budget), Expression::compile("1 + 2", &[])?);
/// assert_eq!(sum.evaluate(&variables), Ok(3.into()));
/// while sum.evaluate(&variables).is_ok() {}
/// assert_eq!(sum.evaluate(&variables), Err(EvaluationError::TooCostly));
/// assert!(budget.is_exhausted());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    exhausted: AtomicBool,
}

impl Budget {
    /// So many steps.
    pub fn new(steps: u64) -> Self {
        Budget { left: AtomicU64::new(steps), exhausted: AtomicBool::new(false) }
    }

    /// Whether an evaluation was cut off. From then on none has a value, and whoever decides by them must refuse: what was cut
    /// off could have decided otherwise.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    pub(crate) fn left(&self) -> u64 {
        if self.is_exhausted() { 0 } else { self.left.load(Ordering::Relaxed) }
    }

    /// What an evaluation has left, or that it was cut off.
    pub(crate) fn leave(&self, spent: u64, exhausted: bool) {
        self.left.store(self.left().saturating_sub(spent), Ordering::Relaxed);
        self.exhausted.fetch_or(exhausted, Ordering::Relaxed);
    }
}
