//! `audit`: questions to the audit log.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    interrupt,
    say::{self, Lines},
};
use crate::{
    audit::{Reader, Record},
    config::{self, Flags},
    domain::{
        CrateName, CrateRequest, CrateVersion, RegistryName,
        request::{Requirement, parse_date},
    },
    error::{Error, Kind, Result},
};

/// What to ask.
#[derive(Args, Clone, Debug)]
pub struct AuditOptions {
    #[command(subcommand)]
    question: Question,
}

#[derive(Clone, Debug, Subcommand)]
enum Question {
    /// Print who got a crate, the oldest first.
    Who {
        /// Which: `serde`, `serde@1.0.200` or `serde@^1.0`, with `internal:` before it for one registry's alone.
        #[arg(value_name = "CRATE[@REQUIREMENT]")]
        request: String,
        /// From when on: 2026-11-01, or 2026-11-01T12:00:00Z.
        #[arg(long, value_name = "DATE")]
        since: Option<String>,
        /// How lines look.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Words in columns.
    Human,
    /// The lines of the log as they are, one JSON object each.
    Json,
}

/// Prints a line for each time that the crate was handed out, by the log that `audit.path` names and those that were put aside before it.
///
/// # Errors
/// [`Kind::Config`] when the settings name no log, there is none, or the question can't be understood;
/// [`Kind::Store`] when it can't be read.
pub async fn run(flags: &Flags, options: &AuditOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let Some(path) = config.audit.path.map(|path| path.0) else {
        return Err(Error::config(
            "`audit.path` names no file, so that nothing is written down; put `path = \"audit.jsonl\"` below `[audit]`",
        ));
    };
    let Question::Who {
        request,
        since,
        format,
    } = &options.question;
    let (filter, format) = (Filter::parse(request, since.as_deref())?, *format);
    let print = async move { print(path, &filter, format) };
    let code = interrupt::until_told(print).await?;
    Ok(code.unwrap_or_else(|| interrupt::told("there may be more lines")))
}

/// Which lines are asked for.
struct Filter {
    request: CrateRequest,
    /// None for those of any.
    registry: Option<RegistryName>,
    since: Option<SystemTime>,
}

impl Filter {
    fn parse(request: &str, since: Option<&str>) -> Result<Self> {
        let parsed = CrateRequest::parse(request).map_err(|e| e.of_kind(Kind::Config))?;
        let since = since.map(|text| {
            let said = |e: Error| Error::config(format!("--since: {}", e.message())).with_source(e);
            parse_date(text).map_err(said)
        });
        Ok(Self {
            registry: request.contains(':').then_some(parsed.registry),
            request: parsed,
            since: since.transpose()?,
        })
    }

    /// Whether a line says that somebody got what is asked for.
    fn includes(&self, record: &Record<'_>) -> bool {
        let (Some(name), Some(version)) = (&record.name, &record.version) else {
            return false;
        };
        let is_other =
            |registry: RegistryName| record.registry.as_deref() != Some(registry.as_str());
        let is_crate = CrateName::parse(name).is_ok_and(|n| n.is_same_crate(&self.request.name));
        is_crate
            && record.verdict != "denied"
            && self.includes_version(version)
            && !self.registry.is_some_and(is_other)
            && self.since.is_none_or(|since| is_later(&record.time, since))
    }

    fn includes_version(&self, version: &str) -> bool {
        match &self.request.requirement {
            Requirement::Any => true,
            Requirement::Exact(exact) => {
                let version = CrateVersion::parse(version);
                version.is_ok_and(|v| v == *exact || v.without_build() == exact.as_str())
            }
            Requirement::Matching(req) => {
                semver::Version::parse(version).is_ok_and(|version| req.matches(&version))
            }
        }
    }
}

/// Whether a line's time is no earlier than `since`.
fn is_later(time: &str, since: SystemTime) -> bool {
    humantime::parse_rfc3339(time).is_ok_and(|time| time >= since)
}

fn print(path: PathBuf, filter: &Filter, format: Format) -> Result<ExitCode> {
    let mut lines = Lines::default();
    let mut found = 0_u64;
    let bad = Reader::open(&path)?.each(|record, line| {
        if filter.includes(record) {
            found += 1;
            match format {
                Format::Human => lines.say(human(record)),
                Format::Json => lines.say(line),
            }
        }
        lines.are_read()
    })?;
    if bad > 0 {
        say::aside(format_args!(
            "crate-mirror: warning: {bad} lines of {} say nothing that can be understood and are passed over",
            path.display()
        ));
    }
    if found == 0 && format == Format::Human {
        say::aside("crate-mirror: nobody, as far as the log goes back");
    }
    Ok(lines.end(ExitCode::SUCCESS))
}

fn human(record: &Record<'_>) -> String {
    let text = |field: &Option<std::borrow::Cow<'_, str>>| {
        let text = field.as_deref().unwrap_or("-");
        text.chars().filter(|c| !c.is_control()).collect::<String>()
    };
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    // He got it: that it would be refused, or what is known against it, is no less worth knowing.
    let beside = match (&*record.verdict, &record.rule) {
        ("would-deny", Some(rule)) => format!("  would be denied by {}", plain(rule)),
        ("would-deny", None) => "  would be denied".to_owned(),
        (_, Some(rule)) => format!("  in spite of {}", plain(rule)),
        (_, None) => String::new(),
    };
    format!(
        "{}  {}  {}  {} {}  {}  {}{beside}",
        plain(&record.time),
        plain(&record.who),
        plain(&record.address),
        text(&record.name),
        text(&record.version),
        text(&record.registry),
        plain(&record.outcome),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(change: impl Fn(&mut Record<'_>)) -> Record<'static> {
        let mut record = Record {
            time: "2026-11-01T12:00:00.000Z".into(),
            who: "ci".into(),
            address: "192.0.2.7".into(),
            registry: Some("crates-io".into()),
            name: Some("some_crate".into()),
            version: Some("1.2.3+build".into()),
            outcome: "hit".into(),
            verdict: "allowed".into(),
            rule: None,
        };
        change(&mut record);
        record
    }

    fn includes(wanted: &str, since: Option<&str>, change: impl Fn(&mut Record<'_>)) -> bool {
        Filter::parse(wanted, since)
            .expect(wanted)
            .includes(&record(change))
    }

    /// Whoever tries out a policy asks who would have been hit by it.
    #[test]
    fn a_line_says_what_there_is_to_say_against_it() {
        let plain =
            "2026-11-01T12:00:00.000Z  ci  192.0.2.7  some_crate 1.2.3+build  crates-io  hit";
        assert_eq!(human(&record(|_| {})), plain);
        let by = |verdict: &str, rule: &str| {
            human(&record(|record| {
                record.verdict = verdict.to_owned().into();
                record.rule = Some(rule.to_owned().into());
            }))
        };
        let said = by("would-deny", "no\u{7} pads");
        assert_eq!(said, format!("{plain}  would be denied by no pads"));
        let said = by("allowed", "RUSTSEC-2026-0001");
        assert_eq!(said, format!("{plain}  in spite of RUSTSEC-2026-0001"));
    }

    #[test]
    fn a_line_is_asked_for_by_name_version_registry_and_time() {
        for (wanted, since, expected) in [
            ("some_crate", None, true),
            ("Some-Crate", None, true),
            ("some", None, false),
            ("some_crate@1.2.3", None, true),
            ("some_crate@1.2.3+build", None, true),
            ("some_crate@1.2.3+other", None, false),
            ("some_crate@1.2.4", None, false),
            ("some_crate@^1.1", None, true),
            ("some_crate@<1", None, false),
            ("crates-io:some_crate", None, true),
            ("internal:some_crate", None, false),
            ("some_crate", Some("2026-11-01"), true),
            ("some_crate", Some("2026-11-01T12:00:00Z"), true),
            ("some_crate", Some("2026-11-02"), false),
        ] {
            assert_eq!(
                includes(wanted, since, |_| {}),
                expected,
                "{wanted} {since:?}"
            );
        }
    }

    #[test]
    fn who_was_refused_has_not_got_it() {
        let denied = |record: &mut Record<'_>| record.verdict = "denied".into();
        assert!(!includes("some_crate", None, denied));
        let would_be = |record: &mut Record<'_>| record.verdict = "would-deny".into();
        assert!(includes("some_crate", None, would_be));
        let refused = |record: &mut Record<'_>| record.name = None;
        assert!(!includes("some_crate", None, refused));
    }
}
