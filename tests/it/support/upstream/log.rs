//! The log: every request the upstream was asked, and a way to wait for the next ones.

use std::time::Instant;

use tokio::sync::watch;

use super::PATIENCE;
use super::answer::{Class, Request};
use crate::support::headers::Headers;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    pub headers: Headers,
    pub at: Instant,
    /// The status it was given; none while it is held, and none when a fault gave it no answer.
    pub status: Option<u16>,
    pub(super) class: Class,
    id: u64,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

#[derive(Default)]
pub(super) struct Log(watch::Sender<Entries>);

#[derive(Default)]
struct Entries {
    seen: Vec<Seen>,
    /// `clear` doesn't set it back, so that a late answer never marks another request.
    next_id: u64,
}

impl Log {
    pub(super) fn record(&self, request: &Request, class: Class) -> u64 {
        let mut id = 0;
        self.0.send_modify(|entries| {
            id = entries.next_id;
            entries.next_id += 1;
            entries.seen.push(Seen {
                method: request.method.clone(),
                path: request.path.clone(),
                headers: request.headers.clone(),
                at: Instant::now(),
                status: None,
                class,
                id,
            });
        });
        id
    }

    pub(super) fn answered(&self, id: u64, status: u16) {
        self.0.send_modify(|entries| {
            if let Some(seen) = entries.seen.iter_mut().find(|seen| seen.id == id) {
                seen.status = Some(status);
            }
        });
    }

    pub(super) fn select(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let entries = self.0.borrow();
        entries
            .seen
            .iter()
            .filter(|seen| wanted(seen))
            .cloned()
            .collect()
    }

    pub(super) fn clear(&self) {
        self.0.send_modify(|entries| entries.seen.clear());
    }

    pub(super) async fn await_requests(&self, n: usize, substring: &str) {
        let mut entries = self.0.subscribe();
        let enough = entries.wait_for(|entries| {
            let matching = |seen: &&Seen| seen.path.contains(substring);
            entries.seen.iter().filter(matching).count() >= n
        });
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            let paths: Vec<String> = self
                .select(|_| true)
                .into_iter()
                .map(|seen| format!("{} {}", seen.method, seen.path))
                .collect();
            panic!("upstream never saw {n} requests for {substring:?}, but {paths:#?}");
        }
    }
}
