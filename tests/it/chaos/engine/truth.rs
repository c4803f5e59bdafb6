//! The truth: every index file and every crate file that upstream has ever had, so that an answer can be told from a lie.
//!
//! A mirror may be behind upstream, but it may never say what upstream has never said.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::support::sha256;

/// How long "there is no such thing" may outlive the moment it became wrong: what was asked before is still under way, and it is
/// remembered for a moment.
const LAG: Duration = Duration::from_secs(5);
/// The same for what was taken back and has returned: what upstream said last holds until it can be asked again, through outages and restarts, and a
/// host that keeps failing is asked every 30 s at the least.
const LAG_AFTER_RETURN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Truth {
    /// By lower-case name.
    crates: Mutex<BTreeMap<String, Crate>>,
    /// Held while upstream changes: what it has then may be seen before it is noted here.
    pub(super) editing: tokio::sync::Mutex<()>,
}

struct Crate {
    name: String,
    bodies: HashSet<String>,
    versions: BTreeMap<String, Version>,
    presence: Presence,
}

#[derive(Default)]
struct Version {
    contents: BTreeSet<String>,
    presence: Presence,
}

/// Since when something is published without a break.
#[derive(Clone, Copy, Default)]
struct Presence {
    since: Option<Instant>,
    was_removed: bool,
}

impl Presence {
    fn begins(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn ends(&mut self) {
        self.since = None;
        self.was_removed = true;
    }

    fn certain_at(self, asked: Instant) -> bool {
        let lag = match self.was_removed {
            true => LAG_AFTER_RETURN,
            false => LAG,
        };
        self.since.is_some_and(|since| since + lag < asked)
    }
}

impl Truth {
    /// Upstream has this version now, with this content, and this index file.
    pub(super) fn published(&self, name: &str, version: &str, content: &[u8], body: &str) {
        let content = sha256(content);
        self.note(name, body, |entry| {
            let held = entry.versions.entry(version.to_owned()).or_default();
            held.contents.insert(content);
            held.presence.begins();
        });
    }

    /// Upstream's index file is another one now.
    pub(super) fn changed(&self, name: &str, body: &str) {
        self.note(name, body, |_| {});
    }

    pub(super) fn removed_version(&self, name: &str, version: &str, body: &str) {
        self.note(name, body, |entry| {
            let held = entry.versions.get_mut(version);
            held.expect("a published version").presence.ends();
        });
    }

    pub(super) fn removed(&self, name: &str) {
        let mut crates = self.lock();
        let entry = crates.get_mut(&name.to_ascii_lowercase());
        let entry = entry.expect("a published crate");
        entry.presence.ends();
        for version in entry.versions.values_mut() {
            version.presence.ends();
        }
    }

    fn note(&self, name: &str, body: &str, change: impl FnOnce(&mut Crate)) {
        let mut crates = self.lock();
        let entry = crates
            .entry(name.to_ascii_lowercase())
            .or_insert_with(|| Crate {
                name: name.to_owned(),
                bodies: HashSet::new(),
                versions: BTreeMap::new(),
                presence: Presence::default(),
            });
        entry.presence.begins();
        entry.bodies.insert(sha256(body.as_bytes()));
        change(entry);
    }

    /// Whether upstream has ever had this index file; `body` is its checksum.
    pub(super) async fn had_body(&self, name: &str, body: &str) -> bool {
        let known = |entry: &Crate| entry.bodies.contains(body);
        self.knew(name, known).await
    }

    /// Whether upstream has ever had this crate file; `content` is its checksum.
    pub(super) async fn had_content(&self, name: &str, version: &str, content: &str) -> bool {
        let known = |held: &Version| held.contents.contains(content);
        let known = |entry: &Crate| entry.versions.get(version).is_some_and(known);
        self.knew(name, known).await
    }

    /// Waits for a change under way, if this isn't known: upstream may have got it just now.
    async fn knew(&self, name: &str, known: impl Fn(&Crate) -> bool) -> bool {
        if self.ask(name, &known).unwrap_or(false) {
            return true;
        }
        let _settled = self.editing.lock().await;
        self.ask(name, known).unwrap_or(false)
    }

    /// Whether a mirror that was asked at that time has no reason to say that there is no such crate.
    pub(super) fn is_certain(&self, name: &str, asked: Instant) -> bool {
        let certain = |entry: &Crate| entry.presence.certain_at(asked);
        self.ask(name, certain).unwrap_or(false)
    }

    /// The same for a version.
    pub(super) fn is_certain_version(&self, name: &str, version: &str, asked: Instant) -> bool {
        let certain = |held: &Version| held.presence.certain_at(asked);
        // A version is no more certain than its crate: it may be new in one that has returned.
        let certain = |entry: &Crate| {
            entry.presence.certain_at(asked) && entry.versions.get(version).is_some_and(certain)
        };
        self.ask(name, certain).unwrap_or(false)
    }

    /// Whether a crate that is there has never been taken back.
    pub(super) fn was_always_there(&self, name: &str) -> bool {
        let always = |entry: &Crate| !entry.presence.was_removed;
        self.ask(name, always).unwrap_or(false)
    }

    /// The same for a version, which also must always have been the same file.
    pub(super) fn was_always_the_same(&self, name: &str, version: &str) -> bool {
        let same = |held: &Version| held.contents.len() == 1 && !held.presence.was_removed;
        let same = |entry: &Crate| entry.versions.get(version).is_some_and(same);
        self.ask(name, same).unwrap_or(false)
    }

    /// The name as its crate writes it.
    pub(super) fn canonical(&self, name: &str) -> Option<String> {
        self.ask(name, |entry| entry.name.clone())
    }

    /// Every crate there is now, with the versions it has.
    pub(super) fn present(&self) -> Vec<(String, Vec<String>)> {
        let there = |presence: &Presence| presence.since.is_some();
        let crates = self.lock();
        let present = crates.values().filter(|entry| there(&entry.presence));
        present
            .map(|entry| {
                let versions = entry.versions.iter();
                let versions = versions.filter(|(_, held)| there(&held.presence));
                let versions = versions.map(|(version, _)| version.clone()).collect();
                (entry.name.clone(), versions)
            })
            .collect()
    }

    /// Some crate that is or was there; the first names come up more often.
    pub(super) fn some_name(&self, rng: &mut Rng) -> String {
        let crates = self.lock();
        let at = rng.usize(0..crates.len()).min(rng.usize(0..crates.len()));
        let entry = crates.values().nth(at).expect("there is a crate");
        entry.name.clone()
    }

    /// Some version that is or was there; the later ones come up more often.
    pub(super) fn some_version(&self, rng: &mut Rng) -> (String, String) {
        let name = self.some_name(rng);
        let crates = self.lock();
        let versions = &crates[&name.to_ascii_lowercase()].versions;
        let count = versions.len();
        let at = rng.usize(0..count).max(rng.usize(0..count));
        let version = versions.keys().nth(at).expect("a crate has a version");
        (name, version.clone())
    }

    fn ask<T>(&self, name: &str, question: impl FnOnce(&Crate) -> T) -> Option<T> {
        self.lock().get(&name.to_ascii_lowercase()).map(question)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Crate>> {
        self.crates.lock().expect("the truth's lock")
    }
}
