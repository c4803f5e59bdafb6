//! [`Followed`]: files that are read again when one of them changes. What can't be read or understood then leaves what was there in use.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// How often files are looked at. A change is in force within five seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A file that was written less than this before it was read may be written again without looking different: clocks of file systems are that coarse.
const COARSE: Duration = Duration::from_secs(2);

/// When followed files are looked at: again and again, and when somebody says so. A clone is another handle on the same.
#[derive(Clone)]
pub struct Looks {
    every: Duration,
    due: Arc<Notify>,
}

/// Every two seconds.
impl Default for Looks {
    fn default() -> Self {
        Self::every(LOOK_EVERY)
    }
}

impl Looks {
    /// So often.
    pub fn every(every: Duration) -> Self {
        let due = Arc::default();
        Self { every, due }
    }

    /// The next one is due now.
    pub fn now(&self) {
        self.due.notify_one();
    }

    /// Waits for the next one.
    async fn next(&self) {
        tokio::select! {
            () = self.due.notified() => {}
            () = tokio::time::sleep(self.every) => {}
        }
    }

    /// Has `follower` look at its files each time, on a thread that may block, until this is dropped or the runtime ends. A follower that panics looks no
    /// more; the log calls it `what`.
    pub async fn have_look<T: Send + 'static>(
        self,
        what: &str,
        mut follower: T,
        look: fn(&mut T, SystemTime),
    ) {
        loop {
            self.next().await;
            let looked = tokio::task::spawn_blocking(move || {
                look(&mut follower, SystemTime::now());
                follower
            });
            match looked.await {
                Ok(same) => follower = same,
                Err(e) if e.is_panic() => {
                    return tracing::error!("{what} followed no longer: {e}");
                }
                Err(_) => return,
            }
        }
    }
}

/// What is in a file of at most `largest` bytes.
///
/// # Errors
/// When it can't be read, or is larger.
pub fn read_bounded(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    // All at once: what is in it may be secret, and growing would leave copies behind.
    let mut content = Vec::with_capacity(meta.len().min(largest) as usize + 1);
    file.take(largest + 1).read_to_end(&mut content)?;
    if content.len() as u64 > largest {
        return Err(io::Error::other(format!(
            "it is larger than {}",
            bytesize::ByteSize(largest).display().iec()
        )));
    }
    Ok(content)
}

/// How a file looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Another file has come in its place when this changes.
    inode: u64,
}

/// A file that is followed, or several that only mean something together.
pub struct Followed {
    paths: Vec<PathBuf>,
    /// How they looked when they were read; none for one that couldn't be looked at.
    stamps: Vec<Option<Stamp>>,
    /// Whether they can't have changed since without looking different.
    is_settled: bool,
    /// What was said of it last, so that it isn't said every two seconds.
    trouble: Option<String>,
}

/// What came of a look.
#[derive(Debug)]
pub enum Look<T> {
    /// It is as it was.
    Same,
    /// It has changed, and this is what it has come to.
    Changed(T),
    /// It can't be read or understood, which is news.
    Broken(Error),
}

impl Followed {
    /// The file at `path`, which is about to be read for the first time at `now`.
    pub fn new(path: &Path, now: SystemTime) -> Self {
        Self::all([path], now)
    }

    /// The files at these paths, which are about to be read for the first time at `now`.
    pub fn all<'a>(paths: impl IntoIterator<Item = &'a Path>, now: SystemTime) -> Self {
        let paths: Vec<_> = paths.into_iter().map(Path::to_owned).collect();
        let stamps = stamps(&paths);
        Self {
            paths,
            is_settled: are_settled(&stamps, now),
            stamps,
            trouble: None,
        }
    }

    /// The file's path; of several files the first one's.
    pub fn path(&self) -> &Path {
        self.paths.first().map_or(Path::new(""), |path| path)
    }

    /// Whether what is in the files now can't be read or understood.
    pub fn is_broken(&self) -> bool {
        self.trouble.is_some()
    }

    /// Looks at the files, and reads them with `read`, which gets the first one's path, if one of them may have changed.
    pub fn look<T>(&mut self, now: SystemTime, read: impl FnOnce(&Path) -> Result<T>) -> Look<T> {
        let stamps = stamps(&self.paths);
        if self.is_settled && stamps == self.stamps {
            return Look::Same;
        }
        // Before they are read: what is written meanwhile looks different the next time.
        self.is_settled = are_settled(&stamps, now);
        self.stamps = stamps;
        match read(self.path()) {
            Ok(content) => {
                self.trouble = None;
                Look::Changed(content)
            }
            Err(e) => {
                // It is tried again at every look: what keeps it from being read may go away and leave it looking the same.
                self.is_settled = false;
                let trouble = e.to_string();
                match self.trouble.replace(trouble) == self.trouble {
                    true => Look::Same,
                    false => Look::Broken(e),
                }
            }
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok(),
        length: meta.len(),
        inode: meta.ino(),
    })
}

fn are_settled(stamps: &[Option<Stamp>], now: SystemTime) -> bool {
    stamps.iter().flatten().all(|stamp| {
        let modified = stamp.modified.and_then(|m| now.duration_since(m).ok());
        modified.is_some_and(|age| age > COARSE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<String> {
        let text = fs::read_to_string(path).map_err(|e| Error::config(e.to_string()))?;
        match text.contains("broken") {
            true => Err(Error::config(text)),
            false => Ok(text),
        }
    }

    /// Far enough on that a file written now is settled.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_change_is_seen_and_what_is_broken_is_said_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "one").expect("a file");
        let mut followed = Followed::new(&path, later());
        assert!(matches!(followed.look(later(), read), Look::Same));
        fs::write(&path, "other").expect("a file");
        match followed.look(later(), read) {
            Look::Changed(text) => assert_eq!(text, "other"),
            look => panic!("{look:?}"),
        }
        fs::write(&path, "broken").expect("a file");
        assert!(matches!(followed.look(later(), read), Look::Broken(_)));
        assert!(matches!(followed.look(later(), read), Look::Same));
        fs::write(&path, "broken still").expect("a file");
        assert!(matches!(followed.look(later(), read), Look::Broken(_)));
        fs::write(&path, "well").expect("a file");
        assert!(matches!(followed.look(later(), read), Look::Changed(_)));
        assert!(matches!(followed.look(later(), read), Look::Same));
    }

    #[test]
    fn one_that_goes_and_comes_back_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut followed = Followed::new(&path, later());
        assert!(matches!(followed.look(later(), read), Look::Same));
        fs::write(&path, "one").expect("a file");
        assert!(matches!(followed.look(later(), read), Look::Changed(_)));
        fs::remove_file(&path).expect("removed");
        assert!(matches!(followed.look(later(), read), Look::Broken(_)));
        assert!(matches!(followed.look(later(), read), Look::Same));
        fs::write(&path, "one").expect("a file");
        assert!(matches!(followed.look(later(), read), Look::Changed(_)));
    }

    /// A certificate and its key.
    #[test]
    fn of_several_files_a_change_of_each_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["one", "two"].map(|name| folder.path().join(name));
        let all = |_: &Path| {
            paths
                .iter()
                .map(|path| read(path))
                .collect::<Result<String>>()
        };
        paths
            .iter()
            .for_each(|path| fs::write(path, "a").expect("a file"));
        let mut followed = Followed::all(paths.iter().map(PathBuf::as_path), later());
        assert!(matches!(followed.look(later(), all), Look::Same));
        for (path, expected) in [(&paths[1], "ab"), (&paths[0], "bb")] {
            fs::write(path, "b").expect("a file");
            // Of the same length, and maybe in the same tick of the clock.
            followed.is_settled = false;
            match followed.look(later(), all) {
                Look::Changed(text) => assert_eq!(text, expected),
                look => panic!("{look:?}"),
            }
        }
        fs::remove_file(&paths[1]).expect("removed");
        assert!(matches!(followed.look(later(), all), Look::Broken(_)));
    }

    /// Two writes in one tick of the file system's clock leave the same time, and may leave the same length.
    #[test]
    fn a_file_that_was_just_written_is_read_once_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "one").expect("a file");
        let mut followed = Followed::new(&path, SystemTime::now());
        assert!(matches!(
            followed.look(SystemTime::now(), read),
            Look::Changed(_)
        ));
        assert!(matches!(followed.look(later(), read), Look::Changed(_)));
        assert!(matches!(followed.look(later(), read), Look::Same));
    }
}
