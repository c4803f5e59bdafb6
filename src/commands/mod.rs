//! The subcommands, one file each.

mod attachments;
pub mod audit;
mod bar;
pub mod check;
pub mod evict;
pub mod export;
mod export_git;
pub mod import;
mod interrupt;
pub mod policy;
pub mod prefetch;
pub(crate) mod say;
pub mod serve;
pub mod token;
pub mod verify;
pub mod wanted;
