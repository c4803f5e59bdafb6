//! [`Shot`]: one server under load for a moment, by wrk over HTTP/1.1 and by h2load over HTTP/2.

use std::{path::Path, time::Duration};

use tokio::process::Command;

use crate::{Result, proc, servers::Protocol, tools::Bench};

/// The answers whose times are written down over HTTP/2 come from so many seconds.
const P99_WITHIN: f64 = 0.25;

/// What a moment of load came to.
pub(crate) struct Shot {
    pub(crate) requests_per_second: f64,
    /// The server's own CPU time a request, in microseconds.
    pub(crate) cpu_us: f64,
    /// The time within which 99 of 100 answers came, in microseconds, if the tool says.
    pub(crate) p99_us: Option<f64>,
}

/// Whom to load with what.
pub(crate) struct Aim<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) url: &'a str,
    /// `name: value` each.
    pub(crate) headers: &'a [String],
    /// Whose CPU time to count.
    pub(crate) pid: u32,
    /// The size of an answer: a few hundred large ones at once would measure memory.
    pub(crate) size: usize,
}

/// What a tool says.
struct Said {
    requests: f64,
    per_second: f64,
    failed: f64,
    p99_us: Option<f64>,
}

/// Loads a server for a moment; nothing if the tool for that protocol is missing.
pub(crate) async fn shoot(bench: &Bench, aim: &Aim<'_>) -> Result<Option<Shot>> {
    let Some(tool) = (match aim.protocol.is_http2() {
        false => &bench.wrk,
        true => &bench.h2load,
    }) else {
        return Ok(None);
    };
    let (connections, streams) = match aim.size {
        0..500_000 => (32, 32),
        _ => (8, 4),
    };
    let threads = bench.cores.load_threads();
    let clients = match aim.protocol.is_http2() {
        false => connections,
        true => (connections / 4).max(threads),
    };
    let command = || {
        let mut command = bench.load(tool);
        command.args(["-t", &threads.to_string(), "-c", &clients.to_string()]);
        for header in aim.headers {
            command.arg("-H").arg(header);
        }
        if aim.protocol.is_http2() {
            command.args(["-m", &streams.to_string()]);
        }
        command.kill_on_drop(true);
        command
    };
    let before = proc::cpu(aim.pid);
    let said = match aim.protocol.is_http2() {
        false => wrk(command(), aim.url, bench.shot()).await?,
        true => h2load(command(), aim.url, bench.shot()).await?,
    };
    let cpu = proc::cpu(aim.pid).saturating_sub(before);
    if said.failed > 0.0 || said.requests < 1.0 {
        let Said {
            failed, requests, ..
        } = said;
        return Err(format!(
            "{}: {failed} of {requests} requests failed",
            aim.url
        ));
    }
    let p99_us = match aim.protocol.is_http2() {
        false => said.p99_us,
        true => {
            let count = (said.per_second * P99_WITHIN).clamp(300.0, 20_000.0);
            p99(command(), aim.url, count, bench.folder.path()).await?
        }
    };
    Ok(Some(Shot {
        requests_per_second: said.per_second,
        cpu_us: cpu.as_secs_f64() * 1e6 / said.requests,
        p99_us,
    }))
}

async fn wrk(mut command: Command, url: &str, length: Duration) -> Result<Said> {
    // wrk counts whole seconds.
    let seconds = length.as_secs().max(1);
    let text = run(command
        .arg("-d")
        .arg(format!("{seconds}s"))
        .arg("--latency")
        .arg(url))
    .await?;
    let failed = number_after(&text, "Non-2xx or 3xx responses:").unwrap_or(0.0);
    let p99 = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("99%"));
    Ok(Said {
        requests: number_before(&text, " requests in ").unwrap_or(0.0),
        per_second: number_after(&text, "Requests/sec:").unwrap_or(0.0),
        failed,
        p99_us: p99.and_then(microseconds),
    })
}

async fn h2load(mut command: Command, url: &str, length: Duration) -> Result<Said> {
    let duration = format!("{}ms", length.as_millis());
    let text = run(command.args(["-D", &duration]).arg(url)).await?;
    let line = |start: &str| {
        text.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_default()
    };
    let (finished, totals, statuses) = (
        line("finished in"),
        line("requests:"),
        line("status codes:"),
    );
    let bad = [
        (totals, " failed"),
        (totals, " errored"),
        (statuses, " 4xx"),
        (statuses, " 5xx"),
    ];
    Ok(Said {
        requests: number_before(totals, " done").unwrap_or(0.0),
        per_second: number_before(finished, " req/s").unwrap_or(0.0),
        failed: bad
            .iter()
            .filter_map(|(line, label)| number_before(line, label))
            .sum(),
        p99_us: None,
    })
}

/// h2load knows percentiles only by writing a line for each request, one by one, which takes time of its own; so that is a run of its own.
async fn p99(mut command: Command, url: &str, count: f64, folder: &Path) -> Result<Option<f64>> {
    let log = folder.join("h2load.log");
    command
        .args(["-n", &format!("{count:.0}"), "--log-file"])
        .arg(&log);
    run(command.arg(url)).await?;
    let lines = std::fs::read_to_string(&log).map_err(|e| format!("h2load's log: {e}"))?;
    let _ = std::fs::remove_file(log);
    // When it was sent, the status, and how long the answer took in microseconds.
    let took = |line: &str| line.split('\t').nth(2)?.trim().parse::<f64>().ok();
    let mut times: Vec<f64> = lines.lines().filter_map(took).collect();
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() * 99 / 100).copied())
}

async fn run(command: &mut Command) -> Result<String> {
    let output = command.output().await;
    let output = output.map_err(|e| format!("{command:?} can't be run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!(
            "{command:?}: {}\n{text}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn number_after(text: &str, label: &str) -> Option<f64> {
    let rest = text.split_once(label)?.1.trim_start();
    rest.split_whitespace().next()?.parse().ok()
}

/// The number that stands right before `label`.
fn number_before(text: &str, label: &str) -> Option<f64> {
    let before = text.split_once(label)?.0;
    let start = before.rfind(|c: char| !c.is_ascii_digit() && c != '.')?;
    before[start + 1..].parse().ok()
}

/// wrk's `1.23ms`.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}
