//! The mark in a token's id: after which revocations it was issued.
//!
//! ```text
//! xxxxxxxx-xxxx-4xxx-yxxx-mmmmmmmmmmmm    a UUID of version 4, as Kubernetes' ids are
//! └──────── random ─────┘ └── mark ──┘    mark = (epoch, 32 bits | 0, 16 bits) xor SHA-256(DOMAIN | random)
//! ```
//!
//! A clock may be set back, so `iat` cannot tell what was issued before a revocation. The epoch can: it grows with every
//! revocation, and never falls. It needs no secret, since the id is signed with the rest; the hash only makes an id look
//! like any other, and an id of others not like ours.

use uuid::{Uuid, Variant};

use crate::random;

/// Keeps the hash apart from all others of the same bytes.
const DOMAIN: &[u8; 22] = b"tokensmith jti mark v1";
/// So many bytes are random, but for the six bits that say what a UUID is.
const RANDOM: usize = 10;

/// A new id for a token that is issued in this epoch.
pub fn id(epoch: u32) -> Uuid {
    let mut bytes = *uuid::Builder::from_random_bytes(random::bytes()).as_uuid().as_bytes();
    let mask = mask(&bytes);
    let [a, b, c, d] = epoch.to_be_bytes();
    for (at, plain) in [a, b, c, d, 0, 0].into_iter().enumerate() {
        bytes[RANDOM + at] = plain ^ mask[at];
    }
    Uuid::from_bytes(bytes)
}

/// The epoch in which the token of this id was issued, which is `newest` at most; `None` for an id without a mark.
///
/// Of the random ids that others make, one in 2^48 is taken for one of a given epoch.
pub fn read(jti: &str, newest: u32) -> Option<u32> {
    let id = Uuid::try_parse(jti).ok()?;
    // The parser knows more spellings than are ever written.
    let canonical = id.hyphenated().encode_lower(&mut [0; 36]) == jti;
    if !canonical || id.get_version_num() != 4 || id.get_variant() != Variant::RFC4122 {
        return None;
    }
    let bytes = id.as_bytes();
    let mask = mask(bytes);
    let plain = |at: usize| bytes[RANDOM + at] ^ mask[at];
    let epoch = u32::from_be_bytes([plain(0), plain(1), plain(2), plain(3)]);
    (plain(4) == 0 && plain(5) == 0 && epoch <= newest).then_some(epoch)
}

fn mask(id: &[u8; 16]) -> [u8; 6] {
    let mut text = [0; DOMAIN.len() + RANDOM];
    text[..DOMAIN.len()].copy_from_slice(DOMAIN);
    text[DOMAIN.len()..].copy_from_slice(&id[..RANDOM]);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let mut mask = [0; 6];
    mask.copy_from_slice(&hash.as_ref()[..6]);
    mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_comes_back_and_the_id_stays_a_uuid_of_version_4(epoch: u32) {
            let id = id(epoch);
            prop_assert_eq!((id.get_version_num(), id.get_variant()), (4, Variant::RFC4122));
            let text = id.to_string();
            prop_assert_eq!(text.len(), 36);
            prop_assert_eq!(read(&text, epoch), Some(epoch));
            prop_assert_eq!(read(&text, u32::MAX), Some(epoch));
            if let Some(less) = epoch.checked_sub(1) {
                prop_assert_eq!(read(&text, less), None, "of an epoch that has not been");
            }
        }

        #[test]
        fn what_others_write_has_no_mark(bytes: [u8; 16], text in ".{0,40}") {
            let foreign = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
            prop_assert_eq!(read(&foreign, 1 << 16), None);
            prop_assert_eq!(read(&text, u32::MAX), None);
        }

        #[test]
        fn a_changed_id_has_no_mark(epoch in 0..1u32 << 16, digit in 0usize..36, other in "[0-9a-f]") {
            let text = id(epoch).to_string();
            let mut changed = text.clone();
            changed.replace_range(digit..=digit, &other);
            let same = changed == text || read(&changed, 1 << 16).is_none();
            // The epoch's own digits say another epoch; that is the signature's to refuse.
            prop_assert!(same || (24..32).contains(&digit), "{text} {changed}");
        }
    }

    #[test]
    fn only_the_spelling_that_is_written_counts() {
        let id = id(7);
        for spelt in [
            id.to_string().to_uppercase(),
            id.simple().to_string(),
            id.braced().to_string(),
            id.urn().to_string(),
            format!(" {id}"),
            String::new(),
        ] {
            assert_eq!(read(&spelt, 7), None, "{spelt:?}");
        }
    }

    /// A later version must read what this one wrote.
    #[test]
    fn the_mark_of_a_known_id() {
        // printf 'tokensmith jti mark v1' | cat - <(echo 00112233445546678899 | xxd -r -p) | sha256sum: 84660397dd76…
        let known = "00112233-4455-4667-8899-84660392dd76";
        assert_eq!((read(known, 5), read(known, 4)), (Some(5), None));
    }

    #[test]
    fn ids_look_alike_in_nothing() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| id(3).as_bytes()[10..].to_vec()).collect();
        assert!(ids.len() > 990);
    }
}
