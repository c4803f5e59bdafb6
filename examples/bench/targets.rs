//! The targets, and what became of them. Nothing here fails: a figure of one run on a busy machine is no verdict.

use serde::Serialize;

use crate::{
    hits::Hit,
    real_cargo::{Cache, Verb, Way},
    report::Report,
    rules::RulesCost,
    servers::{Protocol, Server},
    stats::Sample,
    tokens::TokenCost,
};

/// What was wanted and what came of it.
#[derive(Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) got: String,
    /// Nothing if it wasn't measured.
    pub(crate) met: Option<bool>,
}

/// All targets against what was measured.
pub(crate) fn judge(report: &Report) -> Vec<Target> {
    use Protocol::{Http1, Http2};
    let against_nginx = [
        (["2 KB index", "2 KB index, gzip"], Http1, 1.5),
        (["2 KB index", "2 KB index, gzip"], Http2, 1.5),
        (["serde index, gzip", "tokio index, gzip"], Http1, 5.0),
        (["serde index, gzip", "tokio index, gzip"], Http2, 5.0),
        (["80 KB crate", "80 KB crate"], Http1, 1.0),
        (["80 KB crate", "80 KB crate"], Http2, 1.8),
    ];
    let mut targets = Vec::new();
    for ([first, second], protocol, least) in against_nginx {
        targets.push(hit(report, first, protocol, least));
        if second != first {
            targets.push(hit(report, second, protocol, least));
        }
    }
    targets.extend(tls(report));
    targets.push(floor(report));
    targets.extend(report.tokens.iter().map(token));
    targets.extend(report.rules.iter().map(rules));
    targets.extend(warm(report));
    targets.push(cold(report));
    targets.extend(stampedes(report));
    targets.extend(idle(report));
    targets
}

/// What TLS may cost beside nginx.
fn tls(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    for protocol in [Protocol::Http1Tls, Protocol::Http2Tls] {
        let mut small = hit(report, "2 KB index", protocol, 1.5);
        let mut large = hit(report, "80 KB crate", protocol, 1.0);
        let ratios = |row| {
            let mut hits = report.hits.iter();
            let found = hits.find(|hit| hit.row == row && hit.protocol == protocol)?;
            found.ratios(Server::ProxyCache)
        };
        small.wanted.push_str(", by requests a second");
        small.met = ratios("2 KB index").map(|(rate, _)| rate.median() >= 1.5);
        large.wanted.push_str(", by CPU");
        large.met = ratios("80 KB crate").map(|(_, cpu)| cpu.median() >= 1.0);
        targets.extend([small, large]);
    }
    targets.extend(report.handshakes.iter().map(|handshakes| {
        let ratios = handshakes.ratios();
        let got = ratios.as_ref().map(|(rate, cpu)| {
            let (rate, cpu) = (rate.median(), cpu.median());
            format!("{rate:.2}x by connections a second, {cpu:.2}x by CPU")
        });
        Target {
            what: handshakes.what.to_owned(),
            wanted: "0.9x nginx".to_owned(),
            got: got.unwrap_or_default(),
            met: ratios.map(|(rate, _)| rate.median() >= 0.9),
        }
    }));
    targets
}

/// A row against nginx `proxy_cache`.
fn hit(report: &Report, row: &'static str, protocol: Protocol, least: f64) -> Target {
    let mut hits = report.hits.iter();
    let found = hits.find(|hit| hit.row == row && hit.protocol == protocol);
    let ratios = found.and_then(|hit| hit.ratios(Server::ProxyCache));
    Target {
        what: format!("{row}, {}", protocol.name()),
        wanted: format!("{least:.1}x nginx proxy_cache"),
        got: ratios.as_ref().map_or(String::new(), |(rate, cpu)| {
            format!(
                "{:.2}x by requests a second, {:.2}x by CPU",
                rate.median(),
                cpu.median()
            )
        }),
        met: ratios.map(|(rate, cpu)| rate.median() >= least && cpu.median() >= least),
    }
}

/// Every row against the floor.
fn floor(report: &Report) -> Target {
    const LEAST: f64 = 0.9;
    let lower = |hit: &Hit| {
        let (rate, cpu) = hit.ratios(Server::Floor)?;
        Some((hit.row, hit.protocol, rate.median(), cpu.median()))
    };
    let all: Vec<_> = report.hits.iter().filter_map(lower).collect();
    let below: Vec<_> = all
        .iter()
        .filter(|(_, _, rate, cpu)| rate.min(*cpu) < LEAST)
        .map(|(row, protocol, rate, cpu)| {
            format!("{row}, {}: {rate:.2} / {cpu:.2}", protocol.name())
        })
        .collect();
    let got = match (all.len(), below.len()) {
        (0, _) => String::new(),
        (count, 0) => format!("all {count}"),
        (count, _) => format!(
            "{} of {count}; below (by requests / by CPU): {}",
            count - below.len(),
            below.join("; ")
        ),
    };
    Target {
        what: "all hits".into(),
        wanted: format!("{LEAST}x of bare hyper"),
        got,
        met: (!all.is_empty()).then_some(below.is_empty()),
    }
}

/// What a token costs.
fn token(cost: &TokenCost) -> Target {
    const MOST: f64 = 0.5;
    let (more, noise) = (cost.more().median(), cost.noise().median());
    Target {
        what: cost.what.clone(),
        wanted: format!("at most {MOST} µs of CPU more, beyond the noise of the run"),
        got: format!("{more:.2} µs, noise {noise:.2} µs"),
        met: (!cost.token.is_empty()).then_some(more - noise <= MOST),
    }
}

/// What rules cost.
fn rules(cost: &RulesCost) -> Target {
    const MOST: f64 = 3.0;
    let (more, noise) = (cost.more().median(), cost.noise().median());
    Target {
        what: cost.what.clone(),
        wanted: format!("at most {MOST} % of CPU more, beyond the noise of the run"),
        got: format!("{more:.1} %, noise {noise:.1} %"),
        met: (!cost.with.is_empty()).then_some(more - noise <= MOST),
    }
}

fn warm(report: &Report) -> Vec<Target> {
    let one = |cache, what: &str| {
        let delay = report.nearest_delay(0);
        let seconds = |way| report.seconds(Verb::Lock, cache, way, delay?);
        let ratio = faster(seconds(Way::Nginx), seconds(Way::Mirror));
        at_least(what.to_owned(), 1.5, "through nginx", ratio)
    };
    vec![
        one(
            Cache::Warm,
            "real cargo, warm lock file, all on one machine",
        ),
        one(
            Cache::WarmAfar,
            "real cargo, warm lock file, 10 ms to the server and back",
        ),
    ]
}

fn cold(report: &Report) -> Target {
    let delay = report.nearest_delay(80);
    let seconds = |way| report.seconds(Verb::Lock, Cache::Cold, way, delay?);
    let ratio = faster(seconds(Way::Direct), seconds(Way::Mirror));
    let what = format!(
        "real cargo, cold lock file, origin at {} ms",
        delay.unwrap_or(80)
    );
    at_least(what, 2.0, "straight to the same origin", ratio)
}

fn faster(theirs: Option<&Sample>, ours: Option<&Sample>) -> Option<f64> {
    Some(theirs?.over(ours?).median())
}

fn at_least(what: String, least: f64, than: &str, ratio: Option<f64>) -> Target {
    Target {
        what,
        wanted: format!("{least:.1}x faster than {than}"),
        got: ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x")),
        met: ratio.map(|ratio| ratio >= least),
    }
}

fn stampedes(report: &Report) -> Vec<Target> {
    const MOST: f64 = 1.5;
    let ours = report
        .stampedes
        .iter()
        .filter(|s| s.server == Server::Mirror);
    ours.map(|s| {
        let ratio = s.against_lone().median();
        Target {
            what: format!("stampede of {}, {}", s.clients, s.what),
            wanted: format!("1 upstream request a thing; the last within {MOST} of a lone one's time and the bytes' own"),
            got: format!("{} a thing; {ratio:.2}; {} failed", s.upstream_for_one, s.failed),
            met: Some(s.upstream_for_one == 1 && ratio <= MOST && s.failed == 0),
        }
    })
    .collect()
}

fn idle(report: &Report) -> Option<Target> {
    let idle = report.idle.as_ref()?;
    let (memory, first) = (idle.memory.median() / 1e6, idle.first_answer_ms.median());
    Some(Target {
        what: format!("a store with {} entries", idle.entries),
        wanted: "idle memory under 20 MB, first answer within 100 ms".into(),
        got: format!("{memory:.1} MB, {first:.0} ms"),
        met: Some(memory < 20.0 && first < 100.0),
    })
}
