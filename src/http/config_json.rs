//! config.json, made here without asking upstream, so that `dl` points back at us.

use std::{
    cell::RefCell,
    fmt::{self, Display, Formatter},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header, uri::Authority};
use serde::Serialize;

use super::{
    asked::Asked,
    body::BodySource,
    respond::{Answer, JSON, NO_CACHE},
    route::Place,
};
use crate::{
    config::BaseUrl,
    domain::{Outcome, RegistryName, View},
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
pub(super) fn base_url<'a>(public: Option<&'a BaseUrl>, asked: &Asked<'_>) -> Result<Base<'a>> {
    if let Some(url) = public {
        return Ok(Base::Public(url));
    }
    let request = asked.head;
    let named = match (asked.host, request.uri.authority()) {
        (Some(authority), _) | (None, Some(authority)) => Some(authority.clone()),
        (None, None) => request
            .headers
            .get(header::HOST)
            .and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    match named.filter(is_usable) {
        Some(authority) => Ok(Base::Asked(asked.scheme, authority)),
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
    /// Where cargo asks for searches, and is told where to publish.
    api: fmt::Arguments<'a>,
    /// Whether cargo has to send its token with whatever it asks for.
    #[serde(rename = "auth-required", skip_serializing_if = "std::ops::Not::not")]
    auth_required: bool,
}

/// Where all that is a registry's begins.
pub(super) struct Root<'a> {
    base: &'a Base<'a>,
    /// What stands in the path, where a token does.
    token: Option<&'a str>,
    place: Place,
}

impl<'a> Root<'a> {
    /// That of a registry as it is seen somehow.
    pub(super) fn of(base: &'a Base<'a>, token: Option<&'a str>, place: Place) -> Self {
        Self { base, token, place }
    }
}

impl Display for Root<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)?;
        if let Some(token) = self.token {
            write!(f, "/t/{token}")?;
        }
        if let Some(name) = self.place.registry {
            write!(f, "/registries/{name}")?;
        }
        match self.place.view {
            View::Usual => Ok(()),
            View::Named(view) => write!(f, "/views/{view}"),
            View::AsOf(day) => write!(f, "/at/{day}"),
        }
    }
}

/// The config.json of a registry, the default one if none is named, of a mirror that is reached there and wants no token.
pub fn config_json(base: &BaseUrl, registry: Option<RegistryName>) -> Bytes {
    let base = Base::Public(base);
    let place = Place {
        registry,
        view: View::Usual,
    };
    text(&Root::of(&base, None, place), false)
}

/// What was answered last, and to whom. It follows from nothing else.
struct Last {
    scheme: Scheme,
    host: Box<[u8]>,
    place: Place,
    auth_required: bool,
    headers: HeaderMap,
    body: Bytes,
}

thread_local! {
    /// Of this thread: nearly all who ask call a server by the same name.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// The answer to a request for the config.json of a registry as it is seen somehow.
///
/// # Errors
/// See [`base_url`].
pub(super) fn answered(
    public: Option<&BaseUrl>,
    asked: &Asked<'_>,
    place: Place,
    auth_required: bool,
) -> Result<Answer> {
    let own = || -> Result<Answer> {
        let base = base_url(public, asked)?;
        let root = Root::of(&base, asked.token, place);
        // A token in the path goes along by itself.
        Ok(answer(&root, auth_required && asked.token.is_none()))
    };
    let request = asked.head;
    let host = match (asked.host, request.uri.authority()) {
        (Some(authority), _) | (None, Some(authority)) => Some(authority.as_str().as_bytes()),
        (None, None) => request.headers.get(header::HOST).map(|h| h.as_bytes()),
    };
    // What has somebody's token in it is kept for nobody.
    let (None, Some(host), None) = (public, host, asked.token) else {
        return own();
    };
    let scheme = asked.scheme;
    LAST.with_borrow_mut(|last| {
        let is_same = |last: &&Last| {
            *last.host == *host
                && last.scheme == scheme
                && last.place == place
                && last.auth_required == auth_required
        };
        if let Some(last) = last.as_ref().filter(is_same) {
            return Ok(Answer {
                status: StatusCode::OK,
                outcome: Outcome::Hit,
                headers: last.headers.clone(),
                body: last.body.clone().into(),
            });
        }
        let mut answer = own()?;
        if let BodySource::Full(body, _) = &answer.body {
            answer
                .headers
                .insert(header::CONTENT_LENGTH, body.len().into());
            *last = Some(Last {
                scheme,
                host: host.into(),
                place,
                auth_required,
                // A copy has no more room than it needs.
                headers: answer.headers.clone(),
                body: body.clone(),
            });
        }
        Ok(answer)
    })
}

/// About how long it is, so that its memory is asked for once.
const LENGTH: usize = 192;

/// The config.json of the registry whose paths begin there.
///
/// `dl` carries no markers, because every cargo understands that form, and it has to keep working for ever, because cargo keeps it on disk.
/// `api` has cargo come here for searches, and with what can't be done here: it prints where to go instead.
fn answer(root: &Root<'_>, auth_required: bool) -> Answer {
    let mut answer = Answer::ok(Outcome::Hit, JSON, text(root, auth_required).into());
    answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    answer
}

/// The same as a text.
pub(super) fn text(root: &Root<'_>, auth_required: bool) -> Bytes {
    let mut body = BytesMut::with_capacity(LENGTH);
    // Texts into memory: nothing that could fail.
    let _ = serde_json::to_writer(
        (&mut body).writer(),
        &ConfigJson {
            dl: format_args!("{root}/api/v1/crates"),
            api: format_args!("{root}"),
            auth_required,
        },
    );
    body.freeze()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn said(scheme: Scheme, token: Option<&str>, auth_required: bool) -> String {
        let request = Request::get("/index/config.json").header("host", "crates.local:1");
        let head = request.body(()).expect("a request").into_parts().0;
        let asked = Asked {
            head: &head,
            path: "/index/config.json",
            token,
            client: [127, 0, 0, 1].into(),
            peer: None,
            scheme,
            host: None,
            connection: Default::default(),
        };
        let answer = answered(None, &asked, Place::default(), auth_required).expect("an answer");
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
                "{\"dl\":\"http://crates.local:1/api/v1/crates\",\"api\":\"http://crates.local:1\"}",
            ),
            (
                Scheme::Https,
                "{\"dl\":\"https://crates.local:1/api/v1/crates\",\"api\":\"https://crates.local:1\"}",
            ),
            (
                Scheme::Http,
                "{\"dl\":\"http://crates.local:1/api/v1/crates\",\"api\":\"http://crates.local:1\"}",
            ),
        ] {
            assert_eq!(said(scheme, None, false), expected);
        }
    }

    /// What has a token in it is for who sent it alone, and cargo is to show one where one is needed.
    #[test]
    fn what_is_said_to_one_client_is_said_to_no_other() {
        let with_token = "{\"dl\":\"http://crates.local:1/t/cm_1/api/v1/crates\",\"api\":\"http://crates.local:1/t/cm_1\"}";
        let needing = "{\"dl\":\"http://crates.local:1/api/v1/crates\",\"api\":\"http://crates.local:1\",\"auth-required\":true}";
        let plain =
            "{\"dl\":\"http://crates.local:1/api/v1/crates\",\"api\":\"http://crates.local:1\"}";
        for (token, auth_required, expected) in [
            (None, true, needing),
            (Some("cm_1"), true, with_token),
            (None, true, needing),
            (None, false, plain),
            (Some("cm_1"), false, with_token),
            (None, false, plain),
        ] {
            assert_eq!(said(Scheme::Http, token, auth_required), expected);
        }
    }
}
