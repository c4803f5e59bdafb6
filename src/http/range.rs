//! [`ByteRange`]: which part of a file a client asks for, and what there is of it (RFC 9110, section 14).

use http::{HeaderMap, HeaderValue, header};

/// One range of bytes as it was asked for, not yet measured against a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange(RangeSpec);

/// What the header says (section 14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeSpec {
    /// From one byte to another, both included; the first one is never behind the second one.
    Between(u64, u64),
    /// From this byte to the end.
    From(u64),
    /// The last so many bytes.
    Last(u64),
}

/// A part of a file: at least one byte, none beyond its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    first: u64,
    last: u64,
    of: u64,
}

/// What there is of a range in a file of a certain length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This part.
    Part(Part),
    /// Nothing of it: 416.
    Nothing,
}

impl ByteRange {
    /// The range that a request's headers ask for. `None` when they ask for none, for several, in another unit, or in words that aren't a range: all of
    /// these are answered with the whole (section 14.2).
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::RANGE).iter();
        // It is no list: two lines of it are no range.
        match (lines.next(), lines.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    /// Reads a value of `Range`, as [`ByteRange::of`] does.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (unit, set) = text.split_once('=')?;
        // Section 14.1: units are named in upper or lower case.
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        // Section 5.6.1.2: empty elements of a list are ignored.
        let blank = [' ', '\t'];
        let elements = set.split(',').map(|element| element.trim_matches(blank));
        let mut elements = elements.filter(|element| !element.is_empty());
        match (elements.next(), elements.next()) {
            (Some(one), None) => Self::parse_one(one),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    fn parse_one(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        Some(Self(match (first, last) {
            ("", last) => RangeSpec::Last(number(last)?),
            (first, "") => RangeSpec::From(number(first)?),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                // Section 14.1.1: the other way round it is invalid.
                (first <= last).then_some(RangeSpec::Between(first, last))?
            }
        }))
    }

    /// What there is of it in a file of so many bytes (section 14.1.2).
    pub fn within(&self, length: u64) -> Extent {
        let (first, last) = match self.0 {
            RangeSpec::Between(first, last) => (first, last),
            RangeSpec::From(first) => (first, u64::MAX),
            RangeSpec::Last(0) => return Extent::Nothing,
            RangeSpec::Last(count) => (length.saturating_sub(count), u64::MAX),
        };
        match length.checked_sub(1) {
            Some(end) if first <= end => Extent::Part(Part {
                first,
                last: last.min(end),
                of: length,
            }),
            Some(_) | None => Extent::Nothing,
        }
    }
}

impl Part {
    /// The offset of its first byte.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The offset behind its last byte.
    pub fn end(&self) -> u64 {
        self.last + 1
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.end() - self.first
    }

    /// What `Content-Range` says of it (section 14.4).
    pub fn content_range(&self) -> String {
        let Self { first, last, of } = self;
        format!("bytes {first}-{last}/{of}")
    }
}

/// Digits, and nothing else. What is too large for a number is beyond every file all the same.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// What `If-Range` makes a range depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IfRange {
    /// There is none.
    Any,
    /// The file having this entity tag, or this date of change.
    Is(HeaderValue),
    /// Words that are neither: the range doesn't count.
    Never,
}

impl IfRange {
    /// What these headers say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::IF_RANGE).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Any,
            (Some(value), None) => Self::Is(value.clone()),
            (Some(_), Some(_)) => Self::Never,
        }
    }

    /// The same with nothing of the request's head in it. What is longer than any tag of ours is none of them.
    pub(super) fn kept(self) -> Self {
        const MOST: usize = 128;
        match self {
            Self::Is(value) if value.len() <= MOST => {
                HeaderValue::from_bytes(value.as_bytes()).map_or(Self::Never, Self::Is)
            }
            Self::Is(_) => Self::Never,
            Self::Any | Self::Never => self,
        }
    }

    /// Whether a range counts for what has this `etag`.
    pub(super) fn holds(&self, etag: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(value) => is_strongly(value.as_bytes(), etag),
            Self::Never => false,
        }
    }
}

/// Whether the value of an `If-Range` names exactly this entity tag, compared strongly (section 8.8.3.2): a weak one never does. Nor does a date: it holds
/// only if it is the `Last-Modified` that was sent (section 13.1.5), and a file with a strong tag goes out without one.
pub fn is_strongly(value: &[u8], etag: &[u8]) -> bool {
    etag.starts_with(b"\"") && value.trim_ascii() == etag
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(value: &str, length: u64) -> Option<(u64, u64)> {
        match ByteRange::parse(value.as_bytes())?.within(length) {
            Extent::Part(part) => Some((part.first(), part.end())),
            Extent::Nothing => Some((0, 0)),
        }
    }

    #[test]
    fn all_three_forms_are_understood() {
        for (value, expected) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-9", (0, 10)),
            ("bytes=3-1000", (3, 10)),
            ("bytes=9-", (9, 10)),
            ("bytes=-3", (7, 10)),
            ("bytes=-1000", (0, 10)),
            ("Bytes=0-", (0, 10)),
            ("bytes= 2-3 ", (2, 4)),
            ("bytes=,2-3,,", (2, 4)),
            ("bytes=0-99999999999999999999999999", (0, 10)),
            ("bytes=-99999999999999999999999999", (0, 10)),
        ] {
            assert_eq!(part(value, 10), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_beyond_the_end_is_nothing() {
        for value in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999999999-",
        ] {
            assert_eq!(part(value, 10), Some((0, 0)), "{value}");
        }
        for value in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(part(value, 0), Some((0, 0)), "{value} of an empty file");
        }
    }

    #[test]
    fn several_ranges_other_units_and_other_words_are_no_range() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes=0-1,2-3",
            "bytes=3-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1-2-3",
            "bytes=0x1-",
            "bytes=1 -2",
            "bytes =0-1",
            "lines=0-1",
            "none",
            "bytes=\u{661}-",
        ] {
            assert_eq!(ByteRange::parse(value.as_bytes()), None, "{value}");
        }
        assert_eq!(ByteRange::parse(b"bytes=\xff-"), None);
    }

    #[test]
    fn two_lines_are_no_range() {
        let mut headers = HeaderMap::new();
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert!(ByteRange::of(&headers).is_some());
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(ByteRange::of(&headers), None);
    }

    #[test]
    fn if_range_is_compared_strongly_and_no_date_holds() {
        let etag = b"\"a\"";
        for (value, holds) in [
            ("\"a\"", true),
            (" \"a\" ", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"b\"", false),
            ("*", false),
            ("", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(IfRange::Is(value.clone()).holds(etag), holds, "{value:?}");
        }
        let weak = HeaderValue::from_static("W/\"a\"");
        assert!(!IfRange::Is(weak).holds(b"W/\"a\""), "weak on both sides");
        assert!(IfRange::Any.holds(etag) && !IfRange::Never.holds(etag));
    }

    proptest! {
        #[test]
        fn a_part_is_what_was_asked_for_and_is_there(first: u64, last: u64, length in 1u64..) {
            let asked = format!("bytes={first}-{last}");
            match ByteRange::parse(asked.as_bytes()).map(|range| range.within(length)) {
                None => prop_assert!(last < first),
                Some(Extent::Nothing) => prop_assert!(first >= length),
                Some(Extent::Part(part)) => {
                    prop_assert_eq!(part.first(), first);
                    prop_assert_eq!(part.end() - 1, last.min(length - 1));
                    prop_assert!(part.length() >= 1 && part.end() <= length);
                }
            }
        }

        #[test]
        fn a_head_and_a_tail_make_up_the_whole(cut: u64, length in 1u64..) {
            let cut = cut % length;
            let within = |asked: String| ByteRange::parse(asked.as_bytes()).expect("a range").within(length);
            let Extent::Part(tail) = within(format!("bytes={cut}-")) else {
                return Err(TestCaseError::fail("there is a tail"));
            };
            prop_assert_eq!((tail.first(), tail.end()), (cut, length));
            let same = within(format!("bytes=-{}", length - cut));
            prop_assert_eq!(same, Extent::Part(tail));
            if cut > 0 {
                let Extent::Part(head) = within(format!("bytes=0-{}", cut - 1)) else {
                    return Err(TestCaseError::fail("there is a head"));
                };
                prop_assert_eq!(head.length() + tail.length(), length);
            }
        }

        #[test]
        fn no_words_do_harm(value: Vec<u8>, length: u64) {
            if let Some(range) = ByteRange::parse(&value)
                && let Extent::Part(part) = range.within(length)
            {
                prop_assert!(part.first() < part.end() && part.end() <= length);
                prop_assert!(part.content_range().starts_with("bytes "));
            }
        }
    }
}
