//! [`Shell`]: what all pages for people have around them.

use maud::{DOCTYPE, Markup, html};

use super::request::PageRequest;

/// A page for people.
pub(super) struct Shell<'a> {
    /// What it is called.
    pub(super) title: &'a str,
    pub(super) request: &'a PageRequest,
    pub(super) here: Here,
    pub(super) body: Markup,
}

/// Which of the pages it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    /// `/`, for who may see everything.
    Home,
    /// `/`, for who may see nothing else.
    HowTo,
    Search,
    Policy,
    Wanted,
    Toolchains,
    /// One that nothing leads to from everywhere.
    Elsewhere,
}

impl Shell<'_> {
    pub(super) fn render(self) -> String {
        let links = &self.request.links;
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " · crate-mirror" }
                    link rel="stylesheet" href={ (links) "/style.css" };
                    link rel="icon" href={ (links) "/icon.svg" };
                    script src={ (links) "/copy.js" } defer {}
                }
                body {
                    a class="skip" href="#main" { "To the content" }
                    header {
                        a class="brand" href={ (links) "/" } { "crate-mirror" }
                        @if self.here != Here::HowTo { (self.navigation()) }
                    }
                    main id="main" { (self.body) }
                    footer {
                        "crate-mirror " (env!("CARGO_PKG_VERSION"))
                        @if self.here != Here::HowTo {
                            " · " a href={ (links) "/status.json" } { "status.json" }
                        }
                    }
                }
            }
        };
        markup.into_string()
    }

    fn navigation(&self) -> Markup {
        let links = &self.request.links;
        let link = |here: Here, path: &str, text: &str| {
            html! {
                @let href = format!("{links}{path}");
                @if self.here == here { a href=(href) aria-current="page" { (text) } }
                @else { a href=(href) { (text) } }
            }
        };
        html! {
            nav aria-label="Pages" {
                (link(Here::Home, "/", "Status"))
                (link(Here::Search, "/search", "Search"))
                (link(Here::Policy, "/policy", "Policy"))
                (link(Here::Wanted, "/wanted", "Wanted"))
                (link(Here::Toolchains, "/toolchains", "Toolchains"))
            }
        }
    }
}

/// Something to copy, and the button that does.
pub(super) fn block(id: &str, place: &str, text: &str) -> Markup {
    html! {
        div class="block" {
            p {
                span { (place) }
                button class="copy" type="button" data-copy=(id) aria-label={ "Copy (" (place) ")" } { "Copy" }
            }
            pre id=(id) tabindex="0" role="group" aria-label=(place) { (text) }
        }
    }
}
