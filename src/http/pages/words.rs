//! Figures as people read them.

use std::time::{Duration, SystemTime};

use crate::domain::Day;

/// So many bytes, such as `1.5 GiB`.
pub(super) fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).display().iec().to_string()
}

/// A number with its thousands apart, by a space that no line ends at.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// So many of something, which is called otherwise when there is one.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{} {many}", number(count)),
    }
}

/// A share from 0 to 1 in percent; a dash where there is none.
pub(super) fn percent(share: Option<f64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(1.0) => "100 %".to_owned(),
        // Not rounded up: 100 % is said of nothing less.
        Some(share) => format!("{:.1} %", (share * 1_000.0).floor() / 10.0),
    }
}

/// A span of time in its one or two largest units, such as `3h 20m`.
pub(super) fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let (size, unit) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((size_of_next, unit)) = units.get(first + 1)
        && let rest @ 1.. = seconds % size / size_of_next
    {
        text.push_str(&format!(" {rest}{unit}"));
    }
    text
}

/// The age of something at `now`.
pub(super) fn age(since: SystemTime, now: SystemTime) -> String {
    let age: Duration = now.duration_since(since).unwrap_or_default();
    span(age.as_secs())
}

/// The day of a moment.
pub(super) fn day(time: SystemTime) -> String {
    Day::of(time).to_string()
}

/// A moment to the minute, in UTC.
pub(super) fn minute(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let (day, minute) = (text.get(..10), text.get(11..16));
    format!(
        "{} {} UTC",
        day.unwrap_or_default(),
        minute.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_read_them() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(percent(None), "–");
        assert_eq!(percent(Some(0.9999)), "99.9 %");
        assert_eq!(percent(Some(1.0)), "100 %");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (3_600, "1h"),
            (3_661, "1h 1m"),
            (90_000, "1d 1h"),
            (86_400 * 400, "400d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
