//! config.json, made here without asking upstream, so that `dl` points back at us.

use http::{header, request, uri::Authority};
use serde::Serialize;

use super::{
    body::Source,
    respond::{Answer, JSON, NO_CACHE},
};
use crate::{
    config::BaseUrl,
    domain::{Outcome, RegistryName},
    error::{Error, Result},
};

/// The URL under which the asker reaches this server, without a final slash: the configured one, else what the request says.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when the request doesn't say, or says what can't stand in a URL.
pub(super) fn base_url(public: Option<&BaseUrl>, request: &request::Parts) -> Result<String> {
    if let Some(url) = public {
        return Ok(url.without_slash().to_owned());
    }
    let asked = match request.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => request
            .headers
            .get(header::HOST)
            .and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    match asked.filter(is_usable) {
        Some(authority) => Ok(format!("http://{authority}")),
        None => Err(Error::bad_request(
            "the request has no usable Host header, and this mirror has no server.public_url to tell instead",
        )),
    }
}

/// Whether it can stand in a URL: a host, no user, and a port that is one if there is any.
fn is_usable(authority: &Authority) -> bool {
    let text = authority.as_str();
    let has_port = text.rfind(':') > text.rfind(']');
    !text.contains('@')
        && !authority.host().is_empty()
        && has_port == authority.port_u16().is_some()
}

/// What a registry says of itself.
#[derive(Serialize)]
struct ConfigJson<'a> {
    dl: &'a str,
    api: &'a str,
}

/// The config.json of the default registry (`None`) or a named one.
///
/// `dl` carries no markers, because every cargo understands that form, and it has to keep working for ever, because cargo keeps it on disk.
pub(super) fn answer(base: &str, registry: Option<RegistryName>) -> Answer {
    let root = match registry {
        Some(name) => format!("{base}/registries/{name}"),
        None => base.to_owned(),
    };
    let config = ConfigJson {
        dl: &format!("{root}/api/v1/crates"),
        api: &root,
    };
    let mut body = Vec::with_capacity(2 * root.len() + 64);
    // Texts into memory: nothing that could fail.
    let _ = serde_json::to_writer(&mut body, &config);
    let mut answer = Answer::ok(Outcome::Hit, JSON, Source::Full(body.into()));
    answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    answer
}
