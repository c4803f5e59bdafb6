//! Defaults, then mirror.toml, then the environment, then flags; and mirror.toml as it is checked in says what the defaults are.

use std::collections::{BTreeMap, BTreeSet};

use crate_mirror::config::{self, DOCUMENTED};

use crate::support::{Program, Upstream, client};

/// Which store `check` finds with these.
async fn store_with(toml: &str, env: &[&str], flags: &[&str]) -> String {
    let upstream = Upstream::with_one_crate().await;
    let registry = format!(
        "[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let mut program = Program::new(&["check"]).settings(&format!("{registry}{toml}"));
    for value in env {
        program = program.env("CRATE_MIRROR_STORE__PATH", value);
    }
    for flag in flags {
        program = program.arg(flag);
    }
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let store = ended
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("ok      store "));
    let store = store.expect("a line about the store").to_owned();
    assert!(ended.folder.path().join(&store).is_dir(), "{store} is made");
    store
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "[store]\npath = \"by-file\"\n";
    let flags = ["--store", "by-flag"];
    assert_eq!(store_with("", &[], &[]).await, "cache");
    assert_eq!(store_with(file, &[], &[]).await, "by-file");
    assert_eq!(store_with(file, &["by-variable"], &[]).await, "by-variable");
    assert_eq!(store_with(file, &["by-variable"], &flags).await, "by-flag");
    assert_eq!(store_with(file, &[], &flags).await, "by-flag");
    assert_eq!(store_with("", &["by-variable"], &[]).await, "by-variable");
}

/// `2026` used to be read as a number, and refused as a path.
#[tokio::test]
async fn a_folder_in_the_environment_may_be_called_anything() {
    for name in ["2026", "1.50", "true", "[a]", "{a}", "\"a\"", " b"] {
        assert_eq!(store_with("", &[name], &[]).await, name);
    }
}

#[tokio::test]
async fn the_address_to_listen_on_follows_the_same_order() {
    let upstream = Upstream::with_one_crate().await;
    // An address that can't be listened on: if it counted, the mirror wouldn't start.
    let wrong = "192.0.2.1:1";
    let toml = format!(
        "[server]\nlisten = \"{wrong}\"\n[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let serve = || Program::new(&["serve"]).settings(&toml);
    for program in [
        serve().env("CRATE_MIRROR_SERVER__LISTEN", "127.0.0.1:0"),
        serve()
            .env("CRATE_MIRROR_SERVER__LISTEN", wrong)
            .arg("--listen=127.0.0.1:0"),
    ] {
        let process = program.start().await;
        let reply = client::get(process.addr(), "/index/1/a", &[]).await;
        assert_eq!(reply.text(), upstream.index_file("a"));
    }
}

#[tokio::test]
async fn the_environment_reaches_every_section() {
    let upstream = Upstream::with_one_crate().await;
    let process = Program::new(&["serve", "--listen", "127.0.0.1:0"])
        .env(
            "CRATE_MIRROR_REGISTRIES__CRATES-IO__INDEX",
            &upstream.index_url(),
        )
        .env("CRATE_MIRROR_SERVER__PUBLIC_URL", "https://public.example/")
        .env("CRATE_MIRROR_UPSTREAM__RETRIES", "0")
        .env("CRATE_MIRROR_STORE__SYNC", "false")
        .env("CRATE_MIRROR_FRESHNESS__FRESH_FOR", "0s")
        .env("CRATE_MIRROR_TEST_SWITCH", "a test's own, and no setting")
        .start()
        .await;
    let snippet = "index = \"sparse+https://public.example/index/\"";
    assert!(process.stdout().contains(snippet), "{}", process.stdout());
}

#[tokio::test]
async fn a_named_file_is_read_in_place_of_the_usual_one() {
    let upstream = Upstream::with_one_crate().await;
    let good = format!(
        "[upstream]\nretries = 0\n[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let program = Program::new(&["--config", "other.toml", "check"]);
    let program = program.settings("not even TOML").file("other.toml", &good);
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// Keys that would contradict those shown before them, and the tables they are of.
const INSTEAD: [(&str, &str); 6] = [
    ("registries.internal.credential", "header"),
    ("registries.internal.credential", "env"),
    ("registries.internal.credential", "command"),
    ("registries.internal.credential", "ttl"),
    ("policy.rules", "cooldown"),
    ("policy.rules", "sha256"),
];

/// Whether a key would contradict others. `table` is a line that begins with a table's name in brackets.
fn contradicts(table: &str, key: &str) -> bool {
    let name = table.trim_start_matches('[');
    let name = name.split(']').next().unwrap_or_default();
    INSTEAD.contains(&(name, key))
}

/// What the comments of mirror.toml turn into when their `#` is removed; the examples too, if they are wanted.
fn uncommented(with_examples: bool) -> (String, usize) {
    let (mut toml, mut keys, mut in_example, mut section) = (String::new(), 0, false, "");
    for line in DOCUMENTED.lines() {
        let content = line.strip_prefix("# ").unwrap_or(line);
        let commented = content.len() < line.len();
        if content.starts_with('[') {
            in_example = commented;
            section = content;
        }
        let key = content.split_once(" = ").map(|(key, _)| key);
        let is_key = |key: &str| {
            key.bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        let is_setting = key.is_some_and(is_key) || content.starts_with('[');
        let has_no_default = [
            "public_url",
            "max_age",
            "lockfiles",
            "admin_listen",
            "address_file",
            "tokens",
            "help",
            "proxy",
            "ca_certificates",
            "contact",
            "bucket",
            "endpoint",
            "public_endpoint",
        ];
        let example = in_example
            || key.is_some_and(|key| has_no_default.contains(&key))
            || (matches!(section, "[audit]" | "[policy.advisories]") && key == Some("path"))
            || (section == "[policy]" && key == Some("file"))
            || section == "[tls]";
        let is_instead = key.is_some_and(|key| contradicts(section, key));
        if commented && is_setting && (with_examples || !example) && !is_instead {
            keys += 1;
            toml.push_str(content);
        } else {
            toml.push_str(line);
        }
        toml.push('\n');
    }
    (toml, keys)
}

#[test]
fn mirror_toml_as_it_is_checked_in_changes_nothing() {
    let checked_in = config::parse(DOCUMENTED).expect("valid settings");
    let defaults = config::parse("").expect("valid settings");
    assert_eq!(format!("{checked_in:#?}"), format!("{defaults:#?}"));
}

/// Whoever removes a `#` and changes nothing else expects that nothing changes.
#[test]
fn every_commented_key_of_mirror_toml_shows_its_default() {
    let (toml, keys) = uncommented(false);
    assert!(keys >= 14, "{keys} keys in {toml}");
    let shown = config::parse(&toml).expect("valid settings");
    let defaults = config::parse("").expect("valid settings");
    assert_eq!(format!("{shown:#?}"), format!("{defaults:#?}"));
}

#[test]
fn the_examples_of_mirror_toml_are_valid() {
    let (toml, _) = uncommented(true);
    let config = config::parse(&toml).expect("valid settings");
    assert!(config.server.public_url.is_some());
    assert!(config.store.max_age.is_some());
    let registries = config.registries.iter();
    let registries: Vec<_> = registries
        .map(|(name, r)| (name.as_str(), r.default))
        .collect();
    assert_eq!(registries, [("crates-io", true), ("internal", false)]);
}

/// The keys that are allowed in a section, as the message about an unknown one has them.
fn allowed(section: &str) -> BTreeSet<String> {
    let error = config::parse(&format!("{section}\nno_such_key = 1")).expect_err("unknown");
    let (_, allowed) = error
        .message()
        .split_once("allowed here: ")
        .expect("a list");
    allowed.split(", ").map(str::to_owned).collect()
}

#[test]
fn mirror_toml_shows_every_key_there_is() {
    let (toml, _) = uncommented(true);
    let mut shown = BTreeMap::<_, BTreeSet<String>>::new();
    let mut section = "";
    for line in toml.lines() {
        if let Some((name, _)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            let name = name.trim_start_matches('[');
            section = name;
            // A table within a section is a key of it: `access.jwt.NAME` of `access`, `registries.NAME.credential` of `registries.NAME`.
            let mut parts = name.split('.');
            let within = match (parts.next(), parts.next(), parts.next()) {
                (Some("registries"), Some(_), Some(inner)) => {
                    name.rsplit_once('.').map(|(outer, _)| (outer, inner))
                }
                (Some(outer), Some(inner), Some(_))
                | (Some(outer @ "policy"), Some(inner), None) => Some((outer, inner)),
                _ => None,
            };
            if let Some((outer, inner)) = within {
                shown.entry(outer).or_default().insert(inner.to_owned());
            }
        } else if let Some((key, _)) = line.strip_prefix("# ").and_then(|l| l.split_once(" = ")) {
            if contradicts(section, key) {
                shown.entry(section).or_default().insert(key.to_owned());
            }
        } else if let Some((key, _)) = line.split_once(" = ") {
            shown.entry(section).or_default().insert(key.to_owned());
        }
    }
    let top = shown.keys().filter_map(|name| name.split('.').next());
    let top: BTreeSet<_> = top.map(str::to_owned).collect();
    assert_eq!(top, allowed(""));
    shown.remove("registries.crates-io");
    for (section, keys) in shown {
        let table = match section {
            "policy.rules" => format!("[[{section}]]"),
            _ => format!("[{section}]"),
        };
        assert_eq!(keys, allowed(&table), "{table}");
    }
}

/// An example that the program refuses is worse than none.
#[test]
fn the_example_files_are_valid() {
    for (name, toml) in [
        ("minimal.toml", include_str!("../../examples/minimal.toml")),
        ("ci.toml", include_str!("../../examples/ci.toml")),
        ("airgap.toml", include_str!("../../examples/airgap.toml")),
        ("policy.toml", include_str!("../../examples/policy.toml")),
        ("fleet.toml", include_str!("../../examples/fleet.toml")),
        (
            "corporate.toml",
            include_str!("../../examples/corporate.toml"),
        ),
    ] {
        let parsed = config::parse(toml);
        assert!(parsed.is_ok(), "{name}: {}", parsed.expect_err("refused"));
    }
}
