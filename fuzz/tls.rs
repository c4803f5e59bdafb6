//! What must hold of a certificate that a client sends.

use std::time::{Duration, SystemTime};

use crate_mirror::{certificate::Certificate, domain::Principal, tls::Lifetime};

/// Whatever is read out of it, its holder has a name that fits into a line of a log, and its days can be counted at any time.
pub fn certificate(input: &[u8]) {
    let Some(certificate) = Certificate::parse(input) else {
        return;
    };
    let holder = certificate.holder();
    assert!(!holder.is_empty());
    let who = Principal::certificate(&holder).to_string();
    assert!(who.starts_with("cert:") && who.len() <= 300, "{who}");
    assert!(!who.chars().any(char::is_control), "{who:?}");
    if let Some(host) = certificate.host() {
        assert!(certificate.names().iter().any(|name| name == host));
    }
    let validity = certificate.validity();
    for years in [0, 55, 300, 20_000] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(years * 31_556_952);
        let ended = validity.days_left(now) < 0;
        assert_eq!(ended, validity.has_ended(now));
        let lifetime = Lifetime::of(validity, now);
        assert!(!(ended && lifetime.is_good()), "{lifetime}");
    }
}
