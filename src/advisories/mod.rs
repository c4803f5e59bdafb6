//! Advisories from files: a RustSec database or a folder of OSV JSON, read again when it changes.
//!
//! What a file says is the business of [`policy::advisories`](crate::policy::advisories); here files are found and read, within bounds, and followed. One that
//! can't be read is passed over; a database that can't be read, or has nothing in it any more, leaves what was read before in force.

mod archive;
mod carry;
mod database;
mod failed;
mod file_format;
mod follow;
mod gathering;
mod tree;

pub use carry::{Packed, Placed, pack, place};
pub use database::Database;
pub use follow::{AdvisoriesFollower, LOOK_EVERY, open};
