//! Interrupted: Ctrl-C and SIGTERM leave nothing half-written behind, what was done is kept, and the command says how to go on. A terminal that goes
//! away ends nothing.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::ChildStdin};

use crate::support::{
    Ended, Package, Program, Running, Upstream,
    bundle::{Desk, export, filled, objects},
    client, index_path, sha256, until,
};

/// Everything below a folder that is no object, a mirror's notes excepted.
fn left_over(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    let odd = files.filter(|entry| {
        let name = entry.file_name().to_string_lossy();
        name.starts_with('.') && name != ".changed"
    });
    odd.map(|entry| entry.into_path()).collect()
}

fn interrupted(ended: &Ended) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = ended.stderr.matches("crate-mirror: interrupted; ").count();
    assert_eq!(said, 1, "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

/// A store with one crate of half a gigabyte, which takes no room on the disk but a while to read.
async fn a_large_store() -> TempDir {
    const SIZE: usize = 512 << 20;
    let hole = sha256(&vec![0; SIZE]);
    let package = Package::new("large", "1.0.0").checksum(&hole);
    let upstream = Upstream::new().publish(package).start().await;
    let program = Program::serving(&upstream, "").command("prefetch");
    let folder = program.arg("large").run().await.folder;
    let crates = folder.path().join("cache/crates-io/crates");
    let crates = crates.join(index_path("large"));
    fs::create_dir_all(&crates).expect("a folder");
    let file = File::create(crates.join(format!("1.0.0.{hole}.crate"))).expect("a file");
    file.set_len(SIZE as u64).expect("a hole");
    folder
}

/// An interrupted export used to leave its hidden temporary file in the user's folder.
#[tokio::test]
async fn an_export_that_is_ended_leaves_no_file() {
    let mut folder = a_large_store().await;
    for signal in ["TERM", "INT"] {
        let program = Program::new(&["export", "-o", "out/bundle.tar.zst"]);
        let program = program.in_folder(folder);
        let out = program.folder().join("out");
        fs::create_dir_all(&out).expect("a folder");
        let (process, _input) = program.begin();
        until("begun", || !left_over(&out).is_empty()).await;
        // It must not come to its end while the signal is on its way.
        process.signal("STOP").await;
        assert!(!out.join("bundle.tar.zst").exists(), "it was too fast");
        process.signal(signal).await;
        process.signal("CONT").await;
        let ended = process.ended().await;
        interrupted(&ended);
        assert_eq!(fs::read_dir(&out).expect("a folder").count(), 0, "{signal}");
        assert!(left_over(ended.folder.path()).is_empty());
        folder = ended.folder;
    }
}

/// A bundle of a hundred crates, and the objects in it.
async fn a_bundle() -> (Vec<u8>, usize) {
    let crates = (0..100).map(|n| Package::new(&format!("crate{n}"), "1.0.0").payload(20_000));
    let (_upstream, store) = filled(crates.collect()).await;
    let desk = Desk::new();
    let file = desk.file("bundle.tar.zst");
    export(store.path(), &file, &[]).await.code(0);
    let all = objects(store.path()).len();
    (fs::read(file).expect("a bundle"), all)
}

/// An import that has been given so much of a bundle, and has taken most of it.
async fn importing(program: Program, part: &[u8]) -> (Running, ChildStdin) {
    let store = program.folder().join("cache");
    let (process, mut input) = program.begin();
    input.write_all(part).await.expect("taken");
    input.flush().await.expect("taken");
    let taken = || left_over(&store).len() + objects(&store).len() > 100;
    until("taken", taken).await;
    (process, input)
}

/// An import that was interrupted after 600 objects used to have stored none of them, and to leave 85 MB that `store.max_size` doesn't count.
#[tokio::test]
async fn an_import_that_is_ended_keeps_what_has_come() {
    let (bundle, all) = a_bundle().await;
    let program = || Program::new(&["import", "-"]);
    let (process, input) = importing(program(), &bundle[..bundle.len() * 4 / 5]).await;
    process.signal("TERM").await;
    // Whoever fills the pipe is still there.
    let ended = process.ended().await;
    drop(input);
    interrupted(&ended);
    let store = ended.folder.path().join("cache");
    let kept = objects(&store).len();
    assert!(kept > 100 && kept < all, "{kept} of {all}");
    assert_eq!(left_over(&store), [] as [PathBuf; 0]);
    assert!(store.join(".changed").exists(), "a mirror is told");
    let again = program().in_folder(ended.folder);
    let (process, mut input) = again.begin();
    input.write_all(&bundle).await.expect("taken");
    drop(input);
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains(&format!("{kept} were there")),
        "{ended:?}"
    );
    assert_eq!(objects(&store).len(), all);
}

/// A killed import can't clean up, so it must leave little: staged objects are put into place every few seconds.
#[tokio::test]
async fn an_import_that_is_killed_has_stored_what_came_seconds_before() {
    let (bundle, _) = a_bundle().await;
    let (begin, rest) = bundle.split_at(bundle.len() * 3 / 4);
    let program = Program::new(&["import", "-"]);
    let store = program.folder().join("cache");
    let (process, mut input) = importing(program, begin).await;
    // A slow line.
    let mut rest = rest.chunks(2_000);
    while objects(&store).len() <= 100 {
        let piece = rest.next().expect("something in place before the end");
        input.write_all(piece).await.expect("taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.signal("KILL").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, None);
    assert!(objects(&store).len() > 100, "they stay");
}

/// An interrupted prefetch used to leave its downloads in the store's temporary folder for a day, and the folder made for cargo for ever.
#[tokio::test]
async fn a_prefetch_that_is_ended_keeps_what_was_fetched_and_nothing_else() {
    let upstream = Upstream::new()
        .publish(Package::new("leaf", "1.0.0"))
        .publish(Package::new("tree", "1.0.0").dep("late", "1"))
        .publish(Package::new("late", "1.0.0"))
        .publish(Package::new("large", "1.0.0").payload(1_500_000))
        .start()
        .await;
    let settings = "[memory]\nbudget = \"1MiB\"\n";
    let gate = upstream.on("/dl/large").gate_after(900_000);
    let program = Program::serving(&upstream, settings).command("prefetch");
    let program = program.words("leaf large");
    let store = program.folder().join("cache");
    let (process, _input) = program.begin();
    gate.await_waiting(1).await;
    until("stored", || objects(&store).len() == 3).await;
    process.signal("INT").await;
    let ended = process.ended().await;
    interrupted(&ended);
    assert_eq!(left_over(&store), [] as [PathBuf; 0]);
    gate.open();

    let gate = upstream.gate("/la/te/late");
    let temporary = tempfile::tempdir().expect("a folder");
    let program = Program::serving(&upstream, settings).command("prefetch");
    let program = program.words("--deps tree leaf").in_folder(ended.folder);
    let path = temporary.path().to_str().expect("UTF-8");
    let (process, _input) = program.with_cargo().env("TMPDIR", path).begin();
    gate.await_waiting(1).await;
    process.signal("TERM").await;
    let ended = process.ended().await;
    interrupted(&ended);
    let left = fs::read_dir(temporary.path()).expect("the folder").count();
    assert_eq!(left, 0, "of cargo's folders");
    assert_eq!(left_over(&store), [] as [PathBuf; 0]);
    gate.open();
}

/// The exit code is 0, 1 or 2 in every case.
#[tokio::test]
async fn a_check_that_is_ended_has_failed() {
    let upstream = Upstream::new().start().await;
    upstream.on("config.json").hang();
    let program = Program::serving(&upstream, "").command("check");
    let (process, _input) = program.begin();
    upstream.await_requests(1, "config.json").await;
    process.signal("INT").await;
    interrupted(&process.ended().await);
}

/// Somebody logs out, or a connection breaks.
#[tokio::test]
async fn a_terminal_that_goes_away_ends_nothing() {
    let upstream = Upstream::new().publish(Package::new("leaf", "1.0.0"));
    let upstream = upstream.start().await;
    let serving = Program::serving(&upstream, "").start().await;
    serving.signal("HUP").await;
    let reply = client::get(serving.addr(), "/index/le/af/leaf", &[]).await;
    assert_eq!(reply.status, 200);

    let gate = upstream.gate("/dl/");
    let program = Program::serving(&upstream, "").command("prefetch");
    let (process, _input) = program.arg("leaf").begin();
    gate.await_waiting(1).await;
    process.signal("HUP").await;
    gate.open();
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let (bundle, all) = a_bundle().await;
    let half = bundle.len() * 2 / 3;
    let program = Program::new(&["import", "-"]);
    let (process, mut input) = importing(program, &bundle[..half]).await;
    process.signal("HUP").await;
    input.write_all(&bundle[half..]).await.expect("taken");
    drop(input);
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(objects(&ended.folder.path().join("cache")).len(), all);
}
