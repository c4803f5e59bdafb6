//! [`Upgrades`]: who is let go on in HTTP/2 when it asks for it on a plain connection.
//!
//! Two kinds of clients had better stay with HTTP/1.1. Some can't do the upgrade (see [`Agent`] and [`WINDOW_OF_OLD_LIBCURL`]). Others come through a proxy
//! that passes the offer and our 101 on. It has no say in what follows: what it would have refused, or asked a token for, comes through its tunnel unseen.

use http::{HeaderMap, HeaderName, header};

use super::agent::Agent;
use crate::{
    config::sections::{H2c, ServerSettings},
    transport::Offer,
};

/// Who is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrades {
    /// Nobody.
    Never,
    /// Who is known to take it, and asks without a proxy between as far as one can see.
    Auto,
    /// Whoever asks.
    Always,
}

/// What libcurl before 8.1 offers as its window, in bytes. Later ones offer 10 MiB and less. A cargo that a Linux distribution builds has the system's
/// libcurl: Debian 12's cargo 1.85 and 1.96 have 7.88, and broke on the upgrade like cargo before 1.74.
const WINDOW_OF_OLD_LIBCURL: u32 = 32 << 20;

/// The headers in which proxies and content delivery networks say for whom they ask, beside `X-Forwarded-*`.
const OF_PROXIES: [HeaderName; 8] = [
    header::VIA,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-original-forwarded-for"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("cdn-loop"),
];

impl Upgrades {
    /// As the settings say. A server with a public URL has something in front of it.
    pub(super) fn new(settings: &ServerSettings) -> Self {
        match (settings.h2c, &settings.public_url) {
            (H2c::Never, _) | (H2c::Auto, Some(_)) => Self::Never,
            (H2c::Auto, None) => Self::Auto,
            (H2c::Always, _) => Self::Always,
        }
    }

    /// Whether a client that makes this offer, with these headers, is upgraded.
    pub(super) fn include(self, headers: &HeaderMap, offer: &Offer) -> bool {
        match self {
            Self::Never => false,
            Self::Auto => !has_come_through_a_proxy(headers) && takes_upgrade(headers, offer),
            Self::Always => true,
        }
    }
}

/// Whether all that the client says of itself speaks for it.
fn takes_upgrade(headers: &HeaderMap, offer: &Offer) -> bool {
    let mut agents = headers.get_all(header::USER_AGENT).iter();
    agents.all(|agent| {
        let agent = Agent::parse(agent.as_bytes());
        let has_old_libcurl = match agent {
            Agent::Cargo(_) | Agent::UnknownCargo => {
                offer.initial_window() >= Some(WINDOW_OF_OLD_LIBCURL)
            }
            Agent::Other => false,
        };
        agent.takes_upgrade() && !has_old_libcurl
    })
}

fn has_come_through_a_proxy(headers: &HeaderMap) -> bool {
    let mut names = headers.keys();
    names.any(|name| OF_PROXIES.contains(name) || name.as_str().starts_with("x-forwarded"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    /// An offer with these settings.
    fn offer(settings: &'static str) -> Offer {
        let request = Request::get("/")
            .header("host", "a")
            .header("connection", "upgrade, http2-settings")
            .header("upgrade", "h2c")
            .header("http2-settings", settings);
        Offer::of(&request.body(()).expect("a request").into_parts().0).expect("an offer")
    }

    fn server(h2c: H2c, public_url: bool) -> ServerSettings {
        let url = "https://crates.example.com";
        ServerSettings {
            h2c,
            public_url: public_url.then(|| crate::config::BaseUrl::parse(url).expect("a URL")),
            ..ServerSettings::default()
        }
    }

    #[test]
    fn the_setting_decides_and_by_itself_it_is_cautious() {
        for (h2c, public_url, expected) in [
            (H2c::Never, false, Upgrades::Never),
            (H2c::Never, true, Upgrades::Never),
            (H2c::Auto, false, Upgrades::Auto),
            (H2c::Auto, true, Upgrades::Never),
            (H2c::Always, false, Upgrades::Always),
            (H2c::Always, true, Upgrades::Always),
        ] {
            assert_eq!(Upgrades::new(&server(h2c, public_url)), expected);
        }
    }

    #[test]
    fn a_request_that_has_come_through_a_proxy_is_not_upgraded() {
        let includes = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("x"));
            let all = [Upgrades::Never, Upgrades::Auto, Upgrades::Always];
            all.map(|upgrades| upgrades.include(&headers, &offer("")))
        };
        for name in [
            "via",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded",
            "x-real-ip",
        ] {
            assert_eq!(includes(name), [false, false, true], "{name}");
        }
        for name in ["x-forward", "accept", "authorization"] {
            assert_eq!(includes(name), [false, true, true], "{name}");
        }
    }

    #[test]
    fn one_agent_that_does_not_take_it_is_enough() {
        let mut headers = HeaderMap::new();
        let includes = |headers: &HeaderMap| Upgrades::Auto.include(headers, &offer(""));
        assert!(includes(&headers), "nobody in particular");
        for (agent, expected) in [
            ("cargo/1.80.1", true),
            ("curl/8.0", true),
            ("cargo 1.70.0", false),
        ] {
            headers.append(header::USER_AGENT, HeaderValue::from_static(agent));
            assert_eq!(includes(&headers), expected, "{agent}");
        }
    }

    /// Timeouts, and "curl failed", in one run of six.
    #[test]
    fn a_cargo_with_an_old_libcurl_is_not_upgraded() {
        for (agent, settings, expected) in [
            (
                "cargo/1.96.0 (30a34c682 2026-05-25)",
                "AAMAAABkAAQCAAAAAAIAAAAA",
                false,
            ),
            (
                "cargo/1.95.0 (f2d3ce0bd 2026-03-21)",
                "AAMAAABkAAQAoAAAAAIAAAAA",
                true,
            ),
            (
                "cargo/1.95.0 (f2d3ce0bd 2026-03-21)",
                "AAMAAABkAAQAAQAAAAIAAAAA",
                true,
            ),
            ("cargo/1.95.0 (f2d3ce0bd 2026-03-21)", "", true),
            // One transfer at a time is no trouble.
            ("curl/7.88.1", "AAMAAABkAAQCAAAAAAIAAAAA", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            let included = Upgrades::Auto.include(&headers, &offer(settings));
            assert_eq!(included, expected, "{agent} {settings}");
        }
    }
}
