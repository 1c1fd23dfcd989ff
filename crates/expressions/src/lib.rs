//! CEL (the Common Expression Language) for policies: conditions and mappings over a token's claims.
//!
//! ```
//! use serde_json::json;
//! use tokensmith_expressions::{Expression, Variables};
//!
//! let allowed = Expression::compile("assertion.sub.startsWith('repo:acme/') && 'deploy' in assertion.roles", &["assertion"])?;
//! let claims = json!({"sub": "repo:acme/shop:ref:refs/heads/main", "roles": ["deploy"]});
//! let mut variables = Variables::new();
//! variables.insert("assertion", &claims)?;
//! assert!(allowed.evaluate_bool(&variables)?);
//!
//! let error = Expression::compile("asertion.sub == 'x'", &["assertion"]).unwrap_err();
//! assert_eq!(error.to_string(), "1:1: undeclared reference to 'asertion': there is assertion");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What there is
//! The language's own operators, literals but for messages, the macros `has`, `all`, `exists`, `exists_one`, `map` and
//! `filter`, the conversions `int`, `uint`, `double`, `string`, `bool`, `bytes`, `dyn` and `type`, `size`, and of strings
//! `contains`, `startsWith`, `endsWith`, `matches` (RE2's syntax as the `regex` crate has it), `split`, `join`, `replace`,
//! `substring`, `charAt`, `indexOf`, `lastIndexOf`, `trim`, `lowerAscii`, `upperAscii`, and Google's
//! [`extract`]. Keys of a map come in no order. A function, or a variable, that is not there is an error when the
//! expression is compiled.
//!
//! # What it may cost
//! Who writes an expression is trusted, whose claims it reads is not. So no input makes one run long: an expression has a
//! budget of [`Expression::BUDGET`] steps, and whatever costs more than a step is charged by its size before it is done
//! (see `meter`). An expression that a stranger's claims make too costly fails, which refuses him. Several that are evaluated
//! for one request share a [`Budget`] ([`Variables::within`]).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod budget;
mod compile;
mod expression;
pub mod extract;
mod functions;
mod meter;
mod rewrite;
mod variables;

pub use budget::Budget;
pub use compile::CompileError;
pub use expression::{EvaluationError, Expression};
pub use variables::{TooLarge, Variables};
