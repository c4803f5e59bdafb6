//! The gate: holds matching requests until a test opens it, so that a race needs no sleep.

use std::sync::Arc;

use tokio::sync::watch;

use super::PATIENCE;

/// A handle on a gate; clones are the same gate.
#[derive(Clone, Debug, Default)]
#[must_use = "requests are held until it is opened"]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    open: bool,
    waiting: usize,
}

impl Gate {
    /// Lets through who waits and who comes later.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.borrow().open
    }

    /// How many requests are held right now.
    pub fn waiting(&self) -> usize {
        self.0.borrow().waiting
    }

    /// Waits until `n` requests are held; panics after 10 seconds.
    pub async fn await_waiting(&self, n: usize) {
        self.until(&format!("{n} requests at the gate"), |waiting| waiting >= n)
            .await;
    }

    /// Waits until every held request has gone on or its client has left; panics after 10 seconds.
    pub async fn await_empty(&self) {
        self.until("an empty gate", |waiting| waiting == 0).await;
    }

    async fn until(&self, wish: &str, met: impl Fn(usize) -> bool) {
        let mut state = self.0.subscribe();
        let wait = state.wait_for(|state| met(state.waiting));
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("no {wish}, {} are held", self.waiting());
        }
    }

    /// Waits at the gate; counted as waiting until it opens or the future is dropped.
    pub(super) async fn pass(&self) {
        let mut state = self.0.subscribe();
        self.0.send_modify(|state| state.waiting += 1);
        let _place = Place(self);
        // Only a dropped sender is an error, and `self` keeps it.
        let _ = state.wait_for(|state| state.open).await;
    }
}

/// One waiting request. It stops counting when this is dropped, because a client that leaves isn't waiting any more.
struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.waiting -= 1);
    }
}
