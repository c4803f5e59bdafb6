//! The pages for programs: health, readiness, metrics.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, header};

use crate::http::respond::{Answer, NO_CACHE, TEXT, no_memory};
use crate::{domain::Outcome, error::Result, mirror::Mirror, transport::ClientMemory};

/// How long one page of metrics is good for all who ask.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A page larger than this, in bytes, is leased: it may have to be kept for each client that asks. A smaller one is in what a request is reckoned to take.
const SMALL: usize = 1 << 10;

/// The page of metrics that was made last, and when.
#[derive(Default)]
pub(in crate::http) struct LastMetrics(Mutex<Option<(SystemTime, Bytes)>>);

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
pub(in crate::http) fn health() -> Answer {
    page("ok\n")
}

/// The process can serve. This comes from the threads that answer everything else, so that it comes at all is the proof. It also says which upstreams fail,
/// and whether the store does. That makes the process no less ready: it serves without them.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it.
pub(in crate::http) fn ready(mirror: &Mirror, memory: &ClientMemory) -> Result<Answer> {
    let mut text = String::from("ready\n");
    let metrics = mirror.metrics();
    if metrics.store_unreadable.get() != 0 {
        text.push_str("store: can't be read; what isn't in memory is fetched, unless this mirror is offline\n");
    }
    if metrics.store_unwritable.get() != 0 {
        text.push_str("store: can't be written to; what is fetched is passed on and not kept\n");
    }
    // Not why: this is told to who shows no token, too.
    for (registry, of) in mirror.circuits() {
        let (host, state) = match of.is_open() {
            true => (of.host, "failing, left alone for a while"),
            false => (of.host, "in use"),
        };
        text.push_str(&format!("{registry}: {host} {state}\n"));
    }
    own_page(memory, text)
}

/// All counters. A client that asks while another still has the page of the same second gets that one: a page has 16 KB, and thousands of clients may ask for
/// it and not take it.
pub(in crate::http) fn metrics(mirror: &Mirror, last: &LastMetrics, now: SystemTime) -> Answer {
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
