//! What an expression reads: claims and the like, made ready once for all the expressions that look at them.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::{Map, Value};

use crate::{Budget, EvaluationError, Expression};

/// Values by their names.
#[derive(Debug, Default)]
pub struct Variables<'a> {
    values: Vec<(String, Box<dyn Val + 'a>)>,
    room: Room,
    budget: Option<&'a Budget>,
}

/// The values are larger than those of any token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims are larger than any token's")]
pub struct TooLarge;

/// What is left for values.
#[derive(Debug)]
struct Room {
    values: usize,
    bytes: usize,
}

/// More than a token of the longest kind can hold.
impl Default for Room {
    fn default() -> Self {
        Room { values: 16 << 10, bytes: 64 << 10 }
    }
}

/// How deep values may nest: what is deeper could not be walked on any stack.
const MAX_DEPTH: usize = 128;

impl<'a> Variables<'a> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// None, for evaluations that share a budget.
    pub fn within(budget: &'a Budget) -> Self {
        Variables { budget: Some(budget), ..Self::default() }
    }

    pub(crate) fn budget(&self) -> Option<&Budget> {
        self.budget
    }

    /// Adds one, or puts it in the place of an earlier one of the name.
    ///
    /// # Errors
    /// All together are too large.
    pub fn insert(&mut self, name: &str, value: &'a Value) -> Result<(), TooLarge> {
        let value = self.room.made(value, 0)?;
        self.put(name, value);
        Ok(())
    }

    /// The same, of an object.
    ///
    /// # Errors
    /// All together are too large.
    pub fn insert_object(&mut self, name: &str, object: &'a Map<String, Value>) -> Result<(), TooLarge> {
        let value = self.room.object(object, 0)?;
        self.put(name, value);
        Ok(())
    }

    fn put(&mut self, name: &str, value: Box<dyn Val + 'a>) {
        self.values.retain(|(known, _)| known != name);
        self.values.push((name.to_owned(), value));
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        // A handful at most.
        let (_, value) = self.values.iter().find(|(name, _)| name == variable)?;
        Some(CowVal::Borrowed(value.as_ref()))
    }
}

impl Room {
    fn made<'a>(&mut self, value: &'a Value, depth: usize) -> Result<Box<dyn Val + 'a>, TooLarge> {
        self.take(1, 0)?;
        Ok(match value {
            Value::Null => Box::new(CelNull),
            Value::Bool(value) => Box::new(CelBool::from(*value)),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Box::new(CelInt::from(number)),
                (None, Some(number)) => Box::new(CelUInt::from(number)),
                _ => Box::new(CelDouble::from(number.as_f64().ok_or(TooLarge)?)),
            },
            Value::String(text) => {
                self.take(0, text.len())?;
                Box::new(CelString::from(text.as_str()))
            }
            Value::Array(items) => {
                let depth = deeper(depth)?;
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.made(item, depth)).collect();
                Box::new(CelList::from(items?))
            }
            Value::Object(members) => self.object(members, depth)?,
        })
    }

    fn object<'a>(
        &mut self,
        members: &'a Map<String, Value>,
        depth: usize,
    ) -> Result<Box<dyn Val + 'a>, TooLarge> {
        let depth = deeper(depth)?;
        let mut made: HashMap<CelMapKey<'a>, Box<dyn Val + 'a>> = HashMap::with_capacity(members.len());
        for (key, value) in members {
            self.take(0, key.len())?;
            made.insert(CelMapKey::String(key.as_str().into()), self.made(value, depth)?);
        }
        Ok(Box::new(CelMap::from(made)))
    }

    fn take(&mut self, values: usize, bytes: usize) -> Result<(), TooLarge> {
        self.values = self.values.checked_sub(values).ok_or(TooLarge)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooLarge)?;
        Ok(())
    }
}

fn deeper(depth: usize) -> Result<usize, TooLarge> {
    depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH).ok_or(TooLarge)
}

/// A value as JSON, keys in order, since a map here has none.
pub(crate) fn to_json(value: &dyn Val) -> Result<Value, EvaluationError> {
    let mut room = Expression::MAX_VALUE;
    json(value, &mut room, 0)
}

fn json(value: &dyn Val, room: &mut usize, depth: usize) -> Result<Value, EvaluationError> {
    let mut take = |bytes: usize| {
        *room = room.checked_sub(bytes).ok_or(EvaluationError::TooLarge)?;
        Ok::<(), EvaluationError>(())
    };
    // The comma counts, so that a list of empty texts has a size, too.
    take(1)?;
    let deep = deeper(depth).map_err(|TooLarge| EvaluationError::TooLarge)?;
    if let Some(text) = value.downcast_ref::<CelString>() {
        take(text.inner().len())?;
        return Ok(Value::String(text.inner().to_owned()));
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*value.inner()));
    }
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Ok((*number.inner()).into());
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return Ok((*number.inner()).into());
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        let number = serde_json::Number::from_f64(*number.inner());
        return number.map(Value::Number).ok_or_else(|| none("a number that is none"));
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok(Value::Null);
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        let items: Result<Vec<_>, _> =
            list.inner().iter().map(|item| json(item.as_ref(), room, deep)).collect();
        return items.map(Value::Array);
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let mut members = Vec::with_capacity(map.inner().len());
        for (key, value) in map.inner() {
            let CelMapKey::String(key) = key else { return Err(none("a map whose keys are no strings")) };
            *room = room.checked_sub(key.inner().len()).ok_or(EvaluationError::TooLarge)?;
            members.push((key.inner().to_owned(), json(value.as_ref(), room, deep)?));
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        return Ok(Value::Object(members.into_iter().collect()));
    }
    Err(none("of a type that JSON does not have"))
}

fn none(what: &str) -> EvaluationError {
    EvaluationError::Failed(format!("its value is {what}"))
}

/// What a value is, in a few words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
