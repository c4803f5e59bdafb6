//! `policy why`: what holds for a crate or a version, and which rule decided.

use std::{process::ExitCode, time::SystemTime};

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::say::Lines,
    asked::{Format, mirror, note_on, view},
};
use crate::{
    config::Config,
    domain::{CrateId, CrateRequest, View, request::Requirement},
    error::{Error, Result},
    mirror::{Denied, LicenseKnown, Mirror},
};

/// So many denied versions are listed.
const LISTED: usize = 20;

/// What to ask about.
#[derive(Args, Clone, Debug)]
pub(super) struct WhyOptions {
    /// `serde` or `serde@1.0.228`, with a registry's name and a colon before it if it isn't crates.io's.
    #[arg(value_name = "CRATE[@VERSION]")]
    what: String,
    /// As it is seen in a view of the settings, or as of a day.
    #[arg(long, value_name = "NAME|DATE")]
    view: Option<String>,
    /// How the answer looks.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What was found out, as lines and as JSON.
struct Answer {
    lines: Vec<String>,
    json: Value,
}

/// Prints what holds. Exit code 0 when it may come in, of a crate all its versions; 1 when not.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the question can't be understood, and those of the index.
pub(super) async fn run(config: Config, options: &WhyOptions) -> Result<ExitCode> {
    let request = CrateRequest::parse(&options.what)
        .map_err(|e| Error::config(e.message().to_owned()).with_source(e))?;
    let mode = config.policy.mode;
    let mirror = mirror(config).await?;
    let view = view(options.view.as_deref(), &mirror)?;
    let (allowed, mut answer) = match request.requirement {
        Requirement::Exact(version) => {
            let id = CrateId {
                name: request.name,
                version,
            };
            of_version(&mirror, &request, &id, view).await?
        }
        Requirement::Any => of_crate(&mirror, &request, view).await?,
        Requirement::Matching(_) => {
            return Err(Error::config(format!(
                "{}: name a crate or one version of it, such as serde@1.0.228",
                options.what
            )));
        }
    };
    answer.lines.extend(note_on(mode).map(str::to_owned));
    answer.json["mode"] = json!(mode.as_str());
    let mut lines = Lines::default();
    match options.format {
        Format::Human => answer.lines.iter().for_each(|line| lines.say(line)),
        Format::Json => lines.say(format_args!("{:#}", answer.json)),
    }
    Ok(lines.end(match allowed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }))
}

async fn of_version(
    mirror: &Mirror,
    request: &CrateRequest,
    id: &CrateId,
    view: View,
) -> Result<(bool, Answer)> {
    let registry = mirror.registry(Some(request.registry))?;
    let judgement = mirror.judge(registry, id, view, SystemTime::now()).await?;
    let mut lines = Vec::new();
    match (&judgement.denial, &judgement.rule) {
        (Some(denied), _) => lines.extend(said(&denied.sentence, denied)),
        (None, Some(rule)) => lines.push(format!("{id} may come in: rule {rule:?} is about it")),
        (None, None) => lines.push(format!("{id} may come in: no rule is about it")),
    }
    for advisory in &judgement.warnings {
        let (name, title) = (&advisory.id, &advisory.title);
        lines.push(format!("a warning is written down for {name}: {title}"));
    }
    let license = match &judgement.license {
        LicenseKnown::NoMatter => Value::Null,
        LicenseKnown::Known(license) => {
            lines.push(format!("its licence: {license}"));
            json!(license.to_string())
        }
        LicenseKnown::Unknown => {
            let unknown = "its licence isn't known here, because it isn't stored; it is looked at when it is downloaded";
            lines.push(unknown.to_owned());
            Value::Null
        }
    };
    let warnings: Vec<_> = judgement
        .warnings
        .iter()
        .map(|a| a.id.to_string())
        .collect();
    let json = json!({
        "registry": request.registry.as_str(),
        "name": id.name.as_str(),
        "version": id.version.as_str(),
        "allowed": judgement.denial.is_none(),
        "denied": judgement.denial.as_ref().map(denied_json),
        "rule": judgement.rule.as_deref(),
        "warnings": warnings,
        "license": license,
    });
    let allowed = judgement.denial.is_none();
    Ok((allowed, Answer { lines, json }))
}

async fn of_crate(mirror: &Mirror, request: &CrateRequest, view: View) -> Result<(bool, Answer)> {
    let registry = mirror.registry(Some(request.registry))?;
    let name = request.name;
    let judgement = mirror
        .judge_crate(registry, name, view, SystemTime::now())
        .await?;
    let mut lines = Vec::new();
    match &judgement.denial {
        Some(denied) => lines.extend(said(&denied.sentence, denied)),
        None => {
            let (denied, versions) = (judgement.denied.len(), judgement.versions);
            lines.push(match denied {
                0 => format!("{name}: all {versions} versions may come in"),
                _ => format!("{name}: {denied} of {versions} versions may not come in"),
            });
            for (_, denied) in judgement.denied.iter().take(LISTED) {
                lines.extend(said(&denied.sentence, denied));
            }
            if denied > LISTED {
                lines.push(format!("and {} older ones", denied - LISTED));
            }
            lines.push(match &judgement.newest {
                Some(newest) => format!("the newest that may be picked is {}", newest.version),
                None => "none may be picked".to_owned(),
            });
            if judgement.licenses_unknown > 0 {
                lines.push(format!(
                    "the licences of {} versions aren't known here, because those aren't stored; they are looked at when they are downloaded",
                    judgement.licenses_unknown
                ));
            }
        }
    }
    let denied = judgement.denied.iter().map(|(id, denied)| {
        let mut json = denied_json(denied);
        json["version"] = json!(id.version.as_str());
        json
    });
    let json = json!({
        "registry": request.registry.as_str(),
        "name": name.as_str(),
        "allowed": judgement.denial.is_none() && judgement.newest.is_some(),
        "denied": judgement.denial.as_ref().map(denied_json),
        "versions": judgement.versions,
        "denied_versions": denied.collect::<Vec<_>>(),
        "newest_allowed": judgement.newest.as_ref().map(|id| id.version.as_str()),
        "licenses_unknown": judgement.licenses_unknown,
    });
    let all_allowed = judgement.denied.is_empty() && judgement.newest.is_some();
    Ok((
        judgement.denial.is_none() && all_allowed,
        Answer { lines, json },
    ))
}

fn said(sentence: &str, denied: &Denied) -> [String; 1] {
    let cause = &denied.denial.cause;
    [format!(
        "[{}: {}] {sentence}",
        cause.kind().as_str(),
        cause.rule()
    )]
}

fn denied_json(denied: &Denied) -> Value {
    let cause = &denied.denial.cause;
    let until = denied.denial.ends.map(humantime::format_rfc3339_seconds);
    json!({
        "kind": cause.kind().as_str(),
        "rule": &*cause.rule(),
        "until": until.map(|until| until.to_string()),
        "why": denied.sentence,
    })
}
