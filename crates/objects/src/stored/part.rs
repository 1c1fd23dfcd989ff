//! A part of an object: what stands at some paths, and nothing of the rest.

use std::borrow::Cow;

use super::find::Way;
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
    /// What stands at paths of names in JSON that has been read as such before; lists on the way are walked through, element by element. What is on the way and neither
    /// an object nor a list is null, as is what is no JSON. No path may begin with another one, and there are at most 32.
    pub(super) fn read(json: &'a [u8], paths: &[&[&str]]) -> Part<'a> {
        let read =
            |from: Cursor<'a>| Along { found: &mut [], spans: 0, parts: u32::MAX }.all(from.known(), paths);
        Cursor::new(json)
            .and_then(read)
            .or_else(|_| Cursor::spaced(json).and_then(read))
            .unwrap_or(Part::Null)
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

/// A walk along paths. What a bit stands for is a path.
pub(super) struct Along<'f, 'a> {
    /// What stands at the paths of `spans`, as [`find`](super::find::find) has it.
    pub(super) found: &'f mut [Option<&'a str>],
    /// Those whose values are found.
    pub(super) spans: u32,
    /// Those whose values are part of what is read.
    pub(super) parts: u32,
}

impl<'a> Along<'_, 'a> {
    /// All of a text.
    pub(super) fn all(mut self, mut from: Cursor<'a>, paths: &[&[&str]]) -> Result<Part<'a>, Malformed> {
        let part = self.value(&mut from, Way::begin(paths))?;
        from.end().map(|()| part)
    }

    fn value(&mut self, from: &mut Cursor<'a>, way: Way<'_>) -> Result<Part<'a>, Malformed> {
        match from.peek() {
            b'{' => {
                let mut members = Vec::new();
                from.enter("{")?;
                while let Some(name) = from.member()? {
                    let name = says(from, name)?;
                    let Some(way) = way.through(&name) else {
                        from.skip()?;
                        continue;
                    };
                    let Some(at) = way.end() else {
                        // What an earlier one of the same name has left counts no more.
                        way.leads(self.spans).for_each(|at| self.found[at] = None);
                        members.push((name, self.value(from, way)?));
                        continue;
                    };
                    let begin = from.at();
                    match self.parts >> at & 1 {
                        0 => from.skip()?,
                        _ => members.push((name, Part::whole(from)?)),
                    }
                    if self.spans >> at & 1 != 0 {
                        self.found[at] = Some(from.since(begin));
                    }
                }
                Ok(Part::Map(members))
            }
            b'[' => {
                // What is found stands at a path of objects alone.
                let spans = std::mem::take(&mut self.spans);
                let list = items(from, |from| self.value(from, way)).map(Part::List);
                self.spans = spans;
                list
            }
            _ => from.skip().map(|()| Part::Null),
        }
    }
}

fn items<'a>(
    from: &mut Cursor<'a>,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<Part<'a>, Malformed>,
) -> Result<Vec<Part<'a>>, Malformed> {
    let mut items = Vec::new();
    from.enter("[")?;
    while from.item()? {
        items.push(item(from)?);
    }
    Ok(items)
}

#[expect(clippy::inline_always, reason = "as `Cursor::string`")]
#[inline(always)]
fn says<'a>(from: &Cursor<'a>, text: Text<'a>) -> Result<Cow<'a, str>, Malformed> {
    match text.plain() {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => text.read().ok_or_else(|| from.malformed()),
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
    fn space_between_tokens_says_nothing() {
        assert_eq!(part(r#"{"a": {"b": "1"}}"#), part(r#"{"a":{"b":"1"}}"#));
        assert_eq!(part("{} x"), "Null", "what is no JSON has nothing");
    }
}
