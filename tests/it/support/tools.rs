//! What not every machine has. A test that needs it is skipped aloud where it is missing; where `CI=true` promises that all is there, it fails.

use std::{env, process::Command};

/// Says that a test does nothing here, and why.
///
/// # Panics
/// Where the environment has `CI=true`: a test that is skipped there is skipped everywhere.
pub fn skip(why: &str) {
    skip_where(env::var("CI").is_ok_and(|value| value == "true"), why);
}

fn skip_where(all_is_there: bool, why: &str) {
    assert!(!all_is_there, "CI=true, and yet {why}: see .ci/run");
    eprintln!("skipped: {why}");
}

/// Whether this program is installed; a test that needs it returns if not.
pub fn has(program: &str, version: &str) -> bool {
    let runs = Command::new(program).arg(version).output().is_ok();
    if !runs {
        skip(&format!("`{program}` is not installed"));
    }
    runs
}

#[test]
fn what_is_skipped_elsewhere_fails_where_everything_is_installed() {
    skip_where(false, "this is only a try");
    std::panic::catch_unwind(|| skip_where(true, "this is only a try")).expect_err("a failure");
}
