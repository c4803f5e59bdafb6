//! The shelf: what a dead mirror has left on its disk, read without the mirror's own code.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
};

use bytes::Bytes;
use serde::Deserialize;

use crate::support::sha256;

/// A store's objects. Names are in lower case, as the paths have them.
#[derive(Default)]
pub(super) struct Shelf {
    /// Every object's path.
    pub(super) paths: BTreeSet<String>,
    /// Index files by name.
    pub(super) indexes: BTreeMap<String, Vec<u8>>,
    /// Checksums by name and version, where the stored index file names it too: what has to be served.
    pub(super) crates: BTreeMap<(String, String), String>,
    /// What isn't what it should be.
    pub(super) damaged: Vec<String>,
}

/// A crate file, as its path describes it.
struct Stored {
    name: String,
    version: String,
    checksum: String,
}

#[derive(Deserialize)]
struct Line {
    vers: String,
    cksum: String,
}

impl Shelf {
    /// Reads the store in `folder`. Crate files never change, so those in `known` were looked into before.
    pub(super) fn read(folder: &Path, known: &mut HashSet<String>) -> Shelf {
        let objects = walkdir::WalkDir::new(folder)
            .into_iter()
            .filter_entry(|entry| {
                ![".tmp", ".unsent", ".unsent.new"]
                    .map(Some)
                    .contains(&entry.file_name().to_str())
            });
        let objects = objects.filter_map(Result::ok);
        let files = objects.filter(|object| object.file_type().is_file());
        let mut shelf = Shelf::default();
        let mut crates = Vec::new();
        for file in files {
            let path = file.path().strip_prefix(folder).expect("below the store");
            let path = path.to_string_lossy().into_owned();
            let content = || fs::read(file.path()).expect("a stored object");
            shelf.add(path, content, known, &mut crates);
        }
        shelf.admit(crates);
        shelf
    }

    /// The same for objects by their paths, wherever they are kept.
    pub(super) fn of(objects: &BTreeMap<String, Bytes>) -> Shelf {
        let (mut shelf, mut known) = (Shelf::default(), HashSet::new());
        let mut crates = Vec::new();
        for (path, content) in objects {
            shelf.add(path.clone(), || content.to_vec(), &mut known, &mut crates);
        }
        shelf.admit(crates);
        shelf
    }

    fn add(
        &mut self,
        path: String,
        content: impl Fn() -> Vec<u8>,
        known: &mut HashSet<String>,
        crates: &mut Vec<Stored>,
    ) {
        // What is kept of a manifest beside its crate; nothing is promised about it.
        if path.ends_with(".license") {
            return;
        }
        match (path.split('/').nth(1), stored_crate(&path)) {
            (Some("index"), _) => self.add_index(&path, &content()),
            (Some("crates"), Some(stored)) => {
                if known.insert(path.clone()) && sha256(&content()) != stored.checksum {
                    self.damaged.push(format!("{path} has another checksum"));
                }
                crates.push(stored);
            }
            _ => self.damaged.push(format!("{path} has no business here")),
        }
        self.paths.insert(path);
    }

    /// One JSON line, then the body.
    fn add_index(&mut self, path: &str, record: &[u8]) {
        let name = path.rsplit('/').next().unwrap_or_default();
        match record.iter().position(|&byte| byte == b'\n') {
            Some(header) => {
                let body = record[header + 1..].to_vec();
                self.indexes.insert(name.to_owned(), body);
            }
            None => self.damaged.push(format!("{path} is no record")),
        }
    }

    fn admit(&mut self, crates: Vec<Stored>) {
        for stored in crates {
            let Some(body) = self.indexes.get(&stored.name) else {
                continue;
            };
            let mut lines = body
                .split(|&byte| byte == b'\n')
                .filter_map(|line| serde_json::from_slice::<Line>(line).ok());
            if lines.any(|line| line.vers == stored.version && line.cksum == stored.checksum) {
                let key = (stored.name, stored.version);
                self.crates.insert(key, stored.checksum);
            }
        }
    }

    /// What was there before and isn't any more.
    pub(super) fn lacks(&self, before: &Shelf) -> Vec<String> {
        before.paths.difference(&self.paths).cloned().collect()
    }
}

/// `…/{name}/{version}.{checksum}.crate`
fn stored_crate(path: &str) -> Option<Stored> {
    let (folder, file) = path.rsplit_once('/')?;
    let (version, checksum) = file.strip_suffix(".crate")?.rsplit_once('.')?;
    Some(Stored {
        name: folder.rsplit('/').next()?.to_owned(),
        version: version.to_owned(),
        checksum: checksum.to_owned(),
    })
}
