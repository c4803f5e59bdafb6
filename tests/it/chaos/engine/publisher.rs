//! The publisher: authors who publish, yank, publish again under the same number and delete, all the time.
//!
//! *Pillars* are crates that stay: faults borrow their files, and only their newest version ever goes, so that what stands in their index files above
//! it stays where it is. *Guests* come and go.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::World;
use crate::support::Package;

/// The crates that stay. One has capitals and an underscore, one each of the short index paths.
pub(super) const PILLARS: [&str; 6] = ["a", "io", "nom", "serde", "Mixed_Case", "tokio-util"];
/// The version of a pillar that stays.
pub(super) const FIRST: &str = "1.0.0";
const GUESTS: [&str; 14] = [
    "anyhow",
    "bitflags",
    "bytes",
    "cfg-if",
    "futures",
    "hashbrown",
    "libc",
    "log",
    "memchr",
    "once_cell",
    "rand",
    "regex",
    "syn",
    "url",
];
/// A crate has no more versions at once, which bounds what upstream holds in memory.
const MOST: usize = 7;

pub(super) struct Publisher {
    world: Arc<World>,
    rng: Rng,
    shelf: Vec<Published>,
}

/// A crate as its author knows it.
struct Published {
    name: &'static str,
    stays: bool,
    /// The minor numbers of what is published, in the order it was.
    versions: Vec<u32>,
    next: u32,
}

impl Published {
    fn new(name: &'static str, stays: bool) -> Published {
        let (versions, next) = (Vec::new(), 0);
        Published {
            name,
            stays,
            versions,
            next,
        }
    }
}

fn number(minor: u32) -> String {
    format!("1.{minor}.0")
}

/// Mostly small, some too large for the mirror's memory, few so large that they take a while; always the same for the same version.
fn size(at: usize, minor: u32) -> usize {
    let mut rng = Rng::with_seed((at as u64) << 32 | u64::from(minor));
    match rng.u8(0..20) {
        0 => rng.usize(1_000_000..3_000_000),
        1..=4 => rng.usize(260_000..900_000),
        5..=12 => rng.usize(20_000..200_000),
        _ => rng.usize(500..20_000),
    }
}

impl Publisher {
    pub(super) fn new(world: Arc<World>, rng: Rng) -> Publisher {
        let pillars = PILLARS.map(|name| Published::new(name, true));
        let guests = GUESTS.map(|name| Published::new(name, false));
        Publisher {
            world,
            rng,
            shelf: pillars.into_iter().chain(guests).collect(),
        }
    }

    /// What there is at the beginning.
    pub(super) async fn found(&mut self) {
        for at in 0..self.shelf.len() {
            for _ in 0..self.rng.u8(1..4) {
                self.publish_next(at).await;
            }
        }
    }

    /// One change after the other until the end; none is left half done.
    pub(super) async fn run(mut self, end: CancellationToken) {
        while !end.is_cancelled() {
            sleep(Duration::from_millis(self.rng.u64(30..250))).await;
            let at = self.rng.usize(0..self.shelf.len());
            if self.shelf[at].versions.is_empty() {
                self.publish_next(at).await;
                continue;
            }
            match self.rng.u8(0..20) {
                0..=10 if self.shelf[at].versions.len() < MOST => self.publish_next(at).await,
                0..=10 => self.delete_version(at).await,
                11..=14 => self.yank(at).await,
                15..=16 => self.publish_again(at).await,
                17..=18 => self.delete_version(at).await,
                _ => self.delete(at).await,
            }
        }
    }

    async fn publish_next(&mut self, at: usize) {
        let minor = self.shelf[at].next;
        self.shelf[at].next += 1;
        self.shelf[at].versions.push(minor);
        self.publish(at, minor).await;
    }

    /// Publishes a version again that is there, or that was there before. The content is the same, because a mirror refuses any other.
    async fn publish_again(&mut self, at: usize) {
        let minor = self.rng.u32(0..self.shelf[at].next);
        let versions = &mut self.shelf[at].versions;
        if !versions.contains(&minor) {
            versions.push(minor);
        }
        self.publish(at, minor).await;
    }

    async fn publish(&mut self, at: usize, minor: u32) {
        let (name, version) = (self.shelf[at].name, number(minor));
        // The line's length depends on the version and not on the content, so that nothing else in the index file moves when it is published again.
        let note = "~".repeat(minor as usize * 97 % 1_500);
        let package = Package::new(name, &version)
            .payload(size(at, minor))
            .field("note", json!(note));
        let _editing = self.world.truth.editing.lock().await;
        let world = self.world.clone();
        // Packing megabytes would hold up everybody who shares this thread.
        let published = tokio::task::spawn_blocking(move || {
            let upstream = &world.upstream;
            upstream.publish(package);
            let content = upstream.crate_file(name, &version);
            let body = upstream.index_file(name);
            world.truth.published(name, &version, &content, &body);
        });
        published.await.expect("published");
    }

    async fn yank(&mut self, at: usize) {
        let Published { name, versions, .. } = &self.shelf[at];
        let minor = versions[self.rng.usize(0..versions.len())];
        let World {
            upstream, truth, ..
        } = &*self.world;
        let _editing = truth.editing.lock().await;
        match self.rng.bool() {
            true => upstream.yank(name, &number(minor)),
            false => upstream.unyank(name, &number(minor)),
        }
        truth.changed(name, &upstream.index_file(name));
    }

    /// The newest version of a pillar, any of a guest; a crate without versions has no index file, so one stays.
    async fn delete_version(&mut self, at: usize) {
        let Published {
            name,
            stays,
            versions,
            ..
        } = &mut self.shelf[at];
        if versions.len() < 2 {
            return;
        }
        let at = match stays {
            true => versions.len() - 1,
            false => self.rng.usize(0..versions.len()),
        };
        let version = number(versions.remove(at));
        let World {
            upstream, truth, ..
        } = &*self.world;
        let _editing = truth.editing.lock().await;
        upstream.delete_version(name, &version);
        truth.removed_version(name, &version, &upstream.index_file(name));
    }

    /// The whole crate goes, if it is a guest, and comes back when it is its turn again.
    async fn delete(&mut self, at: usize) {
        let Published {
            name,
            stays: false,
            versions,
            ..
        } = &mut self.shelf[at]
        else {
            return;
        };
        versions.clear();
        let _editing = self.world.truth.editing.lock().await;
        self.world.upstream.delete(name);
        self.world.truth.removed(name);
    }
}
