//! An object's JSON as answers have it, and where `metadata.resourceVersion` goes into it.

use bytes::Bytes;

use super::find::first;

/// JSON in the order of Go's fields, without `metadata.resourceVersion`.
#[derive(Clone, Debug)]
pub struct Text {
    pub(super) json: Bytes,
    /// Where `kind` and `apiVersion` end; 0 where there are none.
    pub(super) head: u32,
    /// What comes before the version in the metadata ends here; 0 where nothing does.
    pub(super) version: u32,
}

impl Text {
    /// Writes all of it; a revision of 0 is not shown.
    pub fn whole(&self, revision: u64, out: &mut Vec<u8>) {
        self.spliced(0, self.json.len(), revision, out);
    }

    /// Writes it as a typed list has it: without `kind` and `apiVersion`.
    pub fn item(&self, revision: u64, out: &mut Vec<u8>) {
        out.push(b'{');
        // Behind the comma, if anything follows.
        let begin = match (self.head as usize, self.json.get(self.head as usize)) {
            (0, _) => 1,
            (head, Some(b',')) => head + 1,
            (head, _) => head,
        };
        self.spliced(begin, self.json.len(), revision, out);
    }

    /// Writes what is in `metadata`.
    pub fn metadata(&self, revision: u64, out: &mut Vec<u8>) {
        match first(&self.json, &["metadata"]).filter(|raw| raw.starts_with('{')) {
            Some(raw) => {
                let begin = raw.as_ptr() as usize - self.json.as_ptr() as usize;
                self.spliced(begin, begin + raw.len(), revision, out);
            }
            None => out.extend_from_slice(b"{}"),
        }
    }

    /// The bytes, without the version.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    fn spliced(&self, begin: usize, end: usize, revision: u64, out: &mut Vec<u8>) {
        let json = &self.json[..];
        let member = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"resourceVersion\":\"");
            out.extend_from_slice(revision.to_string().as_bytes());
            out.push(b'"');
        };
        out.reserve(end - begin + 48);
        let at = self.version as usize;
        if revision == 0 {
            out.extend_from_slice(&json[begin..end]);
        } else if at > 0 {
            out.extend_from_slice(&json[begin..at]);
            out.push(b',');
            member(out);
            out.extend_from_slice(&json[at..end]);
        } else {
            let Some(at) = first_in_metadata(json) else { return out.extend_from_slice(&json[begin..end]) };
            out.extend_from_slice(&json[begin..at]);
            member(out);
            if json.get(at) != Some(&b'}') {
                out.push(b',');
            }
            out.extend_from_slice(&json[at..end]);
        }
    }
}

/// Where the first field of `metadata` stands, or would.
fn first_in_metadata(json: &[u8]) -> Option<usize> {
    let raw = first(json, &["metadata"]).filter(|raw| raw.starts_with('{'))?;
    Some(raw.as_ptr() as usize - json.as_ptr() as usize + 1)
}
