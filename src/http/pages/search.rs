//! `/search`: crates by words in their names and descriptions.

use std::fmt::Write;

use maud::{Markup, html};
use url::form_urlencoded;

use super::{
    links::PageLinks,
    request::PageRequest,
    shell::{Here, Shell},
    words::number,
};
use crate::{
    http::query::SearchQuery,
    mirror::{FoundCrate, Searched},
};

/// What was searched for, and what was found.
pub(super) struct Results<'a> {
    pub(super) request: &'a PageRequest,
    pub(super) links: PageLinks,
    pub(super) query: &'a SearchQuery,
    pub(super) found: &'a Searched,
    /// How many names are known, and how many of these crates are stored.
    pub(super) known: (usize, usize),
}

pub(super) fn page(results: &Results<'_>) -> String {
    let Results {
        request,
        links,
        query,
        found,
        known,
    } = results;
    let words = &*query.words;
    let (names, stored) = (number(known.0 as u64), number(known.1 as u64));
    let body = html! {
        h1 { "Find a crate" }
        form class="find" role="search" action=(links.search()) {
            input type="search" name="q" maxlength="100" value=(words) aria-label="Words in names and descriptions";
            button { "Search" }
        }
        p class="soft" {
            (names) " names of " (found.registry) " are known here, and " (stored) " of these crates are stored, whose descriptions are searched too. Any other name can be asked for all the same: "
            "its page is " code { (links.crate_of("NAME")) } "."
        }
        @if !words.is_empty() {
            section aria-labelledby="found" {
                h2 id="found" { (count(found.total)) " for “" (words) "”" }
                ul class="plain" { @for hit in &found.crates { (shown(links, hit)) } }
                (pages(results))
            }
        }
    };
    let title = match words.is_empty() {
        true => "Search".to_owned(),
        false => format!("Search for {words}"),
    };
    Shell {
        title: &title,
        request,
        here: Here::Search,
        body,
    }
    .render()
}

fn count(total: usize) -> String {
    match total {
        0 => "Nothing known here".to_owned(),
        1 => "One crate".to_owned(),
        total => format!("{} crates", number(total as u64)),
    }
}

fn shown(links: &PageLinks, hit: &FoundCrate) -> Markup {
    html! {
        li class="wrap" {
            a href=(links.crate_of(hit.name.as_str())) { strong { (hit.name) } }
            @if let Some(version) = &hit.version { " " (version) }
            " "
            @if hit.is_stored { span class="tag good" { "here" } }
            @if hit.refused.is_some() { span class="tag bad" { "denied" } }
            @if let Some(description) = &hit.description { br; (description) }
            @if let Some(sentence) = &hit.refused { br; span class="bad" { (sentence) "." } }
        }
    }
}

/// Where the pages before and after are, if there are any.
fn beside(results: &Results<'_>) -> [Option<String>; 2] {
    let query = results.query;
    let to = |page: u32| {
        let text = form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &query.words)
            .append_pair("per_page", &query.per_page.to_string())
            .append_pair("page", &page.to_string())
            .finish();
        format!("{}?{text}", results.links.search())
    };
    let has_more = query.skipped() + results.found.crates.len() < results.found.total;
    let before = (query.page > 1).then(|| to(query.page - 1));
    let next = query.next_page().filter(|_| has_more);
    [before, next.map(to)]
}

/// The way to the pages before and after.
fn pages(results: &Results<'_>) -> Markup {
    let [before, after] = beside(results);
    html! {
        p {
            @if let Some(before) = before { a href=(before) { "← Better" } " " }
            @if let Some(after) = after { a href=(after) { "More →" } }
        }
    }
}

pub(super) fn text(results: &Results<'_>) -> String {
    let mut text = String::new();
    for hit in &results.found.crates {
        let _ = write!(text, "{}", hit.name);
        let here = hit.is_stored.then_some("here");
        let denied = hit.refused.is_some().then_some("denied");
        for word in [hit.version.as_deref().or(Some("?")), here, denied]
            .into_iter()
            .flatten()
        {
            let _ = write!(text, " {word}");
        }
        for said in [&hit.description, &hit.refused].into_iter().flatten() {
            let _ = write!(text, "    # {said}");
        }
        text.push('\n');
    }
    let registry = results.found.registry;
    if !results.query.words.is_empty() {
        let _ = writeln!(text, "{} in {registry}", count(results.found.total));
    }
    let (names, stored) = results.known;
    let _ = writeln!(
        text,
        "{} names of {registry} are known here, and {} of these crates are stored, whose descriptions are searched too.",
        number(names as u64),
        number(stored as u64)
    );
    for (word, to) in ["Better", "More"].into_iter().zip(beside(results)) {
        if let Some(to) = to {
            let _ = writeln!(text, "{word}: {to}");
        }
    }
    text
}
