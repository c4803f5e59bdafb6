//! Wanted: what clients of an offline mirror asked for in vain is remembered, as a list that `prefetch` takes.

use tempfile::TempDir;

use super::{
    failing_disk::SmallDisk,
    offline::{OFFLINE, add, download, filled, index, offline, upstream},
};
use crate::support::{Mirror, Program};

/// What has come can't be forgotten there, which is no reason not to say the rest.
#[tokio::test]
async fn what_is_wanted_can_be_read_from_a_disk_that_cannot_be_written_to() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).store(disk.path()).settings(OFFLINE);
    let mirror = mirror.start().await;
    for path in [download("app", "1.0.0"), index("nosuch")] {
        mirror.get(&path).await;
    }
    mirror.stop().await;
    add(&upstream, disk.path(), &[("app", "1.0.0")]).await;
    disk.remount("ro");
    let path = disk.path().to_str().expect("UTF-8");
    let wanted = |words: &str| {
        Program::new(&["wanted", "--store", path])
            .words(words)
            .run()
    };
    for (words, code) in [("", 0), ("--forget", 1)] {
        let ended = wanted(words).await;
        let told = (ended.code, &*ended.stdout);
        assert_eq!(told, (Some(code), "nosuch\n"), "{ended:?}");
    }
}

#[tokio::test]
async fn what_was_asked_for_in_vain_is_wanted_until_it_comes() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[]).await;
    let mirror = offline(&upstream, &store).start().await;
    for path in [
        download("app", "1.1.0"),
        download("app", "1.1.0"),
        // All spellings that cargo tries of one name.
        index("a-b_c"),
        index("a_b_c"),
        index("a-b-c"),
        index("app"),
    ] {
        mirror.get(&path).await;
    }
    mirror.stop().await;
    let path = store.path().to_str().expect("UTF-8").to_owned();
    let wanted = || Program::new(&["wanted", "--store", &path]).run();
    let ended = wanted().await;
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(0), "a-b_c\napp@1.1.0\n"),
        "{}",
        ended.stderr
    );
    add(&upstream, store.path(), &[("app", "1.1.0")]).await;
    assert_eq!(wanted().await.stdout, "a-b_c\n");
    // Typing errors never come.
    let forget = Program::new(&["wanted", "--forget", "--store", &path]).run();
    assert_eq!(forget.await.stdout, "a-b_c\n", "said for the last time");
    assert_eq!(wanted().await.stdout, "");
}

#[tokio::test]
async fn a_registry_of_its_own_is_named_in_what_is_wanted() {
    let upstream = upstream().await;
    let store = TempDir::new().expect("a folder");
    let internal = format!(
        "[registries.internal]\nindex = \"{}\"",
        upstream.index_url()
    );
    let mirror = offline(&upstream, &store).settings(&internal).start().await;
    let reply = mirror
        .get("/registries/internal/api/v1/crates/thing/1.0.0/download")
        .await;
    assert!(
        reply.text().contains("prefetch internal:thing@1.0.0`"),
        "{}",
        reply.text()
    );
    mirror.stop().await;
    let path = store.path().to_str().expect("UTF-8");
    let ended = Program::new(&["wanted", "--store", path]).run().await;
    assert_eq!(ended.stdout, "internal:thing@1.0.0\n");
}
