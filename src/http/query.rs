//! [`SearchQuery`]: what a query string asks of a search (`?q=serde&per_page=10&page=1`).

use url::form_urlencoded;

use crate::{
    error::{Error, Result},
    mirror::Window,
};

/// What a search is for. Keys that mean nothing here are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchQuery {
    /// The words, without blanks around them; empty when nothing is asked for.
    pub words: Box<str>,
    /// How many results make a page, from 1 to 100.
    pub per_page: u32,
    /// Which page, the first being 1.
    pub page: u32,
}

impl SearchQuery {
    /// The longest text that is searched for, in characters.
    pub const MAX_WORDS: usize = 100;
    /// The largest page, as on crates.io.
    pub const MAX_PER_PAGE: u32 = 100;
    /// The last page that can be asked for.
    pub const MAX_PAGE: u32 = 1_000;
    /// No more results than these can be looked at, page by page: the best of them.
    pub const DEEPEST: usize = 10_000;
    const PER_PAGE: u32 = 10;

    /// Parses what stands behind a path's `?`. Where a key comes more than once, the last one counts.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is allowed.
    pub fn parse(query: Option<&str>) -> Result<Self> {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "q" => parsed.words = words(&value)?,
                "per_page" => parsed.per_page = number(&key, &value, Self::MAX_PER_PAGE)?,
                "page" => parsed.page = number(&key, &value, Self::MAX_PAGE)?,
                _ => {}
            }
        }
        match parsed.skipped() < Self::DEEPEST {
            true => Ok(parsed),
            false => Err(Error::bad_request(format!(
                "only the first {} results can be looked at; search for something more particular",
                Self::DEEPEST
            ))),
        }
    }

    /// The page after this one, if it can be asked for.
    pub fn next_page(&self) -> Option<u32> {
        let next = Self {
            page: self.page + 1,
            ..self.clone()
        };
        (next.page <= Self::MAX_PAGE && next.skipped() < Self::DEEPEST).then_some(next.page)
    }

    /// Which of the results make this page.
    pub(super) fn window(&self) -> Window {
        Window {
            skip: self.skipped(),
            take: self.per_page as usize,
        }
    }

    /// How many results come before this page.
    pub fn skipped(&self) -> usize {
        (self.page as usize - 1) * self.per_page as usize
    }
}

impl Default for SearchQuery {
    fn default() -> Self {
        Self {
            words: Box::default(),
            per_page: Self::PER_PAGE,
            page: 1,
        }
    }
}

fn words(text: &str) -> Result<Box<str>> {
    let plain = |c: char| match c.is_control() {
        true => ' ',
        false => c,
    };
    let text: String = text.chars().map(plain).collect();
    let text = text.trim();
    match text.chars().count() <= SearchQuery::MAX_WORDS {
        true => Ok(text.into()),
        false => Err(Error::bad_request(format!(
            "`q` may have {} characters",
            SearchQuery::MAX_WORDS
        ))),
    }
}

fn number(key: &str, text: &str, most: u32) -> Result<u32> {
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Error::bad_request(format!("`{key}` is a number from 1 to {most}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Kind;

    fn parsed(query: &str) -> SearchQuery {
        SearchQuery::parse(Some(query)).expect(query)
    }

    #[test]
    fn a_query_is_read_as_forms_write_it() {
        assert_eq!(
            SearchQuery::parse(None).expect("nothing"),
            SearchQuery::default()
        );
        let query = parsed("q=serde+json%2B%C3%A9&per_page=100&page=3&sort=x");
        assert_eq!(
            (&*query.words, query.per_page, query.page),
            ("serde json+é", 100, 3)
        );
        assert_eq!(query.skipped(), 200);
        assert_eq!(&*parsed("q=%00a%0Ab%FF").words, "a b\u{fffd}");
        assert_eq!(&*parsed("q=a&q=b").words, "b");
        assert_eq!(&*parsed("&&=&q").words, "");
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let long = format!("q={}", "é".repeat(101));
        for query in [
            "per_page=101",
            "per_page=0",
            "page=1001",
            "per_page=100&page=101",
            "page=-1",
            "page=x",
            "page=",
            &long,
        ] {
            let refused = SearchQuery::parse(Some(query)).expect_err(query);
            assert_eq!(refused.kind(), Kind::BadRequest, "{query}");
        }
        parsed(&format!("q={}", "é".repeat(100)));
        assert_eq!(parsed("per_page=100&page=99").next_page(), Some(100));
        assert_eq!(parsed("per_page=100&page=100").next_page(), None);
        assert_eq!(parsed("per_page=1&page=1000").next_page(), None);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_stays_within_bounds(query in "\\PC{0,300}") {
            if let Ok(query) = SearchQuery::parse(Some(&query)) {
                prop_assert!(query.words.chars().count() <= SearchQuery::MAX_WORDS);
                prop_assert!(!query.words.chars().any(char::is_control));
                prop_assert!((1..=100).contains(&query.per_page) && (1..=1_000).contains(&query.page));
                prop_assert!(query.skipped() < SearchQuery::DEEPEST);
            }
        }

        #[test]
        fn words_are_found_again_however_they_are_encoded(words in "[a-z0-9 äß<>&\"'+%=#]{0,60}") {
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("q", &words)
                .finish();
            prop_assert_eq!(&*parsed(&query).words, words.trim());
        }
    }
}
