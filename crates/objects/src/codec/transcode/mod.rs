//! From an object's JSON to its protobuf message, without a tree between them.
//!
//! The JSON is what [`encode_of`](super::encode_of) writes, compact and in Go's order, without `metadata.resourceVersion`. The
//! message is byte for byte what that function makes of the tree behind such JSON, a version in its place. JSON of another
//! form, which an older version may have stored, takes the way by the tree.
//!
//! ```
//! use tokensmith_objects::codec::{protobuf_item, protobuf_of};
//! use tokensmith_objects::schema;
//!
//! let accounts = schema::kind("", "serviceaccounts").unwrap();
//! let json = br#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"web"}}"#;
//! let mut item = Vec::new();
//! protobuf_item(accounts, json, 7, &mut item)?;
//! assert_eq!(item, b"\x12\x0a\x0a\x08\x0a\x03web\x32\x017");
//!
//! let mut body = Vec::new();
//! protobuf_of(accounts, json, 7, &mut body)?;
//! assert!(body.starts_with(b"k8s\0"));
//! # Ok::<_, tokensmith_api::json::SyntaxError>(())
//! ```

mod list;
mod message;
mod partial;

use tokensmith_api::json::{self, SyntaxError};
use tokensmith_api::proto::{END, begin};

pub use self::list::{ListMeta, ProtobufList, protobuf_list};
use self::message::{Place, Transcoder, VERSION};
pub use self::partial::{protobuf_metadata, protobuf_metadata_item};
use super::protobuf;
use crate::Object;
use crate::cursor::{Cursor, Malformed};
use crate::schema::Kind;

/// Why JSON is to be read as a tree: where it is not what is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    /// It is of another kind, or does not say at its beginning what it is.
    Kind,
    /// It is no compact JSON.
    Malformed(usize),
    /// A member comes twice, or not in Go's order.
    Order(usize),
    /// A value has not its Go type.
    Type(usize),
}

impl From<Malformed> for Odd {
    fn from(Malformed(at): Malformed) -> Odd {
        Odd::Malformed(at)
    }
}

/// Appends the message of an object in Kubernetes' frame; `version` is its `metadata.resourceVersion`, 0 for none.
///
/// # Errors
/// It is no JSON; then nothing is appended.
pub fn protobuf_of(kind: &Kind, json: &[u8], version: u64, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    if transcoded(json, version, out, |to| framed(to, kind)).is_err() {
        let object = tree(json, version)?;
        let message = protobuf::encode(object.api_version(), object.kind(), kind.message(), &object.0);
        out.extend_from_slice(&message);
    }
    Ok(())
}

/// Appends an object as a list's item: its message as field 2.
///
/// # Errors
/// It is no JSON; then nothing is appended.
pub fn protobuf_item(kind: &Kind, json: &[u8], version: u64, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    if transcoded(json, version, out, |to| item(to, kind)).is_err() {
        protobuf::put_item(out, kind.message(), &tree(json, version)?.0);
    }
    Ok(())
}

/// Writes one object; of what fails nothing is left.
fn transcoded<'a>(
    json: &'a [u8],
    version: u64,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Transcoder<'a, '_>) -> Result<(), Odd>,
) -> Result<(), Odd> {
    let before = out.len();
    let done = write(&mut Transcoder { from: Cursor::new(json)?, out, version });
    if done.is_err() {
        out.truncate(before);
    }
    done
}

fn framed(to: &mut Transcoder<'_, '_>, kind: &Kind) -> Result<(), Odd> {
    let (api_version, name) = header(&mut to.from)?;
    begin(to.out, api_version, name);
    message(to, kind, name)?;
    to.out.extend_from_slice(&END);
    Ok(())
}

fn item(to: &mut Transcoder<'_, '_>, kind: &Kind) -> Result<(), Odd> {
    let (_, name) = header(&mut to.from)?;
    message(to, kind, name)
}

/// The message behind the header, as field 2: so it stands in a frame, and in a list.
fn message(to: &mut Transcoder<'_, '_>, kind: &Kind, name: &str) -> Result<(), Odd> {
    if name != kind.kind {
        return Err(Odd::Kind);
    }
    to.nested(2, |to| to.members(kind.message(), Place::Top))?;
    Ok(to.from.end()?)
}

/// Passes what each object begins with, up to its metadata: without it there would be no version. Gives `apiVersion` and
/// `kind`.
fn header<'a>(from: &mut Cursor<'a>) -> Result<(&'a str, &'a str), Odd> {
    let mut begin = || {
        from.enter("{")?;
        from.pass("\"kind\":")?;
        let name = from.string()?;
        from.pass(",\"apiVersion\":")?;
        let api_version = from.string()?;
        from.meets(",\"metadata\":{").then_some(()).ok_or(Odd::Kind)?;
        api_version.plain().zip(name.plain()).ok_or(Odd::Kind)
    };
    begin().map_err(|_| Odd::Kind)
}

/// The slow way.
fn tree(json: &[u8], version: u64) -> Result<Object, SyntaxError> {
    let value = json::parse(json)?.value;
    let mut object = Object::from_value(value).ok_or_else(|| SyntaxError("it is no object".into()))?;
    match version {
        0 => drop(object.remove(&["metadata", VERSION])),
        version => object.set(&["metadata", VERSION], version.to_string()),
    }
    Ok(object)
}

#[cfg(test)]
mod tests;
