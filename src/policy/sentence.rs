//! [`refusal`]: the sentence that says why something may not come in, and what to do. Cargo prints it.

use std::{fmt::Write, time::Duration};

use super::{
    crate_rules::{CrateRules, Known},
    denial::{Cause, Denial, Since},
};
use crate::domain::{CrateVersion, Day, RegistryName};

/// So many characters of an answer's body cargo prints, the full stop among them.
const MOST: usize = 511;

/// Why `what` (a crate, or a crate and a version) may not come in: the rule, its reason, when it ends, which version may be had instead, and whom to ask. At
/// most 511 characters without a full stop; what an operator has written as the reason is cut first.
pub fn refusal(
    registry: RegistryName,
    what: &str,
    denial: &Denial,
    rules: &CrateRules<'_>,
    known: Option<Known<'_>>,
) -> String {
    let newest = known.and_then(|known| rules.newest_allowed(known));
    refusal_naming(newest, registry, what, denial, rules)
}

/// The same where it is known which version is the `newest` that is allowed. To find that out takes a look at all versions: once for all that are refused.
pub fn refusal_naming(
    newest: Option<&CrateVersion>,
    registry: RegistryName,
    what: &str,
    denial: &Denial,
    rules: &CrateRules<'_>,
) -> String {
    let mut rest = String::new();
    if let Some(ends) = denial.ends {
        let _ = match &denial.cause {
            Cause::Cooldown { .. } => write!(rest, "; it can be had from {} on", minute(ends)),
            _ => write!(rest, "; this ends on {}", Day::of(ends)),
        };
    }
    if let Some(newest) = newest {
        let _ = write!(rest, "; the newest version that is allowed is {newest}");
    }
    match (rules.contact(), &denial.cause) {
        (Some(contact), _) => {
            let _ = write!(rest, "; ask {contact} about it");
        }
        (None, Cause::Day(_)) => {}
        (None, _) => rest.push_str("; ask whoever runs this mirror about it"),
    }
    let (said, reason) = said(what, registry, denial);
    let room = MOST.saturating_sub(said.chars().count() + rest.chars().count());
    let reason = reason.map(|reason| cut(reason, room)).unwrap_or_default();
    cut_off(format!("{said}{reason}{rest}"))
}

/// What it is about it, and the operator's own words, if there are any.
fn said<'a>(what: &str, registry: RegistryName, denial: &'a Denial) -> (String, Option<&'a str>) {
    match &denial.cause {
        Cause::Changed { was } => (
            format!(
                "{what} has other content in {registry} now than it had before (sha256 {was}), and this mirror hands out changed content only if a rule with its sha256 allows it"
            ),
            None,
        ),
        Cause::Day(day) => (
            format!("{what} was published after {day}, the last day that is seen under this URL"),
            None,
        ),
        Cause::Rule { label, reason } => (
            format!("{what} is denied by rule {label:?} of this mirror's policy"),
            reason.as_deref(),
        ),
        Cause::Advisory(advisory) => {
            let title: String = advisory.title.chars().take(120).collect();
            let colon = if title.is_empty() { "" } else { ": " };
            (
                format!(
                    "{what} is denied by this mirror's policy because of {} ({}){colon}{title}",
                    advisory.id, advisory.kinds
                ),
                None,
            )
        }
        Cause::License(Some(license)) => (
            format!(
                "{what} is denied by this mirror's policy because of its licence, {:?}",
                cut_off(license.chars().take(80).collect())
            ),
            None,
        ),
        Cause::License(None) => (
            format!(
                "{what} is denied by this mirror's policy because it names no licence that is known"
            ),
            None,
        ),
        Cause::Cooldown { wait, since } => {
            let since = match since {
                Since::Published(at) => format!("was published on {}", minute(*at)),
                Since::FirstSeen(at) => format!("was first seen here on {}", minute(*at)),
            };
            (
                format!(
                    "{what} {since}, and this mirror's policy has new versions wait for {}",
                    span(*wait)
                ),
                None,
            )
        }
        Cause::Undated => (
            format!(
                "{what} is denied by this mirror's policy because {registry} doesn't say when it was published"
            ),
            None,
        ),
        Cause::Default => (
            format!(
                "{what} is denied because this mirror's policy lets in only what a rule allows, and none allows it"
            ),
            None,
        ),
    }
}

/// The operator's words, within so many characters.
fn cut(reason: &str, room: usize) -> String {
    const LEAST: usize = 12;
    let room = room.saturating_sub(2);
    match reason.chars().count() {
        length if length <= room => format!(": {reason}"),
        _ if room < LEAST => String::new(),
        _ => {
            let kept: String = reason.chars().take(room - 1).collect();
            format!(": {kept}…")
        }
    }
}

fn cut_off(sentence: String) -> String {
    match sentence.chars().count() <= MOST {
        true => sentence,
        false => sentence.chars().take(MOST - 1).chain(['…']).collect(),
    }
}

/// A moment to the minute, as people read it.
fn minute(time: std::time::SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    format!(
        "{} {} UTC",
        text.get(..10).unwrap_or_default(),
        text.get(11..16).unwrap_or_default()
    )
}

/// A span of time as people say it: in days, hours or minutes where it has no remainder.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    for (size, unit) in [(24 * 3600, "day"), (3600, "hour"), (60, "minute")] {
        if seconds >= size && seconds.is_multiple_of(size) && time.subsec_nanos() == 0 {
            let plural = if seconds == size { "" } else { "s" };
            return format!("{} {unit}{plural}", seconds / size);
        }
    }
    humantime::format_duration(time).to_string()
}
