//! Picking: the entries of a bundle, or of several no larger than what they are carried on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::SystemTime,
};

use super::{
    Entry, Head, MAX_MANIFEST, Selection, Since, Watch,
    entry::{self, Entries, Records},
    survey::{Found, Survey, Trouble},
};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
    store::Store,
};

/// What is to be picked.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Which crates.
    pub selection: Selection,
    /// What needn't be carried.
    pub since: Vec<Since>,
    /// Only this registry, if one is said.
    pub registry: Option<RegistryName>,
    /// How large one bundle may be, in bytes.
    pub limit: Option<u64>,
    /// Where the registries' indexes are, for the manifest.
    pub indexes: BTreeMap<RegistryName, String>,
}

/// What was picked.
pub struct Picked {
    pub(super) entries: Entries,
    /// The index records among them.
    pub(super) records: Records,
    pub(super) parts: Vec<Part>,
    /// What didn't go.
    pub trouble: Trouble,
}

/// One bundle's share.
pub(super) struct Part {
    /// Where its entries' lines are in the list.
    pub(super) lines: Range<u64>,
    /// Where its first index record is among all.
    pub(super) records: u64,
    pub(super) count: u64,
    pub(super) head: Head,
}

/// Picks what is stored, good and ordered; a part of several takes a crate whole, as long as there is room.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read, [`Kind::Config`](crate::error::Kind::Config) when a manifest to go on from can't,
/// or when an entry is larger than a part may be.
pub fn pick(store: &Store, order: &Order, watch: &Watch<'_>) -> Result<Picked> {
    let opened = order.since.iter().map(|since| since.open(store));
    let mut known = opened.collect::<Result<Vec<_>>>()?;
    let mut packer = Packer {
        entries: Entries::new(store.scratch()?),
        records: Records::new(store.scratch()?),
        room: order.limit.map_or(u64::MAX, |limit| room(limit, order)),
        manifest: room_in_manifest(order),
        is_split: order.limit.is_some(),
        indexes: &order.indexes,
        parts: Vec::new(),
        open: Open::default(),
    };
    let mut survey = Survey {
        store,
        watch,
        registry: order.registry,
        trouble: Trouble::default(),
    };
    survey.run(
        &order.selection,
        |entry, stored| {
            // Each is asked: they go through their lists in step.
            let mut has = false;
            for known in &mut known {
                has |= known.has(entry, stored)?;
            }
            Ok(has)
        },
        |found| packer.add(&found),
    )?;
    let trouble = survey.trouble;
    packer.close();
    Ok(Picked {
        entries: packer.entries,
        records: packer.records,
        parts: packer.parts,
        trouble,
    })
}

impl Picked {
    /// How many entries there are, and their bytes; in parts, some index records are there more than once.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.count, self.entries.bytes)
    }
}

/// What a bundle takes beside its entries: the manifest's first and last line, a signature, blocks of tar, a frame of zstd.
const BESIDE: u64 = 8 << 10;
/// What an entry takes beside its bytes: its header, a long name's header and block, and what fills its last block.
const BESIDE_ENTRY: u64 = 3 * 512 + 511;

/// What entries may take together in a bundle of `limit` bytes. Nothing is counted on to get smaller, and what can't be compressed gets larger, by less
/// than 1 in 256 (`ZSTD_compressBound`).
fn room(limit: u64, order: &Order) -> u64 {
    limit.saturating_sub(limit / 256 + beside(order))
}

/// What entries may take together in one manifest.
fn room_in_manifest(order: &Order) -> u64 {
    MAX_MANIFEST - beside(order).min(MAX_MANIFEST)
}

fn beside(order: &Order) -> u64 {
    let registries: usize = order.indexes.values().map(|url| 40 + url.len()).sum();
    BESIDE + registries as u64
}

fn cost(entry: &Entry) -> u64 {
    entry.size + BESIDE_ENTRY + line(entry)
}

/// What an entry takes in the manifest.
fn line(entry: &Entry) -> u64 {
    entry::line(entry).len() as u64 + 2
}

/// Puts entries into parts.
struct Packer<'a> {
    entries: Entries,
    records: Records,
    room: u64,
    /// What the entries of one part may take in its manifest, in bytes: readers refuse a larger one.
    manifest: u64,
    is_split: bool,
    indexes: &'a BTreeMap<RegistryName, String>,
    parts: Vec<Part>,
    open: Open,
}

/// The part that is being filled.
#[derive(Default)]
struct Open {
    start: u64,
    records: u64,
    count: u64,
    cost: u64,
    /// Bytes of the manifest that its entries take.
    lines: u64,
    created: Option<SystemTime>,
    registries: BTreeSet<RegistryName>,
}

impl Packer<'_> {
    fn add(&mut self, found: &Found) -> Result<()> {
        let index = found.index.iter();
        let entries = || {
            index
                .clone()
                .chain(found.crates.iter().map(|(_, entry)| entry))
        };
        let together: u64 = entries().map(cost).sum();
        let lines: u64 = entries().map(line).sum();
        if self.is_too_much(together, lines) {
            self.close();
        }
        for entry in entries() {
            if self.is_too_much(cost(entry), line(entry)) {
                self.close();
                // So that this part, too, can be imported alone.
                if let Some(index) = &found.index {
                    self.push(found, index)?;
                }
            }
            self.push(found, entry)?;
        }
        Ok(())
    }

    /// Whether what has this cost, and takes so many bytes of a manifest, is better put into the next part.
    fn is_too_much(&self, cost: u64, lines: u64) -> bool {
        let no_room = self.open.cost.saturating_add(cost) > self.room;
        let no_lines = self.is_split && self.open.lines + lines > self.manifest;
        self.open.count > 0 && (no_room || no_lines)
    }

    fn push(&mut self, found: &Found, entry: &Entry) -> Result<()> {
        let open = &mut self.open;
        if open.cost + cost(entry) > self.room {
            return Err(Error::config(format!(
                "--split: {} has {} bytes, which is more than one part has room for; choose a larger size",
                entry.path, entry.size
            )));
        }
        if open.lines + line(entry) > self.manifest {
            return Err(Error::config(format!(
                "one bundle has room for a manifest of {MAX_MANIFEST} bytes, and {} entries take more; use --split",
                open.count
            )));
        }
        open.cost += cost(entry);
        open.lines += line(entry);
        open.count += 1;
        if found.index.as_ref() == Some(entry) {
            open.created = open.created.max(Some(found.record.checked_at));
            self.records.push(&found.bytes)?;
        }
        open.registries.insert(found.key.registry);
        self.entries.push(entry)
    }

    /// Ends the part that is being filled; the first one is there even if it is empty.
    fn close(&mut self) {
        let end = self.entries.length();
        let open = std::mem::take(&mut self.open);
        (self.open.start, self.open.records) = (end, self.records.length());
        if open.count == 0 && !self.parts.is_empty() {
            return;
        }
        let index = |name: RegistryName| (name.to_string(), self.indexes.get(&name).cloned());
        let registries = open.registries.into_iter().map(index).collect();
        self.parts.push(Part {
            lines: open.start..end,
            records: open.records,
            count: open.count,
            head: Head::new(open.created, registries),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{CrateName, IndexFile, IndexKey, Sha256, Validators},
        store::IndexRecord,
    };

    fn found(name: &str) -> Found {
        let name = CrateName::parse(name).expect("a name");
        let key = IndexKey::new(RegistryName::crates_io(), name);
        let sha256 = Sha256::of(b"");
        let text = format!(
            "{{\"name\":\"{name}\",\"vers\":\"1.0.0\",\"cksum\":\"{sha256}\",\"yanked\":false}}\n"
        );
        let file = IndexFile::parse(key.path, text.into()).expect("an index file");
        let record = IndexRecord {
            body: file.body().clone(),
            sha256: Sha256::of(file.body()),
            validators: Validators::default(),
            fetched_at: SystemTime::UNIX_EPOCH,
            checked_at: SystemTime::UNIX_EPOCH,
            gone: false,
        };
        let bytes = bytes::Bytes::from(record.encode().concat());
        let index = Some(Entry {
            path: key.path(),
            size: bytes.len() as u64,
            sha256: Sha256::of(&bytes),
            body: Some(record.sha256),
        });
        Found {
            key,
            record,
            bytes,
            file,
            index,
            crates: Vec::new(),
        }
    }

    /// Nobody would find out before the other side refuses it.
    #[test]
    fn a_manifest_is_never_larger_than_readers_take() {
        let indexes = BTreeMap::new();
        let names: Vec<_> = (0..10).map(|n| format!("crate-{n}")).collect();
        let of_one = line(found(&names[0]).index.as_ref().expect("an entry"));
        for is_split in [false, true] {
            let file = || tempfile::tempfile().expect("a file");
            let mut packer = Packer {
                entries: Entries::new(file()),
                records: Records::new(file()),
                room: u64::MAX,
                manifest: 3 * of_one + 1,
                is_split,
                indexes: &indexes,
                parts: Vec::new(),
                open: Open::default(),
            };
            let added = names.iter().try_for_each(|name| packer.add(&found(name)));
            packer.close();
            match is_split {
                true => {
                    added.expect("room in parts");
                    let counts: Vec<_> = packer.parts.iter().map(|part| part.count).collect();
                    assert_eq!(counts, [3, 3, 3, 1]);
                }
                false => {
                    let error = added.expect_err("no room");
                    assert!(error.message().contains("use --split"), "{error}");
                }
            }
        }
    }
}
