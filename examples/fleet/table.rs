//! The tables that are printed.

use std::fmt::Write;

use crate::{
    Fleet, Options, cost,
    run::{Outcomes, Snapshot},
};

/// What happened from one snapshot to the next.
fn between<'a>(before: Option<&'a Snapshot>, after: &'a Snapshot) -> impl Fn(&str) -> f64 + 'a {
    move |name| {
        let at = |snapshot: &Snapshot| snapshot.get(name).copied().unwrap_or(0) as f64;
        at(after) - before.map_or(0.0, at)
    }
}

fn percent(part: f64, all: f64) -> String {
    format!("{:.1} %", 100.0 * part / all.max(1.0))
}

/// One row for each run and moment, in Markdown.
pub(crate) fn table(options: &Options, runs: &[Outcomes]) -> String {
    let mut text = String::from(
        "| mirrors | minute | index: memory / store / asked upstream | crates: memory / folder / bucket / upstream | upstream a minute: 304 / index files / crates | bucket a minute: GET and HEAD / in vain / PUT and LIST | its requests, dollars a day at that rate | MB of notes read a minute |\n|---|---|---|---|---|---|---|---|\n",
    );
    for run in runs {
        for minute in options.show.iter().copied().filter(|minute| *minute > 0) {
            let before = minute.checked_sub(2).and_then(|at| run.minutes.get(at));
            let Some(after) = run.minutes.get(minute - 1) else {
                continue;
            };
            row(&mut text, &run.fleet, minute, &between(before, after));
        }
    }
    text += "\n| mirrors | upstream index requests in the last minute | of these asked by another mirror within the minute before | what looking into the bucket first would cost a day |\n|---|---|---|---|\n";
    for run in runs {
        let Some((after, rest)) = run.minutes.split_last() else {
            continue;
        };
        look_first(&mut text, &run.fleet, &between(rest.last(), after));
    }
    text += "\n| mirrors | memory for what is cached, each | all in one process, peak | stored in the bucket | a month | waiting for the bucket in the end, and lost | late at most | processors | took |\n|---|---|---|---|---|---|---|---|---|\n";
    for run in runs {
        let end = |name: &str| run.minutes.last().map_or(0, |m| m[name]);
        let stored = end("bucket_stored") as f64;
        let _ = writeln!(
            text,
            "| {} | {:.0} MB of {} | {:.0} MB | {:.1} GB | ${:.2} | {} / {} | {:.1} s | {:.2} | {:.0} s |",
            &run.fleet,
            run.cached / 1e6,
            format_args!("{} MB", 268 / options.scale),
            run.resident as f64 / 1e6,
            stored / 1e9,
            cost::storage(stored),
            end("waiting"),
            end("lost"),
            run.late.as_secs_f64(),
            run.busy,
            run.took.as_secs_f64(),
        );
    }
    text
}

fn row(text: &mut String, mirrors: &Fleet, minute: usize, did: &impl Fn(&str) -> f64) {
    let asked = did("index_revalidated") + did("index_fetched");
    let index = did("index_memory") + did("index_stored") + asked + did("index_other");
    let from_bucket = did("bucket_crates_read");
    let folder = (did("crate_stored") - from_bucket).max(0.0);
    let crates =
        did("crate_memory") + did("crate_stored") + did("crate_fetched") + did("crate_other");
    let missed = did("bucket_crates_missed") + did("bucket_index_missed");
    let reads = from_bucket + did("bucket_index_read") + missed + did("bucket_other_reads");
    let writes =
        did("bucket_crates_written") + did("bucket_index_written") + did("bucket_other_writes");
    let _ = writeln!(
        text,
        "| {mirrors} | {minute} | {} / {} / {} | {} / {} / {} / {} | {:.0} / {:.0} / {:.0} | {reads:.0} / {missed:.0} / {writes:.0} | {:.2} | {:.1} |",
        percent(did("index_memory"), index),
        percent(did("index_stored"), index),
        percent(asked, index),
        percent(did("crate_memory"), crates),
        percent(folder, crates),
        percent(from_bucket, crates),
        percent(did("crate_fetched"), crates),
        did("upstream_not_modified"),
        did("upstream_index"),
        did("upstream_crates"),
        cost::requests(reads * 1_440.0, writes * 1_440.0),
        did("note_bytes") / 1e6,
    );
}

/// A mirror that looks into the bucket before it asks upstream reads a record whenever one is due, and whoever has asked upstream has to write down that he has.
fn look_first(text: &mut String, mirrors: &Fleet, did: &impl Fn(&str) -> f64) {
    let asked = did("index_revalidated") + did("index_fetched");
    let twice = did("index_asked_twice");
    let cost = cost::requests(asked * 1_440.0, (asked - twice) * 1_440.0);
    let _ = writeln!(
        text,
        "| {mirrors} | {asked:.0} | {twice:.0} ({}) | ${cost:.0} |",
        percent(twice, asked)
    );
}
