//! [`StoreRecord`]: one index file, or what says which files a toolchain has, as it is stored, self-describing: a JSON header line, then the body as upstream sent it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{
    CrateVersion, History, IndexFile, RecordKey, Remembered, Sha256, Validators,
    toolchain::{ManifestHashes, RustupRelease, SumFile, ToolchainDocument},
};

/// The version of the stored form; records of another one are fetched again.
const FORMAT: u32 = 1;
/// No header is longer; a file without a line feed this early is no record. Most of it is room for the [`History`] of a crate.
const MAX_HEADER: usize = 2 << 20;
/// Clocks that are further apart are wrong.
const CLOCKS_DIFFER: Duration = Duration::from_secs(24 * 3600);
/// The first millisecond that no HTTP date can be made of (RFC 9110, section 5.6.7): years there have four digits.
const YEAR_10000: u64 = 253_402_300_800_000;

/// A stored index file, or one that says which files a toolchain has.
#[derive(Clone, Debug)]
pub struct StoreRecord {
    /// The bytes as upstream sent them, decoded.
    pub body: Bytes,
    /// The digest of `body`.
    pub sha256: Sha256,
    /// What to ask upstream with next time.
    pub validators: Validators,
    /// When this body came to be: what upstream says, else when it was first fetched.
    pub modified_at: SystemTime,
    /// When upstream last said that this body is current.
    pub checked_at: SystemTime,
    /// Whether upstream said then that there is no such crate any more. The body is kept for those who hold a Cargo.lock.
    pub gone: bool,
    /// What is remembered of the crate's versions beside the body.
    pub history: Arc<History>,
    /// The `.sha256` of the body, which came with it: of a channel manifest.
    pub sum: Option<Box<SumFile>>,
}

/// When a record was last confirmed, and then when its body came to be: of two records of one crate, the greater one is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    checked_at: SystemTime,
    modified_at: SystemTime,
}

impl Age {
    /// Whether it was confirmed when nothing can have been yet: later than clocks go wrong by. Such a record must not win over any other, or it would do
    /// so for ever.
    pub fn is_ahead_of(&self, now: SystemTime) -> bool {
        let ahead = self.checked_at.duration_since(now);
        ahead.is_ok_and(|ahead| ahead > CLOCKS_DIFFER)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Header {
    format: u32,
    sha256: Sha256,
    length: usize,
    #[serde(flatten)]
    validators: Validators,
    /// Its name is of the stored form.
    #[serde(rename = "fetched_at")]
    modified_at: u64,
    checked_at: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remembered: Vec<RememberedVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<Box<str>>,
    /// The digest of this header without this field: a flipped bit must not make a copy fresh for years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header_sha256: Option<Sha256>,
}

/// What is remembered of one version.
#[derive(Clone, Serialize, Deserialize)]
struct RememberedVersion {
    version: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_seen: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
}

impl RememberedVersion {
    fn of((version, remembered): (&str, Remembered)) -> Self {
        Self {
            version: version.into(),
            first_seen: remembered.first_seen.map(millis),
            sha256: remembered.sha256,
        }
    }

    fn read(&self) -> Result<(CrateVersion, Remembered), String> {
        let version = CrateVersion::parse(&self.version);
        let remembered = Remembered {
            first_seen: self.first_seen.map(time).transpose()?,
            sha256: self.sha256,
        };
        Ok((version.map_err(|e| e.message().to_owned())?, remembered))
    }
}

impl Header {
    /// The line without the line feed, its own digest included.
    fn line(mut self) -> Vec<u8> {
        self.header_sha256 = None;
        self.header_sha256 = Some(Sha256::of(&self.json()));
        self.json()
    }

    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers")
    }
}

impl StoreRecord {
    /// The largest stored form; the largest index file of crates.io is about 5 MB, the largest channel manifest about 3.
    pub const MAX_SIZE: u64 = (64 << 20) + MAX_HEADER as u64;

    /// Whether a stored form can have so many bytes; the error says what is wrong with it.
    ///
    /// # Errors
    /// A sentence's end, as from [`decode`](Self::decode).
    pub fn fits(size: u64) -> Result<(), String> {
        match size <= Self::MAX_SIZE {
            true => Ok(()),
            false => Err(format!(
                "it has {size} bytes, and no record has more than {}",
                Self::MAX_SIZE
            )),
        }
    }

    /// Whether it is what its key says; the error says what is wrong with it.
    ///
    /// # Errors
    /// A sentence's end, as from [`decode`](Self::decode).
    pub fn fits_to(self, key: &RecordKey) -> Result<(), String> {
        match key {
            RecordKey::Index(key) => match IndexFile::parse(key.path, self.body) {
                Ok(_) => Ok(()),
                Err(e) => Err(e.to_string()),
            },
            RecordKey::Toolchain(ToolchainDocument::Manifest(name)) => {
                let of = ManifestHashes::of(self.body)?.day();
                match (self.sum, name.day) {
                    (None, _) => Err("the checksum beside it isn't there".into()),
                    (Some(_), Some(day)) if day != of => {
                        Err(format!("it is of {of}, not of {day}"))
                    }
                    (Some(_), _) => Ok(()),
                }
            }
            RecordKey::Toolchain(ToolchainDocument::InitSum(_)) => {
                SumFile::parse(&self.body).map(drop)
            }
            RecordKey::Toolchain(ToolchainDocument::RustupRelease) => {
                RustupRelease::parse(&self.body).map(drop)
            }
        }
    }

    /// How old it is among others of the same crate.
    pub fn age(&self) -> Age {
        Age {
            checked_at: self.checked_at,
            modified_at: self.modified_at,
        }
    }

    /// The stored form, in two pieces to be written one after the other.
    pub fn encode(&self) -> [Bytes; 2] {
        let header = Header {
            format: FORMAT,
            sha256: self.sha256,
            length: self.body.len(),
            validators: self.validators.clone(),
            modified_at: millis(self.modified_at),
            checked_at: millis(self.checked_at),
            gone: self.gone,
            remembered: self.history.parts().map(RememberedVersion::of).collect(),
            sum: self.sum.as_ref().map(|sum| sum.text.clone()),
            header_sha256: None,
        };
        let mut line = header.line();
        line.push(b'\n');
        [line.into(), self.body.clone()]
    }

    /// Reads the stored form and checks the body against the header; the error says what is wrong with it.
    pub fn decode(bytes: Bytes) -> Result<Self, String> {
        let head = RecordHead::read(&bytes)?.ok_or("it has no header line")?;
        let body = bytes.slice(head.size..);
        if head.length != body.len() {
            return Err(format!("it has {} bytes of {}", body.len(), head.length));
        }
        match Sha256::of(&body) {
            actual if actual == head.sha256 => Ok(Self {
                body,
                sha256: actual,
                validators: head.validators,
                modified_at: head.modified_at,
                checked_at: head.checked_at,
                gone: head.gone,
                history: head.history,
                sum: head.sum,
            }),
            actual => Err(format!("its checksum is {actual}")),
        }
    }
}

/// What a stored index file says of itself before its body. Some of it says something of the body, which nobody has looked at.
#[derive(Clone, Debug)]
pub struct RecordHead {
    /// How many bytes it takes, with the line feed.
    size: usize,
    /// How many bytes the body has.
    length: usize,
    /// The digest of the body.
    pub sha256: Sha256,
    /// What to ask upstream with next time.
    pub validators: Validators,
    /// When the body came to be.
    pub modified_at: SystemTime,
    /// When upstream last said that the body is current.
    pub checked_at: SystemTime,
    /// Whether upstream said then that there is no such crate any more.
    pub gone: bool,
    /// What is remembered of the crate's versions beside the body.
    pub history: Arc<History>,
    /// The `.sha256` of the body, of a channel manifest.
    pub sum: Option<Box<SumFile>>,
}

impl RecordHead {
    /// No head is longer, in bytes.
    pub const LONGEST: usize = MAX_HEADER;

    /// Reads it at the beginning of a stored form; `None` when there is more to come of it. The error says what is wrong with it.
    ///
    /// # Errors
    /// A sentence's end, as from [`StoreRecord::decode`].
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.iter().take(MAX_HEADER).position(|&b| b == b'\n') else {
            return Ok(None);
        };
        let header: Header = serde_json::from_slice(&bytes[..end])
            .map_err(|e| format!("its header is wrong: {e}"))?;
        if header.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", header.format));
        }
        if header.clone().line() != bytes[..end] {
            return Err("its header's checksum is wrong".into());
        }
        let remembered = header.remembered.iter().map(RememberedVersion::read);
        let history = History::from_parts(remembered.collect::<Result<Vec<_>, _>>()?);
        let sum = header.sum.as_deref();
        let sum = sum.map(|text| SumFile::parse(text.as_bytes()));
        let sum = sum.transpose()?.map(Box::new);
        if sum.as_ref().is_some_and(|sum| sum.sha256 != header.sha256) {
            return Err("the checksum beside it is another one".into());
        }
        Ok(Some(Self {
            size: end + 1,
            length: header.length,
            sha256: header.sha256,
            validators: header.validators.fit(),
            modified_at: time(header.modified_at)?,
            checked_at: time(header.checked_at)?,
            gone: header.gone,
            history: Arc::new(history),
            sum,
        }))
    }

    /// How many bytes a stored form with this head has.
    pub fn stored_size(&self) -> u64 {
        (self.size + self.length) as u64
    }

    /// How old the record is among others of the same crate.
    pub fn age(&self) -> Age {
        Age {
            checked_at: self.checked_at,
            modified_at: self.modified_at,
        }
    }
}

/// Milliseconds since 1970; nothing here is older.
fn millis(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(millis: u64) -> Result<SystemTime, String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    time.filter(|_| millis < YEAR_10000)
        .ok_or_else(|| format!("its time {millis} is beyond the year 9999"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> StoreRecord {
        let body = Bytes::from_static(b"{\"name\":\"a\"}\n");
        StoreRecord {
            sha256: Sha256::of(&body),
            body,
            validators: Validators {
                etag: Some("W/\"a\\b\"".into()),
                last_modified: None,
            },
            modified_at: time(1_000_001).expect("a time"),
            checked_at: time(2_000_002).expect("a time"),
            gone: true,
            history: Arc::new(History::from_parts(remembered())),
            sum: None,
        }
    }

    fn remembered() -> Vec<(CrateVersion, Remembered)> {
        let version = |text| CrateVersion::parse(text).expect("a version");
        let first_seen = Some(time(3_000_003).expect("a time"));
        let sha256 = Some(Sha256::of(b"before"));
        vec![
            (
                version("1.0.0"),
                Remembered {
                    first_seen,
                    sha256: None,
                },
            ),
            (version("1.0.1"), Remembered { first_seen, sha256 }),
        ]
    }

    fn encoded() -> Vec<u8> {
        record().encode().concat()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let read = StoreRecord::decode(encoded().into()).expect("a record");
        let written = record();
        assert_eq!(read.body, written.body);
        assert_eq!(read.validators, written.validators);
        assert_eq!(read.modified_at, written.modified_at);
        assert_eq!(read.checked_at, written.checked_at);
        assert_eq!(read.gone, written.gone);
        assert_eq!(read.history, written.history);
    }

    #[test]
    fn the_longest_validators_fit_into_the_header() {
        // Backslashes and quotes are what JSON makes longest of all that a header may hold.
        let within = "\\".repeat(Validators::MAX_LEN - 2);
        let mut written = record();
        written.validators.etag = Some(format!("\"{within}\""));
        written.validators.last_modified = Some("\"".repeat(Validators::MAX_LEN));
        let read = StoreRecord::decode(written.encode().concat().into());
        assert_eq!(read.expect("a record").validators, written.validators);
    }

    #[test]
    fn no_time_is_taken_that_no_date_can_be_made_of() {
        let at = |millis| {
            let mut written = record();
            written.modified_at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            StoreRecord::decode(written.encode().concat().into())
        };
        let last = at(YEAR_10000 - 1).expect("a record");
        assert!(httpdate::fmt_http_date(last.modified_at).contains("9999"));
        assert!(at(YEAR_10000).is_err());
        assert!(at(1_000_000_000_000_000).is_err());
    }

    /// Sent, they would make every request fail.
    #[test]
    fn validators_that_no_header_can_hold_are_dropped() {
        for unfit in [
            "",
            "\"a\nb\"",
            "\"\u{e9}\"",
            &"x".repeat(Validators::MAX_LEN + 1),
        ] {
            let mut written = record();
            written.validators.etag = Some(unfit.to_owned());
            written.validators.last_modified = Some("fit".to_owned());
            let read = StoreRecord::decode(written.encode().concat().into());
            let read = read.expect("a record").validators;
            assert_eq!(read.etag, None, "{unfit:?}");
            assert_eq!(read.last_modified.as_deref(), Some("fit"));
        }
    }

    #[test]
    fn no_truncation_is_taken_for_a_record() {
        let whole = encoded();
        for length in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert!(StoreRecord::decode(cut).is_err(), "{length}");
        }
    }

    #[test]
    fn no_flipped_bit_gets_through() {
        let whole = encoded();
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(StoreRecord::decode(flipped.into()).is_err(), "bit {at}");
        }
    }
}
