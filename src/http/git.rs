//! The index as a git repository, over git's smart HTTP (gitprotocol-http(5)): what a client asks for, and the answer.

use std::{
    io::{self, BufRead, Read},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use futures_util::stream;
use http::{HeaderValue, Method, header, request::Parts as Head};
use tokio::time::{sleep, timeout};
use url::form_urlencoded;

use super::{
    body::BodySource,
    respond::{Answer, NO_CACHE, no_memory},
    route::{GIT_INDEX, GitCall, Place, Verb},
};
use crate::{
    allowance::Lease,
    domain::{Outcome, View},
    error::{Error, Kind, Result},
    git::{self, Band, FetchRequest, RequestReader, SideBand},
    mirror::{GitPatience, Mirror, PACK_CHUNK, PackPlan, PackSource, Registry, Repository},
    transport::{ClientMemory, RequestBody},
};

const REFS: HeaderValue = HeaderValue::from_static("application/x-git-upload-pack-advertisement");
const RESULT: HeaderValue = HeaderValue::from_static("application/x-git-upload-pack-result");
const AGENT: &str = concat!("crate-mirror/", env!("CARGO_PKG_VERSION"));

/// So long may a body be as it comes. A client that names ten thousand commits sends half of that, and less when it is compressed.
const LONGEST: usize = 1 << 20;
/// And so long when it is decompressed.
const LONGEST_PLAIN: u64 = 4 << 20;
/// A body that isn't there by then isn't waited for.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Nobody waits longer for memory for a pack.
const MEMORY_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// What a pack on its way takes beside what has changed: two chunks, one of them with its frames.
const OF_A_PACK: usize = 2 * (PACK_CHUNK + (2 << 10));
/// And what each object that has changed since its first state does: its name, in a list that has grown.
const OF_A_CHANGE: usize = 40;
/// The same while it is found out which these are, each of them once.
const OF_A_PLANNED_CHANGE: usize = 96;

/// With which method each call is made.
///
/// # Errors
/// Those of [`Verb::parse`], and [`Kind::BadRequest`] when it is another one.
pub(super) fn verb(call: GitCall, method: &Method) -> Result<Verb> {
    match call {
        GitCall::UploadPack if *method == Method::POST => Ok(Verb::Get),
        GitCall::UploadPack => Err(Error::bad_request(
            "git-upload-pack is asked with POST, by a git client",
        )),
        // What it is refused for is that it would change something.
        GitCall::ReceivePack => Ok(Verb::Get),
        GitCall::Refs | GitCall::Other => Verb::parse(method),
    }
}

/// A request of a git client.
pub(super) struct GitRequest {
    pub(super) registry: Registry,
    pub(super) view: View,
    /// The config.json that is in the repository.
    pub(super) config: Bytes,
    pub(super) asked: GitAsked,
    pub(super) memory: Arc<ClientMemory>,
}

/// What it asks for.
pub(super) enum GitAsked {
    /// Which commits there are.
    Refs,
    /// What is new in them, with this body, which may be gzipped.
    Pack { body: RequestBody, is_gzipped: bool },
}

impl GitAsked {
    /// What is asked for by this request.
    ///
    /// # Errors
    /// [`Kind::BadRequest`], [`Kind::NotFound`] or [`Kind::ReadOnly`] with what to do instead.
    pub(super) fn of(
        call: GitCall,
        place: Place,
        head: &Head,
        body: Option<RequestBody>,
    ) -> Result<Self> {
        if let View::AsOf(_) = place.view {
            return Err(Error::not_found(
                "the index as of a day isn't there as a git repository; a view with `as_of` is, at /views/NAME/git/index",
            ));
        }
        match call {
            GitCall::Refs => match service(head).as_deref() {
                Some("git-upload-pack") => Ok(Self::Refs),
                Some("git-receive-pack") => Err(read_only()),
                Some(_) | None => Err(Error::bad_request(
                    "this repository is read by git's smart protocol alone: info/refs?service=git-upload-pack",
                )),
            },
            GitCall::UploadPack => {
                let coding = head.headers.get(header::CONTENT_ENCODING);
                let is_gzipped = match coding.map(HeaderValue::as_bytes) {
                    None | Some(b"identity") => false,
                    Some(b"gzip" | b"x-gzip") => true,
                    Some(_) => {
                        return Err(Error::bad_request(
                            "a request to git-upload-pack comes as it is or gzipped",
                        ));
                    }
                };
                let body = body.ok_or_else(|| {
                    Error::bad_request("a request to git-upload-pack has a body, and this has none")
                })?;
                Ok(Self::Pack { body, is_gzipped })
            }
            GitCall::ReceivePack => Err(read_only()),
            GitCall::Other => Err(Error::not_found(format!(
                "this is a git repository for cargo: put its URL, which ends in /{GIT_INDEX}, into cargo's configuration as `registry`, or clone it; its files can't be asked for one by one"
            ))),
        }
    }
}

fn service(head: &Head) -> Option<String> {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let service = pairs.find(|(key, _)| key == "service");
    service.map(|(_, service)| service.into_owned())
}

fn read_only() -> Error {
    Error::new(
        Kind::ReadOnly,
        "this is a read-only mirror: nothing can be pushed into its index",
    )
}

impl GitRequest {
    /// The answer.
    ///
    /// # Errors
    /// Those of [`Mirror::git_index`], and what is wrong with the request.
    pub(super) async fn answer(self, mirror: &Mirror, now: SystemTime) -> Result<Answer> {
        let Self {
            registry,
            view,
            config,
            asked,
            memory,
        } = self;
        let patience = GitPatience::Clients;
        let repository = async || {
            let repository = mirror.git_index(&registry, view, &config, patience, now);
            repository.await
        };
        match asked {
            GitAsked::Refs => {
                let refs = git::advertisement(&repository().await?.tip(), AGENT);
                Ok(answer(REFS, Bytes::from(refs).into()))
            }
            GitAsked::Pack { body, is_gzipped } => {
                let body = timeout(BODY_WITHIN, read(body, &memory)).await;
                let body = body.unwrap_or_else(|_| {
                    Err(Error::bad_request(
                        "the request's body doesn't come in time",
                    ))
                })?;
                let repository = repository().await?;
                // Before it is known what is sent: what was found out would have to be held while this waits.
                let most = PackPlan::most_changes(&repository);
                let lease = waited_for(&memory, OF_A_PACK + most * OF_A_PLANNED_CHANGE).await?;
                let turn = mirror.git_turn().await?;
                let planned = turn.run(move || planned(&repository, body, is_gzipped));
                let (request, plan) = planned.await??;
                drop(turn);
                let (said, goes_on) = said(&request, &plan);
                match goes_on {
                    false => Ok(answer(RESULT, Bytes::from(said).into())),
                    true => {
                        let sent = Sent::new(&request, plan, said, mirror, lease);
                        Ok(answer(RESULT, sent.into_body()))
                    }
                }
            }
        }
    }
}

fn answer(content_type: HeaderValue, body: BodySource) -> Answer {
    let mut answer = Answer::ok(Outcome::Hit, content_type, body);
    answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    answer
}

/// A body that has come, in blocks that are leased.
#[derive(Default)]
struct ReadBody {
    blocks: Vec<Vec<u8>>,
    length: usize,
    leases: Vec<Lease>,
}

/// The size of a block. In pieces of a byte each, a body would take many times its length.
const BLOCK: usize = 16 << 10;

impl ReadBody {
    fn add(&mut self, mut piece: &[u8], memory: &ClientMemory) -> Result<()> {
        self.length += piece.len();
        if self.length > LONGEST {
            return Err(Error::bad_request(format!(
                "a request to git-upload-pack has at most {LONGEST} bytes, and this has more; clone the index anew"
            )));
        }
        while !piece.is_empty() {
            let room = self.blocks.last().map_or(0, |last| BLOCK - last.len());
            if room == 0 {
                let lease = memory.take(BLOCK + 64);
                self.leases.push(lease.ok_or_else(no_memory)?);
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            if let Some(last) = self.blocks.last_mut() {
                let (part, rest) = piece.split_at(piece.len().min(BLOCK - last.len()));
                last.extend_from_slice(part);
                piece = rest;
            }
        }
        Ok(())
    }
}

async fn read(mut body: RequestBody, memory: &ClientMemory) -> Result<ReadBody> {
    let mut read = ReadBody::default();
    while let Some(piece) = body.next().await {
        read.add(&piece?, memory)?;
    }
    Ok(read)
}

/// What is asked for, and what is to be sent for it.
fn planned(
    repository: &Arc<Repository>,
    body: ReadBody,
    is_gzipped: bool,
) -> Result<(FetchRequest, PackPlan)> {
    let mut reader = RequestReader::new(|id| repository.knows(id));
    let wrong = |e: git::RequestError| {
        Error::bad_request(format!("this is no request to git-upload-pack: {e}"))
    };
    if is_gzipped {
        let blocks = BodyBlocks(&body.blocks, 0);
        let mut plain = MultiGzDecoder::new(blocks).take(LONGEST_PLAIN + 1);
        let (mut block, mut length) = (vec![0; 16 << 10], 0);
        loop {
            let read = plain.read(&mut block).map_err(|e| {
                Error::bad_request("the request's body isn't gzipped as it says").with_source(e)
            })?;
            if read == 0 {
                break;
            }
            length += read as u64;
            if length > LONGEST_PLAIN {
                return Err(Error::bad_request(format!(
                    "a request to git-upload-pack has at most {LONGEST_PLAIN} bytes when it is decompressed, and this has more; clone the index anew"
                )));
            }
            reader.feed(&block[..read]).map_err(wrong)?;
        }
    } else {
        for block in &body.blocks {
            reader.feed(block).map_err(wrong)?;
        }
    }
    let request = reader.finish().map_err(wrong)?;
    let plan = PackPlan::new(repository, &request);
    Ok((request, plan))
}

/// BodyBlocks as one stream of bytes, and how far the first of them has been read.
struct BodyBlocks<'a>(&'a [Vec<u8>], usize);

impl Read for BodyBlocks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for BodyBlocks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while let Some((first, rest)) = self.0.split_first() {
            if self.1 < first.len() {
                return Ok(&first[self.1..]);
            }
            (self.0, self.1) = (rest, 0);
        }
        Ok(&[])
    }

    fn consume(&mut self, count: usize) {
        self.1 += count;
    }
}

/// What is said before a pack, and whether it follows.
fn said(request: &FetchRequest, plan: &PackPlan) -> (Vec<u8>, bool) {
    let mut said = Vec::new();
    if request.depth.is_some() {
        for (word, ids) in [("shallow", &plan.shallow), ("unshallow", &plan.unshallow)] {
            for id in ids {
                git::data(&mut said, format!("{word} {id}").as_bytes());
            }
        }
        git::flush(&mut said);
    }
    let (acknowledged, goes_on) = git::acknowledged(request);
    said.extend(acknowledged);
    (said, goes_on)
}

/// A pack on its way to its client.
struct Sent {
    mirror: Mirror,
    /// Nothing when there is nothing more.
    source: Option<PackSource>,
    side_band: SideBand,
    /// What goes out before the next chunk.
    ahead: Vec<u8>,
    #[expect(dead_code, reason = "held for its drop")]
    lease: Lease,
}

impl Sent {
    /// The lease is for the most that it can take.
    fn new(
        request: &FetchRequest,
        plan: PackPlan,
        said: Vec<u8>,
        mirror: &Mirror,
        mut lease: Lease,
    ) -> Self {
        let needs = OF_A_PACK + plan.changes() * OF_A_CHANGE;
        lease.shrink_to(needs as u64);
        let mut ahead = said;
        if !request.no_progress {
            let objects = plan.objects();
            let mut words = format!("{objects} objects of the index.\n");
            if plan.instead {
                words = format!(
                    "What was asked for isn't known here any more; this is the index of now. If this fails, fetch again.\n{words}"
                );
            }
            git::framed(
                &mut ahead,
                request.side_band,
                Band::Progress,
                words.as_bytes(),
            );
        }
        Self {
            mirror: mirror.clone(),
            source: Some(PackSource::new(plan)),
            side_band: request.side_band,
            ahead,
            lease,
        }
    }

    fn into_body(self) -> BodySource {
        let chunks = stream::unfold(self, |mut sent| async {
            let chunk = sent.next().await?;
            Some((chunk, sent))
        });
        BodySource::chunks(Box::pin(chunks), None)
    }

    /// The next bytes; an error that the client can't be told of cuts it off.
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let mut out = std::mem::take(&mut self.ahead);
        let source = self.source.take()?;
        match self.chunk(source).await {
            Ok(Some(chunk)) => git::framed(&mut out, self.side_band, Band::Pack, &chunk),
            Ok(None) => match self.side_band {
                SideBand::None => return None,
                SideBand::Small | SideBand::Large => git::flush(&mut out),
            },
            Err(e) if self.side_band == SideBand::None => return Some(Err(e)),
            Err(e) => {
                tracing::warn!("a git client is told that its pack can't be sent: {e}");
                let words = format!("{}.\n", e.message());
                git::framed(&mut out, self.side_band, Band::Error, words.as_bytes());
            }
        }
        Some(Ok(out.into()))
    }

    /// The next chunk of the pack, with the pack put back behind it.
    async fn chunk(&mut self, mut source: PackSource) -> Result<Option<Vec<u8>>> {
        let turn = self.mirror.git_turn().await?;
        let made = turn.run(move || {
            let chunk = source.next_chunk();
            (chunk, source)
        });
        let (chunk, source) = made.await?;
        let chunk = chunk?;
        self.source = chunk.is_some().then_some(source);
        Ok(chunk)
    }
}

/// A lease on so many bytes, when there are as many. Who waits holds nothing but what was asked for.
async fn waited_for(memory: &ClientMemory, bytes: usize) -> Result<Lease> {
    let waited = timeout(MEMORY_WITHIN, async {
        loop {
            match memory.take(bytes) {
                Some(lease) => return lease,
                None => sleep(LOOK_EVERY).await,
            }
        }
    });
    waited.await.map_err(|_| no_memory())
}
