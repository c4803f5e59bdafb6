//! [`ObjectVersion`]: which object it is, in which state.

use bytes::Bytes;

/// What tells an object from another one that has been put into its place, or from itself after a change. What is in it is the backend's own: a file's
/// number and times, an entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectVersion(Bytes);

impl ObjectVersion {
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
