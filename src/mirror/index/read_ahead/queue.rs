//! [`StepQueue`]: what there is to follow, for all clients.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::step::{MOST_WAITING, Step};
use crate::domain::RegistryName;

/// The steps that wait to be followed, and whether a task is following them.
#[derive(Default)]
pub(super) struct StepQueue {
    waiting: Mutex<Waiting>,
    /// Told when there is more to follow.
    pub(super) more: Notify,
}

#[derive(Default)]
struct Waiting {
    steps: VecDeque<Step>,
    /// Whether a task is following.
    followed: bool,
}

impl StepQueue {
    /// Adds steps; true when nobody follows yet, so that the caller has to.
    pub(super) fn add(&self, steps: impl IntoIterator<Item = Step>) -> bool {
        let mut waiting = self.waiting();
        let room = MOST_WAITING.saturating_sub(waiting.steps.len());
        waiting.steps.extend(steps.into_iter().take(room));
        self.more.notify_one();
        !std::mem::replace(&mut waiting.followed, true)
    }

    pub(super) fn next(&self) -> Option<Step> {
        self.waiting().steps.pop_front()
    }

    pub(super) fn put_back(&self, step: Step) {
        self.waiting().steps.push_front(step);
    }

    /// Whether there is nothing left; if so, whoever adds something has to follow it.
    pub(super) fn is_over(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.followed = !waiting.steps.is_empty();
        !waiting.followed
    }

    /// Leaves what waits for this registry to cargo.
    pub(super) fn give_up(&self, registry: RegistryName) {
        let mut waiting = self.waiting();
        waiting
            .steps
            .retain(|step| step.upstream.registry() != registry);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who follows. Should that end early, whoever adds something next follows.
pub(super) struct Following<'a>(Option<&'a StepQueue>);

impl<'a> Following<'a> {
    pub(super) fn new(queue: &'a StepQueue) -> Self {
        Self(Some(queue))
    }

    /// All was followed.
    pub(super) fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            let mut waiting = queue.waiting();
            waiting.steps.clear();
            waiting.followed = false;
        }
    }
}
