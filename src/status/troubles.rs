//! What is wrong, in words: what somebody who looks at the page has to do something about.

use super::figures::{Figures, HostFigures};
use crate::metrics::Metrics;

/// From so many days on an expiring certificate is said, as in the log.
const EXPIRES_SOON: i64 = 14;
/// A database of advisories that wasn't written to for so many seconds isn't kept up to date by anybody: three weeks.
const OLD_ADVISORIES: i64 = 21 * 24 * 3_600;

/// Which of the hosts of `whose` are left alone, and why.
fn failing(whose: &str, hosts: &[HostFigures]) -> impl Iterator<Item = String> {
    let failing = hosts.iter().filter(|host| host.circuit_open);
    failing.map(move |host| {
        let why = host.last_failure.as_ref();
        let why = why.map_or_else(String::new, |failure| format!(" The last time: {}.", failure.said));
        format!(
            "{} of {whose} keeps failing and is left alone for a while; what was kept of it is served as long as it may be.{why}",
            host.host
        )
    })
}

/// What is wrong, a sentence each, the worst first.
pub(super) fn troubles(figures: &Figures, metrics: &Metrics) -> Vec<String> {
    let mut said = Vec::new();
    if !figures.store.readable {
        said.push("The store can't be read; what isn't in memory is fetched, unless this mirror is offline.".to_owned());
    }
    if !figures.store.writable {
        said.push(
            "The store can't be written to; what is fetched is passed on and not kept.".to_owned(),
        );
    }
    if let Some(bucket) = &figures.store.bucket {
        if bucket.circuit_open {
            said.push(
                "The bucket keeps failing and is left alone for a while; what isn't nearer is fetched, unless this mirror is offline, and what is to be written waits."
                    .to_owned(),
            );
        }
        if bucket.lost > 0 {
            said.push(format!(
                "{} objects were given up before they were written into the bucket; they are fetched again when somebody asks for them.",
                bucket.lost
            ));
        }
    }
    if !figures.audit.writable {
        said.push("The audit log can't be written to.".to_owned());
    }
    for certificate in &figures.certificates {
        let (file, days) = (&certificate.certificate, certificate.days_left);
        match days {
            ..0 => said.push(format!("The certificate {file} has expired.")),
            0..=EXPIRES_SOON => {
                said.push(format!("The certificate {file} expires in {days} days."))
            }
            _ => {}
        }
    }
    if metrics.tls_files_unusable.get() != 0 {
        said.push(
            "The files of `tls` can't be used as they are now; the certificate and key from before are in use."
                .to_owned(),
        );
    }
    for registry in &figures.registries {
        said.extend(failing(&registry.name, &registry.hosts));
    }
    if let Some(distribution) = &figures.toolchains {
        said.extend(failing("the toolchains", &distribution.hosts));
    }
    if let Some(stale) = &figures.oldest_stale {
        said.push(format!(
            "Stale copies are served; the oldest, of {} in {}, was last confirmed {} ago.",
            stale.name,
            stale.registry,
            humantime::format_duration(std::time::Duration::from_secs(stale.age_seconds))
        ));
    }
    match &figures.advisories {
        Some(advisories) if !advisories.readable => {
            said.push(
                "The database of advisories can't be read; what it said before is in force."
                    .to_owned(),
            );
        }
        Some(advisories) if advisories.age_seconds > OLD_ADVISORIES => {
            let days = advisories.age_seconds / (24 * 3_600);
            said.push(format!("The database of advisories is {days} days old."));
        }
        Some(_) | None => {}
    }
    if metrics.access_files_unreadable.get() != 0 {
        said.push(
            "A file that says who may ask can't be read; what it said before is in force."
                .to_owned(),
        );
    }
    if figures.audit.lost > 0 {
        said.push(format!(
            "{} lines of the audit log are lost.",
            figures.audit.lost
        ));
    }
    said
}
