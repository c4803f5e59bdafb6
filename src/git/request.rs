//! [`FetchRequest`]: what a client wants and has, read from the body of a `git-upload-pack` request as it comes (gitprotocol-pack(5), "Packfile Negotiation").
//!
//! Over HTTP each request stands by itself: it says again what is wanted and all that was found to be common. What a client has is a list without end to
//! somebody who hasn't looked at its history, so that nothing of it is kept but what is known here.

use std::{collections::BTreeSet, fmt};

use super::{
    id::ObjectId,
    packet::{Packet, PacketError, Packets, data},
};

/// So many different commits may be wanted, and as many be said to be shallow. A repository with one branch has one to be wanted.
const MOST: usize = 256;

/// In how many bands an answer may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SideBand {
    /// In none: it is a pack and nothing else.
    #[default]
    None,
    /// In packets of a thousand bytes.
    Small,
    /// In packets of 64 KiB.
    Large,
}

/// How a client is told what is common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Once.
    #[default]
    Single,
    /// For each commit.
    Multiple,
    /// For each commit, and when there is enough (`multi_ack_detailed`).
    Detailed,
}

/// What a client says of the commits it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Haves {
    /// Those that are known here, in the order in which they were named.
    pub known: Vec<ObjectId>,
    /// What was named after the last of them, or at all, is not.
    pub last_unknown: Option<ObjectId>,
}

/// What a client wants and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchRequest {
    /// The commits it wants, at least one.
    pub wants: BTreeSet<ObjectId>,
    /// Those whose parents it doesn't have.
    pub shallow: BTreeSet<ObjectId>,
    /// How many commits deep its history is to be; all of it, if that isn't set.
    pub depth: Option<u32>,
    /// What it has.
    pub haves: Haves,
    /// Whether it has said anything of what it has. Who asks how deep it can go hears of that first, and asks again.
    pub negotiates: bool,
    /// Whether it has named all that it has: then the pack comes.
    pub done: bool,
    /// In which form it comes.
    pub side_band: SideBand,
    /// How it is told what is common.
    pub acks: Acks,
    /// Whether the pack may come as soon as enough is common.
    pub no_done: bool,
    /// Whether it wants to hear nothing beside the pack.
    pub no_progress: bool,
}

/// Why a request can't be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It isn't made of packets.
    Packet(PacketError),
    /// A line says what none can say here.
    Line(String),
    /// Nothing is wanted.
    NothingWanted,
    /// More is named than can be.
    TooMany,
    /// It is one of version 2, which wasn't offered.
    Version2,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(e) => write!(f, "it isn't made of packets: {e}"),
            Self::Line(line) => write!(f, "it has a line that means nothing here, {line:?}"),
            Self::NothingWanted => f.write_str("nothing is wanted"),
            Self::TooMany => write!(f, "more than {MOST} commits are wanted or shallow"),
            Self::Version2 => f.write_str(
                "it is of version 2 of git's protocol, and version 0 is what was offered",
            ),
        }
    }
}

impl From<PacketError> for RequestError {
    fn from(e: PacketError) -> Self {
        Self::Packet(e)
    }
}

/// Which part of a request comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestPart {
    /// What is wanted.
    Wants,
    /// What the client has.
    Haves,
    /// Nothing: it has said all.
    Nothing,
}

/// Reads a request as it comes, in memory that doesn't grow with it.
pub struct RequestReader<F> {
    request: FetchRequest,
    part: RequestPart,
    /// The beginning of a packet that isn't whole.
    pending: Vec<u8>,
    is_known: F,
}

impl<F: Fn(&ObjectId) -> bool> RequestReader<F> {
    /// Of what the client has, the commits that `is_known` accepts are kept.
    pub fn new(is_known: F) -> Self {
        Self {
            request: FetchRequest::default(),
            part: RequestPart::Wants,
            pending: Vec::new(),
            is_known,
        }
    }

    /// Takes some bytes. It keeps no more of them than a packet can have.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut packets = Packets::of(&pending);
        while let Some(packet) = packets.next_whole()? {
            self.take(packet)?;
        }
        // However small the pieces are, no byte is moved more often than there are packets it is read with.
        let read = pending.len() - packets.rest().len();
        pending.drain(..read);
        self.pending = pending;
        Ok(())
    }

    /// The request, when all of it has come.
    ///
    /// # Errors
    /// [`RequestError::NothingWanted`], or that the last packet isn't whole.
    pub fn finish(self) -> Result<FetchRequest, RequestError> {
        if !self.pending.is_empty() {
            return Err(PacketError::Short.into());
        }
        match self.request.wants.is_empty() {
            true => Err(RequestError::NothingWanted),
            false => Ok(self.request),
        }
    }

    fn take(&mut self, packet: Packet<'_>) -> Result<(), RequestError> {
        self.request.negotiates |= self.part != RequestPart::Wants;
        let line = match packet {
            Packet::Data(line) => line.strip_suffix(b"\n").unwrap_or(line),
            Packet::Flush => {
                self.part = match self.part {
                    RequestPart::Wants if self.request.wants.is_empty() => {
                        return Err(RequestError::NothingWanted);
                    }
                    RequestPart::Wants | RequestPart::Haves => RequestPart::Haves,
                    RequestPart::Nothing => RequestPart::Nothing,
                };
                return Ok(());
            }
            Packet::Delimiter | Packet::End => return Err(RequestError::Version2),
        };
        match self.part {
            RequestPart::Wants => self.wanted(line),
            RequestPart::Haves => self.had(line),
            RequestPart::Nothing => Err(odd(line)),
        }
    }

    fn wanted(&mut self, line: &[u8]) -> Result<(), RequestError> {
        let Some(at) = line.iter().position(|b| *b == b' ') else {
            return Err(odd(line));
        };
        let (word, rest) = (&line[..at], &line[at + 1..]);
        match word {
            b"want" => {
                let (id, capabilities) = match rest.iter().position(|b| *b == b' ') {
                    Some(at) => (&rest[..at], &rest[at + 1..]),
                    None => (rest, &rest[rest.len()..]),
                };
                let id = ObjectId::parse(id).ok_or_else(|| odd(line))?;
                if self.request.wants.is_empty() {
                    self.capable(capabilities);
                }
                add(&mut self.request.wants, id)
            }
            b"shallow" => {
                let id = ObjectId::parse(rest).ok_or_else(|| odd(line))?;
                add(&mut self.request.shallow, id)
            }
            b"deepen" => {
                let text = std::str::from_utf8(rest).ok();
                let depth: Option<u32> = text.and_then(|text| text.parse().ok());
                // Zero is what clients say that want all of it.
                self.request.depth = Some(depth.ok_or_else(|| odd(line))?).filter(|d| *d > 0);
                Ok(())
            }
            word if word.starts_with(b"command=") => Err(RequestError::Version2),
            _ => Err(odd(line)),
        }
    }

    fn capable(&mut self, capabilities: &[u8]) {
        let request = &mut self.request;
        for capability in capabilities.split(|b| *b == b' ') {
            match capability {
                b"side-band-64k" => request.side_band = SideBand::Large,
                b"side-band" if request.side_band == SideBand::None => {
                    request.side_band = SideBand::Small;
                }
                b"multi_ack_detailed" => request.acks = Acks::Detailed,
                b"multi_ack" if request.acks == Acks::Single => request.acks = Acks::Multiple,
                b"no-done" => request.no_done = true,
                b"no-progress" => request.no_progress = true,
                // What was never offered, the client's name, and what makes no difference here.
                _ => {}
            }
        }
    }

    fn had(&mut self, line: &[u8]) -> Result<(), RequestError> {
        if line == b"done" {
            self.request.done = true;
            self.part = RequestPart::Nothing;
            return Ok(());
        }
        let id = line.strip_prefix(b"have ").and_then(ObjectId::parse);
        let id = id.ok_or_else(|| odd(line))?;
        let haves = &mut self.request.haves;
        match (self.is_known)(&id) {
            // As many as there are commits to be known, whatever comes.
            true if !haves.known.contains(&id) => {
                haves.known.push(id);
                haves.last_unknown = None;
            }
            true => {}
            false => haves.last_unknown = Some(id),
        }
        Ok(())
    }
}

fn add(to: &mut BTreeSet<ObjectId>, id: ObjectId) -> Result<(), RequestError> {
    to.insert(id);
    match to.len() > MOST {
        true => Err(RequestError::TooMany),
        false => Ok(()),
    }
}

/// Only the beginning of it is shown.
fn odd(line: &[u8]) -> RequestError {
    const SHOWN: usize = 60;
    let line = &line[..line.len().min(SHOWN)];
    RequestError::Line(String::from_utf8_lossy(line).into_owned())
}

/// What a client is told of what is common, and whether the pack follows it (git's `upload-pack.c`, `get_common_commits`, with `--stateless-rpc`). One commit that is known is
/// enough: what has changed since is found by the files themselves.
pub fn acknowledged(request: &FetchRequest) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    if !request.negotiates {
        return (out, false);
    }
    let Haves {
        known,
        last_unknown,
    } = &request.haves;
    for (number, id) in known.iter().enumerate() {
        let said = match request.acks {
            Acks::Detailed => format!("ACK {id} common\n"),
            Acks::Multiple => format!("ACK {id} continue\n"),
            Acks::Single if number == 0 => format!("ACK {id}\n"),
            Acks::Single => continue,
        };
        data(&mut out, said.as_bytes());
    }
    let Some(last) = known.last() else {
        data(&mut out, b"NAK\n");
        return (out, request.done);
    };
    if request.done {
        if request.acks != Acks::Single {
            data(&mut out, format!("ACK {last}\n").as_bytes());
        }
        return (out, true);
    }
    match request.acks {
        Acks::Single => return (out, false),
        Acks::Multiple => {
            if let Some(other) = last_unknown {
                data(&mut out, format!("ACK {other} continue\n").as_bytes());
            }
        }
        Acks::Detailed => {
            let ready = last_unknown.unwrap_or(*last);
            data(&mut out, format!("ACK {ready} ready\n").as_bytes());
        }
    }
    data(&mut out, b"NAK\n");
    let goes_on = request.no_done && request.acks == Acks::Detailed;
    if goes_on {
        data(&mut out, format!("ACK {last}\n").as_bytes());
    }
    (out, goes_on)
}
