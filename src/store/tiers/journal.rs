//! [`Journal`]: which objects of the folder are still to be written into the bucket, in a file of the folder: a mirror that was killed goes on where it was.
//!
//! Paths are added at its end, and it is emptied when nothing waits any more. What a killed process left half written is no path, and is passed over; what
//! was written into the bucket in the meantime is there, which is found out with a look.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    domain::Key,
    error::Result,
    store::{
        disk::{Disk, Touch},
        failed::failed,
    },
};

/// The file. No registry can be called so.
const FILE: &str = ".unsent";
/// It is written anew when it is longer, in bytes; what may wait takes half of that at the most.
const LARGEST: u64 = 4 << 20;
/// So many paths may wait to be written down. Those of more are lost for a restart.
const MOST: usize = 20_000;

/// The file, and what is to be written into it.
pub(in crate::store) struct Journal {
    file: PathBuf,
    disk: Disk,
    unwritten: Mutex<Vec<String>>,
    length: AtomicU64,
    /// What is in it has been noted again, so that the next time it is written anew.
    is_noted: AtomicBool,
}

impl Journal {
    /// In the folder `root` on that disk; nobody looks at it yet.
    pub(in crate::store) fn new(root: &Path, disk: Disk) -> Self {
        Self {
            file: root.join(FILE),
            disk,
            unwritten: Mutex::default(),
            length: AtomicU64::new(0),
            is_noted: AtomicBool::new(false),
        }
    }

    /// Has this path written down with the next [`keep`](Self::keep).
    pub(super) fn note(&self, path: &str) {
        let mut unwritten = self.lock();
        if unwritten.len() < MOST {
            unwritten.push(path.to_owned());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The paths that an earlier process has written down, in their order, each once. They are the caller's to note again: what isn't is no longer in it after the next
    /// [`keep`](Self::keep).
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be read, or not in time.
    pub(super) async fn read(&self) -> Result<Vec<String>> {
        let file = self.file.clone();
        let read = move |_: &_| read(&file).map_err(|e| failed("reading", &file, e));
        let (paths, length) = self.disk.run(Touch::Load, FILE, read).await?;
        self.length.fetch_add(length, Ordering::Relaxed);
        self.is_noted.store(length > 0, Ordering::Relaxed);
        Ok(paths)
    }

    /// Writes down what was noted. When nothing waits, as it was `before` that was looked at, it is emptied; when it has grown too long, it is written anew
    /// with what `waits`.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be written, or not in time.
    pub(super) async fn keep(
        &self,
        nothing_waits: bool,
        waits: impl Fn() -> Vec<String>,
    ) -> Result<()> {
        let noted = std::mem::take(&mut *self.lock());
        let length = self.length.load(Ordering::Relaxed);
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let (lines, begins) = match (noted.is_empty(), nothing_waits) {
            (true, true) if length > 0 => (String::new(), Begins::Anew),
            (true, _) if !is_noted => return Ok(()),
            (_, _) if is_noted || length > LARGEST => (lines(&waits()), Begins::Anew),
            (_, _) => (lines(&noted), Begins::AtItsEnd),
        };
        let file = self.file.clone();
        let write =
            move |_: &_| write(&file, &lines, begins).map_err(|e| failed("writing", &file, e));
        match self.disk.run(Touch::Save, FILE, write).await {
            Ok(length) => {
                self.length.store(length, Ordering::Relaxed);
                self.is_noted.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(e) => {
                // They are still to be written down.
                let mut unwritten = self.lock();
                let later = std::mem::replace(&mut *unwritten, noted);
                unwritten.extend(later);
                unwritten.truncate(MOST);
                Err(e)
            }
        }
    }
}

/// Where in the file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    AtItsEnd,
    Anew,
}

fn lines(paths: &[String]) -> String {
    paths.iter().flat_map(|path| [path, "\n"]).collect()
}

/// The paths in it, and how long it is.
fn read(file: &Path) -> io::Result<(Vec<String>, u64)> {
    let open = match File::open(file) {
        Ok(open) => open,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    let length = open.take(2 * LARGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut seen = HashSet::new();
    let lines = text.lines().filter(|line| is_path(line));
    let lines = lines.filter(|line| seen.insert(*line)).take(MOST);
    Ok((lines.map(str::to_owned).collect(), length as u64))
}

/// Whether it is one of an object: the file may be anybody's.
fn is_path(line: &str) -> bool {
    match line.strip_suffix(".license") {
        Some(of) => Key::from_path(&format!("{of}.crate")).is_some(),
        None => Key::from_path(line).is_some(),
    }
}

/// Writes lines, and says how long it is then.
fn write(file: &Path, lines: &str, begins: Begins) -> io::Result<u64> {
    match begins {
        Begins::Anew if lines.is_empty() => match fs::remove_file(file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Err(_) | Ok(()) => Ok(0),
        },
        Begins::Anew => {
            let beside = file.with_extension("new");
            fs::write(&beside, lines)?;
            fs::rename(&beside, file)?;
            Ok(lines.len() as u64)
        }
        Begins::AtItsEnd => {
            let mut open = OpenOptions::new().append(true).create(true).open(file)?;
            // What was left half written ends here.
            open.write_all(format!("\n{lines}").as_bytes())?;
            Ok(open.metadata()?.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATE: &str = "crates-io/crates/1/a/1.0.0.e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn journal(folder: &Path) -> Journal {
        Journal::new(folder, Disk::default())
    }

    async fn noted(journal: &Journal, path: &str) {
        journal.note(path);
        let kept = journal.keep(false, Vec::new).await;
        kept.expect("written");
    }

    async fn paths(folder: &Path) -> Vec<String> {
        journal(folder).read().await.expect("read")
    }

    #[tokio::test]
    async fn what_was_noted_is_read_by_the_next_process_until_nothing_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, index) = (journal(folder.path()), "crates-io/index/1/a");
        let all = [
            index.to_owned(),
            format!("{CRATE}.crate"),
            format!("{CRATE}.license"),
        ];
        for path in &all {
            noted(&first, path).await;
        }
        assert_eq!(paths(folder.path()).await, all);
        first.keep(true, Vec::new).await.expect("emptied");
        assert!(paths(folder.path()).await.is_empty());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn what_is_no_path_is_passed_over_and_what_follows_isnt() {
        let folder = tempfile::tempdir().expect("a folder");
        let odd = b"../../etc/passwd\n\xff\xfe\n/crates-io/index/1/a\ncrates-io/crates/1/a/1.0";
        fs::write(folder.path().join(FILE), odd).expect("written");
        let next = journal(folder.path());
        assert!(next.read().await.expect("read").is_empty());
        let waits = || vec!["crates-io/index/1/b".to_owned()];
        next.note("crates-io/index/1/b");
        next.keep(false, waits).await.expect("written");
        assert_eq!(paths(folder.path()).await, waits());
    }

    /// Each restart in an outage used to make it twice as long, until what came last was beyond its end.
    #[tokio::test]
    async fn what_is_noted_again_after_a_restart_is_in_it_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let all: Vec<String> = ["a", "b"].map(|n| format!("crates-io/index/1/{n}")).into();
        let first = journal(folder.path());
        for path in all.iter().chain(&all) {
            noted(&first, path).await;
        }
        for _ in 0..3 {
            let next = journal(folder.path());
            let paths = next.read().await.expect("read");
            assert_eq!(paths, all);
            paths.iter().for_each(|path| next.note(path));
            next.keep(false, || all.clone()).await.expect("written");
        }
        let text = fs::read_to_string(folder.path().join(FILE)).expect("a file");
        assert_eq!(text.lines().count(), 2);
    }

    /// What couldn't be written down at once never was.
    #[tokio::test]
    async fn what_cannot_be_written_down_is_written_down_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("own");
        let journal = Journal::new(&own, Disk::default());
        journal.note("crates-io/index/1/a");
        journal.keep(false, Vec::new).await.expect_err("no folder");
        fs::create_dir(&own).expect("a folder");
        noted(&journal, "crates-io/index/1/b").await;
        let both = ["crates-io/index/1/a", "crates-io/index/1/b"];
        assert_eq!(paths(&own).await, both);
    }

    #[tokio::test]
    async fn one_that_has_grown_too_long_is_written_anew_with_what_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let many = "crates-io/index/1/a\n".repeat(1 + LARGEST as usize / 20);
        fs::write(folder.path().join(FILE), many).expect("written");
        let next = journal(folder.path());
        next.read().await.expect("read");
        next.note("crates-io/index/1/b");
        let waits = || vec!["crates-io/index/1/b".to_owned()];
        next.keep(false, waits).await.expect("written");
        assert_eq!(paths(folder.path()).await, waits());
    }
}
