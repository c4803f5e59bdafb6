//! Units: the values an operator writes, with their limits in the type, so that a message can say what is allowed.
//!
//! Not by the crate humantime-serde: it reads a bare `Duration`, which has no limits, and its message says "a duration" and not what is allowed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use url::{Host, Url};

use crate::domain::{loggable_url, may_hold_secret};

/// A span of time between `MIN` and `MAX` milliseconds, written like `"60s"`, `"10m"` or `"30d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const MIN: u64, const MAX: u64>(Duration);

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    /// A span of `millis` milliseconds, moved into the limits.
    pub const fn millis(millis: u64) -> Self {
        let millis = if millis < MIN { MIN } else { millis };
        Self(Duration::from_millis(if millis > MAX {
            MAX
        } else {
            millis
        }))
    }
}

impl<const MIN: u64, const MAX: u64> Deref for Span<MIN, MAX> {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Span<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limits = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        let expected = format!(
            "a time such as \"60s\", \"10m\" or \"30d\", from {} to {}",
            in_one_unit(MIN),
            in_one_unit(MAX)
        );
        parse_with(deserializer, &expected, |text| {
            let span = humantime::parse_duration(text).ok()?;
            (limits.0..=limits.1).contains(&span).then_some(Self(span))
        })
    }
}

/// So many milliseconds in the largest unit that has no remainder: `365 days`, and not `11months 30days 2h 4m 48s`.
fn in_one_unit(millis: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (24 * 3_600_000, " days"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let fits = |(size, _): &&(u64, &str)| millis.is_multiple_of(*size) && millis >= *size;
    match UNITS.iter().find(fits) {
        Some((size, " days")) if millis == *size => "1 day".to_owned(),
        Some((size, unit)) => format!("{}{unit}", millis / size),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// A number of bytes of at least `MIN`, written like `"256MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64>(u64);

impl<const MIN: u64> Size<MIN> {
    /// A size of `bytes`, raised to the least allowed.
    pub const fn bytes(bytes: u64) -> Self {
        Self(if bytes < MIN { MIN } else { bytes })
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de, const MIN: u64> Deserialize<'de> for Size<MIN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let least = bytesize::ByteSize(MIN).display().iec();
        let expected = format!("a size such as \"256MiB\" or \"50GiB\", at least {least}");
        parse_with(deserializer, &expected, |text| {
            let size = text.parse::<bytesize::ByteSize>().ok()?;
            (size.0 >= MIN).then_some(Self(size.0))
        })
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    /// `count`, moved into the limits.
    pub const fn new(count: u32) -> Self {
        let count = if count < MIN { MIN } else { count };
        Self(if count > MAX { MAX } else { count })
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = format!("a whole number from {MIN} to {MAX}");
        let number = Expecting(&expected, |n: i64| {
            let n = u32::try_from(n).ok()?;
            (MIN..=MAX).contains(&n).then_some(Self(n))
        });
        deserializer.deserialize_any(NumberVisitor(number))
    }
}

/// The address to listen on; port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        parse_with(deserializer, expected, |text| text.parse().ok().map(Self))
    }
}

/// An absolute http or https URL without query and fragment; `sparse+` before it is accepted and dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Parses `text`; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text.strip_prefix("sparse+").unwrap_or(text)).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then(|| Self::ending_in_slash(url))
    }

    fn ending_in_slash(mut url: Url) -> Self {
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Self(url)
    }

    /// Whether a user or a password is in it.
    pub fn has_user(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }

    /// The URL, which ends in `/`.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The URL's text without its final `/`.
    pub fn without_slash(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// Without what may be secret.
impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&loggable_url(&self.0))
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an http or https URL without `?` and `#`, such as \"https://host/path/\"";
        parse_with(deserializer, expected, Self::parse)
    }
}

/// Where a URL is (RFC 6454): its scheme, its host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(url::Origin);

impl Origin {
    /// Parses `text`, an http or https URL with nothing behind its host and port; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        plain.then(|| Self::of(&url))
    }

    /// That of a URL.
    pub fn of(url: &Url) -> Self {
        Self(url.origin())
    }

    /// Whether it is that of `url`.
    pub fn is_of(&self, url: &Url) -> bool {
        self.0 == url.origin()
    }

    /// Whether nobody on the way can read what goes there: it is https, or this machine.
    pub fn is_safe(&self) -> bool {
        match &self.0 {
            url::Origin::Tuple(scheme, host, _) => scheme == "https" || is_this_machine(host),
            url::Origin::Opaque(_) => false,
        }
    }

    /// Whether it is on this machine, as its host is written.
    pub fn is_this_machine(&self) -> bool {
        matches!(&self.0, url::Origin::Tuple(_, host, _) if is_this_machine(host))
    }

    /// Its host; `None` when it is that of a URL without one.
    pub fn host(&self) -> Option<String> {
        match &self.0 {
            url::Origin::Tuple(_, host, _) => Some(host.to_string()),
            url::Origin::Opaque(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.ascii_serialization())
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an origin such as \"https://cdn.example\": http or https, a host, perhaps a port, and nothing after that";
        parse_with(deserializer, expected, Self::parse)
    }
}

/// Whether a host, as it is written, is this machine (RFC 6761, section 6.3).
pub(super) fn is_this_machine(host: &Host<impl AsRef<str>>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// An address or a network of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address such as \"192.0.2.1\", or a network such as \"10.0.0.0/8\"";
        parse_with(deserializer, expected, |text| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse()).ok().map(Self)
        })
    }
}

/// A folder's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(pub std::path::PathBuf);

impl<'de> Deserialize<'de> for Folder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the path of a folder such as \"cache\" or \"/var/cache/crate-mirror\"";
        parse_with(deserializer, expected, |text| {
            (!text.is_empty() && !text.contains('\0')).then(|| Self(text.into()))
        })
    }
}

/// What is expected, in words, and the function that makes it of what was written.
struct Expecting<'a, F>(&'a str, F);

pub(super) fn parse_with<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(TextVisitor(Expecting(expected, parse)))
}

struct TextVisitor<'a, F>(Expecting<'a, F>);

impl<T, F: Fn(&str) -> Option<T>> de::Visitor<'_> for TextVisitor<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0.1)(text).ok_or_else(|| match may_hold_secret(text) {
            // The message goes into logs.
            true => E::custom(format!("allowed is {}", self.0.0)),
            false => E::invalid_value(de::Unexpected::Str(text), &self),
        })
    }
}

struct NumberVisitor<'a, F>(Expecting<'a, F>);

impl<T, F: Fn(i64) -> Option<T>> de::Visitor<'_> for NumberVisitor<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.0)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        (self.0.1)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let made = i64::try_from(number).ok().and_then(&self.0.1);
        made.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
}
