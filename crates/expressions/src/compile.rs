//! From text to an expression that can be evaluated, or to where it is wrong.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::Parser;
use regex::Regex;

use crate::Expression;
use crate::rewrite::{Fault, Rewriter};

/// Where an expression is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct CompileError {
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
    /// What is wrong, on one line.
    pub message: String,
}

/// What an expression is made into.
pub(crate) struct Compiled {
    pub(crate) root: IdedExpr,
    pub(crate) patterns: Vec<Regex>,
    pub(crate) variables: BTreeSet<String>,
    pub(crate) nodes: u64,
}

impl CompileError {
    fn at_start(message: impl Into<String>) -> Self {
        CompileError { line: 1, column: 1, message: message.into() }
    }
}

/// The library's parser calls itself for each level of a text; this is far more stack than the longest text uses, so
/// that what is too deep can be told instead of ending the process.
const STACK: usize = 64 << 20;

pub(crate) fn compile(text: &str, declared: &[&str]) -> Result<Compiled, CompileError> {
    if text.len() > Expression::MAX_TEXT {
        let message = format!("it has {} bytes, and {} are taken", text.len(), Expression::MAX_TEXT);
        return Err(CompileError::at_start(message));
    }
    thread::scope(|scope| {
        let parsing = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            // Whatever it makes is dropped here as well, where there is room for it.
            catch_unwind(AssertUnwindSafe(|| parsed(text, declared)))
        });
        let parsing =
            parsing.map_err(|e| CompileError::at_start(format!("there is no thread to parse it: {e}")))?;
        match parsing.join() {
            Ok(Ok(outcome)) => outcome,
            _ => Err(CompileError::at_start("it cannot be parsed")),
        }
    })
}

fn parsed(text: &str, declared: &[&str]) -> Result<Compiled, CompileError> {
    // Optional values are no part of what Google's federation has, nor are they needed here.
    let parser = Parser::new().enable_optional_syntax(false);
    let (mut root, source) = parser.parse_with_source_info(text).map_err(|errors| {
        let Some(first) = errors.errors.into_iter().next() else {
            return CompileError::at_start("it cannot be parsed");
        };
        let from_one = |at: isize| usize::try_from(at).unwrap_or(1).max(1);
        let message = first.msg.lines().next().unwrap_or("it cannot be parsed").to_owned();
        CompileError { line: from_one(first.pos.0), column: from_one(first.pos.1), message }
    })?;
    let mut rewriter = Rewriter::new(declared);
    match rewriter.rewrite(&mut root) {
        Ok(nodes) => {
            let (patterns, variables) = rewriter.finish();
            Ok(Compiled { root, patterns, variables, nodes })
        }
        Err(Fault { id, message }) => {
            let (line, column) = place(text, &source, id);
            Err(CompileError { line, column, message })
        }
    }
}

/// Line and column of a node.
fn place(text: &str, source: &SourceInfo, id: u64) -> (usize, usize) {
    let at = source.offset_for(id).map_or(0, |(start, _)| start as usize);
    let before = text.char_indices().take_while(|(offset, _)| *offset < at).map(|(_, c)| c);
    let (mut line, mut column) = (1_usize, 1_usize);
    for c in before {
        (line, column) =
            if c == '\n' { (line.saturating_add(1), 1) } else { (line, column.saturating_add(1)) };
    }
    (line, column)
}
