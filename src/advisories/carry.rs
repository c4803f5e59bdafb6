//! A database on its way: packed into an archive, and put in place where it arrives.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use tar::{Builder, Header};

use super::{
    archive,
    database::Database,
    failed::{failed, unusable},
    tree,
};
use crate::error::{Error, Result};

/// Measured on all of RustSec: 0.3 s, and smaller by a third than level 3.
const LEVEL: i32 = 15;
/// When every file in an archive was last modified, so that equal contents are equal bytes: the beginning of 2000.
const MODIFIED: u64 = 946_684_800;

/// A database as an archive.
#[derive(Clone, Debug)]
pub struct Packed {
    /// tar and zstd; the same database makes the same bytes.
    pub archive: Vec<u8>,
    /// When the database was last written to.
    pub as_of: SystemTime,
    /// How many advisories are in it.
    pub count: usize,
}

/// What became of a database that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in place, with so many advisories.
    Written(usize),
    /// The one that is there is as new, or newer.
    Older,
}

/// Packs the database at `path`, of which only what could be an advisory goes; an archive goes as it is. Blocks.
///
/// # Errors
/// Those of [`Database::read`], and [`Kind::Config`](crate::error::Kind::Config) when it has more than `largest` bytes.
pub fn pack(path: &Path, largest: u64, now: SystemTime) -> Result<Packed> {
    let database = Database::read(path, now)?;
    let packed = match path.is_dir() {
        true => tar_of(path),
        false => read_bounded(path, largest),
    };
    let archive = packed.map_err(|e| unusable(path, &e))?;
    if archive.len() as u64 > largest {
        let why = format!(
            "it takes {} bytes, and {largest} are carried",
            archive.len()
        );
        return Err(unusable(path, &Error::config(why)));
    }
    Ok(Packed {
        archive,
        as_of: database.as_of,
        count: database.advisories.len(),
    })
}

fn read_bounded(path: &Path, largest: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(largest + 1).read_to_end(&mut bytes));
    read.map_err(failed)?;
    Ok(bytes)
}

fn tar_of(root: &Path) -> Result<Vec<u8>> {
    let failed = |e: io::Error| Error::config(format!("it can't be packed: {e}")).with_source(e);
    let encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(failed)?;
    let mut archive = Builder::new(encoder);
    tree::each_file(root, |path, content| {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(MODIFIED);
        header.set_uid(0);
        header.set_gid(0);
        archive
            .append_data(&mut header, path, content)
            .map_err(failed)
    })?;
    let encoder = archive.into_inner().map_err(failed)?;
    encoder.finish().map_err(failed)
}

/// Puts an archive that has arrived in place of the file at `path`, in one step, if it can be read, has advisories in it, and is newer than the one there. A mirror
/// that follows the file reads it then. Blocks.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is a folder, or when it can't be read; [`Kind::Store`](crate::error::Kind::Store) when it can't be
/// written.
pub fn place(path: &Path, archive: &[u8], as_of: SystemTime, now: SystemTime) -> Result<Placed> {
    if path.is_dir() {
        return Err(unusable(
            path,
            &Error::config(
                "it is a folder, and what came is an archive; name a file such as advisories.tar.zst",
            ),
        ));
    }
    let gathered = archive::read_from(archive).map_err(|e| {
        let said = format!("the advisories that came can't be used: {}", e.message());
        e.reworded(said)
    })?;
    // What is dated in the future would keep all others out until then.
    let as_of = as_of.min(now);
    let there = fs::metadata(path).and_then(|meta| meta.modified());
    // Some file systems keep whole seconds.
    if there.is_ok_and(|there| there + Duration::from_secs(1) > as_of) {
        return Ok(Placed::Older);
    }
    let write = || {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".advisories")
            .tempfile_in(folder)?;
        file.write_all(archive)?;
        use std::os::unix::fs::PermissionsExt;
        let readable = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.as_file().set_modified(as_of)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|e| {
        let path = path.display();
        Error::store(format!("{path} can't be written: {e}")).with_source(e)
    })?;
    Ok(Placed::Written(gathered.advisories.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b", "a"] {
            let path = folder.path().join(format!("crates/{name}/RUSTSEC-1.md"));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            let text =
                format!("```toml\n[advisory]\nid = \"RUSTSEC-1\"\npackage = \"{name}\"\n```\n");
            fs::write(path, text).expect("a file");
        }
        fs::write(folder.path().join("README.md"), "not carried").expect("a file");
        folder
    }

    #[test]
    fn what_is_packed_arrives_whole_and_never_in_place_of_something_newer() {
        let (from, to) = (database(), tempfile::tempdir().expect("a folder"));
        let now = SystemTime::now() + Duration::from_secs(10);
        let packed = pack(from.path(), 1 << 20, now).expect("packed");
        assert_eq!(packed.count, 2);
        let again = pack(from.path(), 1 << 20, now).expect("packed");
        assert_eq!(packed.archive, again.archive, "the same bytes");
        assert!(pack(from.path(), 10, now).is_err(), "too large");
        let path = to.path().join("advisories.tar.zst");
        let place = |as_of| place(&path, &packed.archive, as_of, now).expect("placed");
        assert_eq!(place(packed.as_of), Placed::Written(2));
        let read = Database::read(&path, now).expect("a database");
        assert_eq!(read.advisories.len(), 2);
        let off = packed.as_of.duration_since(read.as_of).unwrap_or_default();
        assert!(off < Duration::from_secs(1), "its age goes along");
        assert_eq!(place(packed.as_of), Placed::Older);
        assert_eq!(place(SystemTime::UNIX_EPOCH), Placed::Older);
        let beyond = now + Duration::from_secs(1_000_000);
        assert_eq!(place(beyond), Placed::Written(2));
        let read = Database::read(&path, now).expect("a database");
        assert!(read.as_of <= now, "nothing comes from the future");
        let repacked = pack(&path, 1 << 20, now).expect("packed");
        assert_eq!(repacked.archive, packed.archive, "an archive goes as it is");
        assert_eq!(fs::read_dir(to.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_is_no_database_takes_no_place() {
        let to = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let path = to.path().join("advisories.tar.zst");
        let empty = zstd::encode_all([0; 1_024].as_slice(), 1).expect("compressed");
        for bytes in [b"nonsense".as_slice(), b"", &empty] {
            assert!(place(&path, bytes, now, now).is_err());
        }
        assert!(!path.exists());
        let packed = pack(database().path(), 1 << 20, now).expect("packed");
        let error = place(to.path(), &packed.archive, now, now).expect_err("a folder");
        assert!(error.to_string().contains("it is a folder"), "{error}");
    }
}
