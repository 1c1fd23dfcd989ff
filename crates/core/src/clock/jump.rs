//! Jumps of the wall clock, told from the time that really passed.

use std::time::Duration;

use time::OffsetDateTime;

use crate::moment::Moment;

/// Compares the wall clock with the monotonic one, from look to look: a clock that is only slewed never jumps.
#[derive(Clone, Copy, Debug)]
pub struct JumpDetector {
    wall: OffsetDateTime,
    monotonic: Duration,
}

/// A jump, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// It went back. Tokens are older than it says, and may be of its future.
    Back(Duration),
    /// It went forwards, or the machine slept: tokens are as old as it says.
    Forwards(Duration),
}

/// Less is a correction.
const JUMP: Duration = Duration::from_secs(5);

impl JumpDetector {
    /// Begins with what both clocks show.
    pub fn new(wall: OffsetDateTime, monotonic: Duration) -> Self {
        JumpDetector { wall, monotonic }
    }

    /// What has happened since the last look.
    pub fn look(&mut self, wall: OffsetDateTime, monotonic: Duration) -> Option<Jump> {
        let expected = self.wall.plus(monotonic.saturating_sub(self.monotonic));
        *self = JumpDetector { wall, monotonic };
        let off = wall.since(expected);
        let by = off.unsigned_abs();
        if by <= JUMP {
            None
        } else if off.is_negative() {
            Some(Jump::Back(by))
        } else {
            Some(Jump::Forwards(by))
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_jump_is_told_once_and_a_slew_is_none() {
        let start = datetime!(2026-01-01 10:00 UTC);
        let minute = Duration::from_secs(60);
        let mut detector = JumpDetector::new(start, Duration::ZERO);
        assert_eq!(detector.look(start + minute, minute), None);
        let back = start - 59 * minute;
        assert_eq!(detector.look(back, minute), Some(Jump::Back(60 * minute)));
        assert_eq!(detector.look(back + minute, 2 * minute), None);
        assert_eq!(detector.look(back + 12 * minute, 3 * minute), Some(Jump::Forwards(10 * minute)));
        let (mut wall, mut monotonic) = (back + 12 * minute, 3 * minute);
        for _ in 0..100 {
            (wall, monotonic) = (wall + minute - Duration::from_secs(1), monotonic + minute);
            assert_eq!(detector.look(wall, monotonic), None);
        }
    }
}
