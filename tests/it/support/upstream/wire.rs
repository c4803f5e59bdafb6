//! The wire: one connection of the upstream, where answers are framed and faults take place.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::answer::{Answer, Framing, Request};
use super::faults::{Delivery, Effect, Lie};
use super::forward::Forward;
use super::server::{Origin, Shared};
use super::sink::Sink;
use crate::support::headers::Headers;

/// Where an endless body ends after all. A mirror should stop long before; one that doesn't must not use up the machine's memory.
const ENDLESS: usize = 800_000_000;
const PIECE: usize = 64 << 10;

/// What becomes of the connection after an answer.
#[derive(PartialEq, Eq)]
enum Then {
    KeepAlive,
    Close,
}

/// Answers requests until the connection ends, from whichever side.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without it the kernel holds small writes back, and a trickle arrives in lumps.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire {
        stream,
        buffer: Vec::new(),
        forward: match &shared.origin {
            Origin::Site(_) => None,
            Origin::Server(addr) => Some(Forward::to(*addr)),
        },
    };
    while let Ok(Some(request)) = wire.read_request().await {
        match wire.converse(&request, &shared).await {
            Ok(Then::KeepAlive) => {}
            Ok(Then::Close) | Err(_) => break,
        }
    }
}

struct Wire {
    stream: TcpStream,
    /// Read but not yet parsed.
    buffer: Vec<u8>,
    /// The way to the server behind this one, if there is one.
    forward: Option<Forward>,
}

impl Wire {
    /// The next request; none when the client is done.
    async fn read_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut parsed = httparse::Request::new(&mut headers);
            let status = parsed.parse(&self.buffer).map_err(io::Error::other)?;
            if let httparse::Status::Complete(length) = status {
                // A client that takes this for a proxy asks for whole URLs (RFC 9112, section 3.2.2). Then this server answers for every host.
                let target = parsed.path.unwrap_or_default();
                let mut request = Request {
                    body: Bytes::new(),
                    method: parsed.method.unwrap_or_default().to_owned(),
                    path: path_of(target).to_owned(),
                    headers: Headers::from(&*parsed.headers),
                };
                self.buffer.drain(..length);
                request.body = self.read_body(&request).await?;
                return Ok(Some(request));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next request starts behind it. Only bodies that say their length are understood, as those of cargo and of clients of buckets do.
    async fn read_body(&mut self, request: &Request) -> io::Result<Bytes> {
        let length = request.headers.get("content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        Ok(body.into())
    }

    async fn converse(&mut self, request: &Request, shared: &Shared) -> io::Result<Then> {
        let class = shared.origin.class(&request.path);
        let id = shared.log.record(request, class);
        if let Some((delay, gate)) = shared.rules.gate(request, class) {
            self.linger(delay).await?;
            while_connected(&self.stream, gate.pass()).await?;
        }
        let (delay, effect) = shared
            .rules
            .fault(request, class)
            .unwrap_or((Duration::ZERO, Effect::Deliver(Delivery::Whole)));
        self.linger(delay).await?;
        match effect {
            Effect::Deliver(Delivery::Nothing) => self.until_gone().await,
            Effect::Deliver(Delivery::Garbage) => self.garbage().await,
            Effect::Deliver(Delivery::Reset) => self.reset(),
            effect => {
                let (answer, delivery) = self.under(effect, request, shared).await?;
                shared.log.answered(id, answer.status);
                self.deliver(request, answer, delivery).await
            }
        }
    }

    async fn deliver(
        &mut self,
        request: &Request,
        mut answer: Answer,
        delivery: Delivery,
    ) -> io::Result<Then> {
        match delivery {
            Delivery::CutUnframedAfter(_) => answer.framing = Framing::UntilClose,
            Delivery::CutBeforeEnd | Delivery::Endless => answer.framing = Framing::Chunked,
            _ => {}
        }
        let bare = request.is_head() || answer.is_bodiless();
        let body = if bare {
            Bytes::new()
        } else {
            answer.body.clone()
        };
        let mut sink = Sink::new(&mut self.stream, request, &answer);
        match delivery {
            Delivery::Whole => sink.write_all(&body).await?,
            Delivery::Trickle { step, pause } => {
                for piece in body.chunks(step) {
                    sink.write(piece).await?;
                    while_connected(sink.stream(), sleep(pause)).await?;
                }
            }
            Delivery::HoldAfter(n, gate) => {
                let (first, rest) = body.split_at(some_of(&body, n));
                sink.write(first).await?;
                while_connected(sink.stream(), gate.pass()).await?;
                sink.write(rest).await?;
            }
            Delivery::Endless => {
                for _ in 0..ENDLESS / PIECE {
                    sink.write(&[b'.'; PIECE]).await?;
                }
                return Ok(Then::Close);
            }
            Delivery::HangAfter(n) => {
                sink.write(&body[..some_of(&body, n)]).await?;
                return self.until_gone().await;
            }
            Delivery::ResetAfter(n) => {
                sink.write(&body[..some_of(&body, n)]).await?;
                return self.reset();
            }
            Delivery::CutAfter(n) | Delivery::CutUnframedAfter(n) => {
                sink.write(&body[..some_of(&body, n)]).await?;
                return Ok(Then::Close);
            }
            Delivery::CutBeforeEnd => {
                sink.write_all(&body).await?;
                return Ok(Then::Close);
            }
            Delivery::Lose => return self.reset(),
            Delivery::Nothing | Delivery::Garbage | Delivery::Reset => {
                unreachable!("these have no answer to deliver")
            }
        }
        let close = sink.finish().await?;
        Ok(if close { Then::Close } else { Then::KeepAlive })
    }

    /// The answer to a request under a fault, and how it is delivered.
    async fn under(
        &mut self,
        effect: Effect,
        request: &Request,
        shared: &Shared,
    ) -> io::Result<(Answer, Delivery)> {
        Ok(match effect {
            // Gates stand before the faults; at this point there is none.
            Effect::Hold(_) => (self.right(request, shared).await?, Delivery::Whole),
            Effect::Deliver(delivery) => (self.right(request, shared).await?, delivery),
            Effect::Answer(Lie::Instead {
                status,
                headers,
                body,
            }) => {
                let mut answer = Answer::new(status, &[], body);
                for (name, value) in headers {
                    answer.headers.push(&name, value);
                }
                if answer.headers.get("transfer-encoding") == Some("chunked") {
                    answer.framing = Framing::Chunked;
                }
                (answer, Delivery::Whole)
            }
            Effect::Answer(Lie::BodyOf(path)) => {
                let other = Request {
                    path,
                    ..request.clone()
                };
                (self.right(&other, shared).await?, Delivery::Whole)
            }
            Effect::Answer(Lie::Corrupt) => {
                let mut answer = self.right(request, shared).await?;
                answer.corrupt();
                (answer, Delivery::Whole)
            }
        })
    }

    /// The right answer.
    async fn right(&mut self, request: &Request, shared: &Shared) -> io::Result<Answer> {
        match (&shared.origin, &mut self.forward) {
            (Origin::Site(site), _) => Ok(site.lock().expect("the site's lock").answer(request)),
            (Origin::Server(_), Some(forward)) => forward.ask(request).await,
            (Origin::Server(_), None) => unreachable!("there is a way to that server"),
        }
    }

    /// Sleeps; not at all for zero, which tokio's timer would round up to a millisecond.
    async fn linger(&self, delay: Duration) -> io::Result<()> {
        if delay.is_zero() {
            return Ok(());
        }
        while_connected(&self.stream, sleep(delay)).await
    }

    async fn until_gone(&self) -> io::Result<Then> {
        gone(&self.stream).await;
        Ok(Then::Close)
    }

    async fn garbage(&mut self) -> io::Result<Then> {
        let greeting = b"\x15\x03\x01\x00\x02 220 this is not HTTP\r\n\r\n";
        self.stream.write_all(greeting).await?;
        Ok(Then::Close)
    }

    /// Makes the close that follows a RST.
    fn reset(&self) -> io::Result<Then> {
        self.stream.set_zero_linger()?;
        Ok(Then::Close)
    }
}

/// The path of an absolute URL; anything else as it is.
fn path_of(target: &str) -> &str {
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |path| &rest[path..]),
        None => target,
    }
}

/// How much of a body `n` bytes are. A cut that leaves the whole body would be no fault, so one
/// byte always stays back.
fn some_of(body: &[u8], n: usize) -> usize {
    n.min(body.len().saturating_sub(1))
}

/// Waits for something, but no longer than the client stays.
async fn while_connected<T>(stream: &TcpStream, wait: impl Future<Output = T>) -> io::Result<T> {
    tokio::select! {
        biased;
        done = wait => Ok(done),
        () = gone(stream) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Returns when the client has closed. One that sent its next request already counts as there.
async fn gone(stream: &TcpStream) {
    match stream.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}
