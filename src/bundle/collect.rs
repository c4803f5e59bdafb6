//! Collecting: the entries of a bundle, or of several no larger than what they are carried on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    attachment::Attachment,
    baseline::OpenBaseline,
    entry::{self, BundleEntry, Entries, ScratchRecords},
    format::MAX_MANIFEST,
    manifest::Head,
    observer::Observer,
    scope::Scope,
    survey::{LeftOut, Survey, Surveyed},
    toolchain_scope::ToolchainScope,
};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
    policy::Gate,
    store::Store,
};

/// What is to be carried, and in what.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Which crates.
    pub scope: Scope,
    /// Only this registry, if one is said.
    pub registry: Option<RegistryName>,
    /// Which toolchains.
    pub toolchains: ToolchainScope,
    /// How large one bundle may be, in bytes.
    pub limit: Option<u64>,
    /// Where the registries' indexes are, for the manifest.
    pub indexes: BTreeMap<RegistryName, String>,
    /// What goes with them, in the first bundle, each kind once.
    pub attachments: Vec<Attachment>,
    /// The rules that keep .crate files out.
    pub gate: Option<Gate>,
}

/// What goes, in one bundle or in several.
pub struct Contents {
    pub(super) entries: Entries,
    /// The index records among them.
    pub(super) records: ScratchRecords,
    pub(super) parts: Vec<BundlePart>,
    /// What doesn't go.
    pub left_out: LeftOut,
}

/// Why nothing was collected.
#[derive(Debug)]
pub enum CollectError {
    /// This entry is larger than a part has room for.
    EntryTooLarge {
        /// Its path.
        path: String,
        /// How many bytes it has.
        size: u64,
    },
    /// A bundle's manifest may have [`MAX_MANIFEST`] bytes, and so many entries take more.
    TooManyEntries(u64),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for CollectError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One bundle's share.
pub(super) struct BundlePart {
    /// Where its entries' lines are in the list.
    pub(super) lines: Range<u64>,
    /// Where its first index record is among all.
    pub(super) records: u64,
    pub(super) count: u64,
    pub(super) head: Head,
    pub(super) attachments: Vec<Attachment>,
}

/// Collects what is stored, good and planned, and not among what the other side is `known` to have; a part of several takes a crate whole, as long as
/// there is room.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read, and when what is to be carried doesn't fit.
pub fn collect(
    store: &Store,
    plan: &Plan,
    mut known: Vec<OpenBaseline>,
    observer: &Observer<'_>,
) -> Result<Contents, CollectError> {
    let mut packer = Packer {
        entries: Entries::new(store.scratch()?),
        records: ScratchRecords::new(store.scratch()?),
        room: plan.limit.map_or(u64::MAX, |limit| room(limit, plan)),
        manifest: room_in_manifest(plan),
        is_split: plan.limit.is_some(),
        indexes: &plan.indexes,
        parts: Vec::new(),
        open: OpenPart::default(),
        attachments: plan.attachments.clone(),
    };
    packer.make_room_for_attachments()?;
    let mut survey = Survey {
        store,
        observer,
        registry: plan.registry,
        gate: plan.gate.as_ref(),
        toolchains: plan.toolchains.clone(),
        left_out: LeftOut::default(),
    };
    let mut too_large = None;
    let surveyed = survey.run(
        &plan.scope,
        |entry, stored| {
            // Each is asked: they go through their lists in step.
            let mut has = false;
            for known in &mut known {
                has |= known.has(entry, stored)?;
            }
            Ok(has)
        },
        |found| match packer.add(&Group::of(&found)) {
            Err(CollectError::Failed(e)) => Err(e),
            Err(e) => {
                too_large = Some(e);
                Err(Error::cancelled("not all of it fits"))
            }
            Ok(()) => Ok(()),
        },
    );
    if let Some(e) = too_large {
        return Err(e);
    }
    surveyed?;
    let left_out = survey.left_out;
    packer.close();
    Ok(Contents {
        entries: packer.entries,
        records: packer.records,
        parts: packer.parts,
        left_out,
    })
}

impl Contents {
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
fn room(limit: u64, plan: &Plan) -> u64 {
    limit.saturating_sub(limit / 256 + beside(plan))
}

/// What entries may take together in one manifest.
fn room_in_manifest(plan: &Plan) -> u64 {
    MAX_MANIFEST - beside(plan).min(MAX_MANIFEST)
}

fn beside(plan: &Plan) -> u64 {
    let registries: usize = plan.indexes.values().map(|url| 40 + url.len()).sum();
    BESIDE + registries as u64
}

fn cost(entry: &BundleEntry) -> u64 {
    entry.size + BESIDE_ENTRY + line(entry)
}

/// What an entry takes in the manifest.
fn line(entry: &BundleEntry) -> u64 {
    entry::line(entry).len() as u64 + 2
}

/// What is better kept together: some records, and the files that they name.
struct Group<'a> {
    /// Of which registry; none for toolchains.
    registry: Option<RegistryName>,
    /// With the bytes as they are stored, and when upstream confirmed them last.
    records: Vec<(&'a BundleEntry, &'a Bytes, SystemTime)>,
    files: Vec<&'a BundleEntry>,
}

impl<'a> Group<'a> {
    fn of(found: &'a Surveyed) -> Self {
        match found {
            Surveyed::Crate(found) => Self {
                registry: Some(found.key.registry),
                records: found
                    .index
                    .iter()
                    .map(|entry| (entry, &found.bytes, found.record.checked_at))
                    .collect(),
                files: found.crates.iter().map(|(_, entry)| entry).collect(),
            },
            Surveyed::Toolchain(found) => Self {
                registry: None,
                records: found
                    .records
                    .iter()
                    .map(|(entry, bytes, at)| (entry, bytes, *at))
                    .collect(),
                files: found.files.iter().collect(),
            },
        }
    }
}

/// Puts entries into parts.
struct Packer<'a> {
    entries: Entries,
    records: ScratchRecords,
    room: u64,
    /// What the entries of one part may take in its manifest, in bytes: readers refuse a larger one.
    manifest: u64,
    is_split: bool,
    indexes: &'a BTreeMap<RegistryName, String>,
    parts: Vec<BundlePart>,
    open: OpenPart,
    /// What the first part takes along.
    attachments: Vec<Attachment>,
}

/// The part that is being filled.
#[derive(Default)]
struct OpenPart {
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
    /// What is attached takes its room first.
    fn make_room_for_attachments(&mut self) -> Result<(), CollectError> {
        self.attachments.sort_by_key(|attachment| attachment.kind);
        for attachment in &self.attachments {
            let entry = attachment.listed().entry;
            self.open.cost += cost(&entry);
            if self.open.cost > self.room {
                let BundleEntry { path, size, .. } = entry;
                return Err(CollectError::EntryTooLarge { path, size });
            }
        }
        Ok(())
    }

    fn add(&mut self, found: &Group<'_>) -> Result<(), CollectError> {
        let records = || found.records.iter().map(|(entry, ..)| *entry);
        let entries = || records().chain(found.files.iter().copied());
        let together: u64 = entries().map(cost).sum();
        let lines: u64 = entries().map(line).sum();
        if self.is_too_much(together, lines) {
            self.close();
        }
        for entry in entries() {
            if self.is_too_much(cost(entry), line(entry)) {
                self.close();
                // So that this part, too, can be imported alone.
                for record in records().filter(|record| record.position() < entry.position()) {
                    self.push(found, record)?;
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

    fn push(&mut self, found: &Group<'_>, entry: &BundleEntry) -> Result<(), CollectError> {
        let open = &mut self.open;
        if open.cost + cost(entry) > self.room {
            return Err(CollectError::EntryTooLarge {
                path: entry.path.clone(),
                size: entry.size,
            });
        }
        if open.lines + line(entry) > self.manifest {
            return Err(CollectError::TooManyEntries(open.count));
        }
        open.cost += cost(entry);
        open.lines += line(entry);
        open.count += 1;
        let mut records = found.records.iter();
        if let Some((_, bytes, checked_at)) = records.find(|(record, ..)| *record == entry) {
            open.created = open.created.max(Some(*checked_at));
            self.records.push(bytes)?;
        }
        open.registries.extend(found.registry);
        Ok(self.entries.push(entry)?)
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
        let attachments = std::mem::take(&mut self.attachments);
        let mut head = Head::new(open.created, registries);
        head.attached = attachments.iter().map(Attachment::listed).collect();
        self.parts.push(BundlePart {
            lines: open.start..end,
            records: open.records,
            count: open.count,
            head,
            attachments,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundle::survey::CheckedCrate,
        domain::{CrateName, IndexFile, IndexKey, Sha256, Validators},
        store::StoreRecord,
    };

    fn found(name: &str) -> CheckedCrate {
        let name = CrateName::parse(name).expect("a name");
        let key = IndexKey::new(RegistryName::crates_io(), name);
        let sha256 = Sha256::of(b"");
        let text = format!(
            "{{\"name\":\"{name}\",\"vers\":\"1.0.0\",\"cksum\":\"{sha256}\",\"yanked\":false}}\n"
        );
        let file = IndexFile::parse(key.path, text.into()).expect("an index file");
        let record = StoreRecord {
            body: file.body().clone(),
            sha256: Sha256::of(file.body()),
            validators: Validators::default(),
            modified_at: SystemTime::UNIX_EPOCH,
            checked_at: SystemTime::UNIX_EPOCH,
            gone: false,
            history: Default::default(),
            sum: None,
        };
        let bytes = bytes::Bytes::from(record.encode().concat());
        let index = Some(BundleEntry {
            path: key.path(),
            size: bytes.len() as u64,
            sha256: Sha256::of(&bytes),
            body: Some(record.sha256),
        });
        CheckedCrate {
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
                records: ScratchRecords::new(file()),
                room: u64::MAX,
                manifest: 3 * of_one + 1,
                is_split,
                indexes: &indexes,
                parts: Vec::new(),
                open: OpenPart::default(),
                attachments: Vec::new(),
            };
            let added = names.iter().try_for_each(|name| {
                let found = Surveyed::Crate(Box::new(found(name)));
                packer.add(&Group::of(&found))
            });
            packer.close();
            match is_split {
                true => {
                    added.expect("room in parts");
                    let counts: Vec<_> = packer.parts.iter().map(|part| part.count).collect();
                    assert_eq!(counts, [3, 3, 3, 1]);
                }
                false => {
                    let error = added.expect_err("no room");
                    assert!(matches!(error, CollectError::TooManyEntries(3)));
                }
            }
        }
    }
}
