//! `PartialObjectMetadata`: an object of which nothing but its metadata is shown.

use serde_json::Value;
use tokensmith_api::json::SyntaxError;
use tokensmith_api::proto::{END, begin};

use super::message::{Place, Transcoder};
use super::{Odd, header, transcoded, tree};
use crate::codec::protobuf::{put_message, wrapped};
use crate::schema::{TypeRef, type_of};

/// Appends an object's `PartialObjectMetadata` in Kubernetes' frame, whatever its kind.
///
/// # Errors
/// It is no JSON; then nothing is appended.
pub fn protobuf_metadata(json: &[u8], version: u64, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    let before = out.len();
    begin(out, "meta.k8s.io/v1", "PartialObjectMetadata");
    let done = protobuf_metadata_item(json, version, out);
    match done {
        Ok(()) => out.extend_from_slice(&END),
        Err(_) => out.truncate(before),
    }
    done
}

/// Appends the same as an item of a `PartialObjectMetadataList`: its message as field 2.
///
/// # Errors
/// It is no JSON; then nothing is appended.
pub fn protobuf_metadata_item(json: &[u8], version: u64, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    if transcoded(json, version, out, item).is_err() {
        let object = tree(json, version)?;
        let metadata = object.get("metadata").and_then(Value::as_object);
        wrapped(out, 2, |out| {
            if let Some(metadata) = metadata {
                wrapped(out, 1, |out| put_message(out, object_meta(), metadata));
            }
        });
    }
    Ok(())
}

/// What follows the metadata is not looked at.
fn item(to: &mut Transcoder<'_, '_>) -> Result<(), Odd> {
    header(&mut to.from)?;
    to.from.pass(",\"metadata\":")?;
    to.nested(2, |to| to.nested(1, |to| to.message(object_meta(), Place::Metadata)))
}

fn object_meta() -> TypeRef<'static> {
    type_of("apis/meta/v1.ObjectMeta").expect("it is in the table, a test says so")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tokensmith_api::proto::unframe;

    use super::*;
    use crate::codec::protobuf;
    use crate::codec::transcode::tests::{Dice, served, stored};

    proptest! {
        #[test]
        fn metadata_alone_has_the_message_that_it_has_in_its_object(seed: u64, version: u64, share in 0usize..100) {
            let kind = served("", "serviceaccounts");
            let json = stored(kind, Dice(seed).message(kind.message(), 0, share));
            let mut message = Vec::new();
            protobuf_metadata(&json, version, &mut message).unwrap();
            let metadata = tree(&json, version).unwrap().remove(&["metadata"]).unwrap();
            let whole = json!({"metadata": metadata});
            let whole = protobuf::encode("v1", "ServiceAccount", kind.message(), whole.as_object().unwrap());
            let (message, whole) = (unframe(&message).unwrap(), unframe(&whole).unwrap());
            prop_assert_eq!(message.raw, whole.raw, "{}", String::from_utf8_lossy(&json));
            prop_assert_eq!((message.api_version, message.kind), ("meta.k8s.io/v1", "PartialObjectMetadata"));
        }
    }

    #[test]
    fn metadata_of_another_form_is_left_to_the_tree() {
        for json in [
            r#"{"kind":"Pod","apiVersion":"v1","metadata": {"name":"a"}}"#,
            r#"{"metadata":{"resourceVersion":"3","name":"a"},"kind":"Pod"}"#,
        ] {
            let mut item = Vec::new();
            protobuf_metadata_item(json.as_bytes(), 7, &mut item).unwrap();
            assert_eq!(item, b"\x12\x08\x0a\x06\x0a\x01a\x32\x017", "{json}");
        }
        let mut out = b"before".to_vec();
        for put in [protobuf_metadata, protobuf_metadata_item] {
            assert!(put(b"{", 7, &mut out).is_err() && put(b"[]", 7, &mut out).is_err());
        }
        assert_eq!(out, b"before");
    }
}
