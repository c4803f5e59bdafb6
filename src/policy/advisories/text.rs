//! What an advisory's words are cut to: they get into logs, into refusals and onto pages, and strangers write them.

use crate::domain::one_line;

/// The longest identifier, in bytes.
const ID_MAX: usize = 64;
/// The longest title that is kept, in bytes.
const TITLE_MAX: usize = 160;
/// The longest URL that is kept, in bytes.
const URL_MAX: usize = 256;

/// An identifier such as `RUSTSEC-2024-0001`: letters, digits and `-`, `_`, `.`, `:`.
pub(super) fn id(text: &str) -> Option<Box<str>> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let is_id = (1..=ID_MAX).contains(&text.len()) && text.bytes().all(is_plain);
    is_id.then(|| text.into())
}

/// One line without control characters, cut where it gets long.
pub(super) fn title(text: &str) -> Box<str> {
    one_line(text, TITLE_MAX).into()
}

/// An http URL that can be printed as it is.
pub(super) fn url(text: &str) -> Option<Box<str>> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let can_be_kept = text.len() <= URL_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    (is_web && can_be_kept).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_on_one_line_and_short() {
        assert_eq!(&*title("  a\nb\u{1b}[31m\tc\r\n"), "a b [31m c");
        assert_eq!(&*title(""), "");
        assert_eq!(&*title("a\u{202e}b"), "a b");
        let long = title(&"ä".repeat(1_000));
        assert!(long.len() <= TITLE_MAX && long.ends_with('…'), "{long}");
        assert_eq!(
            id("RUSTSEC-2024-0001").as_deref(),
            Some("RUSTSEC-2024-0001")
        );
        for bad in ["", "a b", "a\n", "a/../b", &"a".repeat(65)] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
        assert!(url("https://example.com/a").is_some());
        for bad in [
            "javascript:alert(1)",
            "https://a\r\nb",
            "https://a b",
            "ftp://a",
        ] {
            assert_eq!(url(bad), None, "{bad:?}");
        }
    }
}
