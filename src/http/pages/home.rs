//! `/`: how to use the mirror, and what it does now.

use maud::{Markup, html};

use super::{
    how_to::HowTo,
    request::PageRequest,
    rows::lines,
    shell::{Here, Shell, block},
    state::{REFUSED, asked_hosts, charts, now_figures, rows},
};
use crate::status::{Figures, MinuteFigures, RegistryFigures};

/// For who may see nothing else.
pub(super) fn how_to(request: &PageRequest, ways: &[HowTo]) -> String {
    let body = html! {
        h1 { "Rust crates, from a mirror" }
        p class="soft" { "It stands between cargo and a registry, and keeps serving when that is gone." }
        (tabs(ways))
        p { a href={ (request.links) "/policy" } { "What this mirror does and has" } " is shown to who has a token." }
    };
    Shell {
        title: "How to use it",
        request,
        here: Here::HowTo,
        body,
    }
    .render()
}

/// For who may see everything.
pub(super) fn home(request: &PageRequest, ways: &[HowTo], figures: &Figures) -> String {
    let body = html! {
        h1 { "Rust crates, from a mirror" }
        p class="soft" { "It stands between cargo and a registry, and keeps serving when that is gone." }
        (state(figures))
        (find(&request.links))
        @if !ways.is_empty() { (tabs(ways)) }
        (now(figures))
        (last_hour(&figures.last_hour))
        (upstreams(request, figures))
        (rest(request, figures))
    };
    Shell {
        title: "Status",
        request,
        here: Here::Home,
        body,
    }
    .render()
}

/// Where one asks for a crate.
pub(super) fn find(links: &str) -> Markup {
    html! {
        form class="find" role="search" action={ (links) "/search" } {
            input type="search" name="q" maxlength="100" aria-label="Find a crate" placeholder="Find a crate";
            button { "Search" }
        }
        p class="soft" { "A crate's page says which of its versions are here, and why one isn't offered; " a href={ (links) "/policy" } { "the rules" } " say it for all." }
    }
}

/// Whether something is wrong.
fn state(figures: &Figures) -> Markup {
    html! {
        @if figures.troubles.is_empty() {
            section class="state" { h2 { span class="good" { "✓" } " All is well" } }
        } @else {
            section class="state bad" {
                h2 { span class="bad" { "!" } " Something is wrong" }
                ul { @for trouble in &figures.troubles { li { (trouble) } } }
            }
        }
    }
}

/// The ways of using it, one at a time: radio buttons, so that it takes no script.
fn tabs(ways: &[HowTo]) -> Markup {
    html! {
        section aria-labelledby="use" {
            h2 id="use" { "How to use it" }
            div class="tabs" role="group" aria-labelledby="use" {
                @for (place, way) in ways.iter().enumerate() {
                    input type="radio" name="way" id={ "way" (place) } checked[place == 0];
                    label for={ "way" (place) } { (way.title) }
                    div class="panel" {
                        h3 { (way.title) }
                        @for sentence in &way.said { p { (sentence) } }
                        @for (number, paste) in way.blocks.iter().enumerate() {
                            (block(&format!("paste{place}-{number}"), paste.place, &paste.text))
                        }
                    }
                }
            }
        }
    }
}

fn now(figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "What it does now" }
            dl class="figures" {
                @for (name, value) in now_figures(figures) { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

fn last_hour(minutes: &[MinuteFigures]) -> Markup {
    html! {
        section aria-labelledby="hour" {
            h2 id="hour" { "The last hour" }
            div class="two" { @for chart in charts(minutes) { (chart.draw()) } }
        }
    }
}

fn upstreams(request: &PageRequest, figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="upstreams" {
            h2 id="upstreams" { "Registries and their upstreams" }
            div class="scroll" tabindex="0" role="group" aria-labelledby="upstreams" {
                table {
                    thead { tr { th scope="col" { "Registry" } th scope="col" { "Host" } th scope="col" { "Circuit" } } }
                    tbody {
                        @for asked in asked_hosts(figures) {
                            tr {
                                td {
                                    @match asked.registry {
                                        Some(registry) => { (name(request, registry)) }
                                        None => { a href={ (request.links) "/toolchains" } { "toolchains" } }
                                    }
                                }
                                @match asked.host {
                                    Some(host) => { td { code { (host.host) } } td { (lines(&asked.state)) } }
                                    None => { td { (lines(&asked.state)) } td {} }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A registry, and the way to its crates.
fn name(request: &PageRequest, registry: &RegistryFigures) -> Markup {
    html! { a href={ (request.links) "/registries/" (registry.name) "/search" } { (registry.name) } @if registry.default { " " span class="soft" { "(default)" } } }
}

fn rest(request: &PageRequest, figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="rest" {
            h2 id="rest" { "Store, rules, certificates" }
            table {
                tbody {
                    @for row in rows(figures) {
                        tr {
                            th scope="row" { (row.name) }
                            td {
                                (lines(&row.lines))
                                @if row.name == REFUSED { " · " a href={ (request.links) "/policy" } { "the rules" } }
                            }
                        }
                    }
                }
            }
        }
    }
}
