//! [`OnDisk`]: what is held open, and ends where a disk may be waited for.

use std::time::Instant;

use super::{lane::Lane, threads::Disk, touch::Touch};
use crate::error::{Error, Result};

/// Something whose end touches the disk, an open file or a temporary one: dropped, it ends on one of the disk's threads. If the disk doesn't answer,
/// it never ends: a file that stays open or stays behind is better than a thread that everybody waits for.
pub(in crate::store) struct OnDisk<T: Send + 'static> {
    held: Option<T>,
    name: String,
    disk: Disk,
}

impl<T: Send + 'static> OnDisk<T> {
    pub(in crate::store) fn new(held: T, name: String, disk: Disk) -> Self {
        Self {
            held: Some(held),
            name,
            disk,
        }
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::store) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What is held; an error only where it was taken out before.
    pub(in crate::store) fn get(&self) -> Result<&T> {
        self.held.as_ref().ok_or_else(|| empty(&self.name))
    }

    pub(in crate::store) fn get_mut(&mut self) -> Result<&mut T> {
        let Self { held, name, .. } = self;
        held.as_mut().ok_or_else(|| empty(name))
    }

    pub(in crate::store) fn into_inner(mut self) -> Result<T> {
        self.held.take().ok_or_else(|| empty(&self.name))
    }
}

fn empty(name: &str) -> Error {
    Error::internal(format!("{name} was taken away before"))
}

impl<T: Send + 'static> Drop for OnDisk<T> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        let ending = Ending(Some(held), self.disk.writes().clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (disk, name) = (self.disk.clone(), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            let end = |_: &_| {
                ending.end();
                Ok(())
            };
            let _ = disk.begin(Touch::Remove, &name, end).await;
        });
    }
}

/// What is to end. Where no thread could be had for it, it ends here and now, or never if the disk is silent.
struct Ending<T>(Option<T>, std::sync::Arc<Lane>);

impl<T> Ending<T> {
    fn end(mut self) {
        drop(self.0.take());
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        if self.1.is_silent(Instant::now()) {
            std::mem::forget(held);
        }
    }
}
