//! The subcommands, one file each.

mod bar;
pub mod check;
pub mod evict;
pub mod export;
pub mod import;
pub mod prefetch;
pub mod serve;
pub mod verify;
pub mod wanted;
