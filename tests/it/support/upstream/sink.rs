//! The sink: one answer on its way out, framed as its headers say.

use std::io;
use std::time::SystemTime;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::answer::{Answer, Framing, Request};

/// A piece larger than this isn't copied to go out with the head.
const LARGE: usize = 1 << 20;

pub(super) struct Sink<'a> {
    stream: &'a mut TcpStream,
    /// The head, until the first piece takes it along.
    head: Vec<u8>,
    chunked: bool,
    close: bool,
}

impl<'a> Sink<'a> {
    pub(super) fn new(stream: &'a mut TcpStream, request: &Request, answer: &Answer) -> Sink<'a> {
        let has_body = !request.is_head() && !answer.is_bodiless();
        let wants_close = request
            .headers
            .get("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let close = wants_close || matches!(answer.framing, Framing::UntilClose);
        Sink {
            stream,
            head: head(answer, close),
            chunked: has_body && matches!(answer.framing, Framing::Chunked),
            close,
        }
    }

    /// Sends a piece of the body; an empty one sends just the head.
    pub(super) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.chunked && piece.len() > LARGE {
            for piece in piece.chunks(LARGE) {
                Box::pin(self.write(piece)).await?;
            }
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.head);
        if self.chunked && !piece.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        } else if piece.len() > LARGE {
            self.stream.write_all(&out).await?;
            return self.stream.write_all(piece).await;
        } else {
            out.extend_from_slice(piece);
        }
        self.stream.write_all(&out).await
    }

    /// Sends a whole body, in more than one chunk where there are chunks.
    pub(super) async fn write_all(&mut self, body: &[u8]) -> io::Result<()> {
        if !self.chunked {
            return self.write(body).await;
        }
        let (first, second) = body.split_at(body.len() / 2);
        self.write(first).await?;
        self.write(second).await
    }

    /// Ends the body. Says whether the connection has to close.
    pub(super) async fn finish(mut self) -> io::Result<bool> {
        self.write(b"").await?;
        if self.chunked {
            self.stream.write_all(b"0\r\n\r\n").await?;
        }
        Ok(self.close)
    }

    /// The connection, for who waits on it between two pieces.
    pub(super) fn stream(&self) -> &TcpStream {
        self.stream
    }
}

/// Status line and headers. A framing header that a fault brought along stays as it is.
fn head(answer: &Answer, close: bool) -> Vec<u8> {
    let mut headers = answer.headers.clone();
    if headers.get("date").is_none() {
        headers.push("date", httpdate::fmt_http_date(SystemTime::now()));
    }
    let framed = headers.get("content-length").is_some()
        || headers.get("transfer-encoding").is_some()
        || answer.is_bodiless();
    match answer.framing {
        _ if framed => {}
        Framing::Length => headers.push("content-length", answer.body.len().to_string()),
        Framing::Chunked => headers.push("transfer-encoding", "chunked"),
        Framing::UntilClose => {}
    }
    if close {
        headers.push("connection", "close");
    }
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in headers.iter() {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The phrase for the statuses tests use; clients don't read it, people at a failed test do.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        410 => "Gone",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Whatever",
    }
}
