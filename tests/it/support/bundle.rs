//! Bundles: the commands that make and take them, what is inside, and forged ones.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tar::{Archive, Builder, EntryType, Header};
use tempfile::TempDir;

use super::{Mirror, Output, Package, Upstream, command, sha256, stored::is_beside};

/// A store in which a mirror has stored these packages, and their upstream.
pub async fn filled(packages: Vec<Package>) -> (Upstream, TempDir) {
    let upstream = Upstream::new()
        .publish_all(packages.iter().cloned())
        .start()
        .await;
    let store = tempfile::tempdir().expect("a folder");
    fetch(&upstream, store.path(), &packages).await;
    (upstream, store)
}

/// Has a mirror on that store fetch these packages.
pub async fn fetch(upstream: &Upstream, store: &Path, packages: &[Package]) {
    let mirror = Mirror::of(upstream)
        .always_asks()
        .store(store)
        .start()
        .await;
    for package in packages {
        let (name, version) = (package.name(), package.version());
        let path = format!("/api/v1/crates/{name}/{version}/download");
        let reply = mirror.get(&path).await;
        assert!(
            reply.complete && reply.status == 200,
            "{path}: {}",
            reply.text()
        );
    }
    mirror.stop().await;
}

/// `crate-mirror export ARGS --output FILE`.
pub async fn export(store: &Path, file: &Path, args: &[&str]) -> Output {
    let mut all = vec!["export", "--output", file.to_str().expect("UTF-8")];
    all.extend(args);
    command(&all, store, "").await
}

/// `crate-mirror import ARGS`.
pub async fn import(store: &Path, args: &[&str]) -> Output {
    let mut all = vec!["import"];
    all.extend(args);
    command(&all, store, "").await
}

/// A folder for bundles and an empty store beside.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    pub fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a folder");
        Desk { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn name(&self, name: &str) -> String {
        self.file(name).to_str().expect("UTF-8").to_owned()
    }

    /// Names of the files there, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path())
            .expect("a folder")
            .flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        let mut names: Vec<_> = files
            .map(|entry| entry.file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }
}

/// All objects of a store with their bytes.
pub fn objects(store: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') || is_beside(&path) {
                continue;
            }
            if path.is_dir() {
                add(root, &path, found);
            } else {
                let relative = path.strip_prefix(root).expect("below the root");
                let bytes = fs::read(&path).expect("a file");
                found.insert(relative.to_str().expect("UTF-8").to_owned(), bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    add(store, store, &mut found);
    found
}

/// What is in a bundle, in its order.
pub fn members(bundle: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(bundle).expect("a bundle");
    let tar = zstd::decode_all(&bytes[..]).expect("zstd");
    let mut archive = Archive::new(&tar[..]);
    let members = archive.entries().expect("a tar archive").map(|member| {
        let mut member = member.expect("a member");
        let path = member.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("its bytes");
        (path, bytes)
    });
    members.collect()
}

/// The paths of a bundle's objects.
pub fn carried(bundle: &Path) -> Vec<String> {
    let paths = members(bundle).into_iter().map(|(path, _)| path);
    paths
        .filter(|path| !path.starts_with("manifest.json"))
        .collect()
}

/// A bundle made by hand: every part of it can lie.
#[derive(Clone, Default)]
pub struct Forged {
    /// What the manifest says, in order.
    pub entries: Vec<Value>,
    /// What the archive has, in order.
    pub members: Vec<(EntryType, Vec<u8>, Vec<u8>)>,
    /// This in place of the manifest's text.
    pub manifest: Option<String>,
    pub format: u32,
}

impl Forged {
    /// What the exporter made, taken apart.
    pub fn of(bundle: &Path) -> Forged {
        let mut members = members(bundle).into_iter();
        let (_, manifest) = members.next().expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let members = members.map(|(path, bytes)| (EntryType::Regular, path.into_bytes(), bytes));
        Forged {
            entries: manifest["entries"].as_array().expect("entries").clone(),
            members: members.collect(),
            manifest: None,
            format: 1,
        }
    }

    /// Adds an object to archive and manifest.
    pub fn with(mut self, path: &str, bytes: &[u8]) -> Forged {
        self.entries.push(entry(path, bytes));
        let member = (EntryType::Regular, path.as_bytes().to_vec(), bytes.to_vec());
        self.members.push(member);
        self
    }

    pub fn tar(&self) -> Vec<u8> {
        let lines: Vec<_> = self.entries.iter().map(Value::to_string).collect();
        let manifest = self.manifest.clone().unwrap_or_else(|| {
            let (format, lines) = (self.format, lines.join(",\n"));
            format!("{{\"format\":{format},\"registries\":{{}},\"entries\":[\n{lines}\n]}}")
        });
        let mut archive = Builder::new(Vec::new());
        let first = (
            EntryType::Regular,
            b"manifest.json".to_vec(),
            manifest.into_bytes(),
        );
        for (kind, path, bytes) in [first].iter().chain(&self.members) {
            append(&mut archive, *kind, path, bytes);
        }
        archive.into_inner().expect("memory")
    }

    pub fn bundle(&self) -> Vec<u8> {
        pack(&self.tar())
    }
}

pub fn entry(path: &str, bytes: &[u8]) -> Value {
    json!({"path": path, "size": bytes.len(), "sha256": sha256(bytes)})
}

pub fn pack(tar: &[u8]) -> Vec<u8> {
    zstd::encode_all(tar, 1).expect("memory")
}

/// Without the library's care for paths: long ones through GNU's extension, all others as they are.
fn append(archive: &mut Builder<Vec<u8>>, kind: EntryType, path: &[u8], bytes: &[u8]) {
    let mut header = |kind: EntryType, path: &[u8], bytes: &[u8]| {
        let mut header = Header::new_gnu();
        let length = path.len().min(100);
        header.as_old_mut().name[..length].copy_from_slice(&path[..length]);
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, Cursor::new(bytes)).expect("memory");
    };
    if path.len() > 100 {
        let name = [path, b"\0"].concat();
        header(EntryType::GNULongName, b"././@LongLink", &name);
    }
    header(kind, path, bytes);
}
