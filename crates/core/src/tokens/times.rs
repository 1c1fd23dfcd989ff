//! When a token counts, with a minute of leeway in its favour (go-jose `jwt/validation.go`).

use time::Duration;

use super::claims::Payload;

/// Clocks differ: what ended less than this ago counts as still there.
pub const LEEWAY: Duration = Duration::seconds(60);

/// The times that a token carries, Unix seconds. One that is missing is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// `nbf`
    pub not_before: Option<i64>,
    /// `exp`
    pub expires_at: Option<i64>,
    /// `iat`
    pub issued_at: Option<i64>,
}

/// Why a token does not count now; the texts are Kubernetes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// `exp` is over.
    #[error("service account token has expired")]
    Expired,
    /// `iat` is ahead.
    #[error("service account token is issued in the future")]
    IssuedInFuture,
    /// `nbf` is ahead.
    #[error("service account token is not valid yet")]
    NotYetValid,
}

impl Times {
    /// Checks them at `now`, Unix seconds, in upstream's order.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self, now: i64) -> Result<(), TimeError> {
        self.check_within(now, LEEWAY.whole_seconds())
    }

    /// The same with another leeway, seconds.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check_within(&self, now: i64, leeway: i64) -> Result<(), TimeError> {
        let (early, late) = (now.saturating_add(leeway), now.saturating_sub(leeway));
        if self.not_before.is_some_and(|nbf| nbf > early) {
            return Err(TimeError::NotYetValid);
        }
        if self.expires_at.is_some_and(|exp| exp < late) {
            return Err(TimeError::Expired);
        }
        if self.issued_at.is_some_and(|iat| iat > early) {
            return Err(TimeError::IssuedInFuture);
        }
        Ok(())
    }
}

impl Payload {
    /// When the token counts.
    pub fn times(&self) -> Times {
        Times { not_before: self.not_before, expires_at: self.expires_at, issued_at: self.issued_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_leeway_and_upstreams_order() {
        use TimeError::{Expired, IssuedInFuture, NotYetValid};
        let check = |nbf, exp, iat| Times { not_before: nbf, expires_at: exp, issued_at: iat }.check(1000);
        assert_eq!(check(Some(1060), Some(940), Some(1060)), Ok(()));
        assert_eq!(check(Some(1061), Some(939), Some(1061)), Err(NotYetValid));
        assert_eq!(check(Some(1060), Some(939), Some(1061)), Err(Expired));
        assert_eq!(check(None, None, Some(1061)), Err(IssuedInFuture));
        assert_eq!(check(None, None, None), Ok(()));
        assert_eq!(check(Some(i64::MIN), Some(i64::MAX), Some(i64::MIN)), Ok(()));
        let all = Times { not_before: Some(0), expires_at: Some(0), issued_at: Some(0) };
        assert_eq!((all.check(i64::MAX), all.check(i64::MIN)), (Err(Expired), Err(NotYetValid)));
    }
}
