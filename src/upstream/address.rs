//! Addresses that lead to this machine or into the network around it: where nobody outside may send it to look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether this is an address of this machine, of the network around it, or of nobody in particular: loopback, unspecified, private (RFC 1918, RFC
/// 4193), shared (RFC 6598), link-local (RFC 3927, RFC 4291), and the others that aren't reachable from everywhere (RFC 6890). An IPv4 address within
/// an IPv6 one counts as what it is.
pub(super) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_inside_v4(v4),
        IpAddr::V6(v6) => match within(v6) {
            Some(v4) => is_inside_v4(v4),
            None => is_inside_v6(v6),
        },
    }
}

/// Whether a URL's host, as it is written, is such an address or a name for this machine (RFC 6761, section 6.3).
pub(super) fn is_written_inside(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => is_inside(v4.into()),
        Some(Host::Ipv6(v6)) => is_inside(v6.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

fn is_inside_v4(v4: Ipv4Addr) -> bool {
    match v4.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [192, 0, 0, _] => true,
        [100, second, ..] => (64..128).contains(&second),
        [172, second, ..] => (16..32).contains(&second),
        [198, second, ..] => (18..20).contains(&second),
        // Groups, what is kept for later, and everybody on this wire.
        [first, ..] => first >= 224,
    }
}

fn is_inside_v6(v6: Ipv6Addr) -> bool {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => true,
        // Translated as the network around this machine has it (RFC 8215).
        [0x64, 0xff9b, 1, ..] => true,
        // fc00::/7, fe80::/10, fec0::/10, ff00::/8.
        [first, ..] => first & 0xfe00 == 0xfc00 || first >= 0xfe80,
    }
}

/// The IPv4 address within an IPv6 one: mapped, compatible (RFC 4291, section 2.5.5), translated (RFC 6052), or that of a tunnel (RFC 3056).
fn within(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_is_known_in_every_spelling() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_inside(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.1.0.1",
            "192.169.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
        ] {
            assert!(
                !is_inside(address.parse().expect("an address")),
                "{address}"
            );
        }
    }

    #[test]
    fn a_host_is_taken_as_it_is_written() {
        for (url, inside) in [
            ("http://localhost/", true),
            ("http://LOCALHOST./", true),
            ("http://a.localhost:80/", true),
            ("http://2130706433/", true),
            ("http://0x7f.1/", true),
            ("http://[::ffff:7f00:1]/", true),
            ("http://127.0.0.1.example/", false),
            ("http://localhost.example/", false),
            ("http://notlocalhost/", false),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(is_written_inside(&url), inside, "{url}");
        }
    }
}
