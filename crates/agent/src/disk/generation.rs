//! Names of generations: `..2026_01_01_10_00_07.123456789`.

use std::ffi::OsStr;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokensmith_core::Moment;
use tokensmith_core::random;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("..[year]_[month]_[day]_[hour]_[minute]_[second].");

/// A new name: the time in UTC and a random number, as Go's `os.MkdirTemp` makes it for the kubelet.
pub(super) fn new(now: OffsetDateTime) -> String {
    let time = now.in_utc().format(TIME).unwrap_or_else(|_| "..1970_01_01_00_00_00.".into());
    format!("{time}{}", u32::from_be_bytes(random::bytes()))
}

/// Whether a name is one of ours. Nothing else that begins with `..` is followed or removed.
pub(super) fn is_one(name: &OsStr) -> bool {
    const SHAPE: &[u8] = b"..dddd_dd_dd_dd_dd_dd.";
    let name = name.as_encoded_bytes();
    let Some((time, number)) = name.split_at_checked(SHAPE.len()) else { return false };
    let shaped = |(found, shape): (&u8, &u8)| match shape {
        b'd' => found.is_ascii_digit(),
        _ => found == shape,
    };
    time.iter().zip(SHAPE).all(shaped)
        && (1..=10).contains(&number.len())
        && number.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_name_tells_the_time_in_utc() {
        let name = new(datetime!(2026-01-01 12:00:07 +02:00));
        assert!(name.starts_with("..2026_01_01_10_00_07."), "{name}");
        assert!(is_one(name.as_ref()), "{name}");
        assert_ne!(name, new(datetime!(2026-01-01 12:00:07 +02:00)));
    }

    #[test]
    fn other_names_are_not_ours() {
        for other in [
            "..data",
            "..2026_01_01_10_00_07.",
            "..2026_01_01_10_00_07.1/x",
            "..2026_01_01_10_00_07.../x",
            "2026_01_01_10_00_07.1",
            "..2026_01_01_10_00_07.12345678901",
            "..x026_01_01_10_00_07.1",
            "",
        ] {
            assert!(!is_one(other.as_ref()), "{other}");
        }
    }
}
