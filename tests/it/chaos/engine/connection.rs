//! A client's connection to a mirror, over HTTP/1.1 or HTTP/2, and how the client behaves on it.

use std::{
    io::{self, Read},
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::support::Connection;

/// The longest that an answer may take. Cargo gives up after the same time.
const LIMIT: Duration = Duration::from_secs(30);
/// A slow reader takes this much, then rests.
const SIP: usize = 64 << 10;
const SIPS: usize = 12;
const REST: Duration = Duration::from_millis(20);

pub(super) enum ClientConnection {
    /// HTTP/1.1, read byte by byte; the connection is kept for the next request.
    Http1(Option<(SocketAddr, Connection)>),
    /// HTTP/2 with prior knowledge, all requests of this client on one connection.
    Http2(reqwest::Client),
}

/// A request as it is sent.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// What a client does with its answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    Whole,
    Slow,
    /// Leaves when this much of the body is there; for zero without waiting for anything.
    LeaveAfter(usize),
}

/// What came of a request.
pub(super) enum Outcome {
    Answered(Answer),
    /// The client left, as it meant to.
    Left,
    /// No answer: the mirror isn't there, or went away before it began to answer.
    Nothing,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) x_cache: Option<String>,
    gzipped: bool,
    raw: Vec<u8>,
    /// Whether all of the body came that the answer announced.
    pub(super) complete: bool,
    /// From the request to the answer's head.
    pub(super) waited: Duration,
}

impl Answer {
    /// The body without its Content-Encoding.
    pub(super) fn body(&self) -> io::Result<Vec<u8>> {
        if !self.gzipped {
            return Ok(self.raw.clone());
        }
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*self.raw).read_to_end(&mut plain)?;
        Ok(plain)
    }

    /// For a message: the status and how the body starts.
    pub(super) fn text(&self) -> String {
        let start = &self.raw[..self.raw.len().min(200)];
        let start = str::from_utf8(start).unwrap_or("binary");
        let (status, x_cache) = (self.status, self.x_cache.as_deref().unwrap_or("no x-cache"));
        format!("{status} ({x_cache}, {} bytes: {start:?})", self.raw.len())
    }
}

impl ClientConnection {
    pub(super) fn http1() -> ClientConnection {
        ClientConnection::Http1(None)
    }

    pub(super) fn http2() -> ClientConnection {
        // It fails when the program has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .no_proxy()
            .timeout(LIMIT)
            .build();
        ClientConnection::Http2(client.expect("an HTTP/2 client"))
    }

    pub(super) async fn ask(
        &mut self,
        mirror: SocketAddr,
        request: &Request,
        manner: Manner,
    ) -> Outcome {
        let asked = match self {
            ClientConnection::Http1(kept) => http1(kept, mirror, request, manner).await,
            ClientConnection::Http2(client) => http2(client, mirror, request, manner).await,
        };
        asked.unwrap_or(Outcome::Nothing)
    }
}

async fn http1(
    kept: &mut Option<(SocketAddr, Connection)>,
    mirror: SocketAddr,
    request: &Request,
    manner: Manner,
) -> io::Result<Outcome> {
    let mut connection = match kept.take() {
        Some((addr, connection)) if addr == mirror => connection,
        Some(_) | None => Connection::try_open(mirror).await?,
    };
    let headers = request.headers.iter();
    let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (*name, &**value)).collect();
    let started = Instant::now();
    connection.ask("GET", &request.path, &headers).await?;
    if let Manner::LeaveAfter(n) = manner {
        if n > 0 {
            connection.body_so_far(n).await;
        }
        return Ok(Outcome::Left);
    }
    connection.body_so_far(0).await;
    let waited = started.elapsed();
    if let Manner::Slow = manner {
        for sips in 1..=SIPS {
            connection.body_so_far(sips * SIP).await;
            sleep(REST).await;
        }
    }
    let reply = connection.try_reply().await?;
    if reply.complete {
        *kept = Some((mirror, connection));
    }
    let header = |name| reply.header(name).map(str::to_owned);
    Ok(Outcome::Answered(Answer {
        status: reply.status,
        etag: header("etag"),
        x_cache: header("x-cache"),
        gzipped: header("content-encoding").is_some_and(|coding| coding == "gzip"),
        complete: reply.complete,
        raw: reply.body,
        waited,
    }))
}

async fn http2(
    client: &reqwest::Client,
    mirror: SocketAddr,
    request: &Request,
    manner: Manner,
) -> io::Result<Outcome> {
    let mut asking = client.get(format!("http://{mirror}{}", request.path));
    for (name, value) in &request.headers {
        asking = asking.header(*name, value);
    }
    let started = Instant::now();
    let mut response = asking.send().await.map_err(|e| too_late(e, started))?;
    let waited = started.elapsed();
    let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let mut answer = Answer {
        status: response.status().as_u16(),
        etag: header("etag"),
        x_cache: header("x-cache"),
        gzipped: header("content-encoding").is_some_and(|coding| coding == "gzip"),
        raw: Vec::new(),
        complete: false,
        waited,
    };
    loop {
        match (manner, response.chunk().await) {
            (Manner::LeaveAfter(n), Ok(Some(_))) if answer.raw.len() >= n => {
                return Ok(Outcome::Left);
            }
            (_, Ok(Some(chunk))) => answer.raw.extend_from_slice(&chunk),
            (_, ended) => {
                let ended = ended.map_err(|e| too_late(e, started));
                answer.complete = ended.is_ok();
                return Ok(Outcome::Answered(answer));
            }
        }
        if let Manner::Slow = manner {
            sleep(REST / 4).await;
        }
    }
}

/// A connection that breaks off is expected here; one that is silent for too long is a fault. The client for HTTP/1.1 has the same limit, and breaks off in the same way.
fn too_late(error: reqwest::Error, started: Instant) -> io::Error {
    let waited = started.elapsed();
    assert!(!error.is_timeout(), "nothing more came after {waited:?}");
    io::Error::other(error)
}
