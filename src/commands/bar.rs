//! The progress bar: on a terminal what is done and how long the rest takes, nothing elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const KNOWN: &str =
    "{bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
const UNKNOWN: &str = "{spinner} {msg} {binary_bytes}  {binary_bytes_per_sec}";

/// A bar for so many bytes, on standard error.
pub(super) fn of(bytes: u64) -> ProgressBar {
    let bar = hidden_elsewhere(Some(bytes));
    know(&bar, bytes);
    bar
}

/// A bar for bytes that nobody has counted yet; [`know`] tells it.
pub(super) fn unknown(doing: &'static str) -> ProgressBar {
    let bar = hidden_elsewhere(None);
    if let Ok(style) = ProgressStyle::with_template(UNKNOWN) {
        bar.set_style(style);
    }
    bar.set_message(doing);
    bar
}

/// Begins anew, with so many bytes to do.
pub(super) fn know(bar: &ProgressBar, bytes: u64) {
    bar.reset();
    bar.set_length(bytes);
    if let Ok(style) = ProgressStyle::with_template(KNOWN) {
        bar.set_style(style);
    }
}

fn hidden_elsewhere(bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
