//! [`Followed`]: a file that is read again when it changes. What can't be read or understood then leaves what was there in use.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::error::{Error, Result};

/// How often files are looked at. A change is in force within five seconds.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A file that was written less than this before it was read may be written again without looking different: clocks of file systems are that coarse.
const COARSE: Duration = Duration::from_secs(2);

/// How a file looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Another file has come in its place when this changes.
    inode: u64,
}

/// A file that is followed.
pub struct Followed {
    path: PathBuf,
    /// How it looked when it was read; none when it couldn't be looked at.
    stamp: Option<Stamp>,
    /// Whether it can't have changed since without looking different.
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
        let stamp = stamp(path);
        Self {
            path: path.to_owned(),
            is_settled: is_settled(stamp.as_ref(), now),
            stamp,
            trouble: None,
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is in the file now can't be read or understood.
    pub fn is_broken(&self) -> bool {
        self.trouble.is_some()
    }

    /// Looks at the file, and reads it with `read` if it may have changed.
    pub fn look<T>(&mut self, now: SystemTime, read: impl FnOnce(&Path) -> Result<T>) -> Look<T> {
        let stamp = stamp(&self.path);
        if self.is_settled && stamp == self.stamp {
            return Look::Same;
        }
        // Before it is read: what is written meanwhile looks different the next time.
        self.is_settled = is_settled(stamp.as_ref(), now);
        self.stamp = stamp;
        match read(&self.path) {
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

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok(),
        length: meta.len(),
        inode: meta.ino(),
    })
}

fn is_settled(stamp: Option<&Stamp>, now: SystemTime) -> bool {
    match stamp {
        None => true,
        Some(stamp) => {
            let modified = stamp.modified.and_then(|m| now.duration_since(m).ok());
            modified.is_some_and(|age| age > COARSE)
        }
    }
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
