//! [`Tier`]: which of the places an object came from, told by its version.

use crate::store::version::ObjectVersion;

/// Where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Folder,
    Bucket,
}

impl Tier {
    const FOLDER: u8 = b'f';
    const BUCKET: u8 = b'b';

    /// A version of this tier, so that it can be told.
    pub(super) fn mark(self, version: &ObjectVersion) -> ObjectVersion {
        let tag = match self {
            Self::Folder => Self::FOLDER,
            Self::Bucket => Self::BUCKET,
        };
        ObjectVersion::new([&[tag], version.as_bytes()].concat())
    }

    /// Which tier a marked version is of, and the version as that tier knows it; `None` for what was never marked.
    pub(super) fn of(version: &ObjectVersion) -> Option<(Self, ObjectVersion)> {
        let (tag, rest) = version.as_bytes().split_first()?;
        let tier = match *tag {
            Self::FOLDER => Self::Folder,
            Self::BUCKET => Self::Bucket,
            _ => return None,
        };
        Some((tier, ObjectVersion::new(rest.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_which_tier_it_is_of() {
        for version in ["", "\"etag\"", "f"].map(ObjectVersion::new) {
            for tier in [Tier::Folder, Tier::Bucket] {
                assert_eq!(
                    Tier::of(&tier.mark(&version)),
                    Some((tier, version.clone()))
                );
            }
        }
        assert_eq!(Tier::of(&ObjectVersion::new("")), None);
        assert_eq!(Tier::of(&ObjectVersion::new("x")), None);
    }
}
