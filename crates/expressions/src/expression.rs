//! An expression that was compiled.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{fmt, mem};

use cel::common::ast::IdedExpr;
use cel::{Context, ExecutionError, Value as Cel};
use regex::Regex;
use serde_json::Value;

use crate::compile::{CompileError, compile};
use crate::functions;
use crate::meter::Meter;
use crate::variables::{self, Variables};

/// A condition or a mapping, compiled once and evaluated for each token.
pub struct Expression {
    text: Box<str>,
    root: IdedExpr,
    patterns: Arc<[Regex]>,
    variables: BTreeSet<String>,
    nodes: u64,
}

/// Why an expression has no value, or not one of the kind that is needed. Says nothing of the claims but their types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It could not be worked out: a claim that is not there, of another type, …
    #[error("{0}")]
    Failed(String),
    /// These claims make it cost too much, or those that share its budget have left too little.
    #[error("it takes more steps than there are")]
    TooCostly,
    /// Its value is larger than any claim may be.
    #[error("its value is longer than {} bytes", Expression::MAX_VALUE)]
    TooLarge,
    /// Its value is of another type.
    #[error("its value is {found}, where {wanted} is needed")]
    Type {
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

impl Expression {
    /// How long a text may be, bytes: what Google takes for a condition.
    pub const MAX_TEXT: usize = 4096;
    /// How deep it may nest.
    pub const MAX_DEPTH: usize = 64;
    /// How many steps an evaluation may take; some 20 ms. Fewer where the [`Budget`](crate::Budget) of its variables has fewer left.
    pub const BUDGET: u64 = 100_000;
    /// How large a value may be, bytes.
    pub const MAX_VALUE: usize = 16 << 10;

    /// Compiles a text in which these variables may occur.
    ///
    /// # Errors
    /// It is too long or too deep, it is no CEL, or it names what is not there.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Expression, CompileError> {
        let compiled = compile(text, variables)?;
        Ok(Expression {
            text: text.into(),
            root: compiled.root,
            patterns: compiled.patterns.into(),
            variables: compiled.variables,
            nodes: compiled.nodes,
        })
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it reads a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// Its value.
    ///
    /// # Errors
    /// There is none, it is none that JSON has, or it takes too long to work out.
    pub fn evaluate(&self, variables: &Variables<'_>) -> Result<Value, EvaluationError> {
        let shared = variables.budget();
        let steps = shared.map_or(Self::BUDGET, |budget| budget.left().min(Self::BUDGET));
        let meter = Meter::begin(&self.patterns, steps);
        meter.spend(self.nodes);
        // The library's promise not to panic is not this server's.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(functions::environment());
            context.set_variable_resolver(variables);
            let value = Cel::resolve_val(&self.root, &context).map_err(|e| failed(&e, &self.text))?;
            variables::to_json(value.as_ref())
        }));
        if let Some(budget) = shared {
            budget.leave(meter.spent(), meter.exhausted());
        }
        // What an operator has hidden of it (`… || true`) counts all the same.
        if meter.exhausted() {
            return Err(EvaluationError::TooCostly);
        }
        outcome.unwrap_or_else(|_| Err(EvaluationError::Failed("it cannot be evaluated".into())))
    }

    /// Its value, which must be a bool.
    ///
    /// # Errors
    /// As [`Self::evaluate`], or it is something else.
    pub fn evaluate_bool(&self, variables: &Variables<'_>) -> Result<bool, EvaluationError> {
        match self.evaluate(variables)? {
            Value::Bool(value) => Ok(value),
            other => Err(EvaluationError::Type { found: variables::kind(&other), wanted: "a bool" }),
        }
    }

    /// Its value, which must be a string.
    ///
    /// # Errors
    /// As [`Self::evaluate`], or it is something else.
    pub fn evaluate_string(&self, variables: &Variables<'_>) -> Result<String, EvaluationError> {
        match self.evaluate(variables)? {
            Value::String(value) => Ok(value),
            other => Err(EvaluationError::Type { found: variables::kind(&other), wanted: "a string" }),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.variables == other.variables
    }
}

/// Without the values that the library puts into its errors, which are a stranger's.
fn failed(error: &ExecutionError, text: &str) -> EvaluationError {
    let short = |name: &str| name.chars().take(64).collect::<String>();
    EvaluationError::Failed(match error {
        // One that does not stand in the expression came from a claim.
        ExecutionError::NoSuchKey(key) if !text.contains(key.as_str()) => "no such key".into(),
        ExecutionError::NoSuchKey(key) => format!("no such key: {}", short(key)),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UndeclaredReference(name) => format!("undeclared reference to '{}'", short(name)),
        ExecutionError::FunctionError { function, message } => {
            format!("{}: {}", short(function), short(message))
        }
        ExecutionError::UnexpectedType { want, .. } => format!("a value is no {}", short(want)),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("'{operator}' does not take values of these types")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::Overflow(operator, ..) => format!("'{operator}' overflows"),
        ExecutionError::IndexOutOfBounds(_) => "an index is out of bounds".into(),
        ExecutionError::DuplicateKey(_) => "a map has a key twice".into(),
        _ => "it has no value for these claims".into(),
    })
}

/// Kept small: a policy may have thousands of them.
const _: () = assert!(mem::size_of::<Expression>() <= 256);
