//! [`Hook`]: where a test holds a disk's threads, as a dead mount does. Without the feature `testing` there is nothing in it.

use super::touch::Touch;

/// Called before each operation on the thread that is about to wait for the disk, which it may hold for as long as it likes.
#[cfg(feature = "testing")]
pub type DiskStall = std::sync::Arc<dyn Fn(Touch) + Send + Sync>;

/// What is done before a disk is touched.
#[derive(Clone, Default)]
pub(in crate::store) struct Hook {
    #[cfg(feature = "testing")]
    stall: Option<DiskStall>,
}

impl Hook {
    #[cfg(feature = "testing")]
    pub(in crate::store) fn new(stall: DiskStall) -> Self {
        Self { stall: Some(stall) }
    }

    #[cfg(feature = "testing")]
    pub(super) fn meet(&self, what: Touch) {
        if let Some(stall) = &self.stall {
            stall(what);
        }
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn meet(&self, _what: Touch) {}
}
