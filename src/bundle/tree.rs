//! Trees: one registry as a folder of plain files that cargo reads without this program, through any web server or none.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{
    listed::crate_key,
    observer::Observer,
    scope::Scope,
    survey::{CheckedCrate, LeftOut, Survey, Surveyed, changed},
    toolchain_scope::ToolchainScope,
};
use crate::{
    config::BaseUrl,
    domain::{CrateId, CrateKey, Hasher, Key, RegistryName, Version},
    error::{Error, Result},
    policy::{self, Gate},
    store::{Store, set_readable, sync_file_system},
};

/// How a tree is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A sparse registry: `config.json`, index files at their paths, and `crates/NAME/NAME-VERSION.crate`, to be served under this URL.
    Static(BaseUrl),
    /// Cargo's local registry: index files below `index/`, and `NAME-VERSION.crate` beside it.
    LocalRegistry,
}

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The folder; what is there of an earlier tree is written over, and nothing is removed but the index files of crates that upstream has withdrawn since.
    pub folder: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// The registry it shows: a folder can show one.
    pub registry: RegistryName,
    /// Which crates.
    pub scope: Scope,
    /// The rules that keep .crate files out.
    pub gate: Option<Gate>,
}

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Index files.
    pub index_files: u64,
    /// .crate files.
    pub crates: u64,
    /// The bytes of both.
    pub bytes: u64,
    /// What didn't go.
    pub left_out: LeftOut,
}

/// Writes a registry as a folder. A version whose .crate file isn't in it is shown as yanked, so that no resolver picks it, and a crate that
/// upstream has withdrawn isn't shown at all. Durable when this returns.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read or the folder can't be written.
pub fn plant(store: &Store, tree: &Tree, observer: &Observer<'_>) -> Result<Planted> {
    let mut planted = Planted::default();
    let mut survey = Survey {
        store,
        observer,
        registry: Some(tree.registry),
        gate: tree.gate.as_ref(),
        toolchains: ToolchainScope::Nothing,
        left_out: LeftOut::default(),
    };
    make(&tree.folder)?;
    if let Layout::Static(url) = &tree.layout {
        let url = url.without_slash();
        let config = serde_json::json!({ "dl": format!("{url}/crates/{{crate}}/{{crate}}-{{version}}.crate") });
        put(
            &tree.folder.join("config.json"),
            config.to_string().as_bytes(),
        )?;
    }
    survey.run(
        &tree.scope,
        |_, _| Ok(false),
        |found| match found {
            Surveyed::Crate(found) if found.record.gone => {
                tree.withdraw(&found, observer, &mut planted)
            }
            Surveyed::Crate(found) => tree.add(store, &found, observer, &mut planted),
            // A folder is for cargo.
            Surveyed::Toolchain(_) => Ok(()),
        },
    )?;
    planted.left_out.add(survey.left_out);
    sync_file_system(&tree.folder).map_err(|e| unwritable(&tree.folder, &e))?;
    Ok(planted)
}

impl Tree {
    /// The .crate files first, so that no index file names what isn't there yet.
    fn add(
        &self,
        store: &Store,
        found: &CheckedCrate,
        observer: &Observer<'_>,
        planted: &mut Planted,
    ) -> Result<()> {
        let there: HashSet<String> = found.crates.iter().map(|(key, _)| key.path()).collect();
        let key = |version: &Version| crate_key(&found.file, found.key.registry, version);
        for version in found.file.versions() {
            let key = key(version);
            if there.contains(&key.path()) {
                planted.bytes += self.crate_file(store, &key, observer)?;
                planted.crates += 1;
            }
        }
        let shown = policy::render(&found.file, |version| !there.contains(&key(version).path()));
        let shown: Bytes = shown.unwrap_or_else(|| found.file.body().clone());
        put(&self.index_file(found), &shown)?;
        planted.index_files += 1;
        planted.bytes += shown.len() as u64;
        Ok(())
    }

    /// Upstream has withdrawn this crate, so its index file goes. If it was selected, its versions count as missing.
    fn withdraw(
        &self,
        found: &CheckedCrate,
        observer: &Observer<'_>,
        planted: &mut Planted,
    ) -> Result<()> {
        let path = self.index_file(found);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(unwritable(&path, &e)),
        }
        let name = found.file.name();
        (observer.say)(&format!("gone     {name}: upstream has withdrawn it"));
        if let Scope::Only(_) = &self.scope {
            planted.left_out.missing += found.crates.len() as u64;
        }
        Ok(())
    }

    fn index_file(&self, found: &CheckedCrate) -> PathBuf {
        let path = found.key.path.to_string();
        match self.layout {
            Layout::Static(_) => self.folder.join(path),
            Layout::LocalRegistry => self.folder.join("index").join(path),
        }
    }

    fn path_of(&self, id: &CrateId) -> PathBuf {
        let file = format!("{}-{}.crate", id.name, id.version);
        match self.layout {
            Layout::Static(_) => self.folder.join("crates").join(id.name.as_str()).join(file),
            Layout::LocalRegistry => self.folder.join(file),
        }
    }

    fn crate_file(&self, store: &Store, key: &CrateKey, observer: &Observer<'_>) -> Result<u64> {
        let gone = || changed(&key.path());
        let (file, size) = store.open_object(&Key::from(*key))?.ok_or_else(gone)?;
        // No more than it has now, even if it is growing.
        let mut file = observer.reading(file.take(size));
        let path = self.path_of(&key.id);
        let failed = |e| unwritable(&path, &e);
        let (mut target, mut hasher) = (beside(&path)?, Hasher::default());
        let (mut block, mut size) = (vec![0; 128 << 10], 0);
        loop {
            match file.read(&mut block).map_err(failed)? {
                0 => break,
                length => {
                    hasher.update(&block[..length]);
                    target.write_all(&block[..length]).map_err(failed)?;
                    size += length as u64;
                }
            }
        }
        if hasher.finish() != key.sha256 {
            return Err(gone());
        }
        publish(target, &path)?;
        Ok(size)
    }
}

pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = beside(path)?;
    file.write_all(bytes).map_err(|e| unwritable(path, &e))?;
    publish(file, path)
}

/// A file to be renamed to `path`, in the same folder, which is made if need be.
pub(super) fn beside(path: &Path) -> Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make(folder)?;
    let mut name = tempfile::Builder::new();
    let file = name.prefix(".").suffix(".part").tempfile_in(folder);
    file.map_err(|e| unwritable(path, &e))
}

/// A web server reads it as another user.
pub(super) fn publish(file: NamedTempFile, path: &Path) -> Result<()> {
    let published = set_readable(&file).and_then(|()| {
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    });
    published.map_err(|e| unwritable(path, &e))
}

pub(super) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))
}

pub(super) fn unwritable(path: &Path, e: &std::io::Error) -> Error {
    Error::store(format!("{} can't be written: {e}", path.display())).with_io_source(e)
}
