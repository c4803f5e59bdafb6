//! config.json, made here without asking upstream, so that `dl` points back at us.

use std::{
    cell::RefCell,
    fmt::{self, Display, Formatter},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header, request, uri::Authority};
use serde::Serialize;

use super::{
    body::BodySource,
    respond::{Answer, JSON, NO_CACHE},
};
use crate::{
    config::BaseUrl,
    domain::{Outcome, RegistryName},
    error::{Error, Result},
    transport::Scheme,
};

/// The URL under which a client reaches this server, without a final slash.
pub(super) enum Base<'a> {
    /// As configured.
    Public(&'a BaseUrl),
    /// As the client came here.
    Asked(Scheme, Authority),
}

impl Display for Base<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public(url) => f.write_str(url.without_slash()),
            Self::Asked(scheme, authority) => write!(f, "{scheme}://{authority}"),
        }
    }
}

/// The URL under which a client reaches this server: the configured one, else what its request says.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when the request doesn't say, or says what can't stand in a URL.
pub(super) fn base_url<'a>(
    public: Option<&'a BaseUrl>,
    request: &request::Parts,
    scheme: Scheme,
) -> Result<Base<'a>> {
    if let Some(url) = public {
        return Ok(Base::Public(url));
    }
    let asked = match request.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => request
            .headers
            .get(header::HOST)
            .and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    match asked.filter(is_usable) {
        Some(authority) => Ok(Base::Asked(scheme, authority)),
        None => Err(Error::bad_request(
            "the request has no usable Host header, and this mirror has no server.public_url to tell instead",
        )),
    }
}

/// The longest authority, in bytes: a host name of 255 and a port. What is longer names nothing, and would be in what is made of it several times.
const AUTHORITY: usize = 255 + ":65535".len();

/// Whether it can stand in a URL: a host of a possible length, no user, and a port that is one if there is any.
fn is_usable(authority: &Authority) -> bool {
    let text = authority.as_str();
    let has_port = text.rfind(':') > text.rfind(']');
    text.len() <= AUTHORITY
        && !text.contains('@')
        && !authority.host().is_empty()
        && has_port == authority.port_u16().is_some()
}

/// What a registry says of itself.
#[derive(Serialize)]
struct ConfigJson<'a> {
    dl: fmt::Arguments<'a>,
}

/// Where all that is a registry's begins.
struct Root<'a>(&'a Base<'a>, Option<RegistryName>);

impl Display for Root<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(base, registry) = self;
        match registry {
            Some(name) => write!(f, "{base}/registries/{name}"),
            None => write!(f, "{base}"),
        }
    }
}

/// What was answered last, and to whom. It follows from nothing else.
struct Last {
    scheme: Scheme,
    host: Box<[u8]>,
    registry: Option<RegistryName>,
    headers: HeaderMap,
    body: Bytes,
}

thread_local! {
    /// Of this thread: nearly all who ask call a server by the same name.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// The answer to a request for the config.json of the default registry (`None`) or a named one.
///
/// # Errors
/// See [`base_url`].
pub(super) fn answered(
    public: Option<&BaseUrl>,
    request: &request::Parts,
    scheme: Scheme,
    registry: Option<RegistryName>,
) -> Result<Answer> {
    let host = match request.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request.headers.get(header::HOST).map(|h| h.as_bytes()),
    };
    let (None, Some(host)) = (public, host) else {
        return Ok(answer(&base_url(public, request, scheme)?, registry));
    };
    LAST.with_borrow_mut(|last| {
        let is_same = |last: &&Last| {
            *last.host == *host && last.scheme == scheme && last.registry == registry
        };
        if let Some(last) = last.as_ref().filter(is_same) {
            return Ok(Answer {
                status: StatusCode::OK,
                outcome: Outcome::Hit,
                headers: last.headers.clone(),
                body: last.body.clone().into(),
            });
        }
        let mut answer = answer(&base_url(public, request, scheme)?, registry);
        if let BodySource::Full(body, _) = &answer.body {
            answer
                .headers
                .insert(header::CONTENT_LENGTH, body.len().into());
            *last = Some(Last {
                scheme,
                host: host.into(),
                registry,
                // A copy has no more room than it needs.
                headers: answer.headers.clone(),
                body: body.clone(),
            });
        }
        Ok(answer)
    })
}

/// About how long it is, so that its memory is asked for once.
const LENGTH: usize = 128;

/// The config.json of the default registry (`None`) or a named one.
///
/// `dl` carries no markers, because every cargo understands that form, and it has to keep working for ever, because cargo keeps it on disk.
/// There is no `api`: cargo takes that for a web API, and this mirror has none. Without it cargo says itself what a registry like this can't do.
fn answer(base: &Base<'_>, registry: Option<RegistryName>) -> Answer {
    let (root, mut body) = (Root(base, registry), BytesMut::with_capacity(LENGTH));
    // Texts into memory: nothing that could fail.
    let _ = serde_json::to_writer(
        (&mut body).writer(),
        &ConfigJson {
            dl: format_args!("{root}/api/v1/crates"),
        },
    );
    let mut answer = Answer::ok(Outcome::Hit, JSON, body.freeze().into());
    answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    answer
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn dl(scheme: Scheme) -> String {
        let request = Request::get("/index/config.json").header("host", "crates.local:1");
        let head = request.body(()).expect("a request").into_parts().0;
        let answer = answered(None, &head, scheme, None).expect("an answer");
        match answer.body {
            BodySource::Full(body, _) => String::from_utf8(body.to_vec()).expect("JSON"),
            BodySource::Empty | BodySource::Chunks { .. } => panic!("another body"),
        }
    }

    /// What was said last is said again only to who came the same way.
    #[test]
    fn a_client_is_sent_back_the_way_it_came() {
        for (scheme, expected) in [
            (
                Scheme::Http,
                "{\"dl\":\"http://crates.local:1/api/v1/crates\"}",
            ),
            (
                Scheme::Https,
                "{\"dl\":\"https://crates.local:1/api/v1/crates\"}",
            ),
            (
                Scheme::Http,
                "{\"dl\":\"http://crates.local:1/api/v1/crates\"}",
            ),
        ] {
            assert_eq!(dl(scheme), expected);
        }
    }
}
