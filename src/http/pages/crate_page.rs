//! `/crates/NAME`: a crate and its versions: what is here, and why something isn't offered.

use std::{fmt::Write, time::SystemTime};

use maud::{Markup, html};

use super::{
    links::PageLinks,
    request::PageRequest,
    shell::{Here, Shell, block},
    words::{age, bytes, counted, day, minute},
};
use crate::{
    domain::{CrateName, LineDependency, Manifest, Outcome, VersionLine, one_line},
    mirror::{CrateOverview, Denied, VersionOverview},
};

/// So many versions are shown with all that is known of them; of the others only what stands in one line.
const IN_FULL: usize = 10;
/// So many versions are shown.
const SHOWN: usize = 400;
/// So many dependencies of a version are listed.
const DEPENDENCIES: usize = 200;
/// So many features of a version are named.
const FEATURES: usize = 60;
/// So many bytes a line below that of a version has at most.
const LINE: usize = 4 << 10;
/// What is said of a version's licence where it would matter and isn't known.
const LICENSE_UNKNOWN: &str =
    "licence not known here: it is judged when somebody asks for the file";

/// A crate, for who looks at it.
pub(super) struct CratePage<'a> {
    pub(super) request: &'a PageRequest,
    pub(super) links: PageLinks,
    pub(super) found: &'a CrateOverview,
    pub(super) now: SystemTime,
}

impl CratePage<'_> {
    pub(super) fn html(&self) -> String {
        let found = self.found;
        let body = html! {
            h1 { (found.name) @if let Some(newest) = &found.newest { " " span class="soft" { (newest) } } }
            (self.about())
            @match &found.denied {
                Some(denied) => {
                    section class="state bad" { h2 { "This crate isn't offered" } p { (denied.sentence) "." } p { a href=(self.links.policy()) { "The rules" } } }
                }
                None => {
                    (self.add())
                    (self.versions())
                    (self.dependents())
                }
            }
        };
        Shell {
            title: found.name.as_str(),
            request: self.request,
            here: Here::Elsewhere,
            body,
        }
        .render()
    }

    /// What the crate says of itself, and how current that is.
    fn about(&self) -> Markup {
        let found = self.found;
        html! {
            @if let Some(manifest) = &found.manifest { (about(manifest)) }
            p class="soft" {
                "In " (found.registry)
                @if let Some(checked) = found.checked_at {
                    ", as upstream had it " (age(checked, self.now)) " ago"
                    @if found.outcome == Outcome::Stale { " " span class="tag bad" { "stale" } " upstream fails or is slow, and this copy is served meanwhile" }
                }
                "."
                @if found.manifest.is_none() && found.denied.is_none() { " No version of it is stored here yet, so that its description isn't known; cargo can have it all the same." }
            }
        }
    }

    fn add(&self) -> Markup {
        html! {
            @if let Some(newest) = &self.found.newest {
                section aria-labelledby="add" {
                    h2 id="add" { "Use it" }
                    (block("add", "in a shell", &format!("cargo add {}@{newest}\n", self.found.name)))
                }
            } @else {
                section class="state bad" {
                    h2 { "No version of it can be picked" }
                    p { "All are yanked, refused, or not here while this mirror is offline; each says below which." }
                }
            }
        }
    }

    fn versions(&self) -> Markup {
        let versions = &self.found.versions;
        let (full, brief) = versions.split_at(versions.len().min(IN_FULL));
        let brief = &brief[..brief.len().min(SHOWN)];
        let beyond = versions.len() - full.len() - brief.len();
        html! {
            section aria-labelledby="versions" {
                h2 id="versions" { (counted(versions.len() as u64, "version", "versions")) }
                @for version in full { (self.version(version)) }
                @if !brief.is_empty() {
                    details {
                        summary { "Older versions" }
                        ul class="plain" { @for version in brief { li { strong { (version.version) } " " (dated(version)) " " (standing(version)) (why(version)) } } }
                    }
                }
                @if beyond > 0 { p class="soft" { "And " (beyond) " more." } }
            }
        }
    }

    fn version(&self, version: &VersionOverview) -> Markup {
        let line = VersionLine::parse(&version.line);
        let name = self.found.name;
        let id = format!("add-{}", version.version);
        let needs: Vec<_> = line.deps.iter().filter(|dep| dep.kind() != "dev").collect();
        html! {
            div class="version" {
                h3 { (version.version) " " (standing(version)) }
                (why(version))
                p class="soft" {
                    (dated(version))
                    @if let Some(size) = version.stored { " · " (bytes(size)) }
                    @if let Some(rust) = &line.rust_version { " · Rust " (rust) " or newer" }
                    @if let Some(license) = &version.license { " · licence " (license) }
                    @else if self.found.needs_licenses { " · " (LICENSE_UNKNOWN) }
                    @if let Some(links) = &line.links { " · links to " (links) }
                }
                @if !line.features.is_empty() {
                    details {
                        summary { (counted(line.features.len() as u64, "feature", "features")) }
                        p class="chips" {
                            @for feature in line.features.keys().take(FEATURES) { code { (feature) } }
                            @if line.features.len() > FEATURES { " and more" }
                        }
                    }
                }
                @if !needs.is_empty() {
                    details {
                        summary { (counted(needs.len() as u64, "dependency", "dependencies")) }
                        ul class="plain" {
                            @for dep in needs.iter().take(DEPENDENCIES) {
                                li {
                                    @match (&dep.registry, CrateName::parse(dep.name())) {
                                        (None, Ok(_)) => { a href=(self.links.crate_of(dep.name())) { (dep.name()) } }
                                        // Another registry's, of which this server may have nothing; or nobody's.
                                        (Some(_), _) | (_, Err(_)) => { (dep.name()) }
                                    }
                                    " " code { (dep.req) }
                                    @if dep.kind() != "normal" { " " span class="tag" { (dep.kind()) } }
                                    @if dep.optional { " " span class="tag" { "optional" } }
                                    @if let Some(target) = &dep.target { " " span class="soft" { (target) } }
                                }
                            }
                            @if needs.len() > DEPENDENCIES { li class="soft" { "And " (needs.len() - DEPENDENCIES) " more." } }
                        }
                    }
                }
                @if version.is_offered() {
                    p {
                        code id=(id) { "cargo add " (name) "@" (version.version) } " "
                        button class="copy" type="button" data-copy=(id) aria-label={ "Copy cargo add " (name) "@" (version.version) } { "Copy" }
                    }
                }
            }
        }
    }

    fn dependents(&self) -> Markup {
        let found = self.found;
        html! {
            section aria-labelledby="dependents" {
                h2 id="dependents" { "Who depends on it" }
                @if found.dependents.is_empty() { p class="soft" { "None of the crates that are stored here." } }
                @else {
                    p class="chips" { @for name in &found.dependents { a href=(self.links.crate_of(name)) { code { (name) } } " " } }
                    @if found.dependents_count > found.dependents.len() { p class="soft" { "And " (found.dependents_count - found.dependents.len()) " more of those that are stored here." } }
                    @else { p class="soft" { "Of those that are stored here, by the newest stored version of each." } }
                }
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let found = self.found;
        let mut text = format!("{} of {}\n", found.name, found.registry);
        self.say_about(&mut text);
        if let Some(denied) = &found.denied {
            let _ = writeln!(text, "not offered: {}.", denied.sentence);
            return text;
        }
        match &found.newest {
            Some(newest) => {
                let _ = writeln!(text, "\ncargo add {}@{newest}", found.name);
            }
            None => text.push_str("\nNo version of it can be picked.\n"),
        }
        let count = counted(found.versions.len() as u64, "version", "versions");
        let _ = writeln!(text, "\n{count}:");
        for (place, version) in found.versions.iter().enumerate() {
            say_version(&mut text, version);
            if place < IN_FULL {
                self.say_details(&mut text, version);
            }
        }
        self.say_dependents(&mut text);
        text
    }

    /// What the crate says of itself, and how current that is.
    fn say_about(&self, text: &mut String) {
        let found = self.found;
        if let Some(manifest) = &found.manifest {
            if let Some(description) = &manifest.description {
                let _ = writeln!(text, "{description}");
            }
            for (name, url) in [
                ("repository", &manifest.repository),
                ("documentation", &manifest.documentation),
                ("homepage", &manifest.homepage),
            ] {
                if let Some(url) = url {
                    let _ = writeln!(text, "{name}: {url}");
                }
            }
            if !manifest.keywords.is_empty() {
                let _ = writeln!(text, "keywords: {}", manifest.keywords.join(", "));
            }
        } else if found.denied.is_none() {
            text.push_str(
                "no version of it is stored here yet, so that its description isn't known\n",
            );
        }
        if let Some(checked) = found.checked_at {
            let ago = age(checked, self.now);
            let stale = match found.outcome == Outcome::Stale {
                true => "; stale: upstream fails or is slow, and this copy is served meanwhile",
                false => "",
            };
            let _ = writeln!(text, "as upstream had it {ago} ago{stale}");
        }
    }

    /// What else is known of a version, below its line.
    fn say_details(&self, text: &mut String, version: &VersionOverview) {
        let line = VersionLine::parse(&version.line);
        let mut said = Vec::new();
        said.extend(
            version
                .denied
                .as_ref()
                .map(|denied| denial(version, denied)),
        );
        said.extend(version.stored.map(bytes));
        said.extend(
            line.rust_version
                .map(|rust| format!("Rust {rust} or newer")),
        );
        match &version.license {
            Some(license) => said.push(format!("licence {license}")),
            None if self.found.needs_licenses => said.push(LICENSE_UNKNOWN.to_owned()),
            None => {}
        }
        said.extend(line.links.map(|links| format!("links to {links}")));
        if !said.is_empty() {
            say(text, &said.join(", "));
        }
        if version.is_offered() {
            let (name, version) = (self.found.name, &version.version);
            say(text, &format!("cargo add {name}@{version}"));
        }
        if !line.features.is_empty() {
            let count = counted(line.features.len() as u64, "feature", "features");
            let names: Vec<_> = line.features.keys().take(FEATURES).collect();
            let more = match line.features.len() > FEATURES {
                true => " and more",
                false => "",
            };
            let names: Vec<_> = names.into_iter().map(String::as_str).collect();
            say(text, &format!("{count}: {}{more}", names.join(", ")));
        }
        let needs: Vec<_> = line.deps.iter().filter(|dep| dep.kind() != "dev").collect();
        if !needs.is_empty() {
            let count = counted(needs.len() as u64, "dependency", "dependencies");
            let needs: Vec<_> = needs.into_iter().map(needed).collect();
            say(text, &format!("{count}: {}", needs.join(", ")));
        }
    }

    fn say_dependents(&self, text: &mut String) {
        let found = self.found;
        text.push_str("\nWho depends on it, of those that are stored here: ");
        match found.dependents.is_empty() {
            true => text.push_str("nobody"),
            false => text.push_str(&found.dependents.join(", ")),
        }
        if found.dependents_count > found.dependents.len() {
            let more = found.dependents_count - found.dependents.len();
            let _ = write!(text, " and {more} more");
        }
        text.push('\n');
    }
}

/// A line below that of a version. What stands in an index file may be anything, and a terminal obeys what isn't seen.
fn say(text: &mut String, line: &str) {
    let _ = writeln!(text, "  {}", one_line(line, LINE));
}

/// A version in a line, for terminals.
fn say_version(text: &mut String, version: &VersionOverview) {
    let _ = write!(text, "{} {}", version.version, dated(version).into_string());
    for (is_so, word) in [
        (version.stored.is_some(), "here"),
        (version.is_missing, "not here"),
        (version.yanked, "yanked"),
    ] {
        if is_so {
            let _ = write!(text, ", {word}");
        }
    }
    for advisory in &version.advisories {
        let _ = write!(text, ", {}", advisory.id);
    }
    if let Some(denied) = &version.denied {
        let _ = write!(text, ": {}", denied.sentence);
    }
    text.push('\n');
}

/// A dependency in a few words: `serde ^1 (optional)`.
fn needed(dep: &LineDependency) -> String {
    let kind = Some(dep.kind()).filter(|kind| *kind != "normal");
    let optional = dep.optional.then_some("optional");
    let marks: Vec<_> = [kind, optional, dep.target.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    match marks.is_empty() {
        true => format!("{} {}", dep.name(), dep.req),
        false => format!("{} {} ({})", dep.name(), dep.req, marks.join(", ")),
    }
}

/// Whether a version is here and may be had, in tags.
fn standing(version: &VersionOverview) -> Markup {
    html! {
        @if version.stored.is_some() { span class="tag good" { "here" } }
        @if version.is_missing { span class="tag bad" title="This mirror is offline, and cargo picks only what is stored" { "not here" } }
        @if version.yanked { span class="tag bad" { "yanked" } }
        @for advisory in &version.advisories {
            @match &advisory.url {
                Some(url) => { a class="tag bad" href=(url) rel="noreferrer" { (advisory.id) } }
                None => { span class="tag bad" { (advisory.id) } }
            }
        }
        @if let Some(denied) = &version.denied {
            span class="tag bad" { (denial(version, denied)) }
        }
    }
}

/// A denial in two words or three.
fn denial(version: &VersionOverview, denied: &Denied) -> String {
    let is_waiting = denied.denial.cause.kind().as_str() == "cooldown";
    match denied.denial.ends {
        Some(ends) if is_waiting => format!("waits until {}", minute(ends)),
        _ if !version.is_refused => "would be denied".to_owned(),
        Some(ends) => format!("denied until {}", day(ends)),
        None => "denied".to_owned(),
    }
}

/// Why it may not be had, in a sentence.
fn why(version: &VersionOverview) -> Markup {
    html! {
        @if let Some(denied) = &version.denied { p class="bad wrap" { (denied.sentence) "." } }
        @if version.is_missing { p class="bad wrap" { "It isn't stored here and this mirror is offline, so that cargo doesn't pick it." } }
    }
}

fn about(manifest: &Manifest) -> Markup {
    let link = |name: &str, url: &Option<Box<str>>| {
        html! { @if let Some(url) = url { a href=(url) rel="noreferrer" { (name) } " " } }
    };
    html! {
        @if let Some(description) = &manifest.description { p class="wrap" { (description) } }
        p {
            (link("Repository", &manifest.repository))
            (link("Documentation", &manifest.documentation))
            (link("Homepage", &manifest.homepage))
            @for word in &manifest.keywords { span class="tag soft" { (word) } }
        }
    }
}

fn dated(version: &VersionOverview) -> Markup {
    let date = version.published.map(day);
    html! { (date.as_deref().unwrap_or("no date")) }
}
