//! Chaos: a minute of everything going wrong at once, and not one wrong byte.
//!
//! This is the short version; `cargo run --release --example chaos -- --seconds 600 --seed N` is the long one.

#[path = "chaos/engine/mod.rs"]
pub(crate) mod engine;

use std::{path::Path, time::Duration};

use engine::{Fleet, Plan};

/// One of those that found a complete wrong body within these seconds when there was a way to get one.
const SEED: u64 = 2;
/// Long enough for several lives of the mirror, one that evicts and one that is looked through with upstream down among them.
const SHORT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_byte_and_no_lost_entry_through_faults_and_kills() {
    let mirror = Path::new(env!("CARGO_BIN_EXE_crate-mirror")).to_owned();
    let report = engine::run(Plan {
        seed: SEED,
        length: SHORT,
        clients: 16,
        mirror,
        fleet: Fleet::Alone,
    })
    .await;
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(
        report.is_lively(),
        "this was no chaos, so it shows nothing: {report}"
    );
}

/// One store for three mirrors, with faults on the way to it and on the way to upstream, and every mirror killed every few seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_byte_and_nothing_lost_with_three_mirrors_over_one_bucket() {
    let mirror = Path::new(env!("CARGO_BIN_EXE_crate-mirror")).to_owned();
    let report = engine::run(Plan {
        seed: SEED,
        length: SHORT,
        clients: 16,
        mirror,
        fleet: Fleet::OverBucket(3),
    })
    .await;
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(
        report.is_lively(),
        "this was no chaos, so it shows nothing: {report}"
    );
}
