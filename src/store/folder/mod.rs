//! A store's objects as plain files below one folder: the file system is the database.
//!
//! Each object is written beside its place and renamed into it, so that none is ever there in part. What makes a folder different from other places is
//! known here only: links, pipes and devices in an object's place, files that others write into, modification times as last uses, disks that hang.

mod backend;
mod files;
mod identity;
mod incoming;
mod mark;
mod missed;
mod names;
mod path;
mod read;
mod removal;
mod settings;
mod sync;
mod usable;
mod walk;
mod write;

pub(crate) use sync::sync_file_system;
pub(crate) use write::set_readable;

pub use settings::FolderSettings;

pub(super) use backend::FolderBackend;
