//! [`Forwarded`]: who really asks, and how, where proxies stand in between that are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header, uri::Authority};
use ipnet::IpNet;

use crate::transport::Scheme;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// So many proxies are followed.
const MOST: usize = 32;

/// The proxies whose word counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// Who asks, by which URL, as far as trusted proxies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address: the right-most one that isn't a trusted proxy's.
    pub address: IpAddr,
    /// How it asked, if a proxy says so.
    pub scheme: Option<Scheme>,
    /// What it calls this server, if a proxy says so.
    pub host: Option<Authority>,
}

impl TrustedProxies {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether one of them is at this address.
    pub fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// What is known of the request with these headers that `peer` has sent. Whatever isn't said by a trusted proxy is not looked at.
    pub fn see(&self, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
        let peer = peer.to_canonical();
        let unsaid = Forwarded {
            address: peer,
            scheme: None,
            host: None,
        };
        // Most have none, and most of the others ask from elsewhere.
        if self.0.is_empty() || !self.include(peer) {
            return unsaid;
        }
        let standard = Hops::standard(headers);
        let usual = Hops::usual(headers);
        match (standard.is_empty(), usual.is_empty()) {
            (true, true) => unsaid,
            (false, true) => self.client(peer, &standard),
            (true, false) => self.client(peer, &usual),
            (false, false) => {
                let (standard, usual) = (self.client(peer, &standard), self.client(peer, &usual));
                // A proxy writes one of them and may pass on what a client wrote into the other. Which is which can't be told.
                match standard.address == usual.address {
                    true => usual,
                    false => unsaid,
                }
            }
        }
    }

    /// The client at the end of `hops`, which are the nearest first.
    fn client(&self, peer: IpAddr, hops: &Hops<'_>) -> Forwarded {
        let mut found = Forwarded {
            address: peer,
            scheme: None,
            host: None,
        };
        for hop in hops.0.iter().take(MOST) {
            found.scheme = hop.scheme.and_then(scheme).or(found.scheme);
            found.host = hop.host.and_then(authority).or(found.host);
            // What is no address (`unknown`, or a name a proxy has made up) is where the trail ends.
            let Some(address) = hop.address.and_then(address) else {
                break;
            };
            found.address = address;
            if !self.include(address) {
                break;
            }
        }
        found
    }
}

/// What each proxy says of who asked it, the nearest proxy first.
struct Hops<'a>(Vec<Hop<'a>>);

#[derive(Clone, Copy, Default)]
struct Hop<'a> {
    address: Option<&'a str>,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Hops<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By `Forwarded` (RFC 7239): `for=192.0.2.43;proto=https, for="[2001:db8::17]:4711"`.
    fn standard(headers: &'a HeaderMap) -> Self {
        let hop = |element: &'a str| {
            let mut hop = Hop::default();
            for pair in split(element, ';') {
                let Some((name, value)) = pair.split_once('=') else {
                    continue;
                };
                let value = unquoted(value.trim_ascii());
                let name = name.trim_ascii();
                if name.eq_ignore_ascii_case("for") {
                    hop.address = Some(value);
                } else if name.eq_ignore_ascii_case("proto") {
                    hop.scheme = Some(value);
                } else if name.eq_ignore_ascii_case("host") {
                    hop.host = Some(value);
                }
            }
            hop
        };
        let mut hops: Vec<_> = elements(headers, &header::FORWARDED).map(hop).collect();
        hops.reverse();
        Self(hops)
    }

    /// By `X-Forwarded-For`, `-Proto` and `-Host`: lists to which each proxy adds, though many only keep what the first one said.
    fn usual(headers: &'a HeaderMap) -> Self {
        let listed = |name| -> Vec<&'a str> { elements(headers, name).collect() };
        let (addresses, schemes, hosts) = (listed(&FOR), listed(&PROTO), listed(&HOST));
        // A list that is shorter than the others is one that not every proxy adds to: what it says is the nearest ones'.
        let nth = |list: &[&'a str], n: usize| list.iter().rev().nth(n).copied();
        let hop = |n| Hop {
            address: nth(&addresses, n),
            scheme: nth(&schemes, n),
            host: nth(&hosts, n),
        };
        let hops = addresses.len().max(schemes.len()).max(hosts.len());
        Self((0..hops).map(hop).collect())
    }
}

/// The elements of a header that is a list, in all its lines.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let elements = lines.flat_map(|line| split(line, ','));
    elements.map(str::trim_ascii).filter(|e| !e.is_empty())
}

/// The parts of `text` between separators that aren't within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

/// A value without its quotes. What stands escaped within is no address and no host.
fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.unwrap_or(value)
}

/// `192.0.2.43`, `192.0.2.43:4711`, `2001:db8::17`, `[2001:db8::17]` or `[2001:db8::17]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse().map(|a: SocketAddr| a.ip()));
    address.ok().map(|a| a.to_canonical())
}

fn scheme(text: &str) -> Option<Scheme> {
    if text.eq_ignore_ascii_case("https") {
        return Some(Scheme::Https);
    }
    text.eq_ignore_ascii_case("http").then_some(Scheme::Http)
}

/// A host with or without a port.
fn authority(text: &str) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let is_plain = !text.contains('@') && !authority.host().is_empty();
    is_plain.then_some(authority)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        let network = |text: &&str| text.parse().expect("a network");
        TrustedProxies::new(networks.iter().map(network).collect())
    }

    fn seen(peer: &str, headers: &[(&'static str, &str)]) -> (String, Option<Scheme>, String) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let trusted = trusted(&["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]);
        let seen = trusted.see(peer.parse().expect("an address"), &map);
        let host = seen.host.map_or(String::new(), |host| host.to_string());
        (seen.address.to_string(), seen.scheme, host)
    }

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        seen(peer, headers).0
    }

    #[test]
    fn only_who_is_trusted_is_believed() {
        let said = [
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "crates.example"),
        ];
        let believed = (
            "203.0.113.7".to_owned(),
            Some(Scheme::Https),
            "crates.example".to_owned(),
        );
        for peer in ["10.1.2.3", "192.0.2.1", "fd00::1", "::ffff:10.1.2.3"] {
            assert_eq!(seen(peer, &said), believed, "{peer}");
        }
        for peer in ["192.0.2.2", "11.0.0.1", "::1"] {
            assert_eq!(seen(peer, &said), (peer.to_owned(), None, String::new()));
        }
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_clients() {
        for (chain, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
            ("203.0.113.7,10.0.0.9,10.0.0.8", "203.0.113.7"),
            ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            // The trail ends at what can't be followed.
            ("203.0.113.7, unknown, 10.0.0.9", "10.0.0.9"),
            ("unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
            (" , ", "10.0.0.1"),
        ] {
            let found = client("10.0.0.1", &[("x-forwarded-for", chain)]);
            assert_eq!(found, expected, "{chain:?}");
        }
        let in_lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "203.0.113.7"),
        ];
        assert_eq!(client("10.0.0.1", &in_lines), "203.0.113.7");
    }

    #[test]
    fn the_standard_header_says_the_same() {
        for (value, expected) in [
            ("for=203.0.113.7", ("203.0.113.7", None, "")),
            (
                "For=\"203.0.113.7:1\";PROTO=https;host=\"a.example:8443\"",
                ("203.0.113.7", Some(Scheme::Https), "a.example:8443"),
            ),
            (
                "for=1.1.1.1;proto=http;host=evil.example, for=203.0.113.7;proto=https;host=a.example, for=10.0.0.2;by=10.0.0.1",
                ("203.0.113.7", Some(Scheme::Https), "a.example"),
            ),
            (
                "for=\"[2001:db8::17]:4711\" ; proto=http",
                ("2001:db8::17", Some(Scheme::Http), ""),
            ),
            (
                "for=_hidden;proto=https",
                ("10.0.0.1", Some(Scheme::Https), ""),
            ),
            ("for=\"a,b;c=\"", ("10.0.0.1", None, "")),
            ("nonsense", ("10.0.0.1", None, "")),
        ] {
            let (address, scheme, host) = seen("10.0.0.1", &[("forwarded", value)]);
            assert_eq!((&*address, scheme, &*host), expected, "{value}");
        }
    }

    /// A proxy that writes only one of them passes on what a client has made up in the other.
    #[test]
    fn where_both_headers_name_another_client_neither_is_believed() {
        let both = |standard: &str| {
            let standard = format!("for={standard}");
            let headers = [
                ("forwarded", &*standard),
                ("x-forwarded-for", "203.0.113.7"),
            ];
            client("10.0.0.1", &headers)
        };
        assert_eq!(both("203.0.113.7"), "203.0.113.7");
        assert_eq!(both("1.1.1.1"), "10.0.0.1");
    }

    #[test]
    fn what_was_asked_for_is_what_the_clients_own_proxy_says() {
        let chain = [
            ("x-forwarded-for", "203.0.113.7, 10.0.0.2"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "a.example"),
        ];
        let (address, scheme, host) = seen("10.0.0.1", &chain);
        assert_eq!(
            (&*address, scheme, &*host),
            ("203.0.113.7", Some(Scheme::Https), "a.example")
        );
        for host in ["a b", "user@a.example", "", "/"] {
            let headers = [
                ("x-forwarded-for", "203.0.113.7"),
                ("x-forwarded-host", host),
            ];
            assert_eq!(seen("10.0.0.1", &headers).2, "", "{host}");
        }
        let only_scheme = seen("10.0.0.1", &[("x-forwarded-proto", "https")]);
        assert_eq!(only_scheme.1, Some(Scheme::Https), "its address is kept");
    }

    proptest! {
        /// Whatever a client writes, what its own proxy adds behind it decides.
        #[test]
        fn nobody_can_pretend_to_be_elsewhere(forged in "[ -~]{0,60}", standard: bool) {
            let (name, real) = match standard {
                true => ("forwarded", "for=203.0.113.7"),
                false => ("x-forwarded-for", "203.0.113.7"),
            };
            // As proxies add it: a line of its own, which an open quote before it can't reach into.
            prop_assert_eq!(client("10.0.0.1", &[(name, &forged), (name, real)]), "203.0.113.7");
        }

        #[test]
        fn nothing_at_all_makes_it_panic(standard in "[ -~]{0,80}", usual in "[ -~]{0,80}") {
            let headers = [("forwarded", &*standard), ("x-forwarded-for", &*usual), ("x-forwarded-host", &*usual)];
            client("10.0.0.1", &headers);
        }
    }
}
