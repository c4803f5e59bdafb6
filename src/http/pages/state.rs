//! What the mirror does and has, in words and figures that both forms of `/` are made of; and the form for terminals.

use super::{
    chart::Chart,
    rows::{Piece, Row, RowLine},
    words::{bytes, counted, number, percent, span},
};
use crate::status::{
    CensusFigures, Figures, HostFigures, KindFigures, MinuteFigures, RegistryFigures,
};

/// What it does now, in figures with their names.
pub(super) fn now_figures(figures: &Figures) -> [(&'static str, String); 9] {
    let requests = &figures.requests;
    let denied: u64 = figures.refusals.denied.iter().map(|kind| kind.count).sum();
    [
        ("hit rate, last hour", percent(requests.hit_rate_last_hour)),
        ("hit rate since the start", percent(requests.hit_rate)),
        ("answers a minute", number(requests.per_minute)),
        ("bytes saved", bytes(figures.saved_bytes)),
        ("bytes served", bytes(figures.served_bytes)),
        ("in memory", bytes(figures.memory.bytes.unsigned_abs())),
        ("connections", number(figures.connections.unsigned_abs())),
        ("refused by rules", number(denied)),
        ("running for", span(figures.uptime_seconds)),
    ]
}

/// The last hour, as charts: of answers, and of bytes.
pub(super) fn charts(minutes: &[MinuteFigures]) -> [Chart<'static>; 2] {
    let answers: Vec<_> = minutes.iter().map(|m| (m.answered, m.hits)).collect();
    let sizes: Vec<_> = minutes
        .iter()
        .map(|m| (m.served_bytes, m.served_bytes.min(m.fetched_bytes)))
        .collect();
    let sum = |bars: &[(u64, u64)]| {
        bars.iter().fold((0_u64, 0_u64), |(wholes, parts), bar| {
            (wholes.saturating_add(bar.0), parts.saturating_add(bar.1))
        })
    };
    let (all, hits) = sum(&answers);
    let (served, fetched) = sum(&sizes);
    [
        Chart {
            title: "Answers a minute, hits in front",
            said: format!("In the last hour {all} answers, {hits} of them hits"),
            largest: number(Chart::most(&answers)),
            bars: answers,
        },
        Chart {
            title: "Bytes served a minute, fetched ones in front",
            said: format!(
                "In the last hour {} served, {} fetched",
                bytes(served),
                bytes(fetched)
            ),
            largest: bytes(Chart::most(&sizes)),
            bars: sizes,
        },
    ]
}

/// A host that is asked, or that there is none.
pub(super) struct AskedHost<'a> {
    /// For which registry; none for toolchains.
    pub(super) registry: Option<&'a RegistryFigures>,
    pub(super) host: Option<&'a HostFigures>,
    pub(super) state: Vec<RowLine>,
}

impl AskedHost<'_> {
    /// For whom it is asked.
    fn whose(&self) -> &str {
        self.registry.map_or("toolchains", |of| of.name.as_str())
    }
}

/// Every host that is asked for anything.
pub(super) fn asked_hosts(figures: &Figures) -> Vec<AskedHost<'_>> {
    let registries = figures.registries.iter();
    let registries = registries.map(|of| (Some(of), of.online, &of.hosts));
    let toolchains = figures.toolchains.iter();
    let toolchains = toolchains.map(|of| (None, of.online, &of.hosts));
    let mut asked = Vec::new();
    for (registry, online, hosts) in registries.chain(toolchains) {
        if hosts.is_empty() {
            let state = match online {
                true => "not asked yet",
                false => "offline: nobody is asked",
            };
            asked.push(AskedHost {
                registry,
                host: None,
                state: vec![vec![Piece::soft(state)]],
            });
        }
        asked.extend(hosts.iter().map(|host| AskedHost {
            registry,
            host: Some(host),
            state: state_of(host),
        }));
    }
    asked
}

/// Whether a host is asked, and why it failed last.
fn state_of(host: &HostFigures) -> Vec<RowLine> {
    let circuit = match host.circuit_open {
        true => Piece::bad("open: it keeps failing and is left alone for a while"),
        false => Piece::good("closed: it is asked"),
    };
    let mut lines = vec![vec![circuit]];
    if let Some(failure) = &host.last_failure {
        let ago = span(failure.age_seconds);
        lines.push(vec![Piece::soft(format!(
            "failed {ago} ago: {}",
            failure.said
        ))]);
    }
    lines
}

/// How often rules refused something, by their kinds.
fn by_kind(kinds: &[KindFigures]) -> String {
    let texts: Vec<_> = kinds
        .iter()
        // "rule 1" would look like the first rule.
        .map(|kind| format!("{} by {}", number(kind.count), kind.kind))
        .collect();
    match texts.is_empty() {
        true => "nothing".to_owned(),
        false => texts.join(", "),
    }
}

/// Store, rules, certificates: what there is to say of each.
pub(super) fn rows(figures: &Figures) -> Vec<Row> {
    let stale = figures.oldest_stale.as_ref();
    let stale = stale.map_or("none within five minutes".to_owned(), |stale| {
        format!(
            "{} of {}, last confirmed {} ago",
            stale.name,
            stale.registry,
            span(stale.age_seconds)
        )
    });
    let refusals = &figures.refusals;
    let mut rows = vec![
        store(figures),
        Row::plain("Oldest stale copy served", stale),
        Row::plain(REFUSED, by_kind(&refusals.denied)),
    ];
    if !refusals.would_deny.is_empty() {
        let said = by_kind(&refusals.would_deny);
        rows.push(Row::plain("Would be refused", said));
    }
    if refusals.waiting > 0 {
        let said = counted(refusals.waiting.unsigned_abs(), "version", "versions");
        rows.push(Row::plain("Waiting to be old enough", said));
    }
    for certificate in &figures.certificates {
        let left = match certificate.days_left {
            ..0 => Piece::bad("expired"),
            days => Piece::plain(format!("{days} days left")),
        };
        let file = Piece::plain(format!("{}: ", certificate.certificate));
        rows.push(Row {
            name: "Certificate".to_owned(),
            lines: vec![vec![file, left]],
        });
    }
    if let Some(advisories) = &figures.advisories {
        let said = format!(
            "{}, last changed {} ago",
            number(advisories.count.unsigned_abs()),
            span(advisories.age_seconds.unsigned_abs())
        );
        rows.push(Row::plain("Advisories", said));
    }
    rows
}

/// The row beside which the way to the rules stands.
pub(super) const REFUSED: &str = "Refused since the start";

fn store(figures: &Figures) -> Row {
    let store = &figures.store;
    let mut first = vec![match (store.readable, store.writable) {
        (false, _) => Piece::bad("can't be read"),
        (true, false) => Piece::bad("can't be written to"),
        (true, true) => Piece::good("in use"),
    }];
    let mut more = Vec::new();
    match &store.census {
        None => first.push(Piece::plain(
            ", not looked through yet: that is done soon after the start",
        )),
        Some(census) => {
            let holds = match &store.bucket {
                Some(_) => "; the bucket holds ",
                None => ", ",
            };
            let least = if census.unread.is_some() {
                "at least "
            } else {
                ""
            };
            first.push(Piece::plain(format!(
                "{holds}{least}{} ",
                bytes(census.bytes)
            )));
            let ago = span(census.age_seconds);
            first.push(Piece::soft(format!("(looked through {ago} ago)")));
            more.extend(stored(census));
        }
    }
    if let Some(bucket) = &store.bucket {
        if bucket.waiting > 0 {
            let waiting = counted(
                bucket.waiting.unsigned_abs(),
                "object waits",
                "objects wait",
            );
            more.push(vec![Piece::plain(format!(
                "{waiting} to be written into the bucket"
            ))]);
        }
        if bucket.circuit_open {
            more.push(vec![Piece::bad(
                "The bucket keeps failing and is left alone for a while",
            )]);
        }
    }
    if store.corrupt > 0 {
        more.push(vec![Piece::plain(format!(
            "{} failed their check",
            counted(store.corrupt, "object", "objects")
        ))]);
    }
    Row {
        name: match &store.bucket {
            Some(_) => "Store, in a bucket".to_owned(),
            None => "Store".to_owned(),
        },
        lines: std::iter::once(first).chain(more).collect(),
    }
}

/// What is in the store, a line for each registry.
fn stored(census: &CensusFigures) -> Vec<RowLine> {
    let registries = census.registries.iter().map(|of| {
        format!(
            "{}: {}, {}; {}, {}",
            of.registry,
            counted(of.crates, "crate", "crates"),
            bytes(of.crate_bytes),
            counted(of.index_files, "index file", "index files"),
            bytes(of.index_bytes)
        )
    });
    let toolchains = census.toolchains.iter().map(|of| {
        format!(
            "toolchains: {}, {}; {}, {}",
            counted(of.files, "file", "files"),
            bytes(of.file_bytes),
            counted(
                of.documents,
                "manifest or checksum",
                "manifests and checksums"
            ),
            bytes(of.document_bytes)
        )
    });
    let mut lines: Vec<RowLine> = registries
        .chain(toolchains)
        .map(|line| vec![Piece::plain(line)])
        .collect();
    if let Some(unread) = &census.unread {
        lines.push(vec![Piece::bad(format!(
            "Not all of it could be looked at: {unread}"
        ))]);
    }
    if let Some(near) = &census.near {
        lines.push(vec![Piece::plain(format!(
            "In the folder in front of it: {}, {}",
            counted(near.objects, "object", "objects"),
            bytes(near.bytes)
        ))]);
    }
    lines
}

/// The same figures for who reads them in a terminal.
pub(super) fn text(figures: &Figures) -> String {
    let mut text = match figures.troubles.is_empty() {
        true => "All is well.\n".to_owned(),
        false => {
            let troubles = figures.troubles.iter();
            let troubles = troubles.map(|trouble| format!("  {}\n", trouble.replace(" = ", "=")));
            format!("Something is wrong:\n{}", troubles.collect::<String>())
        }
    };
    text.push_str("\nNow:\n");
    for (name, value) in now_figures(figures) {
        text += &Row::plain(name, value).text();
    }
    for chart in charts(&figures.last_hour) {
        text += &format!("  {}; at most {} a minute\n", chart.said, chart.largest);
    }
    text.push_str("\nRegistries and their upstreams:\n");
    for asked in asked_hosts(figures) {
        let host = asked.host.map_or("", |host| host.host.as_str());
        let name = format!("{} {host}", asked.whose()).trim_end().to_owned();
        let lines = asked.state;
        text += &Row { name, lines }.text();
    }
    text.push_str("\nStore, rules, certificates:\n");
    for row in rows(figures) {
        text += &row.text();
    }
    text
}
