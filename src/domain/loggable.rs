//! Paths and URLs as they may be logged or printed: without what may be secret. That is a token in the path, as this project's own mirrors take them,
//! beside a user's name and password, a query and a fragment.

use url::Url;

/// Where paths begin that carry a token: `/t/TOKEN/…`.
pub const TOKEN_IN_PATH: &str = "/t/";

/// The path of a request to this mirror as it may be logged, in two parts: without what stands where a token would. Nothing is copied.
pub fn loggable_path(path: &str) -> (&'static str, &str) {
    match path.strip_prefix(TOKEN_IN_PATH) {
        Some(rest) => ("/t/-", &rest[rest.find('/').unwrap_or(rest.len())..]),
        None => ("", path),
    }
}

/// A URL without what may be secret. A mirror may be below another path, so that a token is looked for in all of it.
pub fn loggable_url(url: &Url) -> String {
    if url.cannot_be_a_base() {
        return format!("{}:…", url.scheme());
    }
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Fails for URLs without a host, which have neither.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_path(&without_tokens(url.path()));
    shown.into()
}

/// What should be a URL, or one with markers such as `{crate}`, without what may be secret.
pub fn loggable_text(text: &str) -> String {
    if let Ok(url) = Url::parse(text) {
        return loggable_url(&url).replace("%7B", "{").replace("%7D", "}");
    }
    let text = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    without_tokens(text.rsplit('@').next().unwrap_or_default())
}

/// Whether a text may have a secret in it that stands in a URL.
pub fn may_hold_secret(text: &str) -> bool {
    text.contains(['@', '?']) || text.contains(TOKEN_IN_PATH)
}

fn without_tokens(path: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(at) = rest.find(TOKEN_IN_PATH) {
        let (before, from) = rest.split_at(at);
        let (hidden, after) = loggable_path(from);
        let whole = &from[..from.len() - after.len()];
        shown.push_str(before);
        let is_place = before.ends_with("/3") && is_short_name(&whole[TOKEN_IN_PATH.len()..]);
        shown.push_str(if is_place { whole } else { hidden });
        rest = after;
    }
    shown + rest
}

/// Whether it is the name of a crate that an index keeps below `3/t/`.
fn is_short_name(segment: &str) -> bool {
    segment.len() == 3 && segment.starts_with(['t', 'T'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            (
                "https://user:secret@a.test:444/x?token=secret#secret",
                "https://a.test:444/x",
            ),
            (
                "https://hq.test/t/secret/index/",
                "https://hq.test/t/-/index/",
            ),
            ("https://hq.test/t/secret", "https://hq.test/t/-"),
            ("https://hq.test/t//index/", "https://hq.test/t/-/index/"),
            (
                "https://hq.test/crates/t/secret/index/3/t/tar",
                "https://hq.test/crates/t/-/index/3/t/tar",
            ),
            ("https://a.test/3/t/tar/x", "https://a.test/3/t/tar/x"),
            ("https://a.test/3/t/secret/x", "https://a.test/3/t/-/x"),
            ("https://a.test/to/ml/toml", "https://a.test/to/ml/toml"),
            ("mailto:secret@a.test", "mailto:…"),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(loggable_url(&url), shown);
        }
    }

    #[test]
    fn so_is_what_should_be_one() {
        for (text, shown) in [
            (
                "https://a.test/{crate}@{version}?secret",
                "https://a.test/{crate}@{version}",
            ),
            ("https:///me:secret@a.test/x", "https://a.test/x"),
            ("me:secret@/x", "me:…"),
            ("secret@a.test/x", "a.test/x"),
            ("//me:secret@a.test/t/secret/x#secret", "a.test/t/-/x"),
            ("/api/v1/crates", "/api/v1/crates"),
            ("", ""),
        ] {
            assert_eq!(loggable_text(text), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_token_in_a_path_is_shown(before in "(/[a-s]{1,5}){0,3}", token in "[A-Z0-9._~-]{8,40}", rest in "(/[a-z]{0,9}){0,3}") {
            let url = format!("https://a.test{before}/t/{token}{rest}");
            prop_assume!(!matches!(&*token, "." | ".."));
            let shown = loggable_url(&Url::parse(&url).expect("a URL"));
            prop_assert!(!shown.contains(&token), "{}", shown);
        }

        #[test]
        fn nothing_makes_it_panic(text in any::<String>()) {
            loggable_text(&text);
        }
    }
}
