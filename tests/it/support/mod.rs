//! Test support: everything a test needs around the mirror, and nothing of the mirror itself.
//!
//! An [`Upstream`] is the crates.io behind the mirror, holding [`Package`]s and breaking on demand;
//! in front of it stand [`Cargo`], the real one, and [`client`], which shows every byte:
//!
//! ```text
//! Cargo / client  ->  the mirror under test  ->  Upstream (Package …, faults, gates)
//! ```
//!
//! Nothing here sleeps to wait for something: `await_requests` and `Gate` wait for the event.

#![allow(
    dead_code,
    unused_imports,
    reason = "a kit: no test uses all of it, and some of it waits for its first test"
)]
#![allow(
    unreachable_pub,
    reason = "`pub` is what tests may use; a test binary has no outside"
)]

pub mod cargo;
pub mod client;
pub mod fortress;
pub mod frames;
pub mod headers;
mod message;
pub mod mirror;
pub mod package;
pub mod process;
pub mod program;
mod selftest;
pub mod stored;
pub mod upstream;

pub use cargo::{Cargo, Output};
pub use client::{Connection, Reply};
pub use fortress::Fortress;
pub use frames::{Frame, Frames};
pub use headers::Headers;
pub use mirror::{Mirror, MirrorBuilder};
pub use package::{Package, index_path, sha256};
pub use process::Process;
pub use program::{Ended, Program, Running};
pub use upstream::{Gate, Rule, Seen, Upstream, UpstreamBuilder, When};
