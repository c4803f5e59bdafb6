//! `/toolchains`: which toolchains are here.

use maud::html;

use super::{
    request::PageRequest,
    shell::{Here, Shell},
    words::{bytes, counted},
};
use crate::mirror::{StoredRelease, StoredToolchains};

/// So many releases are shown; each has some dozens of files.
const MOST: usize = 50;

const NOTHING: &str = "Nothing is here yet.";

/// What there is to say of a release's files beside the names of some.
fn beside_names(release: &StoredRelease) -> Option<String> {
    match (release.files.len(), release.unnamed) {
        (0, 0) => Some("Its manifest alone.".to_owned()),
        (_, 0) => None,
        (0, files) => Some(format!("{}.", counted(files as u64, "file", "files"))),
        (_, more) => Some(format!(
            "And {} more.",
            counted(more as u64, "file", "files")
        )),
    }
}

fn is_nothing(stored: &StoredToolchains) -> bool {
    stored.files == 0 && stored.releases.is_empty()
}

/// What is stored; nothing where toolchains aren't served.
pub(super) fn page(request: &PageRequest, stored: Option<&StoredToolchains>) -> String {
    let body = html! {
        h1 { "Toolchains" }
        @match stored {
            None => { p { "This mirror serves no toolchains; whoever runs it can set " code { "toolchains.enabled" } "." } }
            Some(stored) if is_nothing(stored) => {
                p class="soft" { (NOTHING) " What rustup asks for comes when it is asked for, and what " code { "crate-mirror prefetch --toolchain stable" } " names at once." }
            }
            Some(stored) => {
                p { (counted(stored.files as u64, "file", "files")) ", " (bytes(stored.bytes)) "." }
                @for release in stored.releases.iter().take(MOST) {
                    section aria-labelledby={ "day-" (release.day) } {
                        h2 id={ "day-" (release.day) } { (release.day) " " span class="soft" { (channels(release)) } }
                        @if let Some(said) = beside_names(release) { p class="soft" { (said) } }
                        @if !release.files.is_empty() { ul { @for (name, size) in &release.files { li { code { (name) } " " span class="soft" { (bytes(*size)) } } } } }
                    }
                }
                @if stored.releases.len() > MOST { p { "And " (stored.releases.len() - MOST) " older releases." } }
                @if !stored.rustups.is_empty() {
                    section aria-labelledby="rustup" {
                        h2 id="rustup" { "rustup itself" }
                        ul { @for (version, target, size) in &stored.rustups { li { (version) " for " code { (target) } " " span class="soft" { (bytes(*size)) } } } }
                    }
                }
            }
        }
    };
    Shell {
        title: "Toolchains",
        request,
        here: Here::Toolchains,
        body,
    }
    .render()
}

/// The same, a file a line, for terminals.
pub(super) fn text(stored: Option<&StoredToolchains>) -> String {
    let Some(stored) = stored else {
        return "This mirror serves no toolchains; whoever runs it can set `toolchains.enabled`.\n"
            .to_owned();
    };
    if is_nothing(stored) {
        return format!(
            "{NOTHING} What rustup asks for comes when it is asked for, and what `crate-mirror prefetch --toolchain stable` names at once.\n"
        );
    }
    let mut text = format!(
        "{}, {}.\n",
        counted(stored.files as u64, "file", "files"),
        bytes(stored.bytes)
    );
    for release in &stored.releases {
        text += &format!("\n{} {}\n", release.day, channels(release));
        if let Some(said) = beside_names(release) {
            text += &format!("  {said}\n");
        }
        for (name, size) in &release.files {
            text += &format!("  {name} {}\n", bytes(*size));
        }
    }
    if !stored.rustups.is_empty() {
        text += "\nrustup\n";
    }
    for (version, target, size) in &stored.rustups {
        text += &format!("  {version} for {target} {}\n", bytes(*size));
    }
    text
}

fn channels(release: &StoredRelease) -> String {
    let names: Vec<_> = release.channels.iter().map(|c| c.as_str()).collect();
    names.join(", ")
}
