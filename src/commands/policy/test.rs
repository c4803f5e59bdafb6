//! `policy test`: what would be refused of what projects need.

use std::{process::ExitCode, sync::Arc, time::SystemTime};

use clap::Args;
use futures_util::{StreamExt, stream};
use serde::{Serialize, Serializer};

use super::{
    super::say::Lines,
    asked::{Format, mirror, note_on, view},
};
use crate::{
    config::{Config, policy::Mode},
    domain::{CrateRequest, License, Selected, View},
    error::{Error, Result},
    mirror::{Judgement, LicenseKnown, Mirror},
    prefetch::List,
};

/// So many index files are asked for at once.
const AT_ONCE: usize = 32;

/// What to look at.
#[derive(Args, Clone, Debug)]
pub(super) struct TestOptions {
    /// Cargo.lock files, or folders to search for them.
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
    /// As it is seen in a view of the settings, or as of a day.
    #[arg(long, value_name = "NAME|DATE")]
    view: Option<String>,
    /// How the answer looks.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// All that came of it.
#[derive(Serialize)]
struct Report {
    #[serde(serialize_with = "as_word")]
    mode: Mode,
    /// How many versions were looked at.
    checked: usize,
    refused: Vec<Refused>,
    warned: Vec<Warned>,
    /// What nothing can be said of.
    unknown: Vec<Unknown>,
    /// Versions whose licence isn't known here, where licences matter.
    licenses_unknown: usize,
}

#[derive(Serialize)]
struct Refused {
    #[serde(flatten)]
    of: Of,
    kind: &'static str,
    rule: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    why: String,
}

#[derive(Serialize)]
struct Warned {
    #[serde(flatten)]
    of: Of,
    advisories: Vec<Box<str>>,
}

#[derive(Serialize)]
struct Unknown {
    #[serde(flatten)]
    of: Of,
    why: String,
}

/// Which version, and which Cargo.lock files need it.
#[derive(Clone, Serialize)]
struct Of {
    registry: String,
    name: String,
    version: String,
    #[serde(rename = "needed_by")]
    by: Vec<Arc<str>>,
}

/// Prints what would be refused. Exit code 1 when anything would be, or can't be said.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is nothing to look at.
pub(super) async fn run(config: Config, options: &TestOptions) -> Result<ExitCode> {
    let list = List::read(&options.what, std::io::empty())?;
    if list.lockfiles.is_empty() {
        return Err(Error::config(
            "there is no Cargo.lock in what was named; name such files or the folders of projects",
        ));
    }
    let (selected, aside) = list.selected(config.origins());
    let mode = config.policy.mode;
    let mirror = mirror(config).await?;
    let view = view(options.view.as_deref(), &mirror)?;
    let judged = stream::iter(selected).map(|selected| judged(&mirror, selected, view));
    let judged: Vec<_> = judged.buffered(AT_ONCE).collect().await;
    let mut report = Report::of(mode, judged);
    for strange in aside.strange {
        report.unknown.push(Unknown {
            of: Of::named(&strange.what, &strange.by),
            why: strange.why,
        });
    }
    report.print(options.format)
}

async fn judged(mirror: &Mirror, selected: Selected, view: View) -> (Selected, Result<Judgement>) {
    let judgement = async {
        let registry = mirror.registry(Some(selected.registry))?;
        let now = SystemTime::now();
        mirror.judge(registry, &selected.id, view, now).await
    };
    let judgement = judgement.await;
    (selected, judgement)
}

impl Report {
    fn of(mode: Mode, all: Vec<(Selected, Result<Judgement>)>) -> Self {
        let mut report = Self {
            mode,
            checked: all.len(),
            refused: Vec::new(),
            warned: Vec::new(),
            unknown: Vec::new(),
            licenses_unknown: 0,
        };
        for (selected, judgement) in all {
            let of = Of::selected(&selected);
            match judgement {
                Ok(judgement) => report.add(of, judgement),
                Err(e) => report.unknown.push(Unknown {
                    of,
                    why: e.to_string(),
                }),
            }
        }
        report
    }

    fn add(&mut self, of: Of, judgement: Judgement) {
        match judgement.license {
            LicenseKnown::Unknown => self.licenses_unknown += 1,
            LicenseKnown::NoMatter
            | LicenseKnown::Known(License::Expression(_) | License::File(_) | License::None) => {}
        }
        if let Some(denied) = judgement.denial {
            let cause = &denied.denial.cause;
            let until = denied.denial.ends.map(humantime::format_rfc3339_seconds);
            self.refused.push(Refused {
                of,
                kind: cause.kind().as_str(),
                rule: cause.rule(),
                until: until.map(|until| until.to_string()),
                why: denied.sentence,
            });
        } else if !judgement.warnings.is_empty() {
            let advisories = judgement.warnings.iter().map(|a| a.id.clone());
            self.warned.push(Warned {
                of,
                advisories: advisories.collect(),
            });
        }
    }

    fn print(&self, format: Format) -> Result<ExitCode> {
        let mut lines = Lines::default();
        match format {
            Format::Json => {
                let json = serde_json::to_string_pretty(self);
                lines.say(json.map_err(|e| Error::internal("no JSON").caused_by(e))?);
            }
            Format::Human => self.say(&mut lines),
        }
        let is_clean = self.refused.is_empty() && self.unknown.is_empty();
        Ok(lines.end(match is_clean {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }))
    }

    fn say(&self, lines: &mut Lines) {
        let widest = self.refused.iter().map(|refused| refused.of.label().len());
        let widest = widest.max().unwrap_or_default();
        for refused in &self.refused {
            let (label, kind) = (refused.of.label(), refused.kind);
            lines.say(format_args!("{label:widest$}  {kind:8}  {}", refused.why));
            if let Some(by) = refused.of.needed_by() {
                lines.say(format_args!("{:widest$}            needed by {by}", ""));
            }
        }
        for warned in &self.warned {
            let (label, ids) = (warned.of.label(), warned.advisories.join(", "));
            lines.say(format_args!(
                "{label}  would be handed out, with a warning about {ids}"
            ));
        }
        for unknown in &self.unknown {
            lines.say(format_args!(
                "{}  isn't known: {}",
                unknown.of.label(),
                unknown.why
            ));
        }
        let (refused, warned) = (self.refused.len(), self.warned.len());
        lines.say(format_args!(
            "{} versions: {refused} would be refused, {warned} handed out with a warning, {} not known",
            self.checked,
            self.unknown.len()
        ));
        if self.licenses_unknown > 0 {
            lines.say(format_args!(
                "{} licences aren't known here, because those crates aren't stored; `crate-mirror prefetch` brings them",
                self.licenses_unknown
            ));
        }
        if let Some(note) = note_on(self.mode) {
            lines.say(note);
        }
    }
}

fn as_word<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.as_str())
}

impl Of {
    fn selected(selected: &Selected) -> Self {
        Self {
            registry: selected.registry.to_string(),
            name: selected.id.name.to_string(),
            version: selected.id.version.to_string(),
            by: selected.by.clone(),
        }
    }

    /// What isn't of a registry of this mirror, as it is written.
    fn named(what: &str, by: &[Arc<str>]) -> Self {
        let request = CrateRequest::parse(what).ok();
        let (name, version) = what.split_once('@').unwrap_or((what, ""));
        Self {
            registry: request.map_or(String::new(), |request| request.registry.to_string()),
            name: name.to_owned(),
            version: version.to_owned(),
            by: by.to_vec(),
        }
    }

    fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The first of those who need it, and how many more there are.
    fn needed_by(&self) -> Option<String> {
        let (first, others) = self.by.split_first()?;
        Some(match others.len() {
            0 => first.to_string(),
            more => format!("{first} and {more} more"),
        })
    }
}
