//! What is to be seen of a run while it goes on: a bar on a terminal, a line now and then elsewhere.
//!
//! indicatif's own rate and time left are those of what its bar counts. This bar counts files and tells the rate of bytes, and the lines where no bar is
//! drawn say the same.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::prefetch::RunProgress;

/// How often a bar moves.
const TICK: Duration = Duration::from_millis(200);
/// How often a line is said where no bar can be.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The show of a run; it ends when this is dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Bar {
    /// Shows `progress` on standard error.
    pub(super) fn of(progress: &Arc<RunProgress>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let (progress, started) = (progress.clone(), Instant::now());
        let task = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:40} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            tokio::spawn(draw(bar.clone(), progress, started))
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            tokio::spawn(speak(progress, started))
        };
        Self { bar, task }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn draw(bar: ProgressBar, progress: Arc<RunProgress>, started: Instant) {
    loop {
        tokio::time::sleep(TICK).await;
        let now = Snapshot::of(&progress, started);
        let (done, total) = now.bar();
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(now.words());
    }
}

async fn speak(progress: Arc<RunProgress>, started: Instant) {
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        let now = Snapshot::of(&progress, started);
        let line = format!("{}\n", now.words());
        // Whoever started it may have stopped reading.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// How far a run was at one moment.
struct Snapshot {
    total: u64,
    done: u64,
    bytes: u64,
    /// Of large files, how many bytes they have, and how many of these are done.
    expected: u64,
    passed: u64,
    elapsed: Duration,
}

impl Snapshot {
    fn of(progress: &RunProgress, started: Instant) -> Self {
        Self {
            total: progress.total.load(Ordering::Relaxed),
            done: progress.done.load(Ordering::Relaxed),
            bytes: progress.bytes.load(Ordering::Relaxed),
            expected: progress.expected.load(Ordering::Relaxed),
            passed: progress.passed.load(Ordering::Relaxed),
            elapsed: started.elapsed(),
        }
    }

    /// How far the bar is: of large files by their bytes, of others by their number.
    fn bar(&self) -> (u64, u64) {
        match self.expected {
            0 => (self.done, self.total),
            expected => (self.passed, expected),
        }
    }

    /// Counts, bytes, rate and time left.
    fn words(&self) -> String {
        if self.total == 0 {
            return "looking up what to fetch".to_owned();
        }
        let size = |bytes| ByteSize(bytes).display().iec();
        let rate = (self.bytes as f64 / self.elapsed.as_secs_f64().max(0.001)) as u64;
        let left = match self.left() {
            Some(left) => humantime::format_duration(left).to_string(),
            None => "?".to_owned(),
        };
        let (done, total) = (self.done, self.total);
        if self.expected > 0 {
            let (passed, expected) = (size(self.passed), size(self.expected));
            return format!(
                "{done} of {total}  {passed} of {expected}  {}/s  {left} left",
                size(rate)
            );
        }
        let (bytes, rate) = (size(self.bytes), size(rate));
        format!("{done} of {total}  {bytes}  {rate}/s  {left} left")
    }

    /// How long the rest takes if it goes on like this, in whole seconds.
    fn left(&self) -> Option<Duration> {
        let (done, total) = self.bar();
        let rest = total.saturating_sub(done) as f64;
        let seconds = self.elapsed.as_secs_f64() * rest / done as f64;
        let left = Duration::try_from_secs_f64(seconds).ok()?;
        Some(Duration::from_secs(left.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_known_once_something_is_done() {
        let state = |done, total| Snapshot {
            total,
            done,
            bytes: 3 << 20,
            expected: 0,
            passed: 0,
            elapsed: Duration::from_secs(6),
        };
        assert_eq!(
            state(2, 10).words(),
            "2 of 10  3.0 MiB  512.0 KiB/s  24s left"
        );
        assert_eq!(
            state(10, 10).words(),
            "10 of 10  3.0 MiB  512.0 KiB/s  0s left"
        );
        assert!(state(0, 10).words().ends_with("? left"));
        assert_eq!(state(0, 0).words(), "looking up what to fetch");
        let large = Snapshot {
            expected: 4 << 20,
            passed: 1 << 20,
            ..state(1, 2)
        };
        assert_eq!(
            large.words(),
            "1 of 2  1.0 MiB of 4.0 MiB  512.0 KiB/s  18s left"
        );
    }
}
