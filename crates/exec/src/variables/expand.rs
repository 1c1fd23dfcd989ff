//! References to variables in values (`third_party/forked/golang/expansion`).

/// Replaces `$(NAME)` by what `lookup` gives; an unknown one stays as it is. `$$` is one dollar, so `$$(NAME)` is the
/// text `$(NAME)`.
pub(super) fn expand<'a>(
    input: &str,
    lookup: impl Fn(&str) -> Option<&'a [u8]>,
    most: usize,
) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(input.len()), input);
    while let Some(at) = rest.find('$') {
        if out.len() > most {
            return None;
        }
        out.extend(&rest.as_bytes()[..at]);
        let behind = &rest[at + 1..];
        let closed = behind.strip_prefix('(').and_then(|b| b.split_once(')'));
        if let Some((name, after)) = closed {
            match lookup(name) {
                Some(value) => out.extend(value),
                None => out.extend(format!("$({name})").as_bytes()),
            }
            rest = after;
        } else {
            out.push(b'$');
            rest = behind.strip_prefix('$').unwrap_or(behind);
        }
    }
    out.extend(rest.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let lookup = |name: &str| match name {
            "A" => Some(&b"1"[..]),
            "EMPTY" => Some(&b""[..]),
            "REF" => Some(&b"$(A)"[..]),
            _ => None,
        };
        for (given, want) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(EMPTY)", ""),
            ("$(NONE)", "$(NONE)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$A", "$A"),
            ("$", "$"),
            ("$$", "$"),
            ("cost: 5$", "cost: 5$"),
            ("$(A", "$(A"),
            ("$(", "$("),
            ("$()", "$()"),
            ("$(A$(A)", "$(A$(A)"),
            ("$(REF)", "$(A)"),
            ("$\u{e9}$(A)", "$\u{e9}1"),
            ("\u{e9}$(A)\u{1f600}", "\u{e9}1\u{1f600}"),
        ] {
            assert_eq!(String::from_utf8(expand(given, lookup, 100).unwrap()).unwrap(), want, "{given}");
        }
        assert_eq!(expand(&"$(REF)".repeat(1000), lookup, 100), None);
    }
}
