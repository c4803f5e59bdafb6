//! The subcommands, one file each.

pub mod check;
pub mod evict;
pub mod prefetch;
pub mod serve;
pub mod verify;
pub mod wanted;
