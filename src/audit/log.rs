//! [`Log`]: the file that lines are written to. It is put aside when it is full, and it is tried again when it can't be written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// How large a file may become, and how many full ones are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// In bytes. A single line that is longer has a file of its own.
    pub max_size: u64,
    /// The full ones: `audit.jsonl.1` is the newest.
    pub keep: u32,
}

/// The file, and what is still to be written to it.
pub(super) struct Log {
    path: PathBuf,
    rotation: Rotation,
    file: Option<Open>,
    /// Whole lines, the first of which may have been written in part.
    waiting: Vec<u8>,
    /// How much of the first is.
    begun: usize,
}

struct Open {
    file: File,
    length: u64,
    inode: u64,
}

/// The path of the full file that was put aside so many files ago, from 1 on.
pub(super) fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl Log {
    /// The log at `path`, which is opened at once, so that what is wrong with it is known at the start.
    ///
    /// # Errors
    /// When the file can't be opened or made.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let mut log = Self {
            path: path.to_owned(),
            rotation,
            file: None,
            waiting: Vec::new(),
            begun: 0,
        };
        opened(&mut log.file, path)?;
        Ok(log)
    }

    /// Where the next lines are to be added. They are written by [`write`](Self::write).
    pub(super) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// Writes what is waiting. When it fails, what hasn't been written stays, and is written the next time.
    ///
    /// # Errors
    /// What the system says, a full disk first of all.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while self.begun < self.waiting.len() {
            let end = self.begun + self.room()?;
            let open = opened(&mut self.file, &self.path)?;
            match open.file.write(&self.waiting[self.begun..end]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    open.length += written as u64;
                    self.begun += written;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.forget_written();
                    return Err(e);
                }
            }
        }
        self.forget_written();
        Ok(())
    }

    /// Drops the lines that are written in full.
    fn forget_written(&mut self) {
        let written = &self.waiting[..self.begun];
        let whole = memchr::memrchr(b'\n', written).map_or(0, |at| at + 1);
        self.waiting.drain(..whole);
        self.begun -= whole;
    }

    /// How much of what is waiting goes into the file as it is, in whole lines unless one is longer than any file. Puts the file aside when it has room for none.
    fn room(&mut self) -> io::Result<usize> {
        let max_size = self.rotation.max_size;
        let is_within_line = self.begun > 0 && self.waiting[self.begun - 1] != b'\n';
        let length = opened(&mut self.file, &self.path)?.length;
        let waiting = &self.waiting[self.begun..];
        let first = memchr::memchr(b'\n', waiting).map_or(waiting.len(), |at| at + 1);
        if is_within_line {
            return Ok(first);
        }
        let left = usize::try_from(max_size.saturating_sub(length)).unwrap_or(usize::MAX);
        if first > left && length > 0 {
            self.rotate()?;
            return self.room();
        }
        let fits = &waiting[..waiting.len().min(left)];
        Ok(memchr::memrchr(b'\n', fits).map_or(first, |at| at + 1))
    }

    /// Puts the file aside, and those that were before it one further. The oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        if let Some(open) = self.file.take() {
            // What a crash of the machine could take; the file is not written to any more.
            let _ = open.file.sync_all();
        }
        for number in (1..self.rotation.keep).rev() {
            rename(&aside(&self.path, number), &aside(&self.path, number + 1))?;
        }
        rename(&self.path, &aside(&self.path, 1))
    }

    /// Looks whether the file is still the one at its path. If somebody has put it aside, what comes next goes into a new one.
    pub(super) fn look(&mut self) {
        let is_there = |open: &Open| inode(fs::metadata(&self.path)) == Some(open.inode);
        if self.file.as_ref().is_some_and(|open| !is_there(open)) {
            self.file = None;
        }
    }

    /// Has what was written reach the disk.
    pub(super) fn sync(&mut self) {
        if let Some(open) = &self.file {
            let _ = open.file.sync_all();
        }
    }
}

/// The file, opened if it isn't.
fn opened<'a>(file: &'a mut Option<Open>, path: &Path) -> io::Result<&'a mut Open> {
    let open = match file.take() {
        Some(open) => open,
        None => open(path)?,
    };
    Ok(file.insert(open))
}

/// Opens a file to be appended to, which nobody else needs to read. A line that was cut off when a process or its machine ended is ended.
fn open(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.append(true).read(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    let mut file = options.open(path)?;
    let mut length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            length += file.write(b"\n")? as u64;
        }
    }
    let inode = inode(file.metadata()).unwrap_or_default();
    Ok(Open {
        file,
        length,
        inode,
    })
}

/// What tells a file from another one that has come in its place.
pub(super) fn inode(meta: io::Result<fs::Metadata>) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    meta.ok().map(|meta| meta.ino())
}

/// Renames a file if there is one.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(folder: &Path, max_size: u64, keep: u32) -> Log {
        Log::open(&folder.join("a"), Rotation { max_size, keep }).expect("a log")
    }

    fn content(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_put_aside_and_so_many_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut log = log(folder, 10, 2);
        for line in [
            "aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n", "ffff\n", "gggg\n",
        ] {
            log.waiting().extend(line.bytes());
            log.write().expect("written");
        }
        assert_eq!(content(folder, "a"), "gggg\n");
        assert_eq!(content(folder, "a.1"), "eeee\nffff\n");
        assert_eq!(content(folder, "a.2"), "cccc\ndddd\n");
        assert!(!folder.join("a.3").exists());
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_and_the_file_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        fs::write(folder.join("a"), "one\ntw").expect("a file");
        let mut log = log(folder, 100, 1);
        log.waiting().extend(b"three\n");
        log.write().expect("written");
        assert_eq!(content(folder, "a"), "one\ntw\nthree\n");
    }

    #[test]
    fn a_file_that_somebody_has_put_aside_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut log = log(folder, 100, 1);
        log.waiting().extend(b"one\n");
        log.write().expect("written");
        fs::rename(folder.join("a"), folder.join("elsewhere")).expect("renamed");
        log.look();
        log.waiting().extend(b"two\n");
        log.write().expect("written");
        assert_eq!(content(folder, "a"), "two\n");
        assert_eq!(content(folder, "elsewhere"), "one\n");
    }

    #[test]
    fn what_cannot_be_written_is_written_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut log = log(folder, 100, 1);
        // A folder stands where the file was.
        fs::remove_file(folder.join("a")).expect("removed");
        fs::create_dir(folder.join("a")).expect("a folder");
        log.look();
        log.waiting().extend(b"one\ntwo\n");
        assert!(log.write().is_err());
        assert_eq!(log.waiting().len(), 8, "it is kept");
        fs::remove_dir(folder.join("a")).expect("removed");
        log.waiting().extend(b"three\n");
        log.write().expect("written");
        assert_eq!(content(folder, "a"), "one\ntwo\nthree\n");
    }

    proptest! {
        /// Whatever their lengths: every line is in one file, whole, in order, and no file is larger than allowed for more than one line.
        #[test]
        fn no_line_is_cut_or_lost(lines in prop::collection::vec(0_usize..30, 0..40), batches in 1_usize..5) {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path();
            let mut log = log(folder, 20, 100);
            let lines: Vec<_> = lines.iter().enumerate().map(|(n, length)| format!("{n}{}\n", "x".repeat(*length))).collect();
            for batch in lines.chunks(batches) {
                log.waiting().extend(batch.concat().bytes());
                log.write().expect("written");
            }
            let mut found = String::new();
            for number in (1..=100).rev() {
                let file = content(folder, &format!("a.{number}"));
                prop_assert!(file.len() <= 20 || file.matches('\n').count() == 1, "{}", file);
                prop_assert!(file.is_empty() || file.ends_with('\n'));
                found += &file;
            }
            found += &content(folder, "a");
            prop_assert_eq!(found, lines.concat());
        }
    }
}
