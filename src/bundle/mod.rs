//! A bundle: stored objects on their way to a store that no network leads to, as one file.
//!
//! It is a tar archive compressed with zstd, which standard tools open: `manifest.json` first, then `manifest.json.minisig` if it is signed, then what is
//! attached (`advisories.tar.zst`, `policy.toml`), which the manifest lists before its entries, then the objects under the paths they have in a store, in the manifest's order. That order is: by registry, then by the path of a crate's index file, a
//! crate's index record before its .crate files; toolchains stand among the registries, as if one were called so, by the folder, what says which files there are before these. So whoever reads one needs only one crate's index in memory, and two manifests can be compared
//! side by side without either being held.
//!
//! The same objects make the same bytes: no clock, no owner, no list in an order of chance. Only a signature differs each time.
//!
//! Everything here blocks, and takes the same little memory however large the bundle: lists of entries are in scratch files.

mod attachment;
mod bare_repository;
mod baseline;
mod collect;
mod entry;
mod export;
mod format;
mod import;
mod listed;
mod manifest;
mod observer;
mod read;
mod scope;
mod sign;
mod survey;
mod toolchain_scope;
mod toolchains;
mod tree;
mod write;

pub use attachment::{AttachedFile, Attachment, AttachmentKind};
pub use bare_repository::bare_repository;
pub use baseline::{Baseline, OpenBaseline};
pub use collect::{CollectError, Contents, Plan, collect};
pub use entry::BundleEntry;
pub use export::{ExportedFile, Output, UnwritablePath, export};
pub use format::{FORMAT, MAX_FILE, MAX_MANIFEST, MAX_RECORD};
pub use import::{Imported, import, import_archive};
pub use manifest::Head;
pub use observer::Observer;
pub use read::{EntryContent, Sink, read, read_archive};
pub use scope::{Scope, SelectedCrates};
pub use sign::{NotPublicKey, PublicKey, SecretKeyError, SigningKey};
pub use survey::LeftOut;
pub use toolchain_scope::{SelectedToolchains, ToolchainScope};
pub use tree::{Layout, Planted, Tree, plant};
