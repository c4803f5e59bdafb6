//! What pages are made up with, embedded. Nothing is loaded from elsewhere, and the policy in every page's head has browsers see to that.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    domain::Outcome,
    http::{respond::Answer, route::Asset},
};

/// Only this server's own style, script and icon; no frame around it, and forms that lead nowhere else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// An hour: a new version of this program has other ones.
const FOR_AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The answer with one of them.
pub(in crate::http) fn asset(asset: Asset) -> Answer {
    let (kind, content): (_, &'static [u8]) = match asset {
        Asset::Style => (
            "text/css; charset=utf-8",
            include_bytes!("../../../assets/style.css"),
        ),
        Asset::Script => (
            "text/javascript; charset=utf-8",
            include_bytes!("../../../assets/copy.js"),
        ),
        Asset::Icon => ("image/svg+xml", include_bytes!("../../../assets/icon.svg")),
    };
    let content = bytes::Bytes::from_static(content);
    let mut answer = Answer::ok(Outcome::Hit, HeaderValue::from_static(kind), content.into());
    answer.headers.insert(header::CACHE_CONTROL, FOR_AN_HOUR);
    guard(&mut answer.headers);
    answer
}

/// What browsers are to keep to.
pub(super) fn guard(headers: &mut HeaderMap) {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    headers.insert(OPENER, SAME_ORIGIN);
    headers.insert(RESOURCE, SAME_ORIGIN);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_style_sheet_stays_small() {
        assert!(include_bytes!("../../../assets/style.css").len() <= 10 << 10);
    }
}
