//! The fuzz targets' checks hold over their committed seeds, without cargo-fuzz.

use std::{fs, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

#[allow(unreachable_pub)] // The fuzz targets use it as a library.
#[path = "../../fuzz/checks.rs"]
mod checks;

/// Runs a target's check over each of its seeds. A panic's message says which seed it was.
fn all_pass(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).expect("a folder of seeds").flatten() {
        println!("{}", entry.path().display());
        check(&fs::read(entry.path()).expect("a seed"));
        seeds += 1;
    }
    assert!(seeds > 0, "{} is empty", folder.display());
}

#[test]
fn no_path_asked_for_leaves_the_store() {
    all_pass("router", checks::router);
}

#[test]
fn every_path_and_dl_understood_is_written_the_same() {
    all_pass("paths", checks::paths);
}

#[test]
fn what_can_be_read_from_the_store_can_be_stored_again() {
    all_pass("index_record", checks::index_record);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/index_record");
    let seed = fs::read(folder.join("whole")).expect("a seed");
    assert!(checks::record_of(&seed).is_some(), "the check gets nowhere");
}

#[test]
fn every_listed_version_is_found_and_no_index_file_is_at_odds_with_itself() {
    all_pass("index_file", checks::index_file);
}

#[test]
fn an_upgrade_reads_the_same_however_it_is_cut() {
    all_pass("upgrade", checks::upgrade);
}

#[test]
fn headers_mean_what_the_rfc_has_them_mean() {
    all_pass("headers", checks::headers);
}

#[test]
fn nothing_decodes_to_more_than_was_allowed() {
    all_pass("gunzip", checks::gunzip);
}

#[test]
fn a_lockfile_is_read_the_same_in_the_words_of_another_version() {
    all_pass("lockfile", checks::lockfile);
}

#[test]
fn what_upstream_says_beside_its_bodies_is_understood_or_ignored() {
    all_pass("answer_headers", checks::answer_headers);
}

#[test]
fn only_what_is_good_gets_from_a_bundle_into_a_store() {
    all_pass("bundle", checks::bundle);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/bundle");
    for (seed, stored) in [
        ("whole", 2),
        ("dated", 2),
        ("beyond_9999", 0),
        ("from_the_future", 0),
        ("swapped", 0),
        ("unlisted", 1),
        ("cut_off", 1),
    ] {
        let seed = fs::read(folder.join(seed)).expect("a seed");
        assert_eq!(
            checks::stored_of(&seed),
            stored,
            "the check gets as far as it should"
        );
    }
}

#[test]
fn a_manifest_alone_stores_nothing() {
    all_pass("manifest", checks::manifest);
}

#[test]
fn an_advisory_is_read_or_said_to_be_none_and_is_of_one_mind() {
    all_pass("advisory", checks::advisory);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/advisory");
    for (seed, count) in [
        ("rustsec", 1),
        ("unmaintained", 1),
        ("withdrawn", 0),
        ("osv", 2),
        ("malicious_osv", 1),
        ("deep", 0),
    ] {
        let seed = fs::read(folder.join(seed)).expect("a seed");
        assert_eq!(
            checks::advisories_in(&seed),
            count,
            "the check gets as far as it should"
        );
    }
}

/// The same for what is nearly one of the seeds.
#[test]
fn what_is_nearly_an_advisory_is_read_or_said_to_be_none() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/advisory");
    let seeds = fs::read_dir(folder).expect("a folder of seeds").flatten();
    let seeds: Vec<_> = seeds
        .map(|seed| fs::read(seed.path()).expect("a seed"))
        .collect();
    let word = select(vec![
        "0",
        "9",
        "\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "-",
        "+",
        "/",
        ":",
        "\n",
        "null",
        " AND ",
        " WITH ",
        "(",
        ")",
        ">=",
        "^",
        "*",
        "18446744073709551615",
        "CVSS:4.0/",
        "\u{202e}",
    ]);
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| (at, at, vec![byte])),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| (from, to, Vec::new())),
        (any::<Index>(), word).prop_map(|(at, more)| (at, at, more.into())),
    ];
    let changed = (select(seeds), vec(change, 1..5));
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&changed, |(mut input, changes)| {
        for (from, to, more) in changes {
            let (from, to) = (from.index(input.len() + 1), to.index(input.len() + 1));
            input.splice(from.min(to)..from.max(to), more);
        }
        checks::advisory(&input);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_carries_a_token_is_a_token_or_refused_and_never_logged() {
    all_pass("authorization", checks::authorization);
}

#[test]
fn a_web_token_is_accepted_only_as_it_was_signed() {
    all_pass("jwt", checks::jwt);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/jwt");
    for (seed, accepted) in [("right", 2), ("wrong", 0)] {
        let seed = fs::read(folder.join(seed)).expect("a seed");
        assert_eq!(
            checks::accepted(&seed),
            accepted,
            "the check gets as far as it should"
        );
    }
}

#[test]
fn whatever_rules_say_the_index_offers_what_the_download_hands_out() {
    all_pass("policy", checks::policy);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/policy");
    for (seed, denied) in [("cooldown", 2), ("crate", 5)] {
        let seed = fs::read(folder.join(seed)).expect("a seed");
        assert_eq!(
            checks::decided(&seed),
            Some(denied),
            "the check gets as far as it should"
        );
    }
}

#[test]
fn whatever_a_client_shows_as_its_certificate_its_holder_can_be_logged() {
    all_pass("certificate", checks::certificate);
}

#[test]
fn whatever_comes_on_a_connection_it_ends_and_the_next_one_is_served() {
    all_pass("connection", checks::connection);
}

/// The same for changed seeds, as many as there is time for without a fuzzer.
#[test]
fn whatever_nearly_comes_on_a_connection_it_ends_and_the_next_one_is_served() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/connection");
    let seeds = fs::read_dir(folder).expect("a folder of seeds").flatten();
    let seeds: Vec<_> = seeds
        .map(|seed| fs::read(seed.path()).expect("a seed"))
        .collect();
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| (at, at, vec![byte])),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| (from, to, Vec::new())),
        (any::<Index>(), vec(any::<u8>(), 1..30)).prop_map(|(at, more)| (at, at, more)),
    ];
    let changed = (select(seeds), vec(change, 1..5));
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&changed, |(mut input, changes)| {
        for (from, to, more) in changes {
            let (from, to) = (from.index(input.len() + 1), to.index(input.len() + 1));
            input.splice(from.min(to)..from.max(to), more);
        }
        checks::connection(&input);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
