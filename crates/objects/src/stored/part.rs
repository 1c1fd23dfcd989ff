//! A part of an object: what stands at some paths, and nothing of the rest.

use std::borrow::Cow;

use serde_json::Value;

use crate::cursor::{Cursor, Malformed, Text};
use crate::look::Look;

/// JSON whose texts are borrowed where nothing in them is escaped: for one look, it costs a fifth of a tree of maps.
///
/// Members stand in the order of the text; of a name that is repeated the last one is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    /// A list.
    List(Vec<Part<'a>>),
    /// An object.
    Map(Vec<(Cow<'a, str>, Part<'a>)>),
    /// `null`.
    Null,
    /// A number, `true` or `false`: who looks at parts looks for texts.
    Other,
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Part<'a> {
    /// What stands at paths of names; lists on the way are walked through, element by element. What is on the way and neither
    /// an object nor a list is null. No path may begin with another one, and there are at most 32. Of JSON that this program
    /// would write otherwise, it is all of it; of what is no JSON, null.
    pub(super) fn read(json: &'a [u8], paths: &'a [&'a [&'a str]]) -> Part<'a> {
        let all = paths.iter().enumerate().fold(0, |all, (at, _)| all | 1_u32 << at);
        let read = || {
            let mut from = Cursor::new(json)?;
            let part = Way { paths, depth: 0, here: all }.read(&mut from)?;
            from.end().map(|()| part)
        };
        read().unwrap_or_else(|_| super::tree(json).into_value().into())
    }

    /// All of a value.
    fn whole(from: &mut Cursor<'a>) -> Result<Part<'a>, Malformed> {
        Ok(match from.peek() {
            b'{' => {
                let mut members = Vec::new();
                from.enter("{")?;
                while let Some(name) = from.member()? {
                    members.push((says(from, name)?, Part::whole(from)?));
                }
                Part::Map(members)
            }
            b'[' => Part::List(items(from, Part::whole)?),
            b'"' => {
                let text = from.string()?;
                Part::Text(says(from, text)?)
            }
            b'n' => from.null().map(|_| Part::Null)?,
            _ => from.skip().map(|()| Part::Other)?,
        })
    }
}

/// Which paths lead through here: a bit for each.
#[derive(Clone, Copy)]
struct Way<'a> {
    paths: &'a [&'a [&'a str]],
    depth: usize,
    here: u32,
}

impl<'a> Way<'a> {
    fn read(self, from: &mut Cursor<'a>) -> Result<Part<'a>, Malformed> {
        match from.peek() {
            b'{' => {
                let mut members = Vec::new();
                from.enter("{")?;
                while let Some(name) = from.member()? {
                    let name = says(from, name)?;
                    let on = self.through(&name);
                    let Some(path) = self.paths.get(on.here.trailing_zeros() as usize) else {
                        from.skip()?;
                        continue;
                    };
                    let value = if path.len() == on.depth { Part::whole(from)? } else { on.read(from)? };
                    members.push((name, value));
                }
                Ok(Part::Map(members))
            }
            b'[' => items(from, |from| self.read(from)).map(Part::List),
            _ => from.skip().map(|()| Part::Null),
        }
    }

    /// What leads on through a name.
    fn through(self, name: &str) -> Way<'a> {
        let (mut here, mut left) = (0, self.here);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            if self.paths[bit.trailing_zeros() as usize][self.depth] == name {
                here |= bit;
            }
        }
        Way { here, depth: self.depth + 1, ..self }
    }
}

fn items<'a>(
    from: &mut Cursor<'a>,
    item: impl Fn(&mut Cursor<'a>) -> Result<Part<'a>, Malformed>,
) -> Result<Vec<Part<'a>>, Malformed> {
    let mut items = Vec::new();
    from.enter("[")?;
    while from.item()? {
        items.push(item(from)?);
    }
    Ok(items)
}

fn says<'a>(from: &Cursor<'a>, text: Text<'a>) -> Result<Cow<'a, str>, Malformed> {
    text.read().ok_or_else(|| from.malformed())
}

impl From<Value> for Part<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Array(items) => Part::List(items.into_iter().map(Part::from).collect()),
            Value::Bool(_) | Value::Number(_) => Part::Other,
            Value::Null => Part::Null,
            Value::Object(map) => {
                Part::Map(map.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
            }
            Value::String(text) => Part::Text(text.into()),
        }
    }
}

impl Look for Part<'_> {
    fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Part::Map(members) => members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        let members = if let Part::Map(members) = self { members.as_slice() } else { &[] };
        members.iter().map(|(name, value)| (&**name, value))
    }

    fn items(&self) -> &[Self] {
        if let Part::List(items) = self { items } else { &[] }
    }

    fn string(&self) -> Option<&str> {
        if let Part::Text(text) = self { Some(text) } else { None }
    }

    fn none(&self) -> bool {
        matches!(self, Part::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&[&str]; 3] = [&["a", "b"], &["c"], &["l", "x"]];

    fn part(json: &str) -> String {
        format!("{:?}", Part::read(json.as_bytes(), &PATHS)).replace("Borrowed", "").replace("Owned", "")
    }

    #[test]
    fn a_part_is_what_stands_at_its_paths() {
        let part = Part::read(
            br#"{"a":{"b":"1","z":"2"},"c":{"d":["\u0065",3]},"l":[{"x":"4","y":5},6],"z":{}}"#,
            &PATHS,
        );
        assert_eq!(part.member("a").map(|a| (a.text("b"), a.member("z"))), Some(("1", None)));
        let list = part.member("c").and_then(|c| c.member("d")).unwrap().items();
        assert_eq!((list[0].string(), &list[1]), (Some("e"), &Part::Other));
        let list = part.member("l").unwrap().items();
        assert_eq!((list[0].text("x"), list[0].member("y"), &list[1]), ("4", None, &Part::Null));
        assert_eq!(part.members().count(), 3);
    }

    #[test]
    fn the_last_of_members_of_one_name_is_found() {
        let part = Part::read(br#"{"c":"1","c":"2"}"#, &PATHS);
        assert_eq!(part.text("c"), "2");
    }

    #[test]
    fn json_of_another_form_is_read_too() {
        assert_eq!(part(r#"{"a": {"b": "1"}}"#), part(r#"{"a":{"b":"1"}}"#));
        assert_eq!(part("{} x"), part("{}"), "what is no JSON has nothing");
    }
}
