//! [`Reader`]: an audit log and the files that were put aside before it, read in the order in which they were written.

use std::{
    borrow::Cow,
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::Path,
};

use serde::Deserialize;

use super::log::{aside, inode};
use crate::error::{Error, Kind, Result};

/// No line of ours is longer, in bytes.
const LONGEST: usize = 64 << 10;

/// What a line says. Fields that newer versions add are passed over.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// When: `2026-11-01T12:00:00.000Z`.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// Who asked.
    #[serde(borrow)]
    pub who: Cow<'a, str>,
    /// From where.
    #[serde(borrow)]
    pub address: Cow<'a, str>,
    /// Of which registry.
    #[serde(borrow)]
    pub registry: Option<Cow<'a, str>>,
    /// Which crate.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    /// Which version of it.
    #[serde(borrow)]
    pub version: Option<Cow<'a, str>>,
    /// Where the answer came from.
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// `allowed`, `denied` or `would-deny`.
    #[serde(borrow)]
    pub verdict: Cow<'a, str>,
    /// By which rule, or because of which advisories.
    #[serde(borrow)]
    pub rule: Option<Cow<'a, str>>,
}

/// The files, opened.
pub struct Reader(Vec<File>);

impl Reader {
    /// Opens the log at `path` and all that was put aside before it. A mirror may go on writing meanwhile.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is none; [`Kind::Store`] when one can't be read.
    pub fn open(path: &Path) -> Result<Self> {
        // The newest first: one that is put aside while they are opened is then met twice, and not missed.
        let mut files = Vec::new();
        let mut known = HashSet::new();
        let paths = (1..).map(|number| aside(path, number));
        for (n, path) in std::iter::once(path.to_owned()).chain(paths).enumerate() {
            match File::open(&path) {
                Ok(file) => {
                    if known.insert(inode(file.metadata())) {
                        files.push(file);
                    }
                }
                // It is put aside just now, and its successor isn't there yet.
                Err(e) if e.kind() == ErrorKind::NotFound && n == 0 => {}
                Err(e) if e.kind() == ErrorKind::NotFound => break,
                Err(e) => return Err(unreadable(&path, e)),
            }
        }
        if files.is_empty() {
            return Err(Error::config(format!(
                "there is no audit log at {}; a mirror with this `audit.path` makes one",
                path.display()
            )));
        }
        files.reverse();
        Ok(Self(files))
    }

    /// Shows each line to `see`, with what it says, the oldest first, until it returns false. Returns how many lines say nothing that can be understood.
    ///
    /// # Errors
    /// [`Kind::Store`] when a file can't be read.
    pub fn each(self, mut see: impl FnMut(&Record<'_>, &str) -> bool) -> Result<u64> {
        let mut bad = 0;
        for file in self.0 {
            let mut file = BufReader::with_capacity(CHUNK, file);
            let mut line = Vec::new();
            while next_line(&mut file, &mut line)
                .map_err(|e| unreadable(Path::new("the audit log"), e))?
            {
                let text = std::str::from_utf8(line.trim_ascii_end()).unwrap_or_default();
                match serde_json::from_str::<Record<'_>>(text) {
                    Ok(record) if !see(&record, text) => return Ok(bad),
                    Ok(_) => {}
                    Err(_) => bad += 1,
                }
            }
        }
        Ok(bad)
    }
}

/// So much is read at once.
const CHUNK: usize = 256 << 10;

/// Reads the next line, as far as it has the length of one of ours; false at the end.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = (&mut *file).take(LONGEST as u64).read_until(b'\n', line)?;
    if read == LONGEST && line.last() != Some(&b'\n') {
        file.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

fn unreadable(path: &Path, why: io::Error) -> Error {
    let path = path.display();
    Error::new(Kind::Store, format!("{path} can't be read: {why}")).with_source(why)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::event::tests::{handed_out, line},
        *,
    };

    fn names(path: &Path) -> (Vec<String>, u64) {
        let mut names = Vec::new();
        let reader = Reader::open(path).expect("a log");
        let bad = reader.each(|record, _| {
            names.extend(record.name.as_deref().map(str::to_owned));
            true
        });
        (names, bad.expect("it is read"))
    }

    #[test]
    fn all_files_are_read_the_oldest_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        for (file, name) in [
            ("a", "now"),
            ("a.1", "before"),
            ("a.2", "first"),
            ("a.4", "lost"),
        ] {
            let text = line(&handed_out(name, "1.0.0", 0));
            fs::write(folder.path().join(file), text).expect("a file");
        }
        assert_eq!(names(&path).0, ["first", "before", "now"]);
        fs::remove_file(&path).expect("removed");
        assert_eq!(names(&path).0, ["first", "before"], "put aside just now");
        fs::hard_link(folder.path().join("a.1"), &path).expect("a link");
        assert_eq!(names(&path).0, ["first", "before"], "each once");
    }

    #[test]
    fn what_is_no_line_of_ours_is_passed_over_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let good = line(&handed_out("good", "1.0.0", 0));
        let long = format!("{}{}\n", good.trim_end(), "x".repeat(10 * LONGEST));
        let cut = &good[..20];
        let newer = good.replacen('{', "{\"more\":[1],", 1);
        let text = format!("{good}\n<html>\n{long}{newer}{{}}\n{good}{cut}");
        fs::write(&path, text).expect("a file");
        assert_eq!(names(&path), (vec!["good".to_owned(); 3], 5));
        let none = Reader::open(&folder.path().join("b"))
            .err()
            .expect("there is none");
        assert_eq!(none.kind(), Kind::Config);
    }
}
