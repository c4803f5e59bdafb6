//! [`Report`]: everything measured, as a Markdown page and as JSON.

use std::{fmt::Write as _, time::SystemTime};

use serde_json::json;

use crate::{
    buckets::Buckets,
    handshakes::Handshakes,
    hits::{Cell, Hit, Peak},
    idle::Idle,
    proc,
    real_cargo::{Cache, Trip, Verb, Way},
    record::Recording,
    rules::RulesCost,
    servers::{Protocol, Server},
    stampede::Stampede,
    stats::{Sample, grouped, megabytes, time},
    targets::Target,
    tokens::TokenCost,
    tools::{Bench, INSTALL, Pace, RUN, version},
};

/// Everything measured.
pub(crate) struct Report {
    machine: String,
    tools: Vec<String>,
    missing: Vec<&'static str>,
    rounds: usize,
    quick: bool,
    recording: String,
    /// How many packages cargo's project has.
    pub(crate) packages: usize,
    pub(crate) hits: Vec<Hit>,
    pub(crate) peaks: Vec<Peak>,
    pub(crate) handshakes: Vec<Handshakes>,
    pub(crate) tokens: Vec<TokenCost>,
    pub(crate) rules: Vec<RulesCost>,
    /// Which database of advisories those had.
    pub(crate) advisories: String,
    pub(crate) trips: Vec<Trip>,
    pub(crate) stampedes: Vec<Stampede>,
    pub(crate) idle: Option<Idle>,
    pub(crate) buckets: Option<Buckets>,
    targets: Vec<Target>,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new(bench: &Bench, recording: &Recording) -> Self {
        let tool = |path: &Option<_>, argument| path.as_deref().map(|path| version(path, argument));
        let tools = [
            tool(&Some(bench.mirror.clone()), "--version"),
            tool(&bench.nginx, "-v"),
            tool(&bench.wrk, "-v"),
            tool(&bench.h2load, "--version"),
        ];
        let date = httpdate::fmt_http_date(SystemTime::now());
        let (cores, model) = (&bench.cores, proc::cpu_model().unwrap_or_default());
        let load = proc::load_average();
        Self {
            machine: format!("{date}; {cores} ({model}); load average at the start {load:.1}"),
            tools: tools.into_iter().flatten().collect(),
            missing: bench.missing(),
            rounds: bench.rounds,
            quick: bench.pace == Pace::Quick,
            recording: format!(
                "{} index files and {} crates recorded from crates.io",
                recording.index.len(),
                recording.crates
            ),
            packages: 0,
            hits: Vec::new(),
            peaks: Vec::new(),
            handshakes: Vec::new(),
            tokens: Vec::new(),
            rules: Vec::new(),
            advisories: String::new(),
            trips: Vec::new(),
            stampedes: Vec::new(),
            idle: None,
            buckets: None,
            targets: Vec::new(),
        }
    }

    /// What is to be known before it starts.
    pub(crate) fn preamble(&self) -> String {
        let mut text = format!("On a fresh machine:\n\n    {INSTALL}\n    {RUN}\n");
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            let _ = write!(
                text,
                "\nNot installed: {missing}. What needs them is left out; `{INSTALL}` brings them.\n"
            );
        }
        text
    }

    /// Adds how long cargo took once.
    pub(crate) fn trip(&mut self, verb: Verb, cache: Cache, way: Way, delay_ms: u64, took: f64) {
        let same =
            |t: &&mut Trip| (t.verb, t.cache, t.way, t.delay_ms) == (verb, cache, way, delay_ms);
        match self.trips.iter_mut().find(same) {
            Some(trip) => trip.seconds.0.push(took),
            None => self.trips.push(Trip {
                verb,
                cache,
                way,
                delay_ms,
                seconds: Sample(vec![took]),
            }),
        }
    }

    /// Adds what became of the targets.
    pub(crate) fn targets(&mut self, targets: Vec<Target>) {
        self.targets = targets;
    }

    /// All of it for a program.
    pub(crate) fn json(&self) -> serde_json::Value {
        json!({
            "machine": self.machine,
            "tools": self.tools,
            "rounds": self.rounds,
            "quick": self.quick,
            "recording": self.recording,
            "packages": self.packages,
            "hits": self.hits,
            "peak_memory": self.peaks,
            "handshakes": self.handshakes,
            "tokens": self.tokens,
            "rules": self.rules,
            "advisories": self.advisories,
            "cargo": self.trips,
            "stampedes": self.stampedes,
            "idle": self.idle,
            "bucket": self.buckets,
            "targets": self.targets,
        })
    }

    /// All of it for a reader.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## Benchmark\n\n{}.\n", self.machine);
        let rounds = match (self.rounds, self.quick) {
            (1, _) => "One round".to_owned(),
            (n, _) => format!("Medians of {n} rounds (± half the distance between the extremes)"),
        };
        let quick = if self.quick { ", the quick form" } else { "" };
        let _ = writeln!(
            text,
            "{rounds}{quick}. {}. {}.",
            self.tools.join("; "),
            self.recording
        );
        for protocol in Protocol::ALL {
            self.hits_over(protocol, &mut text);
        }
        self.peaks(&mut text);
        self.handshakes(&mut text);
        self.tokens(&mut text);
        self.rules(&mut text);
        self.cargo(&mut text);
        self.stampedes(&mut text);
        self.idle(&mut text);
        self.buckets(&mut text);
        self.judged(&mut text);
        text
    }

    fn hits_over(&self, protocol: Protocol, text: &mut String) {
        let hits: Vec<_> = self
            .hits
            .iter()
            .filter(|hit| hit.protocol == protocol)
            .collect();
        if hits.is_empty() {
            return;
        }
        let name = protocol.name();
        let _ = writeln!(
            text,
            "\n### Hits over {name}\n\nRequests a second, the server's own CPU time a request, the time within which 99 of 100 answers came."
        );
        let mut header = "| |".to_owned();
        for server in Server::ALL {
            let _ = write!(header, " {} |", server.name());
        }
        let _ = writeln!(
            text,
            "\n{header} mirror to proxy_cache, requests / CPU | mirror to bare hyper |"
        );
        let _ = writeln!(text, "|---|{}", "---|".repeat(Server::ALL.len() + 2));
        for hit in hits {
            let cells: Vec<_> = Server::ALL
                .iter()
                .map(|s| hit.cell(*s).map_or("".into(), cell))
                .collect();
            let ratios = [Server::ProxyCache, Server::Floor].map(|other| ratio(hit, other));
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                hit.row,
                cells.join(" | "),
                ratios.join(" | ")
            );
        }
    }

    fn peaks(&self, text: &mut String) {
        let one = |peak: &Peak| format!("{} {}", peak.server, megabytes(peak.bytes as f64));
        let all: Vec<_> = self.peaks.iter().map(one).collect();
        if !all.is_empty() {
            let _ = writeln!(
                text,
                "\nMost memory resident during this: {} (nginx's answers are in the page cache besides).",
                all.join("; ")
            );
        }
    }

    fn handshakes(&self, text: &mut String) {
        if self.handshakes.is_empty() {
            return;
        }
        text.push_str(
            "\n### Handshakes\n\nConnections a second, each with its handshake, one 2 KB index file and its end, and the server's own CPU time for one.\n\n\
             | | mirror | nginx | mirror to nginx, connections / CPU |\n|---|---|---|---|\n",
        );
        for handshakes in &self.handshakes {
            let cells = handshakes.cells.iter().map(|cell| {
                let rate = &cell.per_second;
                format!(
                    "{}/s{}, {} | ",
                    grouped(rate.median()),
                    spread(rate),
                    time(cell.cpu_us.median())
                )
            });
            let ratios = handshakes.ratios().map_or(String::new(), |(rate, cpu)| {
                format!("{:.2} / {:.2}", rate.median(), cpu.median())
            });
            let cells = cells.collect::<String>();
            let _ = writeln!(text, "| {} | {cells}{ratios} |", handshakes.what);
        }
    }

    fn tokens(&self, text: &mut String) {
        if self.tokens.is_empty() {
            return;
        }
        text.push_str(
            "\n### What a token costs\n\nThe mirror's own CPU time for a 2 KB index file, in turns. The noise is by how much two turns without a token differ.\n\n\
             | | without | with | more | noise |\n|---|---|---|---|---|\n",
        );
        for cost in &self.tokens {
            let _ = writeln!(
                text,
                "| {} | {:.2} µs | {:.2} µs | {:.2} µs | {:.2} µs |",
                cost.what.trim_start_matches("tokens: "),
                cost.open.median(),
                cost.token.median(),
                cost.more().median(),
                cost.noise().median()
            );
        }
    }

    fn rules(&self, text: &mut String) {
        if self.rules.is_empty() {
            return;
        }
        let _ = write!(
            text,
            "\n### What rules cost\n\nThe mirror's own CPU time for a hit, in turns: without rules, and with 100 rules, {} and a cooldown. The noise is by how much two turns without rules differ.\n\n\
             | | without | with | more | noise |\n|---|---|---|---|---|\n",
            self.advisories
        );
        for cost in &self.rules {
            let _ = writeln!(
                text,
                "| {} | {:.2} µs | {:.2} µs | {:.1} % | {:.1} % |",
                cost.what.trim_start_matches("rules: "),
                cost.without.median(),
                cost.with.median(),
                cost.more().median(),
                cost.noise().median()
            );
        }
    }

    fn cargo(&self, text: &mut String) {
        if self.trips.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "\n### Real cargo, {} packages, an empty CARGO_HOME\n\nSeconds. The origin speaks HTTP/1.1 to the mirror and to nginx, and HTTP/2 to cargo, all without TLS.\n",
            self.packages
        );
        let mut delays: Vec<u64> = self.trips.iter().map(|trip| trip.delay_ms).collect();
        delays.sort_unstable();
        delays.dedup();
        let heads: Vec<_> = delays
            .iter()
            .map(|ms| format!(" origin at {ms} ms |"))
            .collect();
        let _ = writeln!(text, "| | through |{}", heads.concat());
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(delays.len()));
        let mut seen = Vec::new();
        for trip in &self.trips {
            let line = (trip.verb, trip.cache, trip.way);
            if seen.contains(&line) {
                continue;
            }
            seen.push(line);
            let cache = match (trip.way, trip.cache) {
                (Way::Direct, _) => "",
                (_, Cache::Cold) => ", cold",
                (_, Cache::Warm) => ", warm",
                (_, Cache::WarmAfar) => ", warm, 10 ms away",
            };
            let times = delays.iter().map(|ms| {
                let found = self.seconds(trip.verb, trip.cache, trip.way, *ms);
                found.map_or(" |".into(), |s| {
                    format!(" {:.2}{} |", s.median(), spread(s))
                })
            });
            let _ = writeln!(
                text,
                "| {}{cache} | {} |{}",
                trip.verb.command(),
                trip.way.name(),
                times.collect::<String>()
            );
        }
    }

    /// How long cargo took for something.
    pub(crate) fn seconds(&self, verb: Verb, cache: Cache, way: Way, ms: u64) -> Option<&Sample> {
        let wanted = (verb, cache, way, ms);
        let mut trips = self.trips.iter();
        let found = trips.find(|t| (t.verb, t.cache, t.way, t.delay_ms) == wanted);
        found.map(|trip| &trip.seconds)
    }

    /// The measured delay of the origin that is nearest to this one.
    pub(crate) fn nearest_delay(&self, ms: u64) -> Option<u64> {
        let delays = self.trips.iter().map(|trip| trip.delay_ms);
        delays.min_by_key(|delay| delay.abs_diff(ms))
    }

    fn stampedes(&self, text: &mut String) {
        if self.stampedes.is_empty() {
            return;
        }
        text.push_str(
            "\n### Stampede, cold, origin at 80 ms\n\nTime until the last client has its last byte; the bytes' own time is what as many clients take at bare hyper, which has the bytes in memory.\n\n\
             | | at | a lone client | the last of all | the bytes' own time | last / (lone + own) | upstream requests for one thing, at most | in all | failed |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for s in &self.stampedes {
            let [lone, last, own] = [&s.lone, &s.last, &s.bytes_own]
                .map(|t| format!("{}{}", time(t.median() * 1e6), spread(t)));
            let _ = writeln!(
                text,
                "| {} clients, {} | {} | {lone} | {last} | {own} | {:.2} | {} | {} for {} | {} |",
                s.clients,
                s.what,
                s.server.name(),
                s.against_lone().median(),
                s.upstream_for_one,
                s.upstream,
                s.things,
                s.failed
            );
        }
    }

    fn buckets(&self, text: &mut String) {
        let Some(found) = &self.buckets else { return };
        let [cold, warm, origin] = [&found.cold_us, &found.warm_us, &found.origin_us]
            .map(|sample| format!("{}{}", time(sample.median()), spread(sample)));
        let _ = writeln!(
            text,
            "\n### A bucket 12 ms away, origin at 80 ms\n\nThe first byte of a crate at a new mirror: {cold} from the bucket, {warm} when the mirror has it in memory, {origin} from the origin (medians of {} crates).\n\n\
             {} clients at once, each with {} things (index files and crates) over HTTP/2, until the last has its last byte:\n\n| a new mirror, all of it in the bucket | the same mirror, all of it in memory | a new mirror without a bucket | crates asked of the origin beside the bucket | failed |\n|---|---|---|---|---|",
            found.cold_us.0.len(),
            found.clients,
            found.things,
        );
        let [bucket, memory, origin] = [
            &found.crowd_bucket,
            &found.crowd_memory,
            &found.crowd_origin,
        ]
        .map(|sample| format!("{}{}", time(sample.median() * 1e6), spread(sample)));
        let _ = writeln!(
            text,
            "| {bucket} | {memory} | {origin} | {} | {} |",
            found.upstream, found.failed
        );
    }

    fn idle(&self, text: &mut String) {
        let Some(idle) = &self.idle else { return };
        let _ = writeln!(
            text,
            "\n### A store with {} entries\n\nStart of the process to the end of its first answer from the store: {}{}. Resident then: {}; the most with the first look through the store: {}.",
            grouped(idle.entries as f64),
            time(idle.first_answer_ms.median() * 1e3),
            spread(&idle.first_answer_ms),
            megabytes(idle.memory.median()),
            megabytes(idle.peak_memory.median())
        );
    }

    fn judged(&self, text: &mut String) {
        text.push_str("\n### Targets\n\n| what | at least | measured | |\n|---|---|---|---|\n");
        for target in &self.targets {
            let met = match target.met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "not measured",
            };
            let Target {
                what, wanted, got, ..
            } = target;
            let _ = writeln!(text, "| {what} | {wanted} | {got} | {met} |");
        }
    }
}

fn cell(cell: &Cell) -> String {
    let rate = &cell.requests_per_second;
    let mut text = format!(
        "{}/s{}, {}",
        grouped(rate.median()),
        spread(rate),
        time(cell.cpu_us.median())
    );
    if !cell.p99_us.is_empty() {
        let _ = write!(text, ", {}", time(cell.p99_us.median()));
    }
    text
}

fn ratio(hit: &Hit, other: Server) -> String {
    let ratios = hit.ratios(other);
    ratios.map_or(String::new(), |(rate, cpu)| {
        format!("{:.2} / {:.2}", rate.median(), cpu.median())
    })
}

fn spread(sample: &Sample) -> String {
    match sample.0.len() {
        0 | 1 => String::new(),
        _ => format!(" ±{:.0} %", sample.spread()),
    }
}
