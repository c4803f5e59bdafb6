//! [`Event`]: a crate or a file of a toolchain that was handed out or refused, and the line that is written of it.

use std::{borrow::Cow, fmt, io::Write, net::IpAddr, sync::Arc, time::SystemTime};

use serde::{Serialize, Serializer};

use crate::domain::{
    CrateId, Outcome, Principal, RegistryName, Sha256,
    toolchain::{InitRelease, ToolchainItem},
};

/// What is known of a crate that was handed out or refused.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub time: SystemTime,
    /// Who asked.
    pub who: Principal,
    /// From where.
    pub address: IpAddr,
    /// Of which registry; none when a registry was asked for that isn't there.
    pub registry: Option<RegistryName>,
    /// What was done.
    pub delivery: Delivery,
}

/// What was handed out or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedFile {
    /// A crate.
    Crate(CrateId),
    /// A file of a toolchain.
    Toolchain(ToolchainItem),
}

/// What was done with a request for a file.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxed, each crate that is handed out would cost an allocation"
)]
pub enum Delivery {
    /// There was an answer about this file.
    Answered {
        /// Which one.
        file: AuditedFile,
        /// Its content, where that is known.
        sha256: Option<Sha256>,
        /// Where the answer came from.
        outcome: Outcome,
        /// What the rules say of it.
        verdict: Verdict,
    },
    /// Nobody who may ask has asked. What for isn't written down: whoever it was could write any name into the log.
    Refused,
}

/// What the rules about what may come in say of a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may, although these advisories are known about it.
    Warned(Arc<str>),
    /// It may not, by this rule.
    Denied(Arc<str>),
    /// It may not, by this rule, which isn't enforced.
    WouldDeny(Arc<str>),
}

impl Verdict {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Allowed | Self::Warned(_) => "allowed",
            Self::Denied(_) => "denied",
            Self::WouldDeny(_) => "would-deny",
        }
    }

    fn rule(&self) -> Option<&str> {
        match self {
            Self::Allowed => None,
            Self::Warned(rule) | Self::Denied(rule) | Self::WouldDeny(rule) => Some(rule),
        }
    }
}

/// The line's fields, in their order. What there isn't is left out.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "displayed")]
    time: humantime::Rfc3339Timestamp,
    who: &'a str,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    outcome: &'a str,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
}

fn displayed<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl AuditedFile {
    /// A component's version is the day of its release.
    fn name_and_version(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        match self {
            Self::Crate(id) => (id.name.as_str().into(), id.version.as_str().into()),
            Self::Toolchain(ToolchainItem::Component(file)) => {
                (file.name.as_str().into(), file.day.to_string().into())
            }
            Self::Toolchain(ToolchainItem::Init(file)) => {
                let version = match &file.release {
                    InitRelease::Newest => "newest",
                    InitRelease::Version(version) => version.as_str(),
                };
                let name = format!("{} for {}", file.file_name(), file.target);
                (name.into(), version.into())
            }
        }
    }
}

impl Event {
    /// Adds the event's line to `text`.
    pub(super) fn write(&self, text: &mut Vec<u8>) {
        let (mut line, rest) = match &self.delivery {
            Delivery::Refused => (self.line("refused", "denied"), None),
            Delivery::Answered {
                file,
                sha256,
                outcome,
                verdict,
            } => (
                self.line(outcome.as_str(), verdict.as_str()),
                Some((file, *sha256, verdict.rule())),
            ),
        };
        if let Some((file, sha256, rule)) = rest {
            let (name, version) = file.name_and_version();
            (line.name, line.version) = (Some(name), Some(version));
            (line.sha256, line.rule) = (sha256, rule);
        }
        // Texts into memory: nothing that could fail.
        let _ = serde_json::to_writer(&mut *text, &line);
        let _ = text.write_all(b"\n");
    }

    fn line<'a>(&'a self, outcome: &'a str, verdict: &'a str) -> Line<'a> {
        Line {
            time: humantime::format_rfc3339_millis(self.time),
            who: self.who.as_str(),
            address: self.address,
            registry: self.registry.as_ref().map(RegistryName::as_str),
            name: None,
            version: None,
            sha256: None,
            outcome,
            verdict,
            rule: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    /// A crate that was handed out.
    pub(in super::super) fn handed_out(name: &str, version: &str, at: u64) -> Event {
        Event {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(at),
            who: Principal::token("ci"),
            address: "192.0.2.7".parse().expect("an address"),
            registry: Some(RegistryName::crates_io()),
            delivery: Delivery::Answered {
                file: AuditedFile::Crate(CrateId::parse(name, version).expect("a crate")),
                sha256: Some(Sha256::of(name.as_bytes())),
                outcome: Outcome::Hit,
                verdict: Verdict::Allowed,
            },
        }
    }

    pub(in super::super) fn line(event: &Event) -> String {
        let mut text = Vec::new();
        event.write(&mut text);
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn a_line_has_the_fields_that_are_promised() {
        let mut event = handed_out("serde", "1.0.200", 1_793_000_000_123);
        let sha256 = Sha256::of(b"serde");
        assert_eq!(
            line(&event),
            format!(
                "{{\"time\":\"2026-10-26T07:33:20.123Z\",\"who\":\"ci\",\"address\":\"192.0.2.7\",\"registry\":\"crates-io\",\"name\":\"serde\",\"version\":\"1.0.200\",\"sha256\":\"{sha256}\",\"outcome\":\"hit\",\"verdict\":\"allowed\"}}\n"
            )
        );
        let Delivery::Answered { verdict, .. } = &mut event.delivery else {
            panic!("it was answered");
        };
        *verdict = Verdict::Denied("cooldown".into());
        let denied = line(&event);
        assert!(
            denied.ends_with("\"verdict\":\"denied\",\"rule\":\"cooldown\"}\n"),
            "{denied}"
        );
    }

    /// Whoever has no token could write any crate's name into the log.
    #[test]
    fn a_refusal_names_no_crate() {
        let mut event = handed_out("serde", "1.0.200", 0);
        event.who = Principal::Anonymous;
        event.delivery = Delivery::Refused;
        let line = line(&event);
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"who\":\"anonymous\",\"address\":\"192.0.2.7\",\"registry\":\"crates-io\",\"outcome\":\"refused\",\"verdict\":\"denied\"}\n"
        );
    }

    #[test]
    fn whatever_a_subject_has_in_it_a_line_stays_one() {
        let mut event = handed_out("serde", "1.0.200", 0);
        event.who = Principal::jwt("ci", "a\"b\\c\n\u{2028}d");
        let text = line(&event);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["who"], "jwt:ci:a\"b\\c?\u{2028}d");
    }
}
