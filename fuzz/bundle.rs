//! The checks of what reads bundles.

use std::{
    io::Cursor,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    bundle::{self, Imported, Observer},
    domain::{Key, Sha256, Validators},
    metrics::Metrics,
    mirror::Rendition,
    store::{Object, Store, StoreRecord},
};

/// A bundle is taken or refused, and what gets into the store is good either way.
///
/// The input is sections, separated by lines of `--`: the manifest, and then members, each with its path on the first line. In the manifest `@sha256:N`,
/// `@size:N` and `@body:N` stand for what is true of the N-th member, and `@record` as a member's second line for the header of an index record of its
/// rest, because no fuzzer guesses a checksum; behind it may stand when that was fetched and when it was confirmed, in milliseconds since 1970. A member without a line feed is empty.
pub fn bundle(input: &[u8]) {
    stored_of(input);
    // As it is: neither is likely to get far.
    import(input, false);
    import(input, true);
}

/// How many objects are stored of a bundle that is written in sections.
pub fn stored_of(input: &[u8]) -> u64 {
    let mut sections = split(input, b"\n--\n").into_iter();
    let manifest = sections.next().unwrap_or_default();
    let members: Vec<(&[u8], Vec<u8>)> = sections.map(member).collect();
    let mut manifest = String::from_utf8_lossy(manifest).into_owned();
    for (number, (_, bytes)) in members.iter().enumerate() {
        let body = super::part(bytes, b"\n").1;
        for (name, value) in [
            ("sha256", Sha256::of(bytes).to_string()),
            ("body", Sha256::of(body).to_string()),
            ("size", bytes.len().to_string()),
        ] {
            manifest = manifest.replace(&format!("@{name}:{number}"), &value);
        }
    }
    let mut archive = Vec::new();
    add(&mut archive, b"manifest.json", manifest.as_bytes());
    for (path, bytes) in &members {
        add(&mut archive, path, bytes);
    }
    import(&archive, false)
}

/// A manifest is read or refused; without what it promises nothing is stored.
pub fn manifest(input: &[u8]) {
    let mut archive = Vec::new();
    add(&mut archive, b"manifest.json", input);
    assert_eq!(import(&archive, false), 0);
}

/// When everything happens.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// Imports it into an empty store and returns how many objects were stored.
fn import(bytes: &[u8], compressed: bool) -> u64 {
    let store = Store::in_memory(Arc::new(Metrics::new()));
    let observer = Observer {
        total: &|_| {},
        bytes: &|_| {},
        say: &|_| {},
        is_over: &|| false,
    };
    let mut done = Imported::default();
    let source = Cursor::new(bytes);
    let imported = match compressed {
        true => bundle::import(source, None, &store, now(), &observer, &mut done),
        false => bundle::import_archive(source, None, &store, now(), &observer, &mut done),
    };
    if let Err(e) = &imported {
        assert!(
            !e.message().is_empty() && !e.message().ends_with('.'),
            "{e}"
        );
    }
    let mut stored = 0;
    let shown = store.holdings(|holding| {
        for object in holding.record.iter().chain(&holding.crates) {
            assert_good(&store, object);
            stored += 1;
        }
        assert!(holding.record.is_some(), "a crate without an index");
        Ok(())
    });
    shown.expect("memory");
    assert_eq!(stored, done.written);
    stored
}

fn assert_good(store: &Store, object: &Object) {
    let path = object.key.path();
    let opened = store.open_object(&object.key).expect("memory");
    let (mut file, size) = opened.expect("it was there");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).expect("memory");
    assert_eq!((size, size), (object.size, bytes.len() as u64));
    match object.key {
        Key::File(key) => assert_eq!(Sha256::of(&bytes), key.sha256(), "{path}"),
        Key::Record(key) => {
            let record = StoreRecord::decode(bytes.into()).expect("a record");
            record.clone().fits_to(&key).expect("what its key says");
            assert!(!record.age().is_ahead_of(now()), "{path}");
            // What it is served as.
            Rendition::new(record.body, None, &record.sha256, Some(record.modified_at));
        }
    }
}

/// Its path, and its bytes.
fn member(section: &[u8]) -> (&[u8], Vec<u8>) {
    let (path, bytes) = super::part(section, b"\n");
    let Some(rest) = bytes.strip_prefix(b"@record") else {
        return (path, bytes.to_vec());
    };
    let (times, body) = super::part(rest, b"\n");
    let times = String::from_utf8_lossy(times);
    let mut times = times.split_whitespace().map(|millis| {
        let millis = Duration::from_millis(millis.parse().unwrap_or(1_000));
        SystemTime::UNIX_EPOCH
            .checked_add(millis)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    });
    let modified_at = times.next().unwrap_or(SystemTime::UNIX_EPOCH);
    let checked_at = times.next().unwrap_or(modified_at);
    let record = StoreRecord {
        body: Bytes::copy_from_slice(body),
        sha256: Sha256::of(body),
        validators: Validators::default(),
        modified_at,
        checked_at,
        gone: false,
        history: Default::default(),
        sum: None,
    };
    (path, record.encode().concat())
}

fn split<'a>(mut input: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut sections = Vec::new();
    while let Some(at) = input.windows(separator.len()).position(|w| w == separator) {
        sections.push(&input[..at]);
        input = &input[at + separator.len()..];
    }
    sections.push(input);
    sections
}

/// Adds a plain file to a tar archive (POSIX.1-1988, ustar), or the beginning of one when its name is too long.
fn add(archive: &mut Vec<u8>, path: &[u8], bytes: &[u8]) {
    const NAME: usize = 100;
    let mut header = [0; 512];
    let length = path.len().min(NAME);
    header[..length].copy_from_slice(&path[..length]);
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    if path.len() > NAME {
        add_long_name(archive, path);
    }
    header[156] = b'0';
    finish(archive, header, bytes);
}

fn add_long_name(archive: &mut Vec<u8>, path: &[u8]) {
    let mut header = [0; 512];
    header[..6].copy_from_slice(b"@@name");
    header[124..135].copy_from_slice(format!("{:011o}", path.len()).as_bytes());
    header[156] = b'L';
    finish(archive, header, path);
}

fn finish(archive: &mut Vec<u8>, mut header: [u8; 512], bytes: &[u8]) {
    // GNU's magic and version, as for long names.
    header[257..265].copy_from_slice(b"ustar  \0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header[154] = 0;
    archive.extend_from_slice(&header);
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(512), 0);
}
