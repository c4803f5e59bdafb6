//! [`one_line`]: strangers' words where they get into sentences, logs and pages.

/// Text as one line of at most `most` bytes (4 or more), without control characters or what isn't seen, cut where it gets longer.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || is_invisible(c)) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > most {
            let mut end = most.saturating_sub('…'.len_utf8());
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

/// What changes the direction of text, or isn't seen at all: words could pass for others by it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stay_on_one_line_and_are_cut_between_characters() {
        assert_eq!(one_line("  a\nb\u{1b}[31m\tc\r\n", 40), "a b [31m c");
        assert_eq!(one_line("a\u{202e}b", 40), "a b");
        assert_eq!(one_line("", 40), "");
        assert_eq!(one_line("ääää", 8), "ääää");
        assert_eq!(one_line("äääää", 8), "ää…");
    }

    proptest! {
        #[test]
        fn no_text_gets_around_the_bounds(text in any::<String>(), most in 4_usize..40) {
            let line = one_line(&text, most);
            prop_assert!(line.len() <= most);
            prop_assert!(!line.chars().any(|c| c.is_control() || is_invisible(c)));
        }
    }
}
