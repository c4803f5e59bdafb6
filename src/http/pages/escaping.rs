//! What strangers write stays text on every page: whatever it is, the page has the same elements and attributes, and the text is on it as it was written.

use std::time::SystemTime;

use proptest::prelude::*;

use super::{
    crate_page::CratePage,
    how_to::HowTo,
    links::PageLinks,
    policy::{self, RulesPage},
    request::{PageForm, PageRequest, Subject},
    search::{self, Results},
    wanted,
};
use crate::{
    domain::{CrateName, RegistryName, View},
    http::{query::SearchQuery, readable::Readable},
    mirror::{CrateOverview, FoundCrate, Refusal, Searched},
};

/// What a browser makes of a page: its elements and attributes in order, and what may be anything between and in them.
#[derive(Debug, Default, PartialEq)]
struct Parsed {
    elements: Vec<String>,
    text: String,
    values: Vec<String>,
}

/// Parses a page, as far as such pages go: every `<` begins a tag, and every value stands in double quotes.
fn parsed(page: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut rest = page;
    while let Some((text, tag)) = rest.split_once('<') {
        parsed.text.push_str(&unescaped(text));
        assert!(!text.contains('>') || !text.contains('<'), "{text}");
        let name = tag.find(|c: char| c.is_whitespace() || c == '>');
        let (name, mut tag) = tag.split_at(name.expect("a tag ends"));
        assert!(
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '!' | '-')),
            "<{name}"
        );
        let mut element = name.to_owned();
        loop {
            tag = tag.trim_start();
            if let Some(after) = tag.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = tag.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>'));
            let (attribute, after) = tag.split_at(end.expect("an attribute ends"));
            assert!(
                attribute
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "<{name} {attribute}"
            );
            element.push_str(&format!(" {attribute}"));
            tag = after;
            if let Some(value) = after.strip_prefix("=\"") {
                let (value, after) = value.split_once('"').expect("a value ends");
                parsed.values.push(unescaped(value));
                tag = after;
            }
        }
        parsed.elements.push(element);
    }
    parsed.text.push_str(&unescaped(rest));
    parsed
}

fn unescaped(text: &str) -> String {
    for entity in text.split('&').skip(1) {
        let is_known = ["lt;", "gt;", "quot;", "amp;"]
            .iter()
            .any(|known| entity.starts_with(known));
        assert!(is_known, "&{entity}");
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

fn request() -> PageRequest {
    PageRequest {
        subject: Subject::Home,
        form: PageForm::Html,
        base: "http://mirror".into(),
        links: "".into(),
        readable: Readable::All,
    }
}

/// The pages on which `text` is: as a description, a name, a keyword, a reason, a licence, words that were searched for, and how to get a token.
fn pages(text: &str) -> Vec<String> {
    let (request, now) = (request(), SystemTime::UNIX_EPOCH);
    let (name, registry) = (
        CrateName::parse("a").expect("a name"),
        RegistryName::crates_io(),
    );
    let links = || PageLinks::of("", Default::default());
    let found = CrateOverview::that_says(name, text);
    let crate_page = CratePage {
        request: &request,
        links: links(),
        found: &found,
        now,
    };
    let hit = FoundCrate {
        name,
        version: Some(text.into()),
        is_stored: true,
        description: Some(text.into()),
        refused: Some(text.into()),
    };
    let results = Results {
        request: &request,
        links: links(),
        query: &SearchQuery {
            words: text.into(),
            ..SearchQuery::default()
        },
        found: &Searched {
            registry,
            crates: vec![hit],
            total: 1,
        },
        known: (1, 1),
    };
    let refusal = Refusal {
        registry,
        view: View::Usual,
        what: text.into(),
        rule: text.into(),
        sentence: Some(text.into()),
        at: now,
        count: 1,
    };
    let tried = Refusal {
        sentence: None,
        ..refusal.clone()
    };
    let rules = RulesPage {
        of: "of crates-io".to_owned(),
        said: vec![text.to_owned()],
        refused: vec![refusal, tried],
        views: Vec::new(),
        request: &request,
        now,
    };
    let way = HowTo {
        title: "With a token",
        said: vec![text.to_owned()],
        blocks: Vec::new(),
        text: String::new(),
    };
    vec![
        crate_page.html(),
        search::page(&results),
        policy::page(&rules),
        super::home::how_to(&request, &[way]),
        wanted::page(&request, &[]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_strangers_write_is_text_on_every_page(text in "([<>&\"'/=! -]|script|img|onerror|--|&lt;|&#60;|\\]\\]|\\PC){1,40}") {
        // What may be a crate's name has a page to link to.
        let harmless = match CrateName::parse(&text) {
            Ok(_) => "xyz",
            Err(_) => "x/z",
        };
        let (plain, hostile) = (pages(harmless), pages(&text));
        for (place, (plain, hostile)) in plain.iter().zip(&hostile).enumerate() {
            let (plain, hostile) = (parsed(plain), parsed(hostile));
            prop_assert_eq!(&hostile.elements, &plain.elements);
            let times = plain.text.matches(harmless).count();
            prop_assert!(place == 4 || times > 0, "it is on the page");
            prop_assert!(hostile.text.matches(&text).count() >= times.min(1), "{}", hostile.text);
        }
    }
}
