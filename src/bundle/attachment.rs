//! [`Attachment`]: what a bundle carries beside a store's objects: the database of advisories and the policy, signed with the rest.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::entry::BundleEntry;
use crate::domain::Sha256;

/// What may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachmentKind {
    /// A database of advisories, as an archive in tar and zstd.
    Advisories,
    /// The tables `[policy]` and `[views]` of settings, as TOML.
    Policy,
}

impl AttachmentKind {
    const ALL: [Self; 2] = [Self::Advisories, Self::Policy];

    /// Its path in a bundle. No key makes it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Advisories => "advisories.tar.zst",
            Self::Policy => "policy.toml",
        }
    }

    /// How many bytes are carried at most. All of RustSec has 300 KB.
    pub const fn largest(self) -> u64 {
        match self {
            Self::Advisories => 32 << 20,
            Self::Policy => 1 << 20,
        }
    }
}

impl fmt::Display for AttachmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advisories => "the database of advisories",
            Self::Policy => "the policy",
        })
    }
}

/// Something attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What it is.
    pub kind: AttachmentKind,
    /// Its bytes, no more than are carried.
    pub bytes: Vec<u8>,
    /// How old it is, as an RFC 3339 time, where that matters.
    pub as_of: Option<String>,
}

impl Attachment {
    pub(super) fn listed(&self) -> AttachedFile {
        AttachedFile {
            entry: BundleEntry {
                path: self.kind.path().to_owned(),
                size: self.bytes.len() as u64,
                sha256: Sha256::of(&self.bytes),
                body: None,
            },
            as_of: self.as_of.clone(),
        }
    }
}

/// An attachment as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttachedFile {
    /// Its path, size and digest.
    #[serde(flatten)]
    pub entry: BundleEntry,
    /// How old it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

impl AttachedFile {
    /// What it is; nothing else can be made of a manifest.
    pub(super) fn kind(&self) -> Option<AttachmentKind> {
        let mut all = AttachmentKind::ALL.into_iter();
        all.find(|kind| kind.path() == self.entry.path)
    }
}

impl<'de> Deserialize<'de> for AttachedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            path: String,
            size: u64,
            sha256: Sha256,
            as_of: Option<String>,
        }
        let Fields {
            path,
            size,
            sha256,
            as_of,
        } = Fields::deserialize(deserializer)?;
        let entry = BundleEntry {
            path,
            size,
            sha256,
            body: None,
        };
        let file = Self { entry, as_of };
        match file.kind() {
            Some(kind) if file.entry.size <= kind.largest() => Ok(file),
            Some(kind) => Err(de::Error::custom(format!(
                "{kind} has more than the {} bytes that are carried",
                kind.largest()
            ))),
            None => Err(de::Error::custom(
                "it carries something beside crates that this program doesn't know",
            )),
        }
    }
}

/// The attachments of a manifest: each kind at most once, in their order.
pub(super) fn read_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<AttachedFile>, D::Error> {
    struct List;
    impl<'de> de::Visitor<'de> for List {
        type Value = Vec<AttachedFile>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of what is attached")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::<AttachedFile>::new();
            while let Some(file) = list.next_element::<AttachedFile>()? {
                if all.last().is_some_and(|last| last.kind() >= file.kind()) {
                    return Err(de::Error::custom("something is attached twice"));
                }
                all.push(file);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(List)
}
