//! [`Upgrades`]: who is let go on in HTTP/2 when it asks for it on a plain connection.
//!
//! Two kinds of clients had better not be. Some can't do it (see [`Agent`]). And a proxy that passes the offer and our 101 on has no say in what
//! follows: what it would have refused, or asked a token for, comes through its tunnel unseen.

use http::{HeaderMap, HeaderName, header};

use super::agent::Agent;
use crate::config::sections::{H2c, Server};

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

/// What proxies and networks that deliver content say of whom they ask for, beside `X-Forwarded-*`.
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
    /// As the settings have it. A server that is found under another URL than its own has something in front of it.
    pub(super) fn new(settings: &Server) -> Self {
        match (settings.h2c, &settings.public_url) {
            (H2c::Never, _) | (H2c::Auto, Some(_)) => Self::Never,
            (H2c::Auto, None) => Self::Auto,
            (H2c::Always, _) => Self::Always,
        }
    }

    /// Whether who sends these headers is upgraded if its offer is valid.
    pub(super) fn include(self, headers: &HeaderMap) -> bool {
        match self {
            Self::Never => false,
            Self::Auto => !has_come_through_a_proxy(headers) && takes_upgrade(headers),
            Self::Always => true,
        }
    }
}

fn takes_upgrade(headers: &HeaderMap) -> bool {
    let mut agents = headers.get_all(header::USER_AGENT).iter();
    agents.all(|agent| Agent::parse(agent.as_bytes()).takes_upgrade())
}

fn has_come_through_a_proxy(headers: &HeaderMap) -> bool {
    let mut names = headers.keys();
    names.any(|name| OF_PROXIES.contains(name) || name.as_str().starts_with("x-forwarded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(h2c: H2c, public_url: bool) -> Server {
        let url = "https://crates.example.com";
        Server {
            h2c,
            public_url: public_url.then(|| crate::config::BaseUrl::parse(url).expect("a URL")),
            ..Server::default()
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
            headers.insert(name, header::HeaderValue::from_static("x"));
            [Upgrades::Never, Upgrades::Auto, Upgrades::Always].map(|u| u.include(&headers))
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
        assert!(Upgrades::Auto.include(&headers), "nobody in particular");
        for (agent, expected) in [
            ("cargo/1.80.1", true),
            ("curl/8.0", true),
            ("cargo 1.70.0", false),
        ] {
            headers.append(header::USER_AGENT, header::HeaderValue::from_static(agent));
            assert_eq!(Upgrades::Auto.include(&headers), expected, "{agent}");
        }
    }
}
