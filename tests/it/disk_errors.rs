//! Disk errors: what can't be read or written although it is there costs nobody an answer, and is read and written again when the disk is well.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate_mirror::store::{Fault, Touch};

use crate::{
    failing_disk::{
        LITTLE_MEMORY, assert_right, assert_served, download, is_stored, until_failures, upstream,
    },
    support::{Mirror, client, until},
};

/// The store's temporary folder leads into `/proc`, where nobody can make files. Modes wouldn't do: tests may run as root, whom they don't stop.
#[tokio::test]
async fn a_folder_that_may_not_be_written_to_stops_nobody() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert_served(&mirror, &upstream, "small").await;
    until("stored", || is_stored(&mirror, "small")).await;
    let temporary = mirror.store().join(".tmp");
    fs::remove_dir_all(&temporary).expect("remove");
    symlink("/proc/self/fdinfo", &temporary).expect("a link");
    for name in ["small-2", "large", "huge", "small"] {
        assert_served(&mirror, &upstream, name).await;
    }
    until_failures(&mirror, 1).await;
    fs::remove_file(&temporary).expect("remove");
    for name in ["small-3", "large-3"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored again", || is_stored(&mirror, name)).await;
    }
}

/// The store's folders are links that lead to themselves, which nobody can follow. Modes wouldn't do: tests may run as root, whom they don't stop.
#[tokio::test]
async fn a_folder_that_cannot_be_read_stops_nobody() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    for name in ["small", "large"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored", || is_stored(&mirror, name)).await;
    }
    let mirror = mirror.restart().await;
    let folders = ["index", "crates"].map(|kind| mirror.store().join("crates-io").join(kind));
    for folder in &folders {
        fs::rename(folder, folder.with_extension("away")).expect("moved");
        symlink(folder, folder).expect("a link");
        fs::read_dir(folder).expect_err("it can't be read");
    }
    for name in ["small", "large", "small-2", "large"] {
        assert_served(&mirror, &upstream, name).await;
    }
    until_failures(&mirror, 2).await;
    assert_eq!(mirror.get("/readyz").await.status, 200);
    for folder in &folders {
        fs::remove_file(folder).expect("remove");
        fs::rename(folder.with_extension("away"), folder).expect("moved back");
    }
    assert_served(&mirror, &upstream, "small-3").await;
    until("stored again", || is_stored(&mirror, "small-3")).await;
    upstream.stop().await;
    let mirror = mirror.restart().await;
    for name in ["small", "large", "small-3"] {
        assert_right(&mirror.get(&download(name)).await, &upstream, name);
    }
}

/// The kernel's own EIO: that is what reading `/proc/self/mem` from its start comes to.
#[tokio::test]
async fn a_stored_file_that_cannot_be_read_is_fetched_again() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    assert_served(&mirror, &upstream, "small").await;
    until("stored", || is_stored(&mirror, "small")).await;
    let mirror = mirror.restart().await;
    let record = mirror.index_record("small");
    let bad: Vec<_> = mirror
        .stored()
        .iter()
        .map(|path| mirror.store().join(path))
        .collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    for path in &bad {
        fs::remove_file(path).expect("remove");
        symlink("/proc/self/mem", path).expect("a link");
        let read = fs::read(path).expect_err("EIO");
        assert_eq!(
            read.raw_os_error(),
            Some(rustix::io::Errno::IO.raw_os_error())
        );
    }
    assert_served(&mirror, &upstream, "small").await;
    until_failures(&mirror, 2).await;
    let replaced = || bad.iter().all(|path| path.is_file() && !path.is_symlink());
    until("replaced", replaced).await;
    assert!(record.exists());
}

/// A fault that turns the given kinds of access into EIO while the switch is on.
fn broken(what: &'static [Touch]) -> (Arc<AtomicBool>, Fault) {
    let on = Arc::new(AtomicBool::new(false));
    let switch = on.clone();
    let fault = move |touch| match switch.load(Ordering::Relaxed) && what.contains(&touch) {
        true => Err(std::io::Error::from_raw_os_error(
            rustix::io::Errno::IO.raw_os_error(),
        )),
        false => Ok(()),
    };
    (on, Arc::new(fault))
}

#[tokio::test]
async fn a_disk_with_errors_costs_nobody_an_answer_and_is_written_to_again() {
    for what in [
        &[Touch::Load, Touch::Read, Touch::Save, Touch::List][..],
        &[Touch::Save],
        &[Touch::Load, Touch::List],
    ] {
        let upstream = upstream().await;
        let (broken, fault) = broken(what);
        let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).fault(fault);
        let mirror = mirror.start().await;
        for name in ["small", "large"] {
            assert_served(&mirror, &upstream, name).await;
            until("stored", || is_stored(&mirror, name)).await;
        }
        broken.store(true, Ordering::Relaxed);
        for name in ["small", "large", "small-2", "large-2", "huge", "large-2"] {
            assert_served(&mirror, &upstream, name).await;
        }
        until_failures(&mirror, 1).await;
        assert_eq!(mirror.get("/readyz").await.status, 200);
        broken.store(false, Ordering::Relaxed);
        for name in ["small-3", "large-3"] {
            assert_served(&mirror, &upstream, name).await;
            until("stored again", || is_stored(&mirror, name)).await;
        }
    }
}

/// The beginning of the file can be read, so that an answer begins. Every client used to be cut off at the same place, for as long as the file was there.
#[tokio::test]
async fn a_large_file_with_a_bad_block_is_fetched_again() {
    let upstream = upstream().await;
    let (broken, fault) = broken(&[Touch::Read]);
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).fault(fault);
    let mirror = mirror.start().await;
    assert_served(&mirror, &upstream, "large").await;
    until("stored", || is_stored(&mirror, "large")).await;
    // Its manifest is read once it is stored; who finds the block bad there spares clients being cut off.
    until("known", || !mirror.stored_beside().is_empty()).await;
    broken.store(true, Ordering::Relaxed);
    let path = download("large");
    let cut_off = client::try_request(mirror.addr(), "GET", &path, &[]).await;
    assert!(
        !cut_off.is_ok_and(|reply| reply.complete),
        "whole, by what?"
    );
    until_failures(&mirror, 1).await;
    let again = mirror.get(&download("large")).await;
    assert_right(&again, &upstream, "large");
    assert_eq!(upstream.crate_requests().len(), 2);
    broken.store(false, Ordering::Relaxed);
    assert_right(&mirror.get(&download("large")).await, &upstream, "large");
}
