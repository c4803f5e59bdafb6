//! The subcommands, one file each.

mod address_file;
mod attachments;
pub mod audit;
mod bar;
pub mod check;
pub mod completions;
pub mod evict;
pub mod export;
mod export_git;
pub mod health;
pub mod import;
pub mod init;
mod interrupt;
pub mod live_line;
pub mod manual;
pub mod policy;
pub mod prefetch;
pub(crate) mod say;
pub mod serve;
mod service_manager;
pub mod terminal;
pub mod token;
pub mod verify;
pub mod wanted;
