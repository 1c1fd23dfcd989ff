//! Messages out of JSON: a type's fields and an object's members in step, both in Go's order.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokensmith_api::proto::{close, open, put_bytes, put_fixed64, put_varint};
use tokensmith_api::{GoDuration, moment};

use super::Odd;
use crate::cursor::{Cursor, Text};
use crate::schema::{Field, Shape, TypeRef};

/// Reads from the one, writes to the other.
pub(super) struct Transcoder<'a, 'o> {
    pub(super) from: Cursor<'a>,
    pub(super) out: &'o mut Vec<u8>,
    /// What `metadata.resourceVersion` says; 0 where there is none.
    pub(super) version: u64,
}

/// Which message it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Any other one.
    Inner,
    /// An object's metadata, which has the version.
    Metadata,
    /// The object itself: `kind` and `apiVersion` have been read.
    Top,
}

pub(super) const VERSION: &str = "resourceVersion";

impl<'a> Transcoder<'a, '_> {
    /// Writes a field that is a message, or anything else with a length.
    pub(super) fn nested(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), Odd>,
    ) -> Result<(), Odd> {
        let opened = open(self.out, number);
        write(self)?;
        close(self.out, opened);
        Ok(())
    }

    /// Writes the fields of an object that comes.
    pub(super) fn message(&mut self, of: TypeRef<'_>, place: Place) -> Result<(), Odd> {
        self.from.enter("{")?;
        self.members(of, place)
    }

    /// The same of an object that has been entered.
    pub(super) fn members(&mut self, of: TypeRef<'_>, place: Place) -> Result<(), Odd> {
        let mut next = self.from.member()?;
        self.fields(of, place, &mut next)?;
        // What is left is unknown, and protobuf has not got it; or it is out of order, and its place has passed.
        while let Some(name) = next {
            match name.plain() {
                Some(name) if of.field(name).is_none() => self.from.skip()?,
                _ => return Err(Odd::Order(self.from.at())),
            }
            next = self.from.member()?;
        }
        Ok(())
    }

    /// Goes through the fields and takes the members that are theirs; `next` is the one that has been read.
    fn fields(&mut self, of: TypeRef<'_>, place: Place, next: &mut Option<Text<'a>>) -> Result<(), Odd> {
        for field in of.fields() {
            if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
                self.embedded(field.number, of.at(*inner), next)?;
                continue;
            }
            let here = next.and_then(Text::plain).is_some_and(|name| name == &*field.name);
            if place == Place::Metadata && &*field.name == VERSION {
                self.version(field.number)?;
                // A version that is stored is an old one.
                if here {
                    self.from.skip()?;
                    *next = self.from.member()?;
                }
                continue;
            }
            if here {
                self.field(of, field, place)?;
                *next = self.from.member()?;
            }
        }
        Ok(())
    }

    fn version(&mut self, number: u32) -> Result<(), Odd> {
        match self.version {
            0 => Ok(()),
            version => self.nested(number, |to| {
                // Writing to memory does not fail.
                write!(to.out, "{version}").map_err(|_| to.from.malformed().into())
            }),
        }
    }

    /// A type whose members stand among those of the type that embeds it.
    fn embedded(&mut self, number: u32, of: TypeRef<'_>, next: &mut Option<Text<'a>>) -> Result<(), Odd> {
        if number == 0 {
            // Kind and version of an object within another one: protobuf has not got them.
            while next.and_then(Text::plain).is_some_and(|name| of.field(name).is_some()) {
                self.from.skip()?;
                *next = self.from.member()?;
            }
            return Ok(());
        }
        if next.is_none() {
            return Ok(());
        }
        let before = self.out.len();
        let opened = open(self.out, number);
        let begun = self.out.len();
        self.fields(of, Place::Inner, next)?;
        match self.out.len() == begun {
            true => self.out.truncate(before),
            false => close(self.out, opened),
        }
        Ok(())
    }

    fn field(&mut self, of: TypeRef<'_>, field: &Field, place: Place) -> Result<(), Odd> {
        if field.number == 0 {
            return Ok(self.from.skip()?);
        }
        if self.from.null()? {
            return Ok(());
        }
        match &field.shape {
            Shape::Message(id) if place == Place::Top && &*field.name == "metadata" => {
                self.nested(field.number, |to| to.message(of.at(*id), Place::Metadata))
            }
            shape => self.value(of, field.number, shape),
        }
    }

    /// An item of a list, or an entry of a map; a null one says nothing.
    fn item(&mut self, owner: TypeRef<'_>, number: u32, shape: &Shape) -> Result<(), Odd> {
        match shape {
            // There null is a value.
            Shape::Fields | Shape::Raw | Shape::IntOrString | Shape::Quantity => {}
            _ if self.from.null()? => return Ok(()),
            _ => {}
        }
        self.value(owner, number, shape)
    }

    fn value(&mut self, owner: TypeRef<'_>, number: u32, shape: &Shape) -> Result<(), Odd> {
        match shape {
            Shape::Bool => {
                let set = self.from.bool()?;
                put_varint(self.out, number, set.into());
            }
            Shape::Int32 | Shape::Int64 => {
                let n = self.int()?;
                put_varint(self.out, number, n as u64);
            }
            Shape::Float64 => {
                let text = self.from.number()?;
                // As the tree has it: `-0` is an integer.
                let n = text.parse::<i64>().map(|n| n as f64).or_else(|_| text.parse::<f64>());
                let n = n.ok().filter(|n| n.is_finite()).ok_or_else(|| self.unfit())?;
                put_fixed64(self.out, number, n.to_bits());
            }
            Shape::String => {
                let text = self.from.string()?;
                self.text(number, text)?;
            }
            Shape::Duration => {
                let nanos = self.parsed(|text| text.parse::<GoDuration>().ok())?.nanos();
                self.nested(number, |to| {
                    put_varint(to.out, 1, nanos as u64);
                    Ok(())
                })?;
            }
            Shape::Bytes => {
                let text = self.from.string()?.plain().ok_or_else(|| self.unfit())?;
                self.nested(number, |to| BASE64_STANDARD.decode_vec(text, to.out).map_err(|_| to.unfit()))?;
            }
            Shape::Quantity => match self.from.peek() {
                b'"' => {
                    let text = self.from.string()?;
                    self.nested(number, |to| to.text(1, text))?;
                }
                _ => {
                    let n = self.int()?;
                    self.nested(number, |to| {
                        to.nested(1, |to| write!(to.out, "{n}").map_err(|_| to.unfit()))
                    })?;
                }
            },
            Shape::Time | Shape::MicroTime => {
                let time = self.parsed(|text| moment::parse(text).ok())?;
                self.nested(number, |to| {
                    put_varint(to.out, 1, time.unix_timestamp() as u64);
                    put_varint(to.out, 2, u64::from(time.nanosecond()));
                    Ok(())
                })?;
            }
            Shape::Fields | Shape::Raw => {
                // The same writer wrote it that would write it now.
                let from = self.from.at();
                self.from.skip()?;
                let json = self.from.since(from).as_bytes();
                self.nested(number, |to| {
                    put_bytes(to.out, 1, json);
                    Ok(())
                })?;
            }
            Shape::IntOrString => match self.from.peek() {
                b'"' => {
                    let text = self.from.string()?;
                    self.nested(number, |to| {
                        put_varint(to.out, 1, 1);
                        to.text(3, text)
                    })?;
                }
                _ => {
                    let n = self.int()?;
                    self.nested(number, |to| {
                        put_varint(to.out, 1, 0);
                        put_varint(to.out, 2, n as u64);
                        Ok(())
                    })?;
                }
            },
            Shape::Strings => self.nested(number, |to| to.list(owner, 1, &Shape::String))?,
            Shape::Message(id) => self.nested(number, |to| to.message(owner.at(*id), Place::Inner))?,
            Shape::Either(id) => self.either(number, owner.at(*id))?,
            Shape::List(of) => self.list(owner, number, of)?,
            Shape::Map(of) => self.map(owner, number, of)?,
        }
        Ok(())
    }

    fn list(&mut self, owner: TypeRef<'_>, number: u32, of: &Shape) -> Result<(), Odd> {
        self.from.enter("[")?;
        while self.from.item()? {
            self.item(owner, number, of)?;
        }
        Ok(())
    }

    fn map(&mut self, owner: TypeRef<'_>, number: u32, of: &Shape) -> Result<(), Odd> {
        self.from.enter("{")?;
        let mut before = None;
        while let Some(key) = self.from.member()? {
            let name = key.read().ok_or_else(|| self.from.malformed())?;
            // Go sorts them; one that comes twice would come twice in the message, too.
            if before.is_some_and(|before| before >= name) {
                return Err(Odd::Order(self.from.at()));
            }
            self.nested(number, |to| {
                put_bytes(to.out, 1, name.as_bytes());
                to.item(owner, 2, of)
            })?;
            before = Some(name);
        }
        Ok(())
    }

    /// One of several shapes, told apart by what JSON has there.
    fn either(&mut self, number: u32, of: TypeRef<'_>) -> Result<(), Odd> {
        let first = self.from.peek();
        let arm = of.fields().iter().find(|field| match &field.shape {
            Shape::Bool => matches!(first, b't' | b'f'),
            Shape::List(_) => first == b'[',
            Shape::Message(_) => first == b'{',
            _ => false,
        });
        let arm = arm.ok_or_else(|| self.unfit())?;
        self.nested(number, |to| {
            // A schema in the place of a bool means that the bool is true.
            if let (b'{', Some(allows)) = (first, of.fields().iter().find(|f| f.shape == Shape::Bool)) {
                put_varint(to.out, allows.number, 1);
            }
            to.value(of, arm.number, &arm.shape)
        })
    }

    fn text(&mut self, number: u32, text: Text<'_>) -> Result<(), Odd> {
        let text = text.read().ok_or_else(|| self.from.malformed())?;
        put_bytes(self.out, number, text.as_bytes());
        Ok(())
    }

    fn parsed<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Odd> {
        let text = self.from.string()?;
        text.read().as_deref().and_then(read).ok_or_else(|| self.unfit())
    }

    fn int(&mut self) -> Result<i64, Odd> {
        self.from.number()?.parse().map_err(|_| self.unfit())
    }

    fn unfit(&self) -> Odd {
        Odd::Type(self.from.at())
    }
}
