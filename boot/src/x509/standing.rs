//! How a certificate's dates stand to a moment.
//!
//! Neither the kernel, when it checks policies and root hashes, nor U-Boot, nor UEFI firmware, when it checks boot code, looks at
//! them; who works with certificates does.

use std::fmt;

use super::Certificate;

const SECONDS_A_DAY: u64 = 86_400;

/// Where a moment lies in a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within, and the end is far.
    Valid,
    /// Within, so many whole days before the end.
    EndsIn {
        /// Days, rounded down.
        days: u64,
    },
    /// Before the first second.
    NotYet,
    /// After the last second.
    Expired,
}

impl Certificate {
    /// How the dates stand at `now` (Unix time, seconds), where the last `days` days count as near the end.
    pub fn standing(&self, now: u64, days: u64) -> Standing {
        Standing::of(self.validity(), now, days)
    }
}

impl Standing {
    fn of((first, last): (u64, u64), now: u64, days: u64) -> Self {
        match last.checked_sub(now) {
            _ if now < first => Self::NotYet,
            None => Self::Expired,
            Some(left) => match left.checked_div(SECONDS_A_DAY) {
                Some(left) if left < days => Self::EndsIn { days: left },
                _ => Self::Valid,
            },
        }
    }

    /// A word for it: `valid`, `ends-soon`, `not-yet-valid`, `expired`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::EndsIn { .. } => "ends-soon",
            Self::NotYet => "not-yet-valid",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => write!(f, "valid"),
            Self::EndsIn { days: 1 } => write!(f, "expires in 1 day"),
            Self::EndsIn { days } => write!(f, "expires in {days} days"),
            Self::NotYet => write!(f, "not yet valid"),
            Self::Expired => write!(f, "expired"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_before_within_near_the_end_or_after() {
        let at = |now| Standing::of((1_000_000, 2_000_000), now, 3);
        assert_eq!(at(999_999), Standing::NotYet);
        assert_eq!(at(1_000_000), Standing::Valid);
        assert_eq!(at(2_000_000 - 3 * SECONDS_A_DAY), Standing::Valid);
        assert_eq!(at(2_000_000 - 3 * SECONDS_A_DAY + 1), Standing::EndsIn { days: 2 });
        assert_eq!(at(2_000_000), Standing::EndsIn { days: 0 });
        assert_eq!(at(2_000_001), Standing::Expired);
    }
}
