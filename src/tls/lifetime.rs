//! [`Lifetime`]: how long a certificate is good yet, in words.

use std::{
    fmt::{self, Display, Formatter},
    time::SystemTime,
};

use crate::certificate::Validity;

/// So many days before a certificate expires it is time to say so: what renews it by itself does so at 30.
const SOON: i64 = 14;

/// How long a certificate is good yet, in whole days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It isn't yet.
    Future,
    /// For more than two weeks.
    Good(i64),
    /// For less than that.
    Ending(i64),
    /// No more, for so many days.
    Ended(i64),
}

impl Lifetime {
    /// That of a certificate at `now`.
    pub fn of(validity: Validity, now: SystemTime) -> Self {
        let days = validity.days_left(now);
        match validity.has_ended(now) {
            true => Self::Ended(-1 - days),
            false if now < validity.from => Self::Future,
            false if days < SOON => Self::Ending(days),
            false => Self::Good(days),
        }
    }

    /// Whether clients take the certificate.
    pub fn is_good(self) -> bool {
        match self {
            Self::Good(_) | Self::Ending(_) => true,
            Self::Future | Self::Ended(_) => false,
        }
    }
}

impl Display for Lifetime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Future => f.write_str("it isn't valid yet"),
            Self::Good(days) => write!(f, "{days} days until it expires"),
            Self::Ending(0) => f.write_str("it expires within a day; renew it"),
            Self::Ending(1) => f.write_str("1 day until it expires; renew it"),
            Self::Ending(days) => write!(f, "{days} days until it expires; renew it"),
            Self::Ended(0) => f.write_str("it has expired; renew it"),
            Self::Ended(1) => f.write_str("it expired a day ago; renew it"),
            Self::Ended(days) => write!(f, "it expired {days} days ago; renew it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_said_follows_from_the_days() {
        let hour = Duration::from_secs(3_600);
        let now = SystemTime::UNIX_EPOCH + 24 * 1_000 * hour;
        let until = |until| Lifetime::of(Validity { from: now, until }, now).to_string();
        for (hours, said) in [
            (24 * 90 + 5, "90 days until it expires"),
            (24 * 14, "14 days until it expires"),
            (24 * 14 - 1, "13 days until it expires; renew it"),
            (25, "1 day until it expires; renew it"),
            (1, "it expires within a day; renew it"),
        ] {
            assert_eq!(until(now + hours * hour), said);
        }
        for (hours, said) in [
            (1, "it has expired; renew it"),
            (30, "it expired a day ago; renew it"),
            (24 * 9, "it expired 9 days ago; renew it"),
        ] {
            assert_eq!(until(now - hours * hour), said);
        }
        let later = Validity {
            from: now + hour,
            until: now + 900 * hour,
        };
        assert_eq!(Lifetime::of(later, now), Lifetime::Future);
    }
}
