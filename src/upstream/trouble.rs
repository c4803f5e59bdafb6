//! [`Trouble`]: what a failure below HTTP means, read from the errors of the libraries that lie beneath one another.

use std::{error::Error as StdError, io};

use rustls::{AlertDescription, CertificateError};

use super::resolve::NameError;

/// Why there is no connection, or no answer on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A certificate that isn't to be trusted, and why.
    Certificate(BadCertificate),
    /// The other side wants a certificate from this one, and there is none, or none that it takes.
    ClientCertificate,
    /// The two sides have no way of speaking TLS in common.
    Handshake,
    /// The name has no address to connect to.
    Name(NameError),
    /// The proxy wants credentials before it makes a tunnel.
    TunnelCredentials,
    /// The proxy doesn't make a tunnel.
    TunnelRefused,
    /// It took too long.
    Timeout,
    /// Any other: it may be gone a moment later.
    Passing,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadCertificate {
    /// Nobody that this machine knows has signed it.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time hasn't come.
    NotValidYet,
    /// It is another host's.
    OtherName,
    /// It is one for authorities, as `openssl req -x509` makes them.
    Authority,
    /// It was taken back, is malformed, or can't be used for another reason.
    Unusable,
}

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The host's that was asked.
    Host,
    /// That of the proxy on the way, which couldn't be reached for a tunnel.
    Proxy,
}

/// What `error` means, and whose trouble it is.
pub(super) fn read(error: &reqwest::Error) -> (Trouble, Whose) {
    let mut whose = Whose::Host;
    for cause in causes(error) {
        if let Some(name) = cause.downcast_ref::<NameError>() {
            return (Trouble::Name(name.clone()), whose);
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return (of_tls(tls), whose);
        }
        if let Some(alert) = alert_in(&cause.to_string()) {
            return (of_alert(alert), whose);
        }
        // The library's error has no name that could be used here, only these words.
        match cause.to_string().strip_prefix("tunnel error: ") {
            Some("proxy authorization required") => return (Trouble::TunnelCredentials, whose),
            Some("unsuccessful") => return (Trouble::TunnelRefused, whose),
            Some("failed to create underlying connection") => whose = Whose::Proxy,
            Some(_) | None => {}
        }
    }
    match error.is_timeout() {
        true => (Trouble::Timeout, whose),
        false => (Trouble::Passing, whose),
    }
}

fn of_tls(error: &rustls::Error) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(why) => Trouble::Certificate(match why {
            // The second one is when an authority of the same name is known, with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                BadCertificate::UnknownIssuer
            }
            CertificateError::Other(why) if why.to_string().contains("CaUsedAsEndEntity") => {
                BadCertificate::Authority
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                BadCertificate::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                BadCertificate::NotValidYet
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                BadCertificate::OtherName
            }
            _ => BadCertificate::Unusable,
        }),
        rustls::Error::PeerIncompatible(_) => Trouble::Handshake,
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        _ => Trouble::Passing,
    }
}

/// Alerts about what we are and can, and not about the moment (RFC 8446, section 6.2).
const NOTHING_IN_COMMON: [AlertDescription; 5] = [
    AlertDescription::HandshakeFailure,
    AlertDescription::ProtocolVersion,
    AlertDescription::InsufficientSecurity,
    AlertDescription::UnrecognisedName,
    AlertDescription::NoApplicationProtocol,
];

/// Who sends one of these has been shown a certificate, or none: ours.
const ABOUT_OUR_CERTIFICATE: [AlertDescription; 8] = [
    AlertDescription::AccessDenied,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRequired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::UnsupportedCertificate,
];

fn of_alert(alert: AlertDescription) -> Trouble {
    if ABOUT_OUR_CERTIFICATE.contains(&alert) {
        return Trouble::ClientCertificate;
    }
    match NOTHING_IN_COMMON.contains(&alert) {
        true => Trouble::Handshake,
        false => Trouble::Passing,
    }
}

/// The alert that these words are about. HTTP/2 passes on what TLS says only in words, and in TLS 1.3 a server looks at a client's certificate after the client
/// has begun to ask.
fn alert_in(words: &str) -> Option<AlertDescription> {
    let known = NOTHING_IN_COMMON.into_iter().chain(ABOUT_OUR_CERTIFICATE);
    let mut known =
        known.filter(|alert| words.ends_with(&rustls::Error::AlertReceived(*alert).to_string()));
    known.next()
}

/// An error and its causes in one line, without the URL, which the caller words better.
pub(super) fn flatten(error: &reqwest::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for text in causes(error).map(ToString::to_string) {
        if said.last() != Some(&text) {
            said.push(text);
        }
    }
    match said.is_empty() {
        true => "the request failed".to_owned(),
        false => said.join(": "),
    }
}

/// The causes of an error, the next ones first. An [`io::Error`] made of another error passes over it when it is asked for its source.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(
        StdError::source(error),
        |cause: &&'a (dyn StdError + 'static)| {
            let cause: &'a (dyn StdError + 'static) = *cause;
            let within = cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            match within {
                Some(within) => Some(within as &(dyn StdError + 'static)),
                None => cause.source(),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_a_handshake_that_failed_are_told_from_a_bad_line() {
        let of = |why| of_tls(&rustls::Error::InvalidCertificate(why));
        for (why, meant) in [
            (
                CertificateError::UnknownIssuer,
                BadCertificate::UnknownIssuer,
            ),
            (CertificateError::Expired, BadCertificate::Expired),
            (CertificateError::NotValidYet, BadCertificate::NotValidYet),
            (CertificateError::NotValidForName, BadCertificate::OtherName),
            (CertificateError::Revoked, BadCertificate::Unusable),
            (CertificateError::BadEncoding, BadCertificate::Unusable),
        ] {
            assert_eq!(of(why), Trouble::Certificate(meant));
        }
        let alert = |alert| of_tls(&rustls::Error::AlertReceived(alert));
        assert_eq!(alert(AlertDescription::ProtocolVersion), Trouble::Handshake);
        assert_eq!(alert(AlertDescription::InternalError), Trouble::Passing);
        for shown in [
            AlertDescription::CertificateRequired,
            AlertDescription::UnknownCA,
        ] {
            assert_eq!(alert(shown), Trouble::ClientCertificate);
            let words = rustls::Error::AlertReceived(shown).to_string();
            assert_eq!(alert_in(&format!("connection error: {words}")), Some(shown));
        }
        assert_eq!(alert_in("connection error: broken pipe"), None);
    }
}
