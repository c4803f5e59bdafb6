//! `/`: how to use the mirror, and what it does now.

use maud::{Markup, html};

use super::{
    chart::Chart,
    how_to::HowTo,
    request::PageRequest,
    shell::{Here, Shell, block},
    words::{bytes, counted, number, percent, span},
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
        (upstreams(request, &figures.registries))
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
    let requests = &figures.requests;
    let figure = |name: &str, value: String| html! { div { dt { (name) } dd { (value) } } };
    let denied: u64 = figures.refusals.denied.iter().map(|kind| kind.count).sum();
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "What it does now" }
            dl class="figures" {
                (figure("hit rate, last hour", percent(requests.hit_rate_last_hour)))
                (figure("hit rate since the start", percent(requests.hit_rate)))
                (figure("answers a minute", number(requests.per_minute)))
                (figure("bytes saved", bytes(figures.saved_bytes)))
                (figure("bytes served", bytes(figures.served_bytes)))
                (figure("in memory", bytes(figures.memory.bytes.unsigned_abs())))
                (figure("connections", number(figures.connections.unsigned_abs())))
                (figure("refused by rules", number(denied)))
                (figure("running for", span(figures.uptime_seconds)))
            }
        }
    }
}

fn last_hour(minutes: &[MinuteFigures]) -> Markup {
    let answers: Vec<_> = minutes.iter().map(|m| (m.answered, m.hits)).collect();
    let sizes: Vec<_> = minutes
        .iter()
        .map(|m| (m.served_bytes, m.served_bytes.min(m.fetched_bytes)))
        .collect();
    let sum = |bars: &[(u64, u64)]| {
        bars.iter().fold((0_u64, 0_u64), |(wholes, parts), bar| {
            (wholes.saturating_add(bar.0), parts.saturating_add(bar.1))
        })
    };
    let (all, hits) = sum(&answers);
    let (served, fetched) = sum(&sizes);
    let requests = Chart {
        title: "Answers a minute, hits in front",
        said: format!("In the last hour {all} answers, {hits} of them hits"),
        largest: number(Chart::most(&answers)),
        bars: answers,
    };
    let traffic = Chart {
        title: "Bytes served a minute, fetched ones in front",
        said: format!(
            "In the last hour {} served, {} fetched",
            bytes(served),
            bytes(fetched)
        ),
        largest: bytes(Chart::most(&sizes)),
        bars: sizes,
    };
    html! {
        section aria-labelledby="hour" {
            h2 id="hour" { "The last hour" }
            div class="two" { (requests.draw()) (traffic.draw()) }
        }
    }
}

fn upstreams(request: &PageRequest, registries: &[RegistryFigures]) -> Markup {
    let name = |registry| name(request, registry);
    html! {
        section aria-labelledby="upstreams" {
            h2 id="upstreams" { "Registries and their upstreams" }
            div class="scroll" tabindex="0" role="group" aria-labelledby="upstreams" {
                table {
                    thead { tr { th scope="col" { "Registry" } th scope="col" { "Host" } th scope="col" { "Circuit" } } }
                    tbody {
                        @for registry in registries {
                            @if registry.hosts.is_empty() {
                                tr {
                                    td { (name(registry)) }
                                    @if registry.online { td class="soft" { "not asked yet" } td {} }
                                    @else { td class="soft" { "offline: nobody is asked" } td {} }
                                }
                            }
                            @for host in &registry.hosts {
                                tr {
                                    td { (name(registry)) }
                                    td { code { (host.host) } }
                                    @if host.circuit_open { td class="bad" { "open: it keeps failing and is left alone for a while" } }
                                    @else { td class="good" { "closed: it is asked" } }
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
    let row = |name: &str, value: Markup| html! { tr { th scope="row" { (name) } td { (value) } } };
    let kinds = |kinds: &[crate::status::KindFigures]| {
        let texts: Vec<_> = kinds
            .iter()
            // "rule 1" would look like the first rule.
            .map(|kind| format!("{} by {}", number(kind.count), kind.kind))
            .collect();
        match texts.is_empty() {
            true => "nothing".to_owned(),
            false => texts.join(", "),
        }
    };
    let stale = figures.oldest_stale.as_ref();
    let stale = stale.map_or("none within five minutes".to_owned(), |stale| {
        format!(
            "{} of {}, last confirmed {} ago",
            stale.name,
            stale.registry,
            span(stale.age_seconds)
        )
    });
    html! {
        section aria-labelledby="rest" {
            h2 id="rest" { "Store, rules, certificates" }
            table {
                tbody {
                    (row(if figures.store.bucket.is_some() { "Store, in a bucket" } else { "Store" }, store(figures)))
                    (row("Oldest stale copy served", html! { (stale) }))
                    (row("Refused since the start", html! { (kinds(&figures.refusals.denied)) " · " a href={ (request.links) "/policy" } { "the rules" } }))
                    @if !figures.refusals.would_deny.is_empty() {
                        (row("Would be refused", html! { (kinds(&figures.refusals.would_deny)) }))
                    }
                    @if figures.refusals.waiting > 0 {
                        (row("Waiting to be old enough", html! { (counted(figures.refusals.waiting.unsigned_abs(), "version", "versions")) }))
                    }
                    @for certificate in &figures.certificates {
                        (row("Certificate", html! { (certificate.certificate) ": " (days_left(certificate.days_left)) }))
                    }
                    @if let Some(advisories) = &figures.advisories {
                        (row("Advisories", html! { (number(advisories.count.unsigned_abs())) ", last changed " (span(advisories.age_seconds.unsigned_abs())) " ago" }))
                    }
                }
            }
        }
    }
}

fn store(figures: &Figures) -> Markup {
    let store = &figures.store;
    html! {
        @if !store.readable { span class="bad" { "can't be read" } }
        @else if !store.writable { span class="bad" { "can't be written to" } }
        @else { span class="good" { "in use" } }
        @match &store.census {
            None => { ", not looked through yet: that is done soon after the start" }
            Some(census) => {
                @if store.bucket.is_some() { "; the bucket holds " } @else { ", " }
                @if census.unread.is_some() { "at least " }
                (bytes(census.bytes)) " " span class="soft" { "(looked through " (span(census.age_seconds)) " ago)" }
                @for of in &census.registries {
                    br; (of.registry) ": " (counted(of.crates, "crate", "crates")) ", " (bytes(of.crate_bytes)) "; " (counted(of.index_files, "index file", "index files")) ", " (bytes(of.index_bytes))
                }
                @if let Some(unread) = &census.unread { br; span class="bad" { "Not all of it could be looked at: " (unread) } }
                @if let Some(near) = &census.near {
                    br; "In the folder in front of it: " (counted(near.objects, "object", "objects")) ", " (bytes(near.bytes))
                }
            }
        }
        @if let Some(bucket) = &store.bucket {
            @if bucket.waiting > 0 { br; (counted(bucket.waiting.unsigned_abs(), "object waits", "objects wait")) " to be written into the bucket" }
            @if bucket.circuit_open { br; span class="bad" { "The bucket keeps failing and is left alone for a while" } }
        }
        @if store.corrupt > 0 { ", " (number(store.corrupt)) " objects failed their check" }
    }
}

fn days_left(days: i64) -> Markup {
    html! {
        @if days < 0 { span class="bad" { "expired" } }
        @else { (days) " days left" }
    }
}

/// A few figures, for who reads them in a terminal.
pub(super) fn text(figures: &Figures) -> String {
    let requests = &figures.requests;
    let mut text = format!(
        "Now: {} hits in the last hour, {} answers a minute, {} saved, running for {}.\n",
        percent(requests.hit_rate_last_hour),
        requests.per_minute,
        bytes(figures.saved_bytes),
        span(figures.uptime_seconds)
    );
    match figures.troubles.is_empty() {
        true => text.push_str("All is well.\n"),
        false => {
            for trouble in &figures.troubles {
                text.push_str(trouble);
                text.push('\n');
            }
        }
    }
    text
}
