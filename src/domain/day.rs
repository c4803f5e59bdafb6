//! [`Day`]: a date, as settings and paths write it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, de};

const SECONDS: u64 = 24 * 3600;
/// 9999-12-31: later ones have no such form.
const LAST: u64 = 2_932_896;

/// A day in UTC, written `2026-11-01`, from 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// Reads a date in exactly that form; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range)
                .is_some_and(|t| t.bytes().all(|b| b.is_ascii_digit()))
        };
        let is_date = text.len() == 10
            && digits(0..4)
            && digits(5..7)
            && digits(8..10)
            && &text[4..5] == "-"
            && &text[7..8] == "-";
        let start = is_date.then(|| humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok());
        let day = Self::of(start.flatten()?);
        // Some parsers take the 31st of June for the 1st of July.
        (day.to_string() == text).then_some(day)
    }

    /// The day on which `time` is.
    pub fn of(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let days = (since.as_secs() / SECONDS).min(LAST);
        Self(u32::try_from(days).unwrap_or(u32::MAX))
    }

    /// The moment at which it begins.
    pub fn start(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(self.0) * SECONDS)
    }

    /// The moment at which it is over.
    pub fn end(self) -> SystemTime {
        self.start() + Duration::from_secs(SECONDS)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_rfc3339_seconds(self.start()).to_string();
        f.write_str(text.get(..10).unwrap_or(&text))
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is not a date; allowed is a day such as \"2026-11-01\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_dates_in_one_form_are_days() {
        let day = Day::parse("2026-11-01").expect("a day");
        assert_eq!(day.to_string(), "2026-11-01");
        assert_eq!(day.end(), Day::parse("2026-11-02").expect("a day").start());
        assert_eq!(Day::of(day.end() - Duration::from_secs(1)), day);
        for no in [
            "",
            "2026-11-1",
            "2026-11-31",
            "2026-02-29",
            "2026-13-01",
            "2026/11/01",
            "1969-12-31",
            "2026-11-01T",
            "20261-1-01",
            "２０２６-11-01",
            "+026-11-01",
            "2026-11-0١",
        ] {
            assert_eq!(Day::parse(no), None, "{no:?}");
        }
        assert!(Day::parse("2024-02-29").is_some());
        assert!(Day::parse("9999-12-31").is_some());
    }

    proptest! {
        #[test]
        fn a_day_is_read_as_it_is_written(days in 0..LAST) {
            let day = Day(u32::try_from(days).expect("few"));
            prop_assert_eq!(Day::parse(&day.to_string()), Some(day));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,12}") {
            let _ = Day::parse(&text);
        }
    }
}
