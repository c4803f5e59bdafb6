//! A database of advisories is a stranger's: whatever is in it, the rest of it counts, nothing outside of it is read, and nothing takes the mirror's memory.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate_mirror::{
    advisories::Database,
    domain::{AdvisoryKind, CrateName},
};
use tar::{Builder, EntryType, Header};

use crate::support::advisory_db;

fn advisory(package: &str) -> String {
    format!("```toml\n[advisory]\nid = \"RUSTSEC-2024-0001\"\npackage = \"{package}\"\n```\n")
}

fn osv(package: &str) -> String {
    format!(
        r#"{{"id":"MAL-2025-1","affected":[{{"package":{{"ecosystem":"crates.io","name":"{package}"}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}}]}}]}}]}}"#
    )
}

/// A folder with one good advisory, about the crate `good`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.put("crates/good/RUSTSEC-2024-0001.md", &advisory("good"));
        folder
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        path
    }

    fn put(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("a file");
    }

    /// Reads it; the good one always counts.
    #[track_caller]
    fn read(&self) -> Database {
        read(self.0.path())
    }
}

#[track_caller]
fn read(path: &Path) -> Database {
    let database = Database::read(path, SystemTime::now()).expect("a database");
    assert!(has(&database, "good"));
    database
}

fn has(database: &Database, name: &str) -> bool {
    let name = CrateName::parse(name).expect("a name");
    !database.advisories.of(name).is_empty()
}

#[test]
fn a_file_of_a_gigabyte_is_passed_over_without_being_read() {
    let folder = Folder::new();
    for path in ["crates/large/RUSTSEC-2024-0002.md", "large.json"] {
        let file = File::create(folder.at(path)).expect("a file");
        file.set_len(1 << 30).expect("a hole");
    }
    let database = folder.read();
    assert_eq!((database.files, database.unreadable), (3, 2));
}

#[test]
fn nesting_without_end_is_passed_over() {
    let folder = Folder::new();
    let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
    folder.put(
        "crates/deep/RUSTSEC-2024-0002.md",
        &format!("```toml\nx = {open}{close}\n```\n"),
    );
    folder.put("deep.json", &format!("{open}{close}"));
    folder.put("object.json", &"{\"affected\":".repeat(50_000));
    folder.put(
        "specific.json",
        &format!("{{\"id\":\"X-1\",\"database_specific\":{open}{close}}}"),
    );
    let database = folder.read();
    assert_eq!(database.unreadable, 4);
}

#[test]
fn a_link_out_of_the_folder_is_not_followed_and_one_inside_is() {
    let elsewhere = Folder::new();
    elsewhere.put("crates/secret/RUSTSEC-2024-0002.md", &advisory("secret"));
    let folder = Folder::new();
    symlink(
        elsewhere.at("crates/secret/RUSTSEC-2024-0002.md"),
        folder.at("crates/secret/RUSTSEC-2024-0002.md"),
    )
    .expect("a link");
    symlink(elsewhere.at("crates/secret"), folder.at("crates/linked")).expect("a link");
    symlink("/dev/zero", folder.at("zero.json")).expect("a link");
    symlink("nowhere", folder.at("dead.json")).expect("a link");
    symlink("../..", folder.at("crates/up")).expect("a link");
    // As a cluster mounts a configuration.
    folder.put("..data/mounted.json", &osv("mounted"));
    symlink("..data/mounted.json", folder.at("mounted.json")).expect("a link");
    let database = folder.read();
    assert!(!has(&database, "secret"));
    assert!(has(&database, "mounted"));
    assert_eq!(database.unreadable, 3);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = Folder::new();
    let pipe = folder.at("pipe.json");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .expect("a pipe");
    fs::create_dir(folder.at("folder.json")).expect("a folder");
    assert_eq!(folder.read().unreadable, 1);
}

#[test]
fn names_and_contents_that_are_nonsense_are_passed_over() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    folder.put("crates/../evil.json", "{}");
    folder.put("crates/x/RUSTSEC-2024-0002.md", "\u{0}\u{1b}[2J");
    folder.put(
        "crates/y/RUSTSEC-2024-0003.md",
        &advisory("../../etc/passwd"),
    );
    fs::write(folder.at("binary.json"), [0xff; 100]).expect("a file");
    let odd = std::ffi::OsStr::from_bytes(b"\xff.json");
    fs::write(folder.0.path().join(odd), "{}").expect("a file");
    let database = folder.read();
    assert_eq!(database.unreadable, 4);
    assert_eq!(database.advisories.len(), 1);
}

/// A thousand folders deep: the walk ends before the file system's paths do.
#[test]
fn folders_in_folders_have_an_end() {
    let folder = Folder::new();
    let deep = "x/".repeat(500);
    folder.put(&format!("{deep}a.json"), &osv("deep"));
    assert!(!has(&folder.read(), "deep"));
}

#[test]
fn both_formats_count_side_by_side() {
    let folder = Folder::new();
    folder.put(
        "osv/malicious/crates.io/evil/MAL-2025-1.json",
        &osv("Evil_Crate"),
    );
    let database = folder.read();
    let name = CrateName::parse("evil-crate").expect("a name");
    let found = &database.advisories.of(name)[0];
    assert!(found.kinds.contains(AdvisoryKind::Malicious));
    assert_eq!(database.unreadable, 0);
}

fn member(archive: &mut Builder<impl Write>, path: &str, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    // Not by the library, which refuses some of them.
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append(&header, content).expect("written");
}

fn zstd_of(archive: Builder<Vec<u8>>) -> Vec<u8> {
    let tar = archive.into_inner().expect("written");
    zstd::encode_all(&*tar, 3).expect("compressed")
}

#[test]
fn an_archive_counts_as_the_folder_it_was_made_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut archive = Builder::new(Vec::new());
    for made in advisory_db::advisories() {
        let path = format!("advisory-db-main/{}", made.path);
        member(
            &mut archive,
            &path,
            EntryType::Regular,
            made.text.as_bytes(),
        );
    }
    member(
        &mut archive,
        "advisory-db-main/crates/good/RUSTSEC-1.md",
        EntryType::Regular,
        advisory("good").as_bytes(),
    );
    let path = folder.path().join("advisories.tar.zst");
    fs::write(&path, zstd_of(archive)).expect("a file");
    let database = read(&path);
    assert_eq!(database.advisories.len(), advisory_db::ALL + 1);
    assert_eq!(database.unreadable, 0);
}

#[test]
fn names_that_lead_out_of_an_archive_and_what_is_no_file_are_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut archive = Builder::new(Vec::new());
    let bad = osv("bad");
    for path in [
        "../bad.json",
        "/bad.json",
        "crates/../../bad.json",
        ".git/bad.json",
    ] {
        member(&mut archive, path, EntryType::Regular, bad.as_bytes());
    }
    member(&mut archive, "link.json", EntryType::Symlink, b"");
    member(
        &mut archive,
        "crates/large/RUSTSEC-2.md",
        EntryType::Regular,
        &vec![b'x'; 2 << 20],
    );
    let good = advisory("good");
    member(
        &mut archive,
        "crates/good/RUSTSEC-1.md",
        EntryType::Regular,
        good.as_bytes(),
    );
    let path = folder.path().join("advisories.tar.zst");
    fs::write(&path, zstd_of(archive)).expect("a file");
    let database = read(&path);
    assert_eq!((database.files, database.unreadable), (2, 1));
    assert!(!has(&database, "bad"));
}

/// Half an archive would be half of the advisories, and the other half would be let through.
#[test]
fn an_archive_that_is_cut_off_or_a_bomb_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut archive = Builder::new(Vec::new());
    for made in advisory_db::advisories() {
        member(
            &mut archive,
            &made.path,
            EntryType::Regular,
            made.text.as_bytes(),
        );
    }
    let whole = zstd_of(archive);
    let path = folder.path().join("advisories.tar.zst");
    let fails = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file");
        let read = Database::read(&path, SystemTime::now());
        read.expect_err("no database").to_string()
    };
    for length in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        fails(&whole[..length]);
    }
    let tar = zstd::decode_all(&*whole).expect("unpacked");
    let half = zstd::encode_all(&tar[..tar.len() / 2], 3).expect("compressed");
    assert!(fails(&half).contains("lost its end"));
    let mut bomb = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    let mut header = Header::new_gnu();
    header.set_path("large").expect("set");
    header.set_size(1 << 40);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).expect("written");
    let block = vec![0; 1 << 20];
    for _ in 0..600 {
        bomb.write_all(&block).expect("written");
    }
    let said = fails(&bomb.finish().expect("compressed"));
    assert!(said.contains("unpacks to more"), "{said}");
}

fn listing(name: &str, versions: usize) -> String {
    let versions: Vec<_> = (0..versions).map(|n| format!("\"1.{n}.0\"")).collect();
    let versions = versions.join(",");
    format!(
        r#"{{"id":"X-1","affected":[{{"package":{{"ecosystem":"crates.io","name":"{name}"}},"versions":[{versions}]}}]}}"#
    )
}

/// Each version was compared with all before it, which took hours over a few files.
#[test]
fn a_file_that_names_more_versions_than_any_crate_has_is_passed_over() {
    let folder = Folder::new();
    folder.put("many.json", &listing("many", 20_000));
    folder.put("more.json", &listing("more", 60_000));
    let event = |n| format!(r#"{{"introduced":"1.{n}.0"}},{{"fixed":"1.{n}.1"}}"#);
    let events: Vec<_> = (0..15_000).map(event).collect();
    let events = events.join(",");
    folder.put(
        "events.json",
        &format!(
            r#"{{"id":"X-2","affected":[{{"package":{{"ecosystem":"crates.io","name":"events"}},"ranges":[{{"type":"SEMVER","events":[{events}]}}]}}]}}"#
        ),
    );
    let requirements = vec!["\">=1.0.0\""; 50_000].join(",");
    folder.put(
        "crates/x/RUSTSEC-2.md",
        &advisory("x").replace(
            "\n```\n",
            &format!("\n[versions]\npatched = [{requirements}]\n```\n"),
        ),
    );
    let database = folder.read();
    assert_eq!(database.unreadable, 3);
    assert!(has(&database, "many"));
}

/// So that it doesn't take the memory of everybody else.
#[test]
fn what_says_too_much_to_be_kept_is_refused() {
    let folder = Folder::new();
    for n in 0..100 {
        folder.put(&format!("{n}.json"), &listing(&format!("x{n}"), 19_000));
    }
    let read = Database::read(folder.0.path(), SystemTime::now());
    let said = read.expect_err("too much").to_string();
    assert!(said.contains("memory"), "{said}");
}
