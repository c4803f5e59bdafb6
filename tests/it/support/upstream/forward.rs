//! The way to a server behind this one: each request goes there as it came, and its answer is taken whole before anything is done with it.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer::{Answer, Framing, Request};
use crate::support::headers::Headers;
use crate::support::message::Message;

pub(super) struct Forward {
    addr: SocketAddr,
    /// Kept from one request to the next.
    stream: Option<TcpStream>,
}

impl Forward {
    pub(super) fn to(addr: SocketAddr) -> Forward {
        Forward { addr, stream: None }
    }

    pub(super) async fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        // A connection that was left open may have been closed over there meanwhile.
        if let Some(stream) = self.stream.take()
            && let Ok(answer) = self.converse(stream, request).await
        {
            return Ok(answer);
        }
        let stream = TcpStream::connect(self.addr).await?;
        stream.set_nodelay(true)?;
        self.converse(stream, request).await
    }

    async fn converse(&mut self, mut stream: TcpStream, request: &Request) -> io::Result<Answer> {
        stream.write_all(&head(request)).await?;
        stream.write_all(&request.body).await?;
        let mut received = Vec::new();
        let message = loop {
            let ended = stream.read_buf(&mut received).await? == 0;
            match Message::parse(&received, request.is_head()) {
                Some(message) if message.whole || (message.until_close && ended) => break message,
                _ if ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(_) | None => received.reserve(256 << 10),
            }
        };
        let closes = message.headers.get("connection") == Some("close");
        self.stream = (!message.until_close && !closes).then_some(stream);
        Ok(Answer {
            status: message.status,
            headers: passed_on(&message.headers, request),
            body: message.body(&received).into(),
            framing: Framing::Length,
        })
    }
}

/// With all fields as they came, because some of them are signed.
fn head(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in request.headers.iter() {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// All but what frames a body, which is framed anew. The length of what HEAD leaves out stays.
fn passed_on(headers: &Headers, request: &Request) -> Headers {
    let mut kept = Headers::default();
    for (name, value) in headers.iter() {
        let frames = match name {
            "content-length" => !request.is_head(),
            "transfer-encoding" | "connection" => true,
            _ => false,
        };
        if !frames {
            kept.push(name, value);
        }
    }
    kept
}
