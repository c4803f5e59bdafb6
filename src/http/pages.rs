//! The server's own pages: health, readiness, metrics, and what to paste where.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, header};

use super::{
    authentication::Authentication,
    respond::{Answer, NO_CACHE, TEXT, no_memory},
};
use crate::{
    domain::{Outcome, RegistryName},
    error::Result,
    mirror::Mirror,
    transport::ClientMemory,
};

/// How long one page of metrics is good for all who ask.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A page larger than this, in bytes, is leased: it may have to be kept for each client that asks. A smaller one is in what a request is reckoned to take.
const SMALL: usize = 1 << 10;

/// The page of metrics that was made last, and when.
#[derive(Default)]
pub(super) struct LastMetrics(Mutex<Option<(SystemTime, Bytes)>>);

/// A page made for one client, if there is memory for it.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there isn't.
fn own_page(memory: &ClientMemory, text: String) -> Result<Answer> {
    if text.len() <= SMALL {
        return Ok(page(text));
    }
    let lease = memory.take(text.len()).ok_or_else(no_memory)?;
    Ok(page(lease.hold(text.into())))
}

/// A page of text.
fn page(text: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::ok(Outcome::Hit, TEXT, text.into().into());
    answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    answer
}

/// The process is alive.
pub(super) fn health() -> Answer {
    page("ok\n")
}

/// The process can serve. This comes from the threads that answer everything else, so that it comes at all is the proof. It also says which upstreams fail,
/// and whether the store does. That makes the process no less ready: it serves without them.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it.
pub(super) fn ready(mirror: &Mirror, memory: &ClientMemory) -> Result<Answer> {
    let mut text = String::from("ready\n");
    let metrics = mirror.metrics();
    if metrics.store_unreadable.get() != 0 {
        text.push_str("store: can't be read; what is asked for is fetched\n");
    }
    if metrics.store_unwritable.get() != 0 {
        text.push_str("store: can't be written to; what is fetched is passed on and not kept\n");
    }
    for (registry, host, open) in mirror.circuits() {
        let state = if open {
            "failing, left alone for a while"
        } else {
            "in use"
        };
        text.push_str(&format!("{registry}: {host} {state}\n"));
    }
    own_page(memory, text)
}

/// All counters. A client that asks while another still has the page of the same second gets that one: a page has 16 KB, and thousands of clients may ask for
/// it and not take it.
pub(super) fn metrics(mirror: &Mirror, last: &LastMetrics, now: SystemTime) -> Answer {
    let mut last = last.0.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = |made: &SystemTime| now.duration_since(*made).is_ok_and(|age| age < A_MOMENT);
    let shared = last
        .take()
        .filter(|(made, text)| is_new(made) && !text.is_unique());
    let (made, text) = shared.unwrap_or_else(|| (now, mirror.metrics().render().into()));
    let mut answer = page(text.clone());
    *last = Some((made, text));
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers.insert(header::CONTENT_TYPE, prometheus);
    answer
}

/// What this is and how to use it from where the asker is.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it.
pub(super) fn status(
    mirror: &Mirror,
    memory: &ClientMemory,
    base: &str,
    authentication: &Authentication,
    pages: &str,
) -> Result<Answer> {
    let token = authentication.help().map_or(String::new(), |help| {
        format!(
            "\nIt wants a token; {help}. Cargo takes it from the variable CARGO_REGISTRIES_MIRROR_TOKEN, or from `cargo login --registry mirror`; other registries have a variable of their own.\n"
        )
    });
    let text = format!(
        "crate-mirror {}\n\nTo use it, put this into .cargo/config.toml:\n\n{}{token}\nPages: {pages}\n",
        env!("CARGO_PKG_VERSION"),
        snippet(mirror, base, authentication),
    );
    own_page(memory, text)
}

/// What this is, where it isn't used as a registry.
pub(super) fn admin() -> Answer {
    page(format!(
        "crate-mirror {}\n\nPages: /healthz, /readyz, /metrics\n",
        env!("CARGO_PKG_VERSION")
    ))
}

/// The lines that make cargo use this mirror at `base`, a URL without a final slash: crates.io replaced, every other registry under its name.
///
/// Only ever crates.io is replaced, whichever registry is the default one: replaced by another, its names would bring somebody else's code. What
/// replaces it is a registry with a name, which `cargo info`, `search` and `publish` know and which a token can be given for; a mere source is neither.
pub fn snippet(mirror: &Mirror, base: &str, authentication: &Authentication) -> String {
    let crates_io = RegistryName::crates_io();
    let index = |name: RegistryName| match name == mirror.default_registry() {
        true => format!("sparse+{base}/index/"),
        false => format!("sparse+{base}/registries/{name}/index/"),
    };
    let others: Vec<_> = mirror
        .registries()
        .filter(|name| *name != crates_io)
        .collect();
    let in_place = free_name(&others);
    // Without it cargo refuses to send a token at all.
    let provider = |name| match authentication.is_needed(name) {
        true => "credential-provider = [\"cargo:token\"]\n",
        false => "",
    };
    let mut text = format!(
        "[source.crates-io]\nreplace-with = \"{in_place}\"\n\n[registries.{in_place}]\nindex = \"{}\"\n{}",
        index(crates_io),
        provider(crates_io)
    );
    for name in others {
        text.push_str(&format!(
            "\n[registries.{name}]\nindex = \"{}\"\n{}",
            index(name),
            provider(name)
        ));
    }
    text
}

/// The name under which cargo knows what stands in for crates.io: `mirror`, unless a registry is called that.
fn free_name(taken: &[RegistryName]) -> String {
    let is_free = |name: &String| taken.iter().all(|taken| taken.as_str() != name);
    let numbered = (2..).map(|number| format!("mirror-{number}"));
    let mut names = std::iter::once("mirror".to_owned()).chain(numbered);
    names.find(is_free).unwrap_or_default()
}
