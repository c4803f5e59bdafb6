//! Many clones at once: each gets all of it, and the process stays within its memory.
#![cfg(target_os = "linux")]

use std::{fs, path::Path, time::SystemTime};

use bytes::Bytes;
use crate_mirror::{
    domain::{CrateName, IndexKey, RegistryName, Sha256, Validators},
    store::StoreRecord,
};
use futures_util::future::join_all;

use crate::support::{Connection, Git, Package, Process, Upstream};

const BUDGET: u64 = 32 << 20;
const BESIDE: u64 = 100_000_000;
/// What an unoptimised program takes more.
const UNOPTIMISED: u64 = 8_000_000;
const FILES: usize = 3_000;
const CLONES: usize = 50;

/// Puts so many index records of some kilobytes into a store.
pub(super) fn fill(store: &Path, files: usize) {
    for number in 0..files {
        let name = format!("{}{number:05}", letters(number));
        let mut body = String::new();
        for patch in 0..12 {
            let package = Package::new(&name, &format!("1.0.{patch}"));
            let checksum = Sha256::of(format!("{name} {patch}").as_bytes()).to_string();
            body += &package.checksum(&checksum).index_line();
            body += "\n";
        }
        let name = CrateName::parse(&name).expect("a name");
        let key = IndexKey::new(RegistryName::crates_io(), name);
        let body = Bytes::from(body);
        let record = StoreRecord {
            sha256: Sha256::of(&body),
            body,
            validators: Validators::default(),
            modified_at: SystemTime::now(),
            checked_at: SystemTime::now(),
            gone: false,
            history: Default::default(),
            sum: None,
        };
        let path = store.join(key.path());
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, record.encode().concat()).expect("written");
    }
}

/// Four letters that differ much, as those of real names do.
fn letters(number: usize) -> String {
    let mut rest = number.wrapping_mul(2_654_435_761);
    let letter = |_| {
        let letter = b'a' + (rest % 26) as u8;
        rest /= 26;
        char::from(letter)
    };
    (0..4).map(letter).collect()
}

/// Clones by hand, slowly enough that all of them are under way at once, and says how many bytes came.
async fn cloned(mirror: &Process) -> usize {
    let refs = mirror
        .get("/git/index/info/refs?service=git-upload-pack")
        .await;
    let text = refs.text();
    let at = text.find(" HEAD").expect("a reference");
    let want = format!("want {} side-band-64k\n", &text[at - 40..at]);
    let body = format!("{:04x}{want}00000009done\n", want.len() + 4);
    let length = body.len().to_string();
    let headers = [("content-length", &*length), ("connection", "close")];
    let mut client = Connection::open(mirror.addr()).await;
    let path = "/git/index/git-upload-pack";
    client.ask("POST", path, &headers).await.expect("sent");
    client.send(body.as_bytes()).await;
    // All have their first bytes before any goes on.
    assert!(!client.body_so_far(1_000).await.is_empty());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let reply = client.reply().await;
    assert!(reply.complete && reply.body.ends_with(b"0000"));
    reply.body.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clones_at_once_are_served_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    let upstream = Upstream::with_one_crate().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("cache");
    fill(&store, FILES);
    let settings = "[memory]\nbudget = \"32MiB\"";
    let mirror = Process::start(&upstream, &store, settings).await;
    let git = Git::new();
    let url = format!("http://{}/git/index", mirror.addr());
    let clone = git.cloned(&url, "clone", &["--bare"]).await;
    git.check(&clone).await;
    let files = git
        .says(&clone, &["ls-tree", "-r", "--name-only", "HEAD"])
        .await;
    assert_eq!(files.lines().count(), FILES + 1);
    let lengths = join_all((0..CLONES).map(|_| cloned(&mirror))).await;
    assert!(
        lengths.iter().all(|length| *length == lengths[0]),
        "{lengths:?}"
    );
    let peak = mirror.peak_memory();
    eprintln!("PEAK {peak}, {} bytes each", lengths[0]);
    assert!(
        peak <= BUDGET + BESIDE + UNOPTIMISED,
        "{peak} bytes at its peak"
    );
}
