//! [`Certificate`]: what is read out of an X.509 certificate here (RFC 5280): whose it is, and how long it is good. Whether it can be trusted is the
//! business of TLS.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What is read out of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name.
    common_name: Option<String>,
    /// The names it is for, as DNS has them.
    dns_names: Vec<String>,
    /// The addresses it is for.
    addresses: Vec<IpAddr>,
    /// Other names it is for, as URIs.
    uris: Vec<String>,
    /// Its number with its authority, in hexadecimal.
    serial: String,
    validity: Validity,
}

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: SystemTime,
    /// Its last one.
    pub until: SystemTime,
}

impl Certificate {
    /// Reads a certificate in DER; `None` when it can't be understood.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut common_names = certificate.subject().iter_common_name();
        let common_name = common_names.find_map(|name| name.as_str().ok());
        let (mut dns_names, mut addresses, mut uris) = (Vec::new(), Vec::new(), Vec::new());
        let others = certificate.subject_alternative_name().ok().flatten();
        for name in others.iter().flat_map(|others| &others.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        let validity = certificate.validity();
        Some(Self {
            common_name: common_name.map(str::to_owned),
            dns_names,
            addresses,
            uris,
            serial: certificate.raw_serial_as_string(),
            validity: Validity {
                from: moment(validity.not_before),
                until: moment(validity.not_after),
            },
        })
    }

    /// The name that its holder is known by: the subject's common name, else the first DNS name, else the first URI. One without any has its number.
    pub fn holder(&self) -> String {
        let names = self.common_name.iter();
        let mut names = names.chain(&self.dns_names).chain(&self.uris);
        match names.find(|name| !name.is_empty()) {
            Some(name) => name.clone(),
            None => format!("number {}", self.serial),
        }
    }

    /// The first host that it is for and that can be asked, which a name for many can't.
    pub fn host(&self) -> Option<&str> {
        let is_one = |name: &&String| !name.is_empty() && !name.contains('*');
        self.dns_names.iter().find(is_one).map(String::as_str)
    }

    /// All names and addresses of hosts that it is for. A client goes by nothing else (RFC 9110, section 4.3.4): the subject's common name doesn't count.
    pub fn names(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(ToString::to_string);
        self.dns_names.iter().cloned().chain(addresses).collect()
    }

    /// How long it is good.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl Validity {
    /// Whole days until it ends, at `now`; below zero when it has ended.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let days =
            |span: Duration| i64::try_from(span.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX);
        match self.until.duration_since(now) {
            Ok(left) => days(left),
            Err(since) => -1 - days(since.duration()),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.until < now
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// Times before 1970 are as good as that year.
fn moment(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn read(common_name: Option<&str>, names: &[SanType]) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = names.to_vec();
        params.serial_number = Some(vec![10, 11].into());
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 2);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Certificate::parse(certificate.der()).expect("read")
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().expect("a name"))
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().expect("a URI"))
    }

    #[test]
    fn a_holder_is_called_by_the_first_name_there_is() {
        let all = [uri("spiffe://a/b"), dns("*.example"), dns("a.example")];
        for (common_name, names, holder, host) in [
            (Some("ci"), &all[..], "ci", Some("a.example")),
            (None, &all[..], "*.example", Some("a.example")),
            (None, &all[..1], "spiffe://a/b", None),
            (None, &[], "number 0a:0b", None),
        ] {
            let read = read(common_name, names);
            assert_eq!((read.holder().as_str(), read.host()), (holder, host));
        }
    }

    #[test]
    fn days_are_counted_down_and_on() {
        let validity = read(None, &[dns("a")]).validity();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_542_400);
        assert_eq!(validity.until, end);
        for (before, days) in [(36, 1), (12, 0), (24, 1)] {
            let now = end - Duration::from_secs(before * 3_600);
            assert_eq!(validity.days_left(now), days, "{before} h before");
            assert!(!validity.has_ended(now));
        }
        for (after, days) in [(1, -1), (36, -2)] {
            let now = end + Duration::from_secs(after * 3_600);
            assert_eq!(validity.days_left(now), days, "{after} h after");
            assert!(validity.has_ended(now));
        }
    }

    proptest! {
        /// A client sends it before anybody has vouched for it.
        #[test]
        fn any_bytes_are_read_or_not(bytes: Vec<u8>, at: usize, byte: u8) {
            let _ = Certificate::parse(&bytes);
            let mut der = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("one").cert.der().to_vec();
            let at = at % der.len();
            der[at] = byte;
            if let Some(read) = Certificate::parse(&der) {
                let _ = (read.holder(), read.validity().days_left(SystemTime::now()));
            }
        }
    }
}
