//! What parses as a name is one: it prints back the same, and nothing made of it leads out of the store or to another's place in it.

use std::path::{Component, Path};

use bytes::Bytes;
use crate_mirror::domain::{
    CrateId, CrateKey, CrateName, CrateVersion, IndexFile, IndexKey, IndexPath, RegistryName,
    Sha256,
};
use proptest::prelude::*;
use proptest::string::string_regex;

use crate::support::{Package, index_path};

/// Names as they are, names as they nearly are, and anything.
fn crate_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-zA-Z0-9_-]{0,63}",
        "[a-zA-Z][a-zA-Z0-9_-]{60,70}",
        "[a-zA-Z0-9_./\\\\%:~ -]{0,6}",
        any::<String>(),
    ]
}

/// Cargo's paths, and what is nearly one of them.
fn path() -> impl Strategy<Value = String> {
    let of_a_name = "[a-z][a-z0-9_-]{0,9}".prop_map(|name| index_path(&name));
    let changed = (
        of_a_name.clone(),
        any::<prop::sample::Index>(),
        "[A-Za-z0-9/_.-]",
    );
    let changed = changed.prop_map(|(path, at, other)| {
        let at = at.index(path.len());
        path[..at].to_owned() + &other + &path[at + 1..]
    });
    prop_oneof![of_a_name, changed, "[a-zA-Z0-9/_.-]{0,12}"]
}

fn version() -> impl Strategy<Value = String> {
    const GOOD: &str = "(0|[1-9][0-9]{0,5})\\.(0|[1-9][0-9]{0,5})\\.(0|[1-9][0-9]{0,5})(-[a-z][a-zA-Z0-9.-]{0,8}[a-z])?";
    let good_and = |rest: &str| string_regex(&format!("{GOOD}{rest}")).expect("a regex");
    prop_oneof![
        GOOD,
        good_and("\\+[a-zA-Z0-9-]{1,20}"),
        good_and("\\+[a-zA-Z0-9-]{130,160}"),
        "[0-9]\\.[0-9]\\.[0-9][a-zA-Z0-9_./\\\\%:~ +-]{0,6}",
        any::<String>(),
    ]
}

fn registry_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9_-]{0,34}",
        "[a-zA-Z0-9_./ -]{0,6}",
        any::<String>()
    ]
}

/// Few names and many spellings, so that pairs meet.
fn key_parts() -> impl Strategy<Value = (String, String, String, u8)> {
    let registry = "[ab]{1,2}";
    let name = "[aA][aA_-]{0,4}";
    let version = "[01]\\.0\\.0(-[aA])?(\\+[aA])?";
    (registry, name, version, 0_u8..2)
}

fn crate_key((registry, name, version, content): &(String, String, String, u8)) -> CrateKey {
    CrateKey {
        registry: RegistryName::parse(registry).expect("valid"),
        id: CrateId::parse(name, version).expect("valid"),
        sha256: Sha256::of(&[*content]),
    }
}

fn index_key((registry, name, ..): &(String, String, String, u8)) -> IndexKey {
    let registry = RegistryName::parse(registry).expect("valid");
    IndexKey::new(registry, CrateName::parse(name).expect("valid"))
}

/// A path of plain segments below `root`, on every file system there is.
fn assert_safe(path: &str, root: &str) {
    assert!(path.starts_with(root), "{path} is not below {root}");
    let parsed = Path::new(path);
    assert!(parsed.is_relative(), "{path}");
    let plain = |part| matches!(part, Component::Normal(_));
    assert!(parsed.components().all(plain), "{path}");
    let lower = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
    assert!(lower, "{path}");
    for segment in path.split('/') {
        assert!((1..=255).contains(&segment.len()), "{path}");
        assert!(!segment.starts_with('.'), "{path}");
        assert!(
            !segment.contains(['\\', ':', '*', '?', '"', '<', '>', '|', '%']),
            "{path}"
        );
    }
}

proptest! {
    #[test]
    fn a_crate_name_that_parses_prints_back_the_same(text in crate_name()) {
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
        let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let expected = first && rest && text.len() <= 64;
        let parsed = CrateName::parse(&text);
        prop_assert_eq!(parsed.is_ok(), expected, "{:?}", text);
        if let Ok(name) = parsed {
            prop_assert_eq!(name.to_string(), &*text);
            prop_assert_eq!(name.as_str(), &*text);
            prop_assert_eq!(name.to_lowercase().to_string(), text.to_lowercase());
            for variant in name.separator_variants() {
                prop_assert!(variant != name && variant.is_same_crate(&name));
            }
        }
    }

    #[test]
    fn a_version_that_parses_prints_back_the_same(text in version()) {
        let expected = semver::Version::parse(&text).is_ok() && text.len() <= 150;
        let parsed = CrateVersion::parse(&text);
        prop_assert_eq!(parsed.is_ok(), expected, "{:?}", text);
        if let Ok(version) = parsed {
            prop_assert_eq!(version.to_string(), &*text);
            let id = CrateId::parse("serde", &text).expect("both are valid");
            prop_assert_eq!(id.to_string(), format!("serde {text}"));
        }
    }

    #[test]
    fn a_registry_name_that_parses_prints_back_the_same(text in registry_name()) {
        let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let expected = first && text.chars().all(legal) && text.len() <= 32;
        let parsed = RegistryName::parse(&text);
        prop_assert_eq!(parsed.is_ok(), expected, "{:?}", text);
        if let Ok(name) = parsed {
            prop_assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn a_checksum_that_parses_prints_back_in_lower_case(
        text in prop_oneof![
            "[0-9a-fA-F]{64}",
            "[0-9a-gA-G]{62,66}",
            "[0-9a-f]{62}é",
            any::<String>(),
        ],
    ) {
        let expected = text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        let parsed = Sha256::parse(&text);
        prop_assert_eq!(parsed.is_ok(), expected, "{:?}", text);
        if let Ok(sha256) = parsed {
            prop_assert_eq!(sha256.to_string(), text.to_lowercase());
        }
    }

    /// One file, one path: cargo's layout and no other spelling of it.
    #[test]
    fn an_index_path_is_the_one_that_cargo_makes_of_the_name(
        text in crate_name(), other in path(),
    ) {
        if let Ok(name) = CrateName::parse(&text) {
            let path = IndexPath::of(name).to_string();
            prop_assert_eq!(&path, &index_path(&text));
            let parsed = IndexPath::parse(&path).expect("its own path");
            prop_assert_eq!(parsed.name().to_string(), text.to_lowercase());
        }
        for path in [text, other] {
            if let Ok(parsed) = IndexPath::parse(&path) {
                prop_assert_eq!(parsed.to_string(), &*path);
                prop_assert_eq!(index_path(parsed.name().as_str()), path);
            }
        }
    }

    #[test]
    fn nothing_that_parses_leads_out_of_the_store(
        registry in registry_name(), name in crate_name(), version in version(), content: [u8; 8],
    ) {
        let Ok(registry) = RegistryName::parse(&registry) else { return Ok(()) };
        if let Ok(name) = CrateName::parse(&name) {
            let path = IndexKey::new(registry, name).path();
            assert_safe(&path, &format!("{registry}/index/"));
        }
        if let Ok(id) = CrateId::parse(&name, &version) {
            let sha256 = Sha256::of(&content);
            let path = CrateKey { registry, id, sha256 }.path();
            assert_safe(&path, &format!("{registry}/crates/"));
        }
    }

    /// Two objects in one place would be served for each other.
    #[test]
    fn two_keys_share_a_path_only_if_they_are_equal_but_for_case(
        one in key_parts(), other in key_parts(),
    ) {
        let lower = |text: &str| text.to_lowercase();
        let same_crate = one.0 == other.0 && lower(&one.1) == lower(&other.1);
        prop_assert_eq!(index_key(&one).path() == index_key(&other).path(), same_crate);
        let same_file = same_crate && lower(&one.2) == lower(&other.2) && one.3 == other.3;
        prop_assert_eq!(crate_key(&one).path() == crate_key(&other).path(), same_file);
        prop_assert_ne!(index_key(&one).path(), crate_key(&other).path());
    }
}

/// The longest names there are still fit into what file systems allow.
#[test]
fn the_longest_names_fit_into_a_file_name() {
    let name = "a".repeat(CrateName::MAX_LEN);
    let version = format!("1.0.0+{}", "b".repeat(CrateVersion::MAX_LEN - 6));
    let registry = RegistryName::parse(&"r".repeat(RegistryName::MAX_LEN)).expect("valid");
    let id = CrateId::parse(&name, &version).expect("valid");
    let sha256 = Sha256::of(b"");
    assert_safe(
        &CrateKey {
            registry,
            id,
            sha256,
        }
        .path(),
        registry.as_str(),
    );
    assert_safe(&IndexKey::new(registry, id.name).path(), registry.as_str());
}

/// An index file with some of its bytes changed, which gets further than noise.
fn nearly_an_index_file() -> impl Strategy<Value = Vec<u8>> {
    let line = |version| Package::new("Abcd", version).index_line() + "\n";
    let whole = ["1.0.0", "1.0.1", "2.0.0-rc.1+b"]
        .map(line)
        .concat()
        .into_bytes();
    let length = whole.len();
    let changes = proptest::collection::vec((0..length, any::<u8>()), 0..4);
    (changes, 0..=length).prop_map(move |(changes, cut)| {
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(if cut % 2 == 0 { cut } else { length });
        bytes
    })
}

proptest! {
    #[test]
    fn an_index_file_is_understood_or_refused_and_never_altered(
        bytes in prop_oneof![
            any::<Vec<u8>>(),
            nearly_an_index_file(),
            any::<String>().prop_map(String::into_bytes),
        ],
    ) {
        let path = IndexPath::parse("ab/cd/abcd").expect("a path");
        let parsed = IndexFile::parse(path, Bytes::from(bytes.clone()));
        let Ok(file) = parsed else { return Ok(()) };
        prop_assert_eq!(&file.body()[..], &bytes[..]);
        prop_assert_eq!(file.name().to_lowercase(), path.name());
        for version in file.versions() {
            let line = &bytes[version.line.clone()];
            prop_assert!(!line.contains(&b'\n'));
            let before = version.line.start.checked_sub(1).map(|at| bytes[at]);
            let after = bytes.get(version.line.end).copied();
            prop_assert!(matches!((before, after), (None | Some(b'\n'), None | Some(b'\n'))));
            let read: serde_json::Value = serde_json::from_slice(line).expect("a line of JSON");
            prop_assert_eq!(&read["vers"], version.version().as_str());
            let id = CrateId { name: file.name(), version: *version.version() };
            let found = file.find(&id).expect("what is listed is found");
            prop_assert_eq!(found.version(), version.version());
        }
    }
}
