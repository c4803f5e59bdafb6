//! A message: where an answer's head, body and end lie in the bytes received so far.

use std::ops::Range;

use super::headers::Headers;

pub(super) struct Message {
    pub(super) status: u16,
    pub(super) headers: Headers,
    /// Nothing is missing by the message's own account.
    pub(super) whole: bool,
    /// Only the end of the connection ends it.
    pub(super) until_close: bool,
    /// Where the next message starts.
    pub(super) end: usize,
    /// The body, without what frames it.
    pieces: Vec<Range<usize>>,
}

impl Message {
    /// None until the head is there; never for what isn't HTTP.
    pub(super) fn parse(bytes: &[u8], head_only: bool) -> Option<Message> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(start) = parsed.parse(bytes).ok()? else {
            return None;
        };
        let mut message = Message {
            status: parsed.code?,
            headers: Headers::from(&*parsed.headers),
            whole: false,
            until_close: false,
            end: start,
            pieces: Vec::new(),
        };
        message.find_body(bytes, start, head_only);
        Some(message)
    }

    pub(super) fn body(&self, bytes: &[u8]) -> Vec<u8> {
        let pieces = self.pieces.iter().map(|piece| &bytes[piece.clone()]);
        pieces.collect::<Vec<_>>().concat()
    }

    /// RFC 9112, 6.3: what ends the body, in the order in which the clauses apply.
    fn find_body(&mut self, bytes: &[u8], start: usize, head_only: bool) {
        let length = self.headers.get("content-length");
        let length = length.map(|length| length.parse::<usize>().expect("a Content-Length"));
        if head_only || matches!(self.status, 100..=199 | 204 | 304) {
            self.whole = true;
        } else if self.headers.get("transfer-encoding").is_some() {
            self.find_chunks(bytes, start);
        } else if let Some(length) = length {
            self.end = bytes.len().min(start.saturating_add(length));
            self.whole = self.end - start == length;
            self.pieces.push(start..self.end);
        } else {
            self.until_close = true;
            self.end = bytes.len();
            self.pieces.push(start..self.end);
        }
    }

    fn find_chunks(&mut self, bytes: &[u8], start: usize) {
        self.end = start;
        while let Ok(httparse::Status::Complete((head, size))) =
            httparse::parse_chunk_size(&bytes[self.end..])
        {
            let from = self.end + head;
            let size = usize::try_from(size).expect("a chunk that fits into memory");
            let to = bytes.len().min(from + size);
            if size > 0 {
                self.pieces.push(from..to);
            }
            // No trailers are expected: the line end after the last chunk ends the message.
            if bytes.len() < from + size + 2 {
                self.end = bytes.len();
                return;
            }
            self.end = from + size + 2;
            if size == 0 {
                self.whole = true;
                return;
            }
        }
    }
}
