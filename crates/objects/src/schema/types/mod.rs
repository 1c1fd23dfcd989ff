//! What messages are made of: types by name, as Go declares them, each read when it is first needed.
//!
//! A table of types is a value. Types of a kind that is not built in lie in a table of their own that stands on another
//! one and may name its types; an id of the lower table means the same type in the upper one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::field::{Field, go_type};

/// Identifies a type in its table, and in each table that stands on that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// A table of types.
pub struct Types {
    base: Option<Arc<Types>>,
    /// How many types the tables below have.
    below: usize,
    rows: Vec<Row>,
    by_name: HashMap<Cow<'static, str>, TypeId>,
}

struct Row {
    name: Cow<'static, str>,
    /// Its fields as the generator writes them; read once.
    text: Cow<'static, str>,
    read: OnceLock<Type>,
}

/// A message type.
#[derive(Debug)]
pub struct Type {
    fields: Vec<Field>,
    /// JSON name → where the field is: in this type, or in an embedded one; and its place in Go's order.
    names: HashMap<Box<str>, Place>,
    numbers: HashMap<u32, usize>,
    own: Own,
}

/// What is said of a type as a whole.
#[derive(Debug, Default)]
struct Own {
    atomic: bool,
    unions: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    owner: TypeId,
    at: usize,
    rank: usize,
}

/// A type together with its table, so that the types of its fields are at hand.
#[derive(Clone, Copy)]
pub struct TypeRef<'a> {
    types: &'a Types,
    row: &'a Row,
    of: &'a Type,
}

/// Why types cannot be added to a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypesError {
    /// A type that embeds itself has no end.
    #[error("type {0:?} embeds itself")]
    Circle(String),
    /// The table below has it already.
    #[error("type {0:?} exists already")]
    Exists(String),
    /// The text is not what the generator writes.
    #[error("type {name:?} cannot be read: {cause}")]
    Malformed {
        /// The type.
        name: String,
        /// What is wrong.
        cause: String,
    },
}

impl Types {
    /// A table of constant rows: `"NAME":[FIELDS]`, one a line, as the generator writes them.
    pub(super) fn of_rows(lines: impl Iterator<Item = (&'static str, &'static str)>) -> Types {
        let mut types = Types { base: None, below: 0, rows: Vec::new(), by_name: HashMap::new() };
        lines.for_each(|(name, text)| types.push(Cow::Borrowed(name), Cow::Borrowed(text)));
        types
    }

    /// A table that stands on this one and has further types: a JSON object whose members are `NAME: [FIELDS]`, in the
    /// form of `schema/table.json`.
    ///
    /// # Errors
    /// A type is there already, embeds itself, or is not written as the table's are.
    pub fn with(self: &Arc<Self>, types: &Map<String, Value>) -> Result<Types, TypesError> {
        let below = self.len();
        let mut out = Types { base: Some(self.clone()), below, rows: Vec::new(), by_name: HashMap::new() };
        for (name, fields) in types {
            if self.id(name).is_some() {
                return Err(TypesError::Exists(name.clone()));
            }
            out.push(Cow::Owned(name.clone()), Cow::Owned(fields.to_string()));
        }
        // Whoever sent it is told now: a built-in table is held by its tests, this one by nobody.
        let fields: Vec<Vec<Field>> =
            out.rows.iter().map(|row| out.fields(row).map(|(fields, _)| fields)).collect::<Result<_, _>>()?;
        for at in 0..fields.len() {
            out.ends(&fields, at, 0)?;
        }
        Ok(out)
    }

    /// Follows what types of this table embed.
    fn ends(&self, fields: &[Vec<Field>], at: usize, depth: usize) -> Result<(), TypesError> {
        if depth > fields.len() {
            return Err(TypesError::Circle(self.rows[at].name.to_string()));
        }
        for field in fields[at].iter().filter(|field| field.inline) {
            if let Some(inner) = field.shape.message().and_then(|id| (id.0 as usize).checked_sub(self.below))
            {
                self.ends(fields, inner, depth.saturating_add(1))?;
            }
        }
        Ok(())
    }

    fn push(&mut self, name: Cow<'static, str>, text: Cow<'static, str>) {
        let id = TypeId(u32::try_from(self.len()).unwrap_or(u32::MAX));
        self.by_name.insert(name.clone(), id);
        self.rows.push(Row { name, text, read: OnceLock::new() });
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.below.saturating_add(self.rows.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All types.
    pub fn all(&self) -> impl Iterator<Item = TypeRef<'_>> {
        (0..self.len()).filter_map(|id| u32::try_from(id).ok()).map(|id| self.at(TypeId(id)))
    }

    /// A type by Go's name, e.g. `core/v1.Pod`.
    pub fn get(&self, name: &str) -> Option<TypeRef<'_>> {
        self.id(name).map(|id| self.at(id))
    }

    pub(super) fn id(&self, name: &str) -> Option<TypeId> {
        let own = self.by_name.get(name).copied();
        own.or_else(|| self.base.as_ref().and_then(|base| base.id(name)))
    }

    /// The type behind an id of this table.
    pub fn at(&self, id: TypeId) -> TypeRef<'_> {
        let row = self.row(id);
        let read = || {
            let (fields, own) =
                self.fields(row).expect("what the generator writes is tested, the rest was read before");
            self.indexed(id, fields, own)
        };
        TypeRef { types: self, row, of: row.read.get_or_init(read) }
    }

    fn row(&self, id: TypeId) -> &Row {
        let at = id.0 as usize;
        match &self.base {
            Some(base) if at < self.below => base.row(id),
            _ => &self.rows[at.saturating_sub(self.below)],
        }
    }

    fn fields(&self, row: &Row) -> Result<(Vec<Field>, Own), TypesError> {
        let malformed = |cause: String| TypesError::Malformed { name: row.name.to_string(), cause };
        let rows: Vec<Value> = serde_json::from_str(&row.text).map_err(|e| malformed(e.to_string()))?;
        let (mut fields, mut atomic, mut unions) = (Vec::with_capacity(rows.len()), false, Vec::new());
        for row in &rows {
            match row {
                Value::String(flag) => match flag.strip_prefix("union=") {
                    Some(union) => unions.push(union.into()),
                    None => atomic |= flag == "map=atomic",
                },
                row => fields.push(Field::read(row, self).map_err(malformed)?),
            }
        }
        Ok((fields, Own { atomic, unions: unions.into() }))
    }

    fn indexed(&self, id: TypeId, fields: Vec<Field>, own: Own) -> Type {
        let numbers = fields.iter().enumerate().filter(|(_, f)| f.number > 0).map(|(at, f)| (f.number, at));
        let (numbers, mut names, mut rank) = (numbers.collect(), HashMap::new(), 0);
        for (at, field) in fields.iter().enumerate() {
            match field.shape.message().filter(|_| field.inline) {
                Some(inner) => {
                    let inner = self.at(inner).of;
                    names.extend(inner.names.iter().map(|(name, place)| {
                        (name.clone(), Place { rank: place.rank.saturating_add(rank), ..*place })
                    }));
                    rank = rank.saturating_add(inner.names.len());
                }
                None if field.name.is_empty() => {}
                None => {
                    names.insert(field.name.clone(), Place { owner: id, at, rank });
                    rank = rank.saturating_add(1);
                }
            }
        }
        Type { fields, names, numbers, own }
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} types", self.len())
    }
}

impl<'a> TypeRef<'a> {
    /// Go's name, e.g. `core/v1.Pod`.
    pub fn name(self) -> &'a str {
        &self.row.name
    }

    /// As Go's errors show it, e.g. `v1.Pod`.
    pub fn go_name(self) -> String {
        go_type(self.name())
    }

    /// The last part of the name, as Go's errors show a struct.
    pub fn short_name(self) -> &'a str {
        self.name().rsplit('.').next().unwrap_or(self.name())
    }

    /// Its fields in Go's order; an embedded type is one of them.
    pub fn fields(self) -> &'a [Field] {
        &self.of.fields
    }

    /// The field behind a JSON name, those of embedded types included.
    pub fn field(self, name: &str) -> Option<&'a Field> {
        self.placed(name).map(|(field, _)| field)
    }

    /// The field of a name that differs in case alone, as Go's JSON library falls back on it: the first one, with `K` and `S` in
    /// their Unicode spellings, too.
    pub fn field_ignoring_case(self, name: &str) -> Option<&'a Field> {
        let folded = |name: &str| -> String {
            let fold = |c| match c {
                '\u{212a}' => 'k',
                '\u{17f}' => 's',
                c => c.to_ascii_lowercase(),
            };
            name.chars().map(fold).collect()
        };
        let wanted = folded(name);
        let found = self.of.names.iter().filter(|(name, _)| folded(name) == wanted);
        found.min_by_key(|(_, place)| place.rank).and_then(|(name, _)| self.field(name))
    }

    /// The same, and where it stands in Go's order.
    pub fn placed(self, name: &str) -> Option<(&'a Field, usize)> {
        let place = self.of.names.get(name)?;
        Some((self.types.at(place.owner).of.fields.get(place.at)?, place.rank))
    }

    /// The embedded type that a field stands in, as Go's errors name it.
    pub fn embedded(self, name: &str) -> Option<&'a str> {
        let owner = self.types.at(self.of.names.get(name)?.owner);
        (!std::ptr::eq(owner.of, self.of)).then(|| owner.short_name())
    }

    /// Where a JSON name stands in Go's order.
    pub fn rank(self, name: &str) -> usize {
        self.of.names.get(name).map_or(usize::MAX, |place| place.rank)
    }

    /// The field behind a protobuf number.
    pub fn numbered(self, number: u32) -> Option<&'a Field> {
        self.of.fields.get(*self.of.numbers.get(&number)?)
    }

    /// Whether apply and merge take it as a whole.
    pub fn is_atomic(self) -> bool {
        self.of.own.atomic
    }

    /// Of which fields one is set: the field that says which, or nothing, a colon, and the fields.
    pub fn unions(self) -> &'a [Box<str>] {
        &self.of.own.unions
    }

    /// Another type of the same table, by name.
    pub fn named(self, name: &str) -> Option<TypeRef<'a>> {
        self.types.get(name)
    }

    /// Another type of the same table, e.g. that of a field.
    pub fn at(self, id: TypeId) -> TypeRef<'a> {
        self.types.at(id)
    }

    /// The type of a field that is a message.
    pub fn message(self, field: &Field) -> Option<TypeRef<'a>> {
        field.shape.message().map(|id| self.at(id))
    }
}

impl fmt::Debug for TypeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
