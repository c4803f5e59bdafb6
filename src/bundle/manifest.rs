//! The manifest: what is in a bundle, as JSON with one entry a line. Written and read as a stream.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead, BufReader, Read},
    time::SystemTime,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess},
};

use super::{
    attachment::{self, AttachedFile},
    entry::{BundleEntry, Entries},
    format::{FORMAT, MAX_LINE},
};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
};

/// No bundle is of more registries.
const MAX_REGISTRIES: usize = 1_000;

/// What a manifest says before its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The version of the format.
    pub format: u32,
    /// As of when: the last time that upstream confirmed one of the index records in it. Not the time of the export, so that the same content makes the
    /// same bytes.
    pub created: Option<String>,
    /// The registries in it, and where their indexes are if whoever wrote it knew.
    pub registries: BTreeMap<String, Option<String>>,
    /// What comes before the objects and is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<AttachedFile>,
}

impl Head {
    pub(super) fn new(
        created: Option<SystemTime>,
        registries: BTreeMap<String, Option<String>>,
    ) -> Self {
        let written = |time| humantime::format_rfc3339_seconds(time).to_string();
        Self {
            format: FORMAT,
            // The format of dates ends with the year 9999.
            created: created.filter(|time| is_writable(*time)).map(written),
            registries,
            attached: Vec::new(),
        }
    }

    /// The manifest's text up to its first entry.
    fn text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("strings and numbers");
        text.pop();
        text + ",\"entries\":[\n"
    }
}

fn is_writable(time: SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.is_ok_and(|since| since.as_secs() < YEAR_10000)
}

const END: &str = "]}\n";

/// How many bytes a manifest has whose `count` entries' lines take `lines`.
pub(super) fn length(head: &Head, count: u64, lines: u64) -> u64 {
    (head.text().len() + END.len()) as u64 + lines + count.saturating_sub(1)
}

/// A manifest's bytes: the head, then the lines of `entries` within `range`, which are `count`.
pub(super) fn bytes(
    head: &Head,
    entries: &mut Entries,
    range: std::ops::Range<u64>,
    count: u64,
) -> Result<impl Read + use<>> {
    Ok(Text {
        ready: head.text().into_bytes(),
        given: 0,
        lines: entries.bytes(range)?,
        left: Some(count),
    })
}

/// A manifest's text in the making.
struct Text<R> {
    ready: Vec<u8>,
    given: usize,
    lines: R,
    /// How many entries are still to come; `None` when the end has been made.
    left: Option<u64>,
}

impl<R: BufRead> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            match self.left {
                None => return Ok(0),
                Some(0) => {
                    self.ready.extend_from_slice(END.as_bytes());
                    self.left = None;
                }
                Some(left) => {
                    self.lines.read_until(b'\n', &mut self.ready)?;
                    if left > 1 {
                        self.ready.pop();
                        self.ready.extend_from_slice(b",\n");
                    }
                    self.left = Some(left - 1);
                }
            }
        }
        let length = buffer.len().min(self.ready.len() - self.given);
        buffer[..length].copy_from_slice(&self.ready[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// Reads a manifest and notes its entries in `entries`; each has been checked for being one, and for standing in its place, which leaves no room for one
/// that is there twice.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong.
pub(super) fn parse(text: impl Read, entries: &mut Entries) -> Result<Head> {
    let lines = BufReader::with_capacity(64 << 10, ShortLines { text, length: 0 });
    let mut json = serde_json::Deserializer::from_reader(lines);
    let mut problem = None;
    let manifest = Manifest {
        entries,
        problem: &mut problem,
    };
    let parsed = manifest
        .deserialize(&mut json)
        .and_then(|head| json.end().map(|()| head));
    match (parsed, problem) {
        (Ok(head), _) => Ok(head),
        (Err(_), Some(problem)) => Err(problem),
        (Err(e), None) => {
            Err(Error::bad_request(format!("its manifest can't be read: {e}")).with_source(e))
        }
    }
}

/// Refuses text with a line so long that no manifest has it: what is between quotes has no line feed and is kept in memory while it is read.
struct ShortLines<R> {
    text: R,
    length: usize,
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Short reads, so that the lengths of what is between line feeds can be told apart.
        let most = buffer.len().min(MAX_LINE);
        let read = self.text.read(&mut buffer[..most])?;
        let bytes = &buffer[..read];
        let first = bytes.iter().position(|&b| b == b'\n');
        let last = bytes.iter().rposition(|&b| b == b'\n');
        if self.length + first.unwrap_or(read) > MAX_LINE {
            return Err(io::Error::other(format!(
                "a line has more than {MAX_LINE} bytes"
            )));
        }
        self.length = last.map_or(self.length + read, |last| read - last - 1);
        Ok(read)
    }
}

/// Takes the parts of a manifest in whatever order they come, and its entries one by one.
struct Manifest<'a> {
    entries: &'a mut Entries,
    /// What is wrong with it, in our own words.
    problem: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Manifest<'_> {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Head, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::Visitor<'de> for Manifest<'_> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with format, registries and entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let (mut head, mut has_entries) = (Head::default(), false);
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Format => {
                    head.format = map.next_value()?;
                    if head.format != FORMAT {
                        return Err(self.fail(format!(
                            "it is of format {}, and this program reads format {FORMAT}",
                            head.format
                        )));
                    }
                }
                Field::Created => head.created = map.next_value()?,
                Field::Registries => head.registries = map.next_value::<RegistryUrls>()?.0,
                Field::Attached => head.attached = map.next_value::<AttachedList>()?.0,
                Field::Entries if has_entries => {
                    return Err(de::Error::duplicate_field("entries"));
                }
                Field::Entries => {
                    has_entries = true;
                    map.next_value_seed(EntryList {
                        entries: self.entries,
                        problem: self.problem,
                    })?;
                }
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (head.format, has_entries) {
            (0, _) => Err(de::Error::missing_field("format")),
            (_, false) => Err(de::Error::missing_field("entries")),
            (_, true) => Ok(head),
        }
    }
}

impl Manifest<'_> {
    fn fail<E: de::Error>(self, message: String) -> E {
        let error = E::custom(&message);
        *self.problem = Some(Error::bad_request(message));
        error
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Format,
    Created,
    Registries,
    Attached,
    Entries,
    #[serde(other)]
    Other,
}

/// What is attached, of a kind that is known.
#[derive(Deserialize)]
struct AttachedList(#[serde(deserialize_with = "attachment::read_list")] Vec<AttachedFile>);

/// The names of registries, no more than there can be.
struct RegistryUrls(BTreeMap<String, Option<String>>);

impl<'de> Deserialize<'de> for RegistryUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RegistryUrlsVisitor)
    }
}

struct RegistryUrlsVisitor;

impl<'de> de::Visitor<'de> for RegistryUrlsVisitor {
    type Value = RegistryUrls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("registries and where their indexes are")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RegistryUrls, A::Error> {
        let mut registries = BTreeMap::new();
        while let Some((name, index)) = map.next_entry::<RegistryName, Option<String>>()? {
            registries.insert(name.to_string(), index);
            if registries.len() > MAX_REGISTRIES {
                return Err(de::Error::custom("there are too many registries"));
            }
        }
        Ok(RegistryUrls(registries))
    }
}

/// The entries, each checked and noted as it comes.
struct EntryList<'a> {
    entries: &'a mut Entries,
    problem: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for EntryList<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for EntryList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut before: Option<BundleEntry> = None;
        while let Some(entry) = list.next_element::<BundleEntry>()? {
            let noted = follows(before.as_ref(), &entry).and_then(|()| self.entries.push(&entry));
            if let Err(problem) = noted {
                let error = de::Error::custom(&problem);
                *self.problem = Some(problem);
                return Err(error);
            }
            before = Some(entry);
        }
        Ok(())
    }
}

fn follows(before: Option<&BundleEntry>, entry: &BundleEntry) -> Result<()> {
    let named = |e: Error| {
        Error::bad_request(format!("its manifest names an entry that can't be: {e}")).with_source(e)
    };
    entry.key().map_err(named)?;
    match before {
        Some(before) if before.position() >= entry.position() => Err(Error::bad_request(format!(
            "its manifest has {} in the wrong place, after {}, or twice",
            entry.path, before.path
        ))),
        Some(_) | None => Ok(()),
    }
}
