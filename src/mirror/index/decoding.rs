//! Decoding: what has come of an index file is measured, then decoded, then looked into. Each of these blocks; the first takes next to no memory, the
//! others what was measured.

use std::{
    io::{BufRead, Read},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

use super::{pile::Pile, view::Viewpoint};
use crate::{
    allowance::Lease,
    domain::{History, IndexFile, IndexKey, Measure, Sha256},
    error::{Error, Result},
    mirror::kept::{GZIP_AT_ONCE, IndexContent, IndexEntry, Rendition, keep, overhead},
    policy::{Known, Marks},
    store::{Pulse, Spool},
    upstream::{Encoding, IndexStream, gunzip, inflate},
};

/// As much of what is no index file as is looked at to say what it is.
const START: usize = 1 << 10;

/// What the index file will be.
#[derive(Clone)]
pub(super) struct Expected {
    pub(super) key: IndexKey,
    /// What there is already.
    pub(super) known: Option<Arc<IndexEntry>>,
    /// When it changed.
    pub(super) modified: SystemTime,
    /// What decides what is shown of it.
    pub(super) from: Viewpoint,
}

/// What an index file comes to.
pub(super) enum Ready {
    /// It is what there is already.
    Unchanged,
    /// There is nothing in it.
    Empty,
    /// It is new.
    New(Made),
}

/// What is made of a new index file.
pub(super) struct Made {
    pub(super) content: Arc<IndexContent>,
    pub(super) rendition: Arc<Rendition>,
    pub(super) history: Arc<History>,
}

/// What a first look found.
pub(super) enum Measured {
    Ready(Ready),
    Needs(Needs),
}

/// What it takes in memory.
#[derive(Clone, Copy)]
pub(super) struct Needs {
    /// Of the body, decoded.
    length: usize,
    /// Of all that is made of it.
    pub(super) bytes: u64,
}

/// A body, and its gzip variant if it came as one that can be passed on.
pub(super) struct Decoded {
    body: Bytes,
    gzip: Option<Bytes>,
}

/// What came over the wire, to be read as often as it takes.
pub(super) trait Wire {
    fn length(&self) -> usize;
    fn reader(&self) -> Result<impl BufRead>;
    /// Says that reading gets on.
    fn beat(&self);
}

impl Wire for Pile {
    fn length(&self) -> usize {
        self.length()
    }

    fn reader(&self) -> Result<impl BufRead> {
        Ok(self.reader())
    }

    fn beat(&self) {}
}

/// What is in a file, and somebody who waits for its disk as long as that gets on.
impl Wire for (&Spool, &Pulse) {
    fn length(&self) -> usize {
        usize::try_from(self.0.length()).unwrap_or(usize::MAX)
    }

    fn reader(&self) -> Result<impl BufRead> {
        self.0.blocks(self.1)
    }

    fn beat(&self) {
        self.1.beat();
    }
}

/// What it takes to be made ready, unless it is what is known or nothing at all.
///
/// # Errors
/// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it is no index file, or not encoded as it is said to be.
pub(super) fn measure(
    wire: &impl Wire,
    encoding: Encoding,
    expected: &Expected,
) -> Result<Measured> {
    let mut measure = Measure::default();
    let mut start = Vec::new();
    // What follows of the known body, as long as there is no difference.
    let known = expected.known.as_ref();
    let mut same = known.map(|entry| &entry.file().body()[..]);
    let see = |chunk: &[u8]| {
        measure.add(chunk);
        let room = START - start.len();
        start.extend_from_slice(&chunk[..room.min(chunk.len())]);
        same = same.and_then(|rest| rest.strip_prefix(chunk));
        wire.beat();
    };
    let is_plain = match encoding {
        Encoding::Gzip => inflate(wire.reader()?, IndexStream::MAX_SIZE, see)?,
        Encoding::Identity => {
            each_chunk(wire.reader()?, see)?;
            false
        }
    };
    if same.is_some_and(<[u8]>::is_empty) {
        return Ok(Measured::Ready(Ready::Unchanged));
    }
    let length = measure.length();
    if length == 0 {
        return Ok(Measured::Ready(Ready::Empty));
    }
    if !measure.has_entries() {
        // Its start says well enough what it is instead.
        IndexFile::parse(expected.key.path, start.into())?;
    }
    let gzip = match is_plain {
        true => wire.length(),
        false => length.min(GZIP_AT_ONCE),
    };
    let copies = expected.from.copies() * length;
    let bytes = (measure.needs() + gzip + copies + overhead()) as u64;
    Ok(Measured::Needs(Needs { length, bytes }))
}

/// Decodes it, within a lease on what it needs.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when it can't be read any more.
pub(super) fn decode(wire: &impl Wire, encoding: Encoding, needs: Needs) -> Result<Decoded> {
    match encoding {
        Encoding::Identity => Ok(Decoded {
            body: read_all(wire.reader()?, needs.length)?,
            gzip: None,
        }),
        Encoding::Gzip => {
            let decoded = gunzip(wire.reader()?, needs.length)?;
            wire.beat();
            let gzip = decoded
                .is_plain
                .then(|| read_all(wire.reader()?, wire.length()));
            Ok(Decoded {
                body: decoded.body,
                gzip: gzip.transpose()?,
            })
        }
    }
}

/// Looks into it and makes it ready to be served.
///
/// # Errors
/// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it is no index file of that crate.
pub(super) fn finish(decoded: Decoded, expected: &Expected, lease: Lease) -> Result<Ready> {
    let file = IndexFile::parse(expected.key.path, decoded.body)?;
    let sha256 = Sha256::of(file.body());
    let before = expected.known.as_ref().map(|entry| entry.before());
    let history = Arc::new(History::after(before, &file, expected.from.now));
    let known = Known {
        file: &file,
        history: &history,
        modified_at: expected.modified,
    };
    let everything = Marks::default();
    let (shown, ruling) = expected
        .from
        .see(&expected.key, known, &everything, decoded.gzip);
    let (content, rendition) = keep(file, sha256, expected.modified, shown, ruling, lease);
    Ok(Ready::New(Made {
        content,
        rendition,
        history,
    }))
}

fn each_chunk(mut wire: impl BufRead, mut see: impl FnMut(&[u8])) -> Result<()> {
    loop {
        let chunk = wire.fill_buf().map_err(unreadable)?;
        if chunk.is_empty() {
            return Ok(());
        }
        see(chunk);
        let length = chunk.len();
        wire.consume(length);
    }
}

fn read_all(wire: impl Read, length: usize) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(length);
    // One more than there is would have it grow, to find out that there is none.
    let read = wire.take(length as u64).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    Ok(bytes.into())
}

fn unreadable(error: std::io::Error) -> Error {
    Error::store(format!("reading a temporary file failed: {error}")).with_source(error)
}
