//! What a value is, by the schema table: what apply takes as a whole, and what it looks into (kube-openapi `schemaconv`;
//! structured-merge-diff `schema`, `typed/helpers.go`).

use std::borrow::Cow;

use serde_json::Value;
use tokensmith_objects::schema::{Field, ListType, Shape, TypeRef};

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a>(Of<'a>);

#[derive(Clone, Copy, Debug)]
enum Of<'a> {
    /// Whatever the value is; a list is taken as a whole, a map is not.
    Deduced,
    /// Whatever the value is, as a whole.
    Untyped,
    /// An object, of a struct of the table; as a whole, if something says so.
    Object(TypeRef<'a>, bool),
    /// What an object says that it is, whether its type has a field for it or not.
    Name,
    /// What a field holds, or what is held by what a field holds.
    Held { owner: TypeRef<'a>, shape: &'a Shape, field: Option<&'a Field>, go: &'a str },
}

/// A type as one of the three forms that values have.
#[derive(Clone, Copy, Debug)]
pub enum Atom<'a> {
    /// Items.
    List(List<'a>),
    /// Members.
    Map(Members<'a>),
    /// Neither.
    Scalar(Scalar),
}

/// What a value without items or members may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// True or false.
    Boolean,
    /// A number.
    Numeric,
    /// A text.
    String,
    /// Any of these.
    Untyped,
}

/// A list's type.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// What its items are.
    pub item: Type<'a>,
    /// What tells them apart.
    pub by: By<'a>,
}

/// What tells a list's items apart.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// Some of their fields.
    Keys(&'a [Box<str>]),
    /// Nothing: the list is taken as a whole.
    Nothing,
    /// Their values.
    Value,
}

/// A map's or a struct's type.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    of: Inner<'a>,
    /// Whether it is taken as a whole.
    pub whole: bool,
}

#[derive(Clone, Copy, Debug)]
enum Inner<'a> {
    All(Type<'a>),
    Object(TypeRef<'a>),
    Struct(TypeRef<'a>),
}

impl<'a> Type<'a> {
    /// What objects of a type are.
    pub fn of(root: TypeRef<'a>) -> Type<'a> {
        Type(Of::Object(root, root.is_atomic()))
    }

    /// What objects are of which nothing is known.
    pub fn deduced() -> Type<'a> {
        Type(Of::Deduced)
    }

    /// Which of its forms a value has; where there is none, or one that the type does not allow, the type's own, or of several
    /// the map.
    pub fn atom(self, value: Option<&Value>) -> Atom<'a> {
        match self.0 {
            Of::Deduced => any(value, Type(Of::Deduced), false),
            Of::Untyped => any(value, Type(Of::Untyped), true),
            Of::Object(of, whole) => Atom::Map(Members { of: Inner::Object(of), whole }),
            Of::Name => Atom::Scalar(Scalar::String),
            Of::Held { owner, shape, field, go } => held(owner, shape, field, go, value),
        }
    }
}

fn any<'a>(value: Option<&Value>, member: Type<'a>, whole: bool) -> Atom<'a> {
    match value {
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => Atom::Scalar(Scalar::Untyped),
        Some(Value::Array(_)) => Atom::List(List { item: Type(Of::Untyped), by: By::Nothing }),
        _ => Atom::Map(Members { of: Inner::All(member), whole }),
    }
}

fn held<'a>(
    owner: TypeRef<'a>,
    shape: &'a Shape,
    field: Option<&'a Field>,
    go: &'a str,
    value: Option<&Value>,
) -> Atom<'a> {
    let inside =
        |shape| Type(Of::Held { owner, shape, field: None, go: tokensmith_objects::schema::go_item(go) });
    match shape {
        Shape::Bool => Atom::Scalar(Scalar::Boolean),
        Shape::Bytes | Shape::Duration | Shape::String => Atom::Scalar(Scalar::String),
        Shape::Float64 | Shape::Int32 | Shape::Int64 => Atom::Scalar(Scalar::Numeric),
        Shape::MicroTime | Shape::Quantity | Shape::Time => Atom::Scalar(Scalar::Untyped),
        // Their schemas name no type.
        Shape::Either(_) | Shape::IntOrString => any(value, Type(Of::Deduced), false),
        Shape::Raw if go.ends_with(".JSON") => any(value, Type(Of::Deduced), false),
        Shape::Raw => any(value, Type(Of::Untyped), true),
        Shape::Fields => Atom::Map(Members { of: Inner::All(Type(Of::Deduced)), whole: false }),
        Shape::Strings => Atom::List(List { item: inside(&Shape::String), by: By::Nothing }),
        Shape::List(item) => Atom::List(List { item: inside(item), by: field.map_or(By::Nothing, by) }),
        Shape::Map(item) => Atom::Map(Members {
            of: Inner::All(inside(item)),
            whole: field.is_some_and(|field| field.atomic),
        }),
        Shape::Message(id) => {
            let of = owner.at(*id);
            let whole = match field {
                Some(field) if field.atomic => true,
                Some(field) if field.granular => false,
                _ => of.is_atomic(),
            };
            Atom::Map(Members { of: Inner::Struct(of), whole })
        }
    }
}

/// The list's type, and where there is none, what strategic merge patches go by.
fn by(field: &Field) -> By<'_> {
    match field.list_type() {
        Some(ListType::Atomic) => By::Nothing,
        Some(ListType::Map) => By::Keys(&field.keys),
        Some(ListType::Set) => By::Value,
        None if !field.patch.split(',').any(|part| part == "merge") => By::Nothing,
        None if field.merge_key.is_empty() => By::Value,
        None => By::Keys(std::slice::from_ref(&field.merge_key)),
    }
}

impl<'a> Members<'a> {
    /// What a member is, and whether it is a field with a name of its own; `None` is one that there is not.
    pub fn member(&self, name: &str) -> Option<(Type<'a>, bool)> {
        let of = match self.of {
            Inner::All(of) => return Some((of, false)),
            // A kind that comes as data need not say that its objects have these.
            Inner::Object(of) if matches!(name, "apiVersion" | "kind") && of.field(name).is_none() => {
                return Some((Type(Of::Name), true));
            }
            Inner::Object(of) | Inner::Struct(of) => of,
        };
        let field = of.field(name)?;
        Some((Type(Of::Held { owner: of, shape: &field.shape, field: Some(field), go: field.go() }), true))
    }

    /// What stands for a key that an item leaves out.
    pub(crate) fn default(&self, name: &str) -> Option<Cow<'a, Value>> {
        let (Inner::Object(of) | Inner::Struct(of)) = self.of else { return None };
        let field = of.field(name)?;
        if let Some(json) = &field.default {
            return serde_json::from_str(json).ok().map(Cow::Owned);
        }
        // Go's empty value, where the published schema says so.
        match field.shape {
            _ if field.pointer || !field.always => None,
            Shape::Bool => Some(Cow::Owned(false.into())),
            Shape::Float64 | Shape::Int32 | Shape::Int64 => Some(Cow::Owned(0.into())),
            Shape::String => Some(Cow::Owned("".into())),
            _ => None,
        }
    }
}
