//! What an evaluation has cost so far.
//!
//! The library has no limits of its own, so an expression is rewritten when it is compiled (`rewrite`): each turn of a
//! loop, and each value that is looked through or copied, passes through one of two functions that count here. A value is
//! charged by its size before it is used, so that nothing is done that was not paid for; when the budget is used up both
//! fail, every loop ends at its next turn, and the evaluation counts as failed whatever it comes to.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use cel::common::types::{CelBytes, CelList, CelMap, CelMapKey, CelString};
use cel::common::value::Val;
use regex::Regex;

/// So many bytes are looked through or copied in a step.
const BYTES: usize = 16;

thread_local! {
    // An evaluation runs on one thread, from its beginning to its end.
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
    static PATTERNS: RefCell<Option<Arc<[Regex]>>> = const { RefCell::new(None) };
}

/// The meter of the evaluation that runs on this thread.
pub(crate) struct Meter {
    budget: u64,
}

/// Nothing is left.
pub(crate) struct Exhausted;

impl Meter {
    pub(crate) fn begin(patterns: &Arc<[Regex]>, budget: u64) -> Meter {
        LEFT.set(budget);
        EXHAUSTED.set(false);
        PATTERNS.set(Some(patterns.clone()));
        Meter { budget }
    }

    pub(crate) fn spend(&self, steps: u64) {
        let _ = spend(steps);
    }

    pub(crate) fn spent(&self) -> u64 {
        self.budget.saturating_sub(LEFT.get())
    }

    pub(crate) fn exhausted(&self) -> bool {
        EXHAUSTED.get()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        LEFT.set(0);
        PATTERNS.set(None);
    }
}

/// Takes steps from what is left.
pub(crate) fn spend(steps: u64) -> Result<(), Exhausted> {
    match LEFT.get().checked_sub(steps) {
        Some(left) if !EXHAUSTED.get() => {
            LEFT.set(left);
            Ok(())
        }
        _ => {
            EXHAUSTED.set(true);
            Err(Exhausted)
        }
    }
}

/// The same, for what is done to so many bytes.
pub(crate) fn spend_bytes(bytes: usize) -> Result<(), Exhausted> {
    spend((bytes / BYTES) as u64)
}

/// What the pattern of a number, which is the expression's own, comes to.
pub(crate) fn with_pattern<T>(number: usize, use_it: impl FnOnce(&Regex) -> T) -> Option<T> {
    PATTERNS.with_borrow(|patterns| patterns.as_ref()?.get(number).map(use_it))
}

/// Charges a value with all that is in it, and looks no further than it is paid for.
pub(crate) fn charge(value: &dyn Val) -> Result<(), Exhausted> {
    spend(1)?;
    if let Some(text) = value.downcast_ref::<CelString>() {
        spend_bytes(text.inner().len())
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        list.inner().iter().try_for_each(|item| charge(item.as_ref()))
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        map.inner().iter().try_for_each(|(key, value)| {
            if let CelMapKey::String(key) = key {
                spend_bytes(key.inner().len())?;
            }
            charge(value.as_ref())
        })
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        spend_bytes(bytes.inner().len())
    } else {
        Ok(())
    }
}
