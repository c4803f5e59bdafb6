//! Missed requests in a folder: one small file each, whose modification time is when it was missed last.
//!
//! One file to which each is appended would be fewer files, and was looked at. It isn't better here: two mirrors may share a folder over a network, where
//! appending is no single step and one would write over the other; a line that a killed process left half written spoils the next one; and to forget
//! something, or to say that it was missed again, means to write the file anew, while others append to the one before. That takes a lock that holds
//! on every file system. Files of their own need none: they are made, touched and removed, each in one step.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    path::Path,
    time::SystemTime,
};

use super::{
    files::Files,
    path::{AtPath, open},
    write::set_readable,
};
use crate::{domain::MissedRequest, error::Result, store::failed::failed};

/// Where they are; no registry can be called so.
const FOLDER: &str = ".wanted";

/// The path of the file in which it is noted, the same for all spellings.
pub(super) fn path_of(request: &MissedRequest) -> String {
    format!("{FOLDER}/{}", request.folded())
}

impl Files {
    /// Writes it down, or marks it as missed again if it is written down.
    pub(super) fn note_missed(
        &self,
        request: &MissedRequest,
        most: usize,
        now: SystemTime,
    ) -> Result<()> {
        let path = self.at(&path_of(request));
        write(self, &path, request, most, now).map_err(|e| failed("writing", &path, e))
    }

    /// All that are written down.
    pub(super) fn missed(&self) -> Result<Vec<(MissedRequest, SystemTime)>> {
        let folder = self.at(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed("reading", &folder, e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| failed("reading", &folder, e))?.path();
            found.extend(read(&path).map_err(|e| failed("reading", &path, e))?);
        }
        Ok(found)
    }

    pub(super) fn forget_missed(&self, request: &MissedRequest) -> Result<()> {
        let path = self.at(&path_of(request));
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path, e)),
            _ => Ok(()),
        }
    }
}

fn write(
    files: &Files,
    path: &Path,
    request: &MissedRequest,
    most: usize,
    now: SystemTime,
) -> io::Result<()> {
    match open(path)? {
        AtPath::File(opened) => return opened.file.set_modified(now),
        AtPath::Odd(odd) => return Err(odd.error()),
        AtPath::Empty => {}
    }
    let folder = files.at(FOLDER);
    fs::create_dir_all(&folder)?;
    if fs::read_dir(&folder)?.count() >= most {
        return Ok(());
    }
    let mut file = files.temporary()?;
    file.write_all(request.in_full().as_bytes())?;
    set_readable(&file)?;
    file.as_file().set_modified(now)?;
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => Err(e.error),
        _ => Ok(()),
    }
}

/// The missed request in a file; what isn't ours, or has been forgotten meanwhile, is none.
fn read(path: &Path) -> io::Result<Option<(MissedRequest, SystemTime)>> {
    let name = path.file_name().and_then(OsStr::to_str);
    let Some(folded) = name.filter(|name| MissedRequest::parse(name).is_some()) else {
        return Ok(None);
    };
    let opened = match open(path)? {
        AtPath::File(opened) => opened,
        AtPath::Odd(odd) => return Err(odd.error()),
        AtPath::Empty => return Ok(None),
    };
    let at = opened.meta.modified()?;
    let mut text = String::new();
    // None is longer.
    match opened.file.take(1 << 10).read_to_string(&mut text) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(e) => return Err(e),
    }
    let request = MissedRequest::parse(&text).filter(|request| request.folded() == folded);
    Ok(request.map(|request| (request, at)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_can_be_read_by_whoever_may_read_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::new(folder.path().to_owned(), false);
        let request = MissedRequest::parse("serde").expect("valid");
        let noted = files.note_missed(&request, 1, SystemTime::now());
        noted.expect("noted");
        let file = folder.path().join(".wanted/crates-io:serde");
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("something that can't be read");
        let error = files.missed().expect_err("said").to_string();
        assert!(error.contains("crates-io:serde"), "{error}");
    }
}
