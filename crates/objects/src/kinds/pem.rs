//! PEM.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A block of a text.
pub(super) struct Block<'a> {
    /// What it says that it is.
    pub(super) label: &'a str,
    /// Whether there are headers in it.
    pub(super) headers: bool,
    /// What it holds.
    pub(super) der: Vec<u8>,
}

/// The blocks of a text as Go's `encoding/pem` finds them: other text, a block without an end and one that is no base64
/// are passed over.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut found, mut open) = (Vec::new(), None::<(&str, Vec<&str>)>);
    for line in text.split('\n').map(|line| line.trim_end_matches([' ', '\t', '\r'])) {
        if let Some(label) = mark(line, "BEGIN ") {
            open = Some((label, Vec::new()));
        } else if let Some(label) = mark(line, "END ") {
            found
                .extend(open.take().filter(|(begun, _)| *begun == label).and_then(|(_, l)| block(label, &l)));
        } else if let Some((_, lines)) = &mut open {
            lines.push(line);
        }
    }
    found
}

fn block<'a>(label: &'a str, lines: &[&str]) -> Option<Block<'a>> {
    let headers = lines.iter().take_while(|line| line.contains(':')).count();
    let body: Vec<u8> = lines[headers..].iter().flat_map(|line| line.bytes()).collect();
    let body: Vec<u8> = body.into_iter().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(Block { label, headers: headers > 0, der: BASE64_STANDARD.decode(body).ok()? })
}

/// The label in `-----BEGIN LABEL-----`.
fn mark<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?.strip_suffix("-----")?.strip_prefix(word)
}
