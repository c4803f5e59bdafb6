//! The answer: what a request gets for a resource when nothing is wrong, after RFC 9110.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::headers::Headers;

/// A request as it was parsed.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

impl Request {
    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    fn accepts_gzip(&self) -> bool {
        let accepted = self.headers.get("accept-encoding").unwrap_or_default();
        accepted
            .split(',')
            .map(str::trim)
            .any(|coding| coding.starts_with("gzip") && !coding.ends_with("q=0"))
    }
}

/// What kind of thing a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Index,
    Config,
    Crate,
    Page,
}

/// What lies under a path.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) body: Bytes,
    pub(super) content_type: String,
    pub(super) cache_control: &'static str,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<SystemTime>,
    /// May go out with `Content-Encoding: gzip`.
    pub(super) gzip: bool,
    /// Answers range requests.
    pub(super) ranges: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// A status, headers and a body; the framing headers are added when it is sent.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    pub(super) framing: Framing,
}

impl Answer {
    pub(super) fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        Answer {
            status,
            headers: Headers::from(headers),
            body: body.into(),
            framing: Framing::Length,
        }
    }

    /// A short plain sentence.
    pub(super) fn sentence(status: u16, sentence: &str) -> Answer {
        let headers = [("content-type", "text/plain; charset=utf-8")];
        Answer::new(status, &headers, format!("{sentence}\n"))
    }

    /// RFC 9110 section 15: these never have a body, and no framing either.
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }

    /// Flips the top bit of the middle byte: in text that is no UTF-8 any more.
    pub(super) fn corrupt(&mut self) {
        let mut body = self.body.to_vec();
        let middle = body.len() / 2;
        if let Some(byte) = body.get_mut(middle) {
            *byte ^= 0x80;
        }
        self.body = body.into();
    }
}

impl Resource {
    pub(super) fn answer(self, request: &Request) -> Answer {
        let mut answer = Answer::new(
            200,
            &[("cache-control", self.cache_control)],
            self.body.clone(),
        );
        if let Some(etag) = &self.etag {
            answer.headers.push("etag", etag.clone());
        }
        if let Some(modified) = self.modified {
            let date = httpdate::fmt_http_date(modified);
            answer.headers.push("last-modified", date);
        }
        if self.gzip {
            answer.headers.push("vary", "accept-encoding");
        }
        if self.unchanged_for(request) {
            answer.status = 304;
            answer.body = Bytes::new();
            return answer;
        }
        answer
            .headers
            .push("content-type", self.content_type.clone());
        if self.gzip && request.accepts_gzip() {
            answer.headers.push("content-encoding", "gzip");
            answer.body = gzip(&self.body);
        }
        if self.ranges {
            self.cut_to_range(request, &mut answer);
        }
        answer
    }

    /// RFC 9110, 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an
    /// If-None-Match header field".
    fn unchanged_for(&self, request: &Request) -> bool {
        if let Some(tags) = request.headers.get("if-none-match") {
            let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
            return self.etag.as_deref().is_some_and(|etag| {
                tags.trim() == "*" || tags.split(',').any(|tag| weak(tag) == weak(etag))
            });
        }
        let since = request.headers.get("if-modified-since");
        match (self.modified, since.map(httpdate::parse_http_date)) {
            (Some(modified), Some(Ok(since))) => modified <= since,
            (None, _) | (_, None | Some(Err(_))) => false,
        }
    }

    /// Only `bytes=N-`, what a resumed download asks for. Any other range is ignored, which
    /// RFC 9110, 14.2 allows.
    fn cut_to_range(&self, request: &Request, answer: &mut Answer) {
        answer.headers.push("accept-ranges", "bytes");
        let start = request.headers.get("range").and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
        let Some(start) = start.filter(|_: &usize| self.range_still_holds(request)) else {
            return;
        };
        let length = self.body.len();
        if start >= length {
            answer.status = 416;
            answer
                .headers
                .push("content-range", format!("bytes */{length}"));
            answer.body = Bytes::new();
        } else {
            let range = format!("bytes {start}-{}/{length}", length - 1);
            answer.status = 206;
            answer.headers.push("content-range", range);
            answer.body = self.body.slice(start..);
        }
    }

    /// RFC 9110, 13.1.5: If-Range compares strongly, and a date exactly.
    fn range_still_holds(&self, request: &Request) -> bool {
        let Some(condition) = request.headers.get("if-range") else {
            return true;
        };
        let same_tag = self.etag.as_deref() == Some(condition) && !condition.starts_with("W/");
        let date = httpdate::parse_http_date(condition).ok();
        same_tag || (date.is_some() && date == self.modified)
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("gzip into memory");
    encoder.finish().expect("gzip into memory").into()
}
