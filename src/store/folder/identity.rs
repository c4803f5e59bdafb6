//! [`Identity`]: which file it is, and in which state.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use crate::store::version::ObjectVersion;

/// A file that was written so lately may be half of what somebody is writing.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// Which file it is, and in which state: what tells it from another one that has been put into its place, or from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Which file was opened, and whether it can be taken for finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nobody has written into it lately, as far as is known.
    Settled(Identity),
    /// It may be half of what somebody is writing.
    Fresh,
}

impl Identity {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    /// Whether it is the same file, whatever its state.
    pub(super) fn is_file_of(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Seen {
    /// The file of this `identity`, last `written` then, as it is `now`.
    pub(super) fn new(identity: Identity, written: SystemTime, now: SystemTime) -> Self {
        match now.duration_since(written) {
            Ok(age) if age >= WRITTEN_WITHIN => Self::Settled(identity),
            Ok(_) | Err(_) => Self::Fresh,
        }
    }

    /// It in the store's terms.
    pub(super) fn version(self) -> ObjectVersion {
        let Self::Settled(identity) = self else {
            return ObjectVersion::new(Vec::new());
        };
        let Identity {
            device,
            inode,
            size,
            modified: (seconds, nanoseconds),
        } = identity;
        let times = [seconds, nanoseconds].map(i64::to_le_bytes);
        let bytes = [device, inode, size].map(u64::to_le_bytes);
        ObjectVersion::new([bytes.as_flattened(), times.as_flattened()].concat())
    }

    /// Reads what [`version`](Self::version) has written; of what it hasn't, nothing is known to be finished.
    pub(super) fn of_version(version: &ObjectVersion) -> Self {
        let (words, _) = version.as_bytes().as_chunks::<8>();
        let [device, inode, size, seconds, nanoseconds] = words else {
            return Self::Fresh;
        };
        Self::Settled(Identity {
            device: u64::from_le_bytes(*device),
            inode: u64::from_le_bytes(*inode),
            size: u64::from_le_bytes(*size),
            modified: (
                i64::from_le_bytes(*seconds),
                i64::from_le_bytes(*nanoseconds),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_which_file_and_which_state() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let identity = Identity::of(&file.as_file().metadata().expect("a file"));
        for seen in [Seen::Settled(identity), Seen::Fresh] {
            assert_eq!(Seen::of_version(&seen.version()), seen);
        }
        file.as_file().set_len(1).expect("a change");
        let later = Identity::of(&file.as_file().metadata().expect("a file"));
        assert_ne!(
            Seen::Settled(later).version(),
            Seen::Settled(identity).version()
        );
        assert!(later.is_file_of(&identity));
    }
}
