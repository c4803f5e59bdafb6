//! Bare repositories: a git index as a folder, for git servers and for web servers that know nothing of git.

use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use super::tree::{beside, make, publish, put, unwritable};
use crate::{
    error::{Error, Result},
    git::{IndexedObject, MASTER, ObjectId, pack_index, packed_refs},
    store::sync_file_system,
};

/// What makes a folder a repository (gitrepository-layout(5)).
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";

/// Writes a repository whose branch is at `tip` and whose objects are in one pack, which `pack` writes; it says what is in it and how it ends. What is there of an earlier export is replaced; its
/// pack stays until the next export, for who has begun to read it. Durable when this returns; says how many bytes the pack has.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when something else is in the folder, [`Kind::Store`](crate::error::Kind::Store) when it can't be written, and those of `pack`.
pub fn bare_repository(
    folder: &Path,
    tip: &ObjectId,
    pack: impl FnOnce(&mut dyn Write) -> Result<(Vec<IndexedObject>, ObjectId)>,
) -> Result<u64> {
    require_own(folder)?;
    // First, so that one that was killed is known as ours.
    put(&folder.join("config"), CONFIG.as_bytes())?;
    let packs = folder.join("objects/pack");
    make(&packs)?;
    let listed = folder.join("objects/info/packs");
    let before = newest_pack(&listed);
    let mut file = beside(&packs.join("pack"))?;
    let (objects, trailer) = {
        let mut out = BufWriter::with_capacity(128 << 10, file.as_file_mut());
        let written = pack(&mut out)?;
        out.flush().map_err(|e| unwritable(&packs, &e))?;
        written
    };
    let length = file.as_file().metadata();
    let length = length.map_err(|e| unwritable(&packs, &e))?.len();
    let name = format!("pack-{trailer}");
    publish(file, &packs.join(format!("{name}.pack")))?;
    // Git looks for packs by their indexes.
    let index = pack_index(objects, &trailer);
    put(&packs.join(format!("{name}.idx")), &index)?;
    let before = before.filter(|before| *before != name);
    let all = || [Some(&name), before.as_ref()].into_iter().flatten();
    let lines: String = all().map(|name| format!("P {name}.pack\n")).collect();
    for (path, text) in [
        ("objects/info/packs", format!("{lines}\n")),
        (MASTER, format!("{tip}\n")),
        ("info/refs", packed_refs(tip)),
        ("HEAD", format!("ref: {MASTER}\n")),
    ] {
        put(&folder.join(path), text.as_bytes())?;
    }
    sync_file_system(folder).map_err(|e| unwritable(folder, &e))?;
    remove_others(&packs, |file| all().any(|name| file.starts_with(name)))?;
    Ok(length)
}

/// An empty folder, or one with a repository that was written here, will do.
fn require_own(folder: &Path) -> Result<()> {
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(unwritable(folder, &e)),
    };
    let is_ours = || fs::read_to_string(folder.join("config")).is_ok_and(|text| text == CONFIG);
    match is_empty || is_ours() {
        true => Ok(()),
        false => Err(Error::config(format!(
            "--output: there is something else in {}; name an empty folder, or one that an earlier export has made",
            folder.display()
        ))),
    }
}

/// The pack of the last export, without what its name ends in.
fn newest_pack(listed: &Path) -> Option<String> {
    let text = fs::read_to_string(listed).ok()?;
    let line = text.lines().next()?;
    let name = line.strip_prefix("P ")?.strip_suffix(".pack")?;
    Some(name.to_owned())
}

/// Removes the packs of earlier exports, and what one that was killed has left half written.
fn remove_others(packs: &Path, is_kept: impl Fn(&str) -> bool) -> Result<()> {
    let entries = fs::read_dir(packs).map_err(|e| unwritable(packs, &e))?;
    for entry in entries.flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let is_one = file.starts_with("pack-") || file.ends_with(".part");
        if is_one && !is_kept(&file) {
            fs::remove_file(entry.path()).map_err(|e| unwritable(&entry.path(), &e))?;
        }
    }
    Ok(())
}
