//! Lists in protobuf, whose head says how many bytes the items are: those that are encoded are kept in chunks, or are encoded
//! twice, once to be counted, as upstream does it (KEP-5116).

use bytes::Bytes;
use tokensmith_api::json::SyntaxError;
use tokensmith_api::proto::{END, begin, close, open, put_bytes, put_length, put_varint};

use super::protobuf_item;
use crate::schema::Kind;

/// `metadata` of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListMeta<'a> {
    /// The revision that it shows.
    pub resource_version: &'a str,
    /// Where the next page goes on; empty where there is none.
    pub continue_token: &'a str,
    /// How many items the next pages have.
    pub remaining: Option<i64>,
}

/// Appends what comes before the items: the frame's beginning and the list's metadata. `items` is the sum of what
/// [`protobuf_item`] appends for each of them; [`END`] comes behind them.
pub fn protobuf_list(api_version: &str, list_kind: &str, meta: ListMeta<'_>, items: u64, out: &mut Vec<u8>) {
    let mut said = Vec::with_capacity(64);
    let message = open(&mut said, 1);
    put_bytes(&mut said, 2, meta.resource_version.as_bytes());
    put_bytes(&mut said, 3, meta.continue_token.as_bytes());
    if let Some(left) = meta.remaining {
        put_varint(&mut said, 4, left as u64);
    }
    close(&mut said, message);
    begin(out, api_version, list_kind);
    put_length(out, 2, said.len() as u64 + items);
    out.extend_from_slice(&said);
}

/// A list whose items are encoded one after the other and kept until the last one is there.
#[derive(Debug, Default)]
pub struct ProtobufList {
    full: Vec<Bytes>,
    last: Vec<u8>,
    length: u64,
}

/// A chunk is cut once it has so many bytes: large enough that few are sent, small enough that one more costs nothing.
const CHUNK: usize = 64 << 10;

impl ProtobufList {
    /// Adds an item.
    ///
    /// # Errors
    /// It is no JSON; the list is as before.
    pub fn push(&mut self, kind: &Kind, json: &[u8], version: u64) -> Result<(), SyntaxError> {
        self.put(|out| protobuf_item(kind, json, version, out))
    }

    /// Adds an item that `write` appends, tag and length included, e.g. by [`protobuf_item`].
    ///
    /// # Errors
    /// Those of `write`, which has then appended nothing.
    pub fn put<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let before = self.last.len();
        write(&mut self.last)?;
        self.length += (self.last.len() - before) as u64;
        if self.last.len() >= CHUNK {
            let next = Vec::with_capacity(CHUNK + CHUNK / 8);
            self.full.push(std::mem::replace(&mut self.last, next).into());
        }
        Ok(())
    }

    /// The whole body, in order.
    pub fn end(mut self, api_version: &str, list_kind: &str, meta: ListMeta<'_>) -> Vec<Bytes> {
        let mut head = Vec::with_capacity(256);
        protobuf_list(api_version, list_kind, meta, self.length, &mut head);
        self.last.extend_from_slice(&END);
        let mut all = Vec::with_capacity(self.full.len() + 2);
        all.push(head.into());
        all.append(&mut self.full);
        all.push(self.last.into());
        all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokensmith_api::Media;
    use tokensmith_api::proto::unframe;

    use super::*;
    use crate::codec::encode_of;
    use crate::codec::transcode::tests::served;

    #[test]
    fn a_list_of_chunks_is_the_list_of_the_tree() {
        let kind = served("", "configmaps");
        let object =
            |at: usize| json!({"metadata": {"name": format!("c-{at}")}, "data": {"k": "v".repeat(at * 100)}});
        for (count, meta) in [
            (0, json!({"resourceVersion": "9"})),
            (1, json!({"resourceVersion": "9", "continue": "next", "remainingItemCount": 300})),
            (50, json!({"resourceVersion": "9", "remainingItemCount": 0})),
        ] {
            let mut list = ProtobufList::default();
            let items: Vec<_> = (0..count).map(object).collect();
            for item in &items {
                let json = item.to_string();
                let json = format!(r#"{{"kind":"ConfigMap","apiVersion":"v1",{}"#, &json[1..]);
                list.push(kind, json.as_bytes(), 0).unwrap();
            }
            assert!(list.push(kind, b"{", 0).is_err(), "which leaves no trace");
            let shown = ListMeta {
                resource_version: "9",
                continue_token: meta["continue"].as_str().unwrap_or(""),
                remaining: meta["remainingItemCount"].as_i64(),
            };
            let chunks = list.end("v1", "ConfigMapList", shown);
            assert_eq!(chunks.len(), if count == 50 { 3 } else { 2 });
            if count == 0 {
                let body = chunks.concat();
                assert_eq!(unframe(&body).unwrap().raw, b"\x0a\x05\x12\x019\x1a\x00");
            }
            let tree = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": items});
            assert_eq!(chunks.concat(), encode_of(kind, tree.as_object().unwrap(), Media::Protobuf, false));
        }
    }
}
