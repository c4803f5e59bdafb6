//! Stored files: what a mirror has on its disk, read and tampered with behind its back.
//!
//! A running mirror answers first and writes later. Call [`Mirror::restart`] before: then everything is written, and nothing is in memory.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{Mirror, index_path, sha256};

/// An index record: its header line and the body after it.
#[derive(Clone, Debug)]
pub struct Record {
    pub header: Value,
    pub body: Vec<u8>,
}

impl Record {
    #[track_caller]
    pub fn read(path: &Path) -> Record {
        Record::of(&fs::read(path).expect("a stored index record"))
    }

    #[track_caller]
    pub fn of(bytes: &[u8]) -> Record {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let end = end.expect("a header line");
        Record {
            header: serde_json::from_slice(&bytes[..end]).expect("a JSON header"),
            body: bytes[end + 1..].to_vec(),
        }
    }

    /// Makes it older than it is: fetched and confirmed that much earlier.
    pub fn age(&mut self, by: Duration) {
        for time in ["fetched_at", "checked_at"] {
            let millis = self.header[time].as_u64().expect("milliseconds");
            self.header[time] = (millis - by.as_millis() as u64).into();
        }
    }

    /// It as it is stored, with a header whose own checksum is right.
    pub fn bytes(&self) -> Vec<u8> {
        let fields = in_order(&self.header, &HEADER_FIELDS);
        let own = sha256(format!("{{{fields}}}").as_bytes());
        let header = format!("{{{fields},\"header_sha256\":\"{own}\"}}\n");
        [header.as_bytes(), &self.body].concat()
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).expect("write a record");
    }
}

/// What a header's own checksum is of, in this order.
const HEADER_FIELDS: [&str; 9] = [
    "format",
    "sha256",
    "length",
    "etag",
    "last_modified",
    "fetched_at",
    "checked_at",
    "gone",
    "remembered",
];
/// The same of what is remembered of a version.
const REMEMBERED_FIELDS: [&str; 3] = ["version", "first_seen", "sha256"];

/// The fields of an object as JSON, without its braces.
fn in_order(object: &Value, names: &[&str]) -> String {
    let fields = names.iter().filter_map(|name| {
        let value = match object.get(name)? {
            Value::Array(all) => {
                let all = all.iter();
                let all = all.map(|one| format!("{{{}}}", in_order(one, &REMEMBERED_FIELDS)));
                format!("[{}]", all.collect::<Vec<_>>().join(","))
            }
            value => value.to_string(),
        };
        Some(format!("{name:?}:{value}"))
    });
    fields.collect::<Vec<_>>().join(",")
}

impl Mirror {
    /// The file of a crate's index record.
    pub fn index_record(&self, name: &str) -> PathBuf {
        let folder = self.store().join("crates-io/index");
        folder.join(index_path(name))
    }

    /// The stored .crate file of that version, whatever its checksum.
    #[track_caller]
    pub fn stored_crate(&self, name: &str, version: &str) -> PathBuf {
        let start = format!("crates-io/crates/{}/{version}.", index_path(name));
        let mut found = self.stored().into_iter();
        let found = found.find(|path| path.starts_with(&start) && path.ends_with(".crate"));
        self.store().join(found.expect("a stored .crate file"))
    }

    /// Makes a stored index file older than it is: fetched and confirmed that much earlier.
    pub fn age(&self, name: &str, by: Duration) {
        let path = self.index_record(name);
        let mut record = Record::read(&path);
        record.age(by);
        record.write(&path);
    }
}

/// Whether this is what a mirror keeps of a manifest beside its crate: no object, and written when there is time.
pub fn is_beside(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "license")
}

/// Flips one bit in the middle of a file.
pub fn corrupt(path: &Path) {
    let length = fs::metadata(path).expect("a stored file").len();
    flip(path, length as usize / 2, 1);
}

/// Flips these bits of the byte at `at`.
pub fn flip(path: &Path, at: usize, bits: u8) {
    let mut bytes = fs::read(path).expect("a stored file");
    bytes[at] ^= bits;
    fs::write(path, bytes).expect("write a stored file");
    settle(path);
}

/// Sets a file's time back, so that nobody seems to be writing it: a disk that goes bad leaves the time as it was.
pub fn settle(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(60);
    let file = fs::OpenOptions::new().write(true).open(path);
    let set = file.and_then(|file| file.set_modified(then));
    set.expect("the time of a stored file");
}

/// Something that happens to the first file; the second one is another object of the same kind.
pub type Damage = (&'static str, fn(&Path, &Path));

pub const DAMAGES: &[Damage] = &[
    ("a flipped bit in the middle", |file, _| corrupt(file)),
    ("a flipped bit in the first byte", |file, _| {
        flip(file, 0, 1)
    }),
    ("a flipped bit in the last byte", |file, _| {
        flip(file, length(file) - 1, 1)
    }),
    ("emptied", |file, _| cut(file, 0)),
    ("cut to one byte", |file, _| cut(file, 1)),
    ("cut in half", |file, _| cut(file, length(file) / 2)),
    ("cut at the end of a block", |file, _| {
        cut(file, (length(file) - 1) & !0xffff)
    }),
    ("cut by one byte", |file, _| cut(file, length(file) - 1)),
    ("one byte longer", |file, _| {
        let bytes = fs::read(file).expect("a stored file");
        fs::write(file, [&bytes[..], b"\n"].concat()).expect("write");
        settle(file);
    }),
    ("as long, but all zeros", |file, _| {
        fs::write(file, vec![0; length(file)]).expect("write");
        settle(file);
    }),
    ("another object", |file, other| {
        fs::copy(other, file).expect("copy");
        settle(file);
    }),
];

fn length(file: &Path) -> usize {
    fs::metadata(file).expect("a stored file").len() as usize
}

fn cut(path: &Path, length: usize) {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.expect("a stored file")
        .set_len(length as u64)
        .expect("cut");
    settle(path);
}
