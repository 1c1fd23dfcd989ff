//! Looks through an expression that was parsed: what it names is there, it is not too deep, and it pays for what it does.

use std::collections::BTreeSet;
use std::mem;

use cel::common::ast::operators::{
    ADD, CONDITIONAL, DIVIDE, EQUALS, GREATER, GREATER_EQUALS, IN, INDEX, LESS, LESS_EQUALS, LOGICAL_AND,
    LOGICAL_NOT, LOGICAL_OR, MODULO, MULTIPLY, NEGATE, NOT_EQUALS, NOT_STRICTLY_FALSE, SUBSTRACT,
};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue};
use regex::Regex;

use crate::Expression;
use crate::functions::{self, CHARGE, KNOWN_MATCH, TICK};

/// What is wrong with a node.
pub(crate) struct Fault {
    pub(crate) id: u64,
    pub(crate) message: String,
}

/// Names of types, which are values, too: `type(x) == string`.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What costs no more than a step, whatever its operands are.
const CHEAP: [&str; 11] = [
    CONDITIONAL,
    DIVIDE,
    INDEX,
    LOGICAL_AND,
    LOGICAL_NOT,
    LOGICAL_OR,
    MODULO,
    MULTIPLY,
    NEGATE,
    NOT_STRICTLY_FALSE,
    SUBSTRACT,
];
/// What costs as much as its operands are large.
const COSTLY: [&str; 8] = [ADD, EQUALS, GREATER, GREATER_EQUALS, IN, LESS, LESS_EQUALS, NOT_EQUALS];

pub(crate) struct Rewriter<'a> {
    declared: &'a [&'a str],
    /// The loops' own variables, the innermost last.
    scope: Vec<String>,
    patterns: Vec<Regex>,
    used: BTreeSet<String>,
    depth: usize,
}

impl<'a> Rewriter<'a> {
    pub(crate) fn new(declared: &'a [&'a str]) -> Self {
        Rewriter { declared, scope: Vec::new(), patterns: Vec::new(), used: BTreeSet::new(), depth: 0 }
    }

    /// The patterns, by their numbers, and the variables that are read.
    pub(crate) fn finish(self) -> (Vec<Regex>, BTreeSet<String>) {
        (self.patterns, self.used)
    }

    /// How many nodes there are.
    pub(crate) fn rewrite(&mut self, node: &mut IdedExpr) -> Result<u64, Fault> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > Expression::MAX_DEPTH {
            let message = format!("it is nested deeper than {}", Expression::MAX_DEPTH);
            return Err(Fault { id: node.id, message });
        }
        let below = self.parts(node)?;
        self.depth = self.depth.saturating_sub(1);
        Ok(below.saturating_add(1))
    }

    fn parts(&mut self, node: &mut IdedExpr) -> Result<u64, Fault> {
        let id = node.id;
        match &mut node.expr {
            Expr::Literal(_) => Ok(0),
            Expr::Ident(name) => self.name(id, name).map(|()| 0),
            Expr::Select(select) => self.rewrite(&mut select.operand),
            Expr::Call(call) => self.call(id, call),
            Expr::List(list) => self.each(list.elements.iter_mut()),
            Expr::Map(map) => {
                let mut nodes = 0_u64;
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err(Fault { id, message: "a map has no fields".into() });
                    };
                    nodes = nodes.saturating_add(self.each([&mut entry.key, &mut entry.value])?);
                }
                Ok(nodes)
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) => Err(Fault { id, message: "there are no messages here".into() }),
            Expr::Unspecified => Err(Fault { id, message: "a part of it is missing".into() }),
        }
    }

    /// What becomes a part of a value, or is looked through, is paid for.
    fn each<'n>(&mut self, nodes: impl IntoIterator<Item = &'n mut IdedExpr>) -> Result<u64, Fault> {
        let mut sum = 0_u64;
        for node in nodes {
            sum = sum.saturating_add(self.rewrite(node)?);
            charged(node);
        }
        Ok(sum)
    }

    fn name(&mut self, id: u64, name: &str) -> Result<(), Fault> {
        // A leading dot asks for one that no loop has.
        let plain = name.strip_prefix('.');
        if plain.is_none() && self.scope.iter().any(|known| known == name) {
            return Ok(());
        }
        let plain = plain.unwrap_or(name);
        if self.declared.contains(&plain) {
            self.used.insert(plain.to_owned());
            return Ok(());
        }
        if TYPES.contains(&plain) {
            return Ok(());
        }
        let there = match self.declared {
            [] => "there are no variables".to_owned(),
            declared => format!("there is {}", declared.join(", ")),
        };
        Err(Fault { id, message: format!("undeclared reference to '{name}': {there}") })
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Result<u64, Fault> {
        let name = call.func_name.as_str();
        if CHEAP.contains(&name) {
            let mut nodes = 0_u64;
            for node in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                nodes = nodes.saturating_add(self.rewrite(node)?);
            }
            return Ok(nodes);
        }
        if !COSTLY.contains(&name) {
            let arguments = call.args.len();
            let known = functions::find(name, call.target.is_some(), arguments);
            let ours = known.map_err(|message| Fault { id, message })?;
            call.func_name = ours.to_owned();
        }
        self.pattern(id, call)?;
        self.each(call.target.as_deref_mut().into_iter().chain(&mut call.args))
    }

    /// A pattern that stands in the text is read once, and is wrong at once if it is.
    fn pattern(&mut self, id: u64, call: &mut CallExpr) -> Result<(), Fault> {
        if call.func_name != functions::MATCHES {
            return Ok(());
        }
        // As a method or with both as arguments: the text first, then the pattern.
        let Some(IdedExpr { id: at, expr: Expr::Literal(LiteralValue::String(text)) }) = call.args.last()
        else {
            return Ok(());
        };
        let pattern = functions::pattern(text.inner()).map_err(|message| Fault { id: *at, message })?;
        let number = i64::try_from(self.patterns.len())
            .map_err(|_| Fault { id, message: "it has too many patterns".into() })?;
        self.patterns.push(pattern);
        call.func_name = KNOWN_MATCH.to_owned();
        if let Some(last) = call.args.last_mut() {
            last.expr = Expr::Literal(LiteralValue::Int(number.into()));
        }
        Ok(())
    }

    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr) -> Result<u64, Fault> {
        let mut nodes = self.each([&mut comprehension.iter_range])?;
        nodes = nodes.saturating_add(self.rewrite(&mut comprehension.accu_init)?);
        let outside = self.scope.len();
        self.scope.push(comprehension.accu_var.clone());
        self.scope.push(comprehension.iter_var.clone());
        self.scope.extend(comprehension.iter_var2.clone());
        let condition = self.rewrite(&mut comprehension.loop_cond)?;
        let body = condition.saturating_add(self.rewrite(&mut comprehension.loop_step)?);
        self.scope.truncate(outside.saturating_add(1));
        nodes = nodes.saturating_add(body).saturating_add(self.rewrite(&mut comprehension.result)?);
        self.scope.truncate(outside);
        ticking(comprehension, body);
        Ok(nodes)
    }
}

/// Each turn of a loop pays for what is in it.
fn ticking(comprehension: &mut ComprehensionExpr, body: u64) {
    // The library makes the lists of `map` and `filter` in place as long as the loop looks as its macros write it: with
    // no condition, and appending. So these pay in their guard, or in what they append.
    if let Expr::List(_) = comprehension.accu_init.expr
        && let Some((place, otherwise)) = appended(&mut comprehension.loop_step)
    {
        pay(place, body, otherwise);
        return;
    }
    pay(&mut comprehension.loop_cond, body, LiteralValue::Boolean(false.into()));
}

/// The guard of a `filter`, or what a `map` appends.
fn appended(step: &mut IdedExpr) -> Option<(&mut IdedExpr, LiteralValue)> {
    let Expr::Call(call) = &mut step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_mut_slice()) {
        (CONDITIONAL, [guard, ..]) => Some((guard, LiteralValue::Boolean(false.into()))),
        (ADD, [_, IdedExpr { expr: Expr::List(ListExpr { elements, .. }), .. }]) => {
            Some((elements.first_mut()?, LiteralValue::Null))
        }
        _ => None,
    }
}

/// `node` becomes `@tick(steps) ? node : otherwise`, where the tick fails rather than being false.
fn pay(node: &mut IdedExpr, steps: u64, otherwise: LiteralValue) {
    let literal = |value| IdedExpr { id: 0, expr: Expr::Literal(value) };
    let steps = literal(LiteralValue::Int(i64::try_from(steps).unwrap_or(i64::MAX).into()));
    let tick = call(TICK, vec![steps]);
    let id = node.id;
    let then = mem::take(node);
    *node = IdedExpr { id, ..call(CONDITIONAL, vec![tick, then, literal(otherwise)]) };
}

/// `node` becomes `@charge(node)`, unless its size is the text's own, or its parts have paid.
fn charged(node: &mut IdedExpr) {
    let accumulator = matches!(&node.expr, Expr::Ident(name) if name.starts_with('@'));
    if accumulator || matches!(node.expr, Expr::Literal(_) | Expr::List(_) | Expr::Map(_)) {
        return;
    }
    let id = node.id;
    let inner = mem::take(node);
    *node = IdedExpr { id, ..call(CHARGE, vec![inner]) };
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr { func_name: name.to_owned(), target: None, args };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}
