//! [`LiveLine`]: the one line below the log that `serve` keeps current on a terminal, and the summary that it shows.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{metrics::Counts, mirror::Mirror};

/// How often it is brought up to date.
const EVERY: Duration = Duration::from_secs(1);

/// A line on standard error that stays below what is logged. A clone is another handle on the same.
#[derive(Clone)]
pub struct LiveLine(ProgressBar);

impl LiveLine {
    /// One where somebody can see it: on a terminal.
    pub fn on_a_terminal() -> Option<Self> {
        io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // Ours is a template, so this never falls back.
            let style = ProgressStyle::with_template("{wide_msg}");
            Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
        })
    }

    /// Shows what `mirror` does, each second anew, for ever.
    pub(super) async fn follow(&self, mirror: &Mirror) {
        let mut before = mirror.metrics().counts();
        loop {
            tokio::time::sleep(EVERY).await;
            let counts = mirror.metrics().counts();
            self.0.set_message(summary(mirror, &counts, &before, EVERY));
            self.0.tick();
            before = counts;
        }
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Where log lines go when there is such a line: above it.
pub struct AboveLine(pub LiveLine);

impl Write for AboveLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a mirror has done, in a line: requests, hit rate, upstream. `before` is what was counted so long `ago`.
pub(super) fn summary(mirror: &Mirror, counts: &Counts, before: &Counts, ago: Duration) -> String {
    let failing: Vec<_> = mirror
        .circuits()
        .filter(|(_, of)| of.is_open())
        .map(|(_, of)| of.host)
        .collect();
    let rate = counts.since(before).answered as f64 / ago.as_secs_f64();
    let connections = mirror.metrics().connections.get();
    sentence(counts, rate, connections, &failing)
}

fn sentence(counts: &Counts, rate: f64, connections: i64, failing: &[String]) -> String {
    let hits = counts.hit_rate().map_or_else(
        || "no hits yet".to_owned(),
        |rate| format!("{:.0} % hits", rate * 100.0),
    );
    let upstream = match failing {
        [] => "upstream is well".to_owned(),
        hosts => format!("failing: {}", hosts.join(", ")),
    };
    format!(
        "{} requests, {rate:.0} a second, {hits}, {connections} connections, {upstream}",
        counts.answered
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_requests_hits_and_upstream() {
        let counts = Counts {
            answered: 200,
            hits: 150,
            ..Counts::default()
        };
        assert_eq!(
            sentence(&counts, 3.2, 2, &[]),
            "200 requests, 3 a second, 75 % hits, 2 connections, upstream is well"
        );
        assert_eq!(
            sentence(&Counts::default(), 0.0, 0, &["a.example".to_owned()]),
            "0 requests, 0 a second, no hits yet, 0 connections, failing: a.example"
        );
    }
}
