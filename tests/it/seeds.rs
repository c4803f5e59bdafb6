//! The fuzz targets' checks hold over their committed seeds, without cargo-fuzz.

use std::{
    fmt::Debug,
    fs,
    panic::{catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

#[allow(unreachable_pub)] // The fuzz targets use it as a library.
#[path = "../../fuzz/checks.rs"]
mod checks;

/// The seeds of a target, with their paths.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let paths = fs::read_dir(&folder).expect("a folder of seeds").flatten();
    let paths = paths.map(|entry| entry.path());
    let seeds: Vec<_> = paths
        .map(|path| (path.clone(), fs::read(path).expect("a seed")))
        .collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}

/// Runs a target's check over each of its seeds. A panic's message says which seed it was.
fn all_pass(target: &str, check: fn(&[u8])) {
    for (path, seed) in seeds(target) {
        println!("{}", path.display());
        check(&seed);
    }
}

/// Asserts that the check gets as far with these seeds as it should: one that gives up at once would pass as well.
fn all_get_to<T: PartialEq + Debug>(target: &str, expected: &[(&str, T)], reached: fn(&[u8]) -> T) {
    let seeds = seeds(target);
    for (name, expected) in expected {
        let seed = seeds.iter().find(|(path, _)| path.ends_with(name));
        let (_, seed) = seed.unwrap_or_else(|| panic!("no seed {name}"));
        assert_eq!(reached(seed), *expected, "{target}: {name}");
    }
}

/// Runs a target's check over so many seeds that are changed in a few places; `more` is what is written into them.
fn nearly_all_pass(
    target: &str,
    cases: u32,
    more: impl Strategy<Value = Vec<u8>>,
    check: fn(&[u8]),
) {
    let seeds: Vec<_> = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| (at, at, vec![byte])),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| (from, to, Vec::new())),
        (any::<Index>(), more).prop_map(|(at, more)| (at, at, more)),
    ];
    let changed = (select(seeds), vec(change, 1..5));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&changed, |(mut input, changes)| {
        for (from, to, more) in changes {
            let (from, to) = (from.index(input.len() + 1), to.index(input.len() + 1));
            input.splice(from.min(to)..from.max(to), more);
        }
        // Said here, because a server that has failed once may fail with every input that is tried after it.
        if let Err(failure) = catch_unwind(|| check(&input)) {
            eprintln!("failed with {}", input.escape_ascii());
            resume_unwind(failure);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn no_path_asked_for_leaves_the_store() {
    all_pass("router", checks::router);
}

#[test]
fn whatever_is_sent_to_git_upload_pack_is_understood_the_same_in_any_pieces() {
    all_pass("git_request", checks::git_request);
    let expected = [
        ("clone", Some((0, true))),
        ("fetch", Some((1, false))),
        ("fetch_done", Some((1, true))),
        ("shallow", Some((0, false))),
        ("version2", None),
        ("short", None),
        ("no_packet", None),
    ];
    all_get_to("git_request", &expected, |seed| {
        let request = checks::understood(&seed[1..], 1).ok()?;
        Some((request.haves.known.len(), request.done))
    });
    let words = select(vec![
        "0000",
        "0001",
        "0009done\n",
        "want ",
        "have ",
        "deepen 1",
        "0032have ",
    ]);
    let words = words.prop_map(|word| word.as_bytes().to_vec());
    nearly_all_pass("git_request", 300, words, checks::git_request);
}

#[test]
fn what_is_searched_for_is_bounded_and_written_the_same() {
    all_pass("query", checks::query);
}

#[test]
fn every_path_and_dl_understood_is_written_the_same() {
    all_pass("paths", checks::paths);
}

#[test]
fn what_can_be_read_from_the_store_can_be_stored_again() {
    all_pass("index_record", checks::index_record);
    all_get_to("index_record", &[("whole", true)], |seed| {
        checks::record_of(seed).is_some()
    });
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
fn toolchains_are_what_paths_and_manifests_say() {
    all_pass("toolchain", checks::toolchain);
    let words = [
        "hash = ",
        "\"",
        "[[",
        "\n[pkg.rustc.target.x]\n",
        "../",
        "\n",
    ];
    let more = select(words.map(|word| word.as_bytes().to_vec()).to_vec());
    nearly_all_pass("toolchain", 300, more, checks::toolchain);
}

#[test]
fn what_upstream_says_beside_its_bodies_is_understood_or_ignored() {
    all_pass("answer_headers", checks::answer_headers);
}

#[test]
fn only_what_is_good_gets_from_a_bundle_into_a_store() {
    all_pass("bundle", checks::bundle);
    let expected = [
        ("whole", 2),
        ("dated", 2),
        ("beyond_9999", 0),
        ("from_the_future", 0),
        ("swapped", 0),
        ("unlisted", 1),
        ("cut_off", 1),
    ];
    all_get_to("bundle", &expected, checks::stored_of);
}

#[test]
fn a_manifest_alone_stores_nothing() {
    all_pass("manifest", checks::manifest);
}

#[test]
fn an_advisory_is_read_or_said_to_be_none_and_is_of_one_mind() {
    all_pass("advisory", checks::advisory);
    let expected = [
        ("rustsec", 1),
        ("unmaintained", 1),
        ("withdrawn", 0),
        ("osv", 2),
        ("malicious_osv", 1),
        ("deep", 0),
    ];
    all_get_to("advisory", &expected, checks::advisories_in);
}

/// The same for what is nearly one of the seeds.
#[test]
fn what_is_nearly_an_advisory_is_read_or_said_to_be_none() {
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
    let words = word.prop_map(|word| word.as_bytes().to_vec());
    nearly_all_pass("advisory", 256, words, checks::advisory);
}

#[test]
fn what_carries_a_token_is_a_token_or_refused_and_never_logged() {
    all_pass("authorization", checks::authorization);
}

#[test]
fn a_web_token_is_accepted_only_as_it_was_signed() {
    all_pass("jwt", checks::jwt);
    let expected = [("right", 2), ("wrong", 0)];
    all_get_to("jwt", &expected, checks::accepted);
}

#[test]
fn whatever_rules_say_the_index_offers_what_the_download_hands_out() {
    all_pass("policy", checks::policy);
    let expected = [("cooldown", Some(2)), ("crate", Some(5))];
    all_get_to("policy", &expected, checks::decided);
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
    nearly_all_pass(
        "connection",
        300,
        vec(any::<u8>(), 1..30),
        checks::connection,
    );
}
