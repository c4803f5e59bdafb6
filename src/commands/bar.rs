//! The progress bar: on a terminal what is done and how long the rest takes, nothing elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const KNOWN: &str =
    "{wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
const UNKNOWN: &str = "{spinner} {msg} {binary_bytes}  {binary_bytes_per_sec}";

/// A bar for so many bytes, on standard error.
pub(super) fn of(bytes: u64) -> ProgressBar {
    hidden_elsewhere(Some(bytes), KNOWN)
}

/// A bar for bytes that nobody has counted yet; [`know`] tells it.
pub(super) fn unknown(doing: &'static str) -> ProgressBar {
    hidden_elsewhere(None, UNKNOWN).with_message(doing)
}

/// Begins anew, with so many bytes to do.
pub(super) fn know(bar: &ProgressBar, bytes: u64) {
    bar.reset();
    bar.set_length(bytes);
    bar.set_style(style(KNOWN));
}

fn hidden_elsewhere(bytes: Option<u64>, template: &str) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    // It draws itself from the first tick on, so that comes last.
    let bar = ProgressBar::with_draw_target(bytes, target).with_style(style(template));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Ours are templates, so this never falls back.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
