//! [`Store`]: bytes in, verified bytes out. Takes keys, never paths, and knows nothing of HTTP.
//!
//! What holds wherever objects are kept is in this folder's own files: each object is checked whenever it is read, what fails its check is dropped, and
//! failures are counted and said. Where the bytes are is a backend's matter: `backend.rs` says what one has to be able to do, `folder/`, `bucket/` and `tiers/`
//! (the one in front of the other) do it, and `open.rs` chooses.
//!
//! No index of what is stored is kept, so nothing has to be scanned at start and nothing can disagree with the objects after a crash.

mod backend;
mod batch;
mod blocking;
mod blocks;
mod board;
mod bucket;
mod change;
mod complaints;
mod corrupt;
mod disk;
mod doubts;
mod failed;
mod file_blocks;
mod folder;
mod glance;
mod handle;
mod holdings;
mod inventory;
mod load;
mod manifest;
mod mark;
mod missed;
mod needed;
mod noted;
mod odd;
mod open;
mod reader;
mod record;
mod record_heads;
mod removal;
mod save;
mod sight;
mod signed;
mod signed_url;
mod spool;
#[cfg(test)]
mod suite;
#[cfg(feature = "testing")]
mod testing;
mod tiers;
mod toolchains;
mod unreadable;
mod verify;
mod version;

pub(crate) use folder::{set_readable, sync_file_system};
pub(crate) use verify::digest;

pub use batch::{Batch, GivesWay};
pub use board::{Board, Note};
pub use bucket::{BucketSettings, SigningSettings};
pub use disk::{Pulse, THREADS};
pub use doubts::Doubt;
pub use folder::FolderSettings;
pub use glance::GLANCE;
pub use handle::{Store, StorePlace};
pub use holdings::{Holding, Incoming, Object};
pub use load::{StoredFile, StoredRecord};
pub use mark::Mark;
pub use odd::Odd;
pub use reader::StoredFileReader;
pub use record::{Age, RecordHead, StoreRecord};
pub use removal::Removal;
pub use sight::{Links, Next, Sight, Stored};
pub use signed::Signed;
pub use spool::{Spool, SpoolReader};
#[cfg(feature = "testing")]
pub use testing::{DiskStall, Fault, Touch};
pub use toolchains::{ListedManifest, ToolchainHolding};
pub use verify::{Flaw, Verification};
