//! [`IndexFile`]: one crate's index file, its bytes as upstream sent them and the few fields this program needs.

use std::{borrow::Cow, ops::Range, time::SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    checksum::Sha256,
    index_path::IndexPath,
    name::{CrateName, shorten},
    version::{CrateId, CrateVersion},
};
use crate::error::{Error, Result};

/// A crate's index file: JSON lines, one a version. The bytes are never rewritten: unknown fields and their order reach cargo.
#[derive(Clone, Debug)]
pub struct IndexFile {
    body: Bytes,
    name: CrateName,
    /// In the order of their version's text, each once, so that a lookup is a binary search.
    versions: Box<[Version]>,
    unreadable: usize,
}

/// What an index file should not have lost since.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Versions that are gone.
    pub vanished: Vec<&'a CrateVersion>,
    /// Versions whose checksum is another one.
    pub replaced: Vec<&'a CrateVersion>,
}

/// What one line says of one version, as far as this program needs to know.
#[derive(Clone, Debug)]
pub struct Version {
    version: CrateVersion,
    /// What the version's .crate file must hash to.
    pub sha256: Sha256,
    /// Whether resolvers should pass it over.
    pub yanked: bool,
    /// When it was published (`pubtime`), if upstream says so in the form that cargo reads.
    pub published: Option<SystemTime>,
    /// Where its line stands in the body, without the line feed.
    pub line: Range<usize>,
}

impl Version {
    /// The version this line is about.
    pub fn version(&self) -> &CrateVersion {
        &self.version
    }
}

/// The shortest line that can be an entry: `{"name":"a","vers":"0.0.0","cksum":"…"}` has 102 bytes.
const SHORTEST_LINE: usize = 100;

/// What an index file will take in memory, found out while its bytes go by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measure {
    length: usize,
    /// Lines that may be entries.
    entries: usize,
    /// The longest line with a backslash in it.
    escaped: usize,
    line: LineMeasure,
}

/// The line that isn't over yet.
#[derive(Clone, Copy, Debug, Default)]
struct LineMeasure {
    length: usize,
    has_escapes: bool,
    /// Its first byte that isn't blank.
    first: Option<u8>,
}

impl Measure {
    /// The next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.line.add(&bytes[start..end]);
            self.end_line();
            start = end + 1;
        }
        self.line.add(&bytes[start..]);
    }

    /// How many bytes there were.
    pub fn length(self) -> usize {
        self.length
    }

    /// Whether any line can be an entry. Without one there is no index file.
    pub fn has_entries(mut self) -> bool {
        self.end_line();
        self.entries > 0
    }

    /// The most that [`IndexFile::parse`] of these bytes takes, the bytes themselves included: what is kept of each version, and of a line with escapes
    /// the text without them and what that grows in.
    pub fn needs(mut self) -> usize {
        self.end_line();
        self.length
            + size_of::<IndexFile>()
            + self.entries * size_of::<Version>()
            + 3 * self.escaped
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.length >= SHORTEST_LINE && line.first == Some(b'{') {
            self.entries += 1;
        }
        if line.has_escapes {
            self.escaped = self.escaped.max(line.length);
        }
    }
}

impl LineMeasure {
    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.first = self
            .first
            .or_else(|| bytes.trim_ascii_start().first().copied());
        self.has_escapes |= memchr::memchr(b'\\', bytes).is_some();
    }
}

/// The fields read from a line; cargo's own list is in `cargo/src/cargo/sources/registry/index/mod.rs`.
#[derive(Deserialize)]
struct IndexLine<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    vers: Cow<'a, str>,
    cksum: Sha256,
    #[serde(default)]
    yanked: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text_or_nothing")]
    pubtime: Option<Cow<'a, str>>,
}

/// A text; whatever else stands there is nothing, as a line isn't unreadable for it.
fn text_or_nothing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<'a> {
        Text(#[serde(borrow)] Cow<'a, str>),
        Other(IgnoredAny),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => Some(text),
        Either::Other(_) => None,
    })
}

impl IndexFile {
    /// Parses the index file found at `path`.
    ///
    /// Cargo skips lines that it can't read, so lines of a later format are passed on untouched. But an answer that isn't an index file at
    /// all would become "no versions" in cargo's cache, so at least one line must be an entry of the asked crate, none may be of another one,
    /// and the last line must be whole.
    ///
    /// # Errors
    /// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) with what it is instead of an index file.
    pub fn parse(path: IndexPath, body: Bytes) -> Result<Self> {
        let asked = path.name();
        let fault = |what: String| {
            Error::upstream_fault(format!("upstream's index file of {asked} {what}"))
        };
        let text = std::str::from_utf8(&body).map_err(|_| fault("is not UTF-8".into()))?;

        let mut name = None;
        let mut measure = Measure::default();
        measure.add(&body);
        measure.end_line();
        // No more than was measured, and all of it at once: a list that grows is there twice.
        let mut versions: Vec<Version> = Vec::with_capacity(measure.entries);
        let mut unreadable = 0;
        for line in lines(text) {
            let written = &text[line.clone()];
            let ends_the_body = line.end == text.len();
            match serde_json::from_str::<IndexLine<'_>>(written) {
                Ok(entry) => {
                    let named = CrateName::parse(&entry.name)
                        .ok()
                        .filter(|n| n.to_lowercase() == asked)
                        .ok_or_else(|| {
                            // What it says is for the log: it may be anybody's words.
                            let named = format!("a line of {:?}", shorten(&entry.name));
                            fault("has a line of another crate".into()).because(named)
                        })?;
                    name = Some(named);
                    match CrateVersion::parse(&entry.vers) {
                        Ok(version) => versions.push(Version {
                            version,
                            sha256: entry.cksum,
                            yanked: entry.yanked.unwrap_or(false),
                            published: entry.pubtime.and_then(|time| published(&time)),
                            line,
                        }),
                        Err(_) => unreadable += 1,
                    }
                }
                Err(e) if ends_the_body && e.is_eof() => {
                    return Err(fault("ends in the middle of a line".into()));
                }
                Err(_) => unreadable += 1,
            }
        }
        let name = name.ok_or_else(|| fault(describe(text)))?;
        // A sort that keeps the order of equals would take half as much again.
        versions.sort_unstable_by(|a, b| {
            let by_version = a.version.as_str().cmp(b.version.as_str());
            by_version.then(a.line.start.cmp(&b.line.start))
        });
        keep_last_of_each(&mut versions);
        Ok(Self {
            name,
            versions: versions.into(),
            unreadable,
            body,
        })
    }

    /// The bytes as upstream sent them.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The same file over another handle on the same bytes.
    pub fn with_body(self, body: Bytes) -> Self {
        debug_assert_eq!(self.body, body, "the same bytes");
        Self { body, ..self }
    }

    /// The crate's name in its canonical case.
    pub fn name(&self) -> CrateName {
        self.name
    }

    /// What the file says of exactly this crate and version; `None` too when the name's case differs from the canonical one.
    pub fn find(&self, id: &CrateId) -> Option<&Version> {
        self.position(id).map(|at| &self.versions[at])
    }

    /// Where in [`versions`](Self::versions) that is.
    pub fn position(&self, id: &CrateId) -> Option<usize> {
        match id.name == self.name {
            true => self.position_of(&id.version),
            false => None,
        }
    }

    fn by_version(&self, wanted: &CrateVersion) -> Option<&Version> {
        self.position_of(wanted).map(|at| &self.versions[at])
    }

    fn position_of(&self, wanted: &CrateVersion) -> Option<usize> {
        let wanted = wanted.as_str();
        let at = self
            .versions
            .binary_search_by(|v| v.version.as_str().cmp(wanted));
        at.ok()
    }

    /// All versions, in the order of their text. One that is listed twice is here once, as its last line has it.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The versions of `before` that are no longer in this file, and those whose content is another one now. An index only ever grows: either may be an
    /// upstream that lies, though crates.io does delete crates.
    pub fn changes_since<'a>(&self, before: &'a Self) -> Changes<'a> {
        let mut changes = Changes::default();
        for old in &before.versions {
            match self.by_version(&old.version) {
                None => changes.vanished.push(&old.version),
                Some(new) if new.sha256 != old.sha256 => changes.replaced.push(&old.version),
                Some(_) => {}
            }
        }
        changes
    }

    /// How many lines are no entries that this program can read.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// About how many bytes of memory this takes beside the body.
    pub fn overhead(&self) -> usize {
        size_of::<Self>() + size_of_val::<[Version]>(&self.versions)
    }
}

/// A `pubtime`, `YYYY-MM-DDTHH:MM:SSZ`. What is later than a date can be is none.
fn published(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Of the lines for one version, which stand together in the order of the body, leaves the last: that is the one cargo takes, so its checksum
/// is what cargo will hold a download to.
fn keep_last_of_each(versions: &mut Vec<Version>) {
    versions.dedup_by(|later, kept| {
        let again = later.version == kept.version;
        if again {
            std::mem::swap(later, kept);
        }
        again
    });
}

/// The lines of `text` that aren't blank, as ranges without the line feed.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let range = start..start + content.len();
        start += line.len();
        (!content.trim_ascii().is_empty()).then_some(range)
    })
}

/// What a body without a single entry looks like, for the message.
fn describe(text: &str) -> String {
    let start = text.trim_start();
    if start.is_empty() {
        "is empty".into()
    } else if start.starts_with('<') {
        "is an HTML page".into()
    } else {
        format!("is not an index file: it starts with {:?}", shown(start))
    }
}

/// As much of a text as a message has room for.
fn shown(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(40)
        .map_or(text.len(), |(end, _)| end);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, vers: &str) -> String {
        format!(
            r#"{{"name":"{name}","vers":"{vers}","deps":[],"cksum":"{}","features":{{}},"yanked":false,"later":1}}"#,
            Sha256::of(vers.as_bytes())
        )
    }

    fn parse(body: &str) -> Result<IndexFile> {
        let path = IndexPath::of(CrateName::parse("serde").expect("valid"));
        IndexFile::parse(path, Bytes::copy_from_slice(body.as_bytes()))
    }

    fn refused(body: &str) -> String {
        parse(body).expect_err("must be refused").to_string()
    }

    #[test]
    fn versions_that_differ_in_build_metadata_are_kept_apart() {
        let body = [entry("Serde", "1.0.0"), entry("Serde", "1.0.0+a")].join("\n");
        let file = parse(&body).expect("an index file");
        let sha = |v| {
            file.find(&CrateId::parse("Serde", v).expect("valid"))
                .map(|v| v.sha256)
        };
        assert_eq!(sha("1.0.0"), Some(Sha256::of(b"1.0.0")));
        assert_eq!(sha("1.0.0+a"), Some(Sha256::of(b"1.0.0+a")));
        assert_eq!(sha("2.0.0"), None);
        let lower = CrateId::parse("serde", "1.0.0").expect("valid");
        assert!(file.find(&lower).is_none(), "only the canonical case");
        assert_eq!(file.name().as_str(), "Serde");
    }

    /// Any other choice would have the mirror check a download against a checksum that isn't cargo's, and report a change at every refresh.
    #[test]
    fn of_a_version_listed_twice_the_last_line_counts_as_it_does_for_cargo() {
        let again = |content: &[u8]| {
            let (was, is) = (Sha256::of(b"1.0.0"), Sha256::of(content));
            entry("serde", "1.0.0").replace(&was.to_string(), &is.to_string())
        };
        let lines = [again(b"a"), entry("serde", "1.0.1"), again(b"b")];
        let file = parse(&lines.join("\n")).expect("an index file");
        let id = CrateId::parse("serde", "1.0.0").expect("valid");
        let found = file.find(&id).expect("listed");
        assert_eq!(found.sha256, Sha256::of(b"b"));
        assert_eq!(file.body()[found.line.clone()], *lines[2].as_bytes());
        assert_eq!(file.versions().len(), 2);
        assert!(file.changes_since(&file).replaced.is_empty());
    }

    #[test]
    fn lines_of_a_later_format_are_passed_on() {
        let body = format!("{}\nnot json\n{{\"v\":9}}\n", entry("serde", "1.0.0"));
        let file = parse(&body).expect("an index file");
        assert_eq!(file.unreadable(), 2);
        assert_eq!(file.body(), body.as_bytes());
    }

    /// Cargo caches an HTML page read as an index file as "no versions".
    #[test]
    fn what_is_no_index_file_is_refused() {
        assert!(refused("<html>maintenance</html>").contains("an HTML page"));
        assert!(refused("").contains("is empty"));
        assert!(refused("{\"errors\":[]}").contains("is not an index file"));
        assert!(refused(&entry("tokio", "1.0.0")).contains("a line of \"tokio\""));
        let mixed = [entry("serde", "1.0.0"), entry("serde_json", "1.0.0")].join("\n");
        assert!(refused(&mixed).contains("serde_json"));
    }

    /// What is leased for a file is what was measured.
    #[test]
    fn a_file_takes_no_more_than_was_measured_however_its_bytes_come() {
        let shortest = format!(
            r#"{{"name":"a","vers":"0.0.0","cksum":"{}"}}"#,
            "0".repeat(64)
        );
        assert!(shortest.len() >= SHORTEST_LINE);
        let escaped = entry("serde", "2.0.0").replace("later", "l\\u0061ter");
        let lines: Vec<_> = (0..20)
            .map(|n| entry("serde", &format!("1.0.{n}")))
            .collect();
        for body in [
            lines.join("\n"),
            lines.concat(),
            format!("{}\n\n{escaped}\n", lines[0]),
        ] {
            let needs: Vec<_> = [1, 7, body.len()]
                .map(|step| {
                    let mut measure = Measure::default();
                    body.as_bytes()
                        .chunks(step)
                        .for_each(|piece| measure.add(piece));
                    assert_eq!(measure.length(), body.len());
                    measure.needs()
                })
                .into();
            assert!(needs.iter().all(|n| *n == needs[0]), "{needs:?}");
            if let Ok(file) = parse(&body) {
                assert!(file.overhead() + body.len() <= needs[0], "{needs:?}");
            }
        }
    }

    #[test]
    fn a_file_cut_off_in_a_line_is_refused() {
        let whole = [entry("serde", "1.0.0"), entry("serde", "1.0.1")].join("\n");
        assert!(parse(&whole).is_ok(), "a missing final line feed is fine");
        for cut in 1..entry("serde", "1.0.1").len() {
            let body = &whole[..whole.len() - cut];
            assert!(refused(body).contains("in the middle of a line"), "{cut}");
        }
    }
}
