//! Test support: everything a test needs around the mirror, and nothing of the mirror itself.
//!
//! An [`Upstream`] is the crates.io behind the mirror, holding [`Package`]s and breaking on demand;
//! in front of it stand [`Cargo`], the real one, and [`client`], which shows every byte:
//!
//! ```text
//! Cargo / client  ->  the mirror under test  ->  Upstream (Package …, faults, gates)
//! ```
//!
//! Nothing here sleeps to wait for something: `await_requests` and `Gate` wait for the event. Only what is on a disk has to be looked for: `until`.

#![allow(
    dead_code,
    unused_imports,
    reason = "a kit: no test uses all of it, and some of it waits for its first test"
)]
#![allow(
    unreachable_pub,
    reason = "`pub` is what tests may use; a test binary has no outside"
)]

use std::{
    panic::Location,
    time::{Duration, Instant},
};

pub mod advisory_db;
pub mod browser;
pub mod bucket;
pub mod bundle;
pub mod cargo;
pub mod client;
pub mod curl;
pub mod dist;
pub mod files;
pub mod fortress;
pub mod frames;
pub mod git;
pub mod headers;
pub mod identity;
mod message;
pub mod mirror;
pub mod package;
pub mod process;
pub mod program;
pub mod proxy;
pub mod requests;
mod selftest;
pub mod stored;
pub mod tls;
pub mod tokens;
pub mod tools;
pub mod upstream;
pub mod zone;

pub use bucket::Bucket;
pub use cargo::{Cargo, Output};
pub use client::{Connection, Reply, assert_serves};
pub use curl::curl;
pub use dist::{Dist, Release};
pub use fortress::Fortress;
pub use frames::{Frame, Frames};
pub use git::Git;
pub use headers::Headers;
pub use identity::{Authority, Identity, Subject, TlsClient, TlsFolder};
pub use mirror::{Mirror, MirrorBuilder};
pub use package::{Package, index_path, sha256};
pub use process::{Process, command, command_held_by_modes};
pub use program::{Ended, Program, Running};
pub use proxy::Proxy;
pub use tls::{Certificate, Tls};
pub use tokens::TokenFile;
pub use upstream::{Gate, Relay, Rule, Seen, Server, Upstream, UpstreamBuilder, When};
pub use zone::{Zone, ZoneBuilder};

/// Looks again and again whether something that can't be awaited has come about, such as a file on a disk; panics after 20 seconds.
#[track_caller]
pub fn until(what: &str, come_about: impl Fn() -> bool) -> impl Future<Output = ()> {
    let (started, caller) = (Instant::now(), Location::caller());
    async move {
        while !come_about() {
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(20), "{caller}: never {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Only one test at a time measures memory. A thread of the allocator gives freed memory back to the system; several such tests at once kept it from
/// running for so long that the figures were wrong.
pub async fn memory_is_measured() -> tokio::sync::MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ONE_AT_A_TIME.lock().await
}
