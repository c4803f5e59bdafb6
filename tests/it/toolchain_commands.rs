//! Toolchains by commands: fetched ahead, checked, carried on a disk, looked through, and asked for in vain.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{
    Dist, Ended, Mirror, MirrorBuilder, Package, Program, Upstream,
    dist::{HOST, OTHER_TARGET},
    until,
};

const DAY: &str = "2026-01-22";
const LATER: &str = "2026-03-05";

fn settings(dist: &Dist) -> String {
    format!(
        "[toolchains]\nupstream = \"{}\"\n[registries.crates-io]\nindex = \"{}\"\n",
        dist.url(),
        dist.index_url()
    )
}

/// Runs a command with a store and a folder that stay.
async fn run(words: &str, settings: &str, folder: TempDir) -> Ended {
    Program::new(&[])
        .words(words)
        .in_folder(folder)
        .settings(settings)
        .run()
        .await
}

async fn good(words: &str, settings: &str, folder: TempDir) -> (String, TempDir) {
    let ended = run(words, settings, folder).await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(0), "{words}: {said}");
    (said, ended.folder)
}

fn new_folder() -> TempDir {
    TempDir::new().expect("a folder")
}

/// A folder with what a minimal install of stable takes.
async fn prefetched(settings: &str) -> TempDir {
    let words = "prefetch --toolchain stable --profile minimal";
    good(words, settings, new_folder()).await.1
}

/// A mirror without a network, with what is stored in `folder`.
fn offline(folder: &TempDir) -> MirrorBuilder {
    Mirror::of_index("http://127.0.0.1:1/index/")
        .settings("[offline]\nenabled = true\n[toolchains]\nenabled = true")
        .store(&folder.path().join("cache"))
}

/// The files in a store, without their folders.
fn stored(folder: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(folder.join("cache/toolchains"))
        .into_iter()
        .flatten();
    let files = files.filter(|file| file.file_type().is_file());
    let mut names: Vec<_> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn has(folder: &Path, start: &str) -> bool {
    stored(folder).iter().any(|name| name.starts_with(start))
}

#[tokio::test]
async fn prefetch_brings_what_rustup_would_install() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    dist.rustup("1.28.2");
    let (set, words) = (
        settings(&dist),
        format!(
            "prefetch --toolchain stable --target {OTHER_TARGET} --component rust-src --profile minimal"
        ),
    );
    let (said, folder) = good(&words, &set, new_folder()).await;
    assert!(
        said.contains("7 fetched, 0 already here, 0 skipped, 0 missing"),
        "{said}"
    );
    for start in [
        "cargo-",
        "rustc-",
        "rust-src-",
        "rust-std-1.93.0-wasm32",
        &format!("rust-std-1.93.0-{HOST}"),
        "channel-rust-stable",
        "rustup-init.",
    ] {
        assert!(
            has(folder.path(), start),
            "{start}: {:?}",
            stored(folder.path())
        );
    }
    assert!(!has(folder.path(), "clippy"), "not in the profile");
    dist.clear_log();
    let (said, folder) = good(&words, &set, folder).await;
    assert!(said.contains("0 fetched, 7 already here"), "{said}");
    assert_eq!(dist.count(".tar.xz"), 0);
    let (said, _folder) = good(
        "prefetch --toolchain 1.93.0 --profile default",
        &set,
        folder,
    )
    .await;
    assert!(said.contains("1 fetched, 5 already here"), "{said}");
}

/// What somebody wanted of a certain version is that, and not the newest.
#[tokio::test]
async fn a_rustup_by_its_version_is_fetched_checked_and_carried() {
    let dist = Dist::start().await;
    dist.rustup("1.28.1");
    dist.rustup("1.28.2");
    let set = settings(&dist);
    let line = format!("toolchains:rustup:1.28.1:{HOST}\n");
    let run = async |words: &str, folder: TempDir| {
        let program = Program::new(&[]).words(words).in_folder(folder);
        program.settings(&set).input(&line).run().await
    };
    let folder = new_folder();
    std::fs::create_dir(folder.path().join("cache")).expect("a folder");
    let ended = run("check -", folder).await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("rustup:1.28.1"), "{}", ended.stdout);
    let ended = run("prefetch -", ended.folder).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let at = format!("cache/toolchains/rustup/archive/1.28.1/{HOST}");
    assert!(ended.folder.path().join(&at).is_dir());
    let ended = run("check --verify -", ended.folder).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let ended = run("export - -o one.tar.zst", ended.folder).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let import = format!(
        "import {}",
        ended.folder.path().join("one.tar.zst").display()
    );
    let (_, other) = good(&import, &set, new_folder()).await;
    assert!(
        other.path().join(&at).is_dir(),
        "{:?}",
        stored(other.path())
    );
    let ended = run("prefetch -", {
        dist.remove_object(&format!("/rustup/archive/1.28.1/{HOST}/rustup-init.sha256"));
        new_folder()
    })
    .await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn what_a_release_does_not_have_is_said() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let set = settings(&dist);
    for (words, why) in [
        ("prefetch --toolchain beta", "toolchains:beta"),
        (
            "prefetch --toolchain stable --component miri",
            "no component miri",
        ),
        (
            "prefetch --toolchain stable --target avr-none",
            "no rust-std for avr-none",
        ),
        (
            "prefetch --toolchain stable --profile huge",
            "it has complete, default, minimal",
        ),
        (
            "prefetch --toolchain stable-sparc-unknown-none",
            "runs on sparc-unknown-none",
        ),
    ] {
        let ended = run(words, &set, new_folder()).await;
        assert_eq!(
            ended.code,
            Some(1),
            "{words}: {}{}",
            ended.stdout,
            ended.stderr
        );
        assert!(ended.stdout.contains(why), "{words}: {}", ended.stdout);
    }
    run("prefetch --toolchain my-own", &set, new_folder())
        .await
        .refused(&["--toolchain", "my-own", "1.95.0"]);
    let ended = run("prefetch --target x-y", &set, new_folder()).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("--toolchain"), "{}", ended.stderr);
}

/// The whole story: fetched where there is a network, carried on a disk with the crates, installed where there is none.
#[tokio::test]
async fn compiler_and_crates_are_carried_on_one_disk() {
    let dist = Dist::start().await;
    dist.publish(Package::new("alpha", "1.0.0"));
    dist.release("stable", "1.93.0", DAY);
    dist.release("stable", "1.94.0", LATER);
    dist.rustup("1.28.2");
    let set = settings(&dist);
    let folder = new_folder();
    let pin = format!(
        "[toolchain]\nchannel = \"1.94.0\"\nprofile = \"minimal\"\ntargets = [\"{OTHER_TARGET}\"]\n"
    );
    std::fs::write(folder.path().join("rust-toolchain.toml"), pin).expect("written");
    let checked = run(
        "check rust-toolchain.toml",
        &format!("{set}[store]\npath = \"elsewhere\"\n"),
        folder,
    )
    .await;
    assert_ne!(checked.code, Some(0), "nothing is here yet");
    let (_, folder) = good(
        "prefetch rust-toolchain.toml alpha --toolchain 1.93.0",
        &set,
        checked.folder,
    )
    .await;
    let (said, folder) = good("check rust-toolchain.toml --verify", &set, folder).await;
    assert!(said.contains("are here"), "{said}");
    let (said, folder) = good("export -o all.tar.zst", &set, folder).await;
    assert!(said.contains("entries"), "{said}");
    let (_, folder) = good("export --toolchains -o compilers.tar.zst", &set, folder).await;
    let (_, folder) = good("export rust-toolchain.toml -o one.tar.zst", &set, folder).await;
    let (said, folder) = good("verify", &set, folder).await;
    assert!(said.contains(" 0 bad"), "{said}");
    let bundle = |name: &str| -> PathBuf { folder.path().join(name) };
    let other = |name: &str| format!("import {}", bundle(name).display());
    let (_, whole) = good(&other("all.tar.zst"), &set, new_folder()).await;
    assert_eq!(stored(whole.path()), stored(folder.path()));
    assert!(
        whole
            .path()
            .join("cache/crates-io/crates/al/ph/alpha")
            .exists()
    );
    let (_, compilers) = good(&other("compilers.tar.zst"), &set, new_folder()).await;
    assert_eq!(stored(compilers.path()), stored(folder.path()));
    assert!(!compilers.path().join("cache/crates-io").exists());
    let (_, one) = good(&other("one.tar.zst"), &set, new_folder()).await;
    assert!(
        has(one.path(), "rustc-1.94.0") && !has(one.path(), "rustc-1.93.0"),
        "{:?}",
        stored(one.path())
    );
    assert!(
        has(one.path(), "rustup-init.") && !has(one.path(), "clippy"),
        "{:?}",
        stored(one.path())
    );
    std::fs::copy(
        folder.path().join("rust-toolchain.toml"),
        one.path().join("rust-toolchain.toml"),
    )
    .expect("copied");
    let (said, one) = good("check rust-toolchain.toml --verify", &set, one).await;
    assert!(said.contains("are here"), "{said}");
    // The other side has it already.
    let (said, _folder) = good(
        "export --toolchains --since one.manifest.json -o rest.tar.zst",
        &set,
        folder,
    )
    .await;
    assert!(said.contains("entries"), "{said}");
    dist.clear_log();
    let offline = offline(&one).start().await;
    let manifest = offline
        .get("/toolchains/dist/channel-rust-1.94.0.toml")
        .await;
    assert_eq!(manifest.status, 200, "{}", manifest.text());
    let init = offline
        .get(&format!("/toolchains/rustup/dist/{HOST}/rustup-init"))
        .await;
    assert_eq!(init.status, 200, "{}", init.text());
    assert_eq!(dist.requests().len(), 0);
}

/// Offline `stable` is the newest that is here, also when what came was a manifest by its day.
#[tokio::test]
async fn offline_a_channel_is_the_newest_that_is_here() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let set = settings(&dist);
    let folder = prefetched(&set).await;
    let newer = dist.release("stable", "1.94.0", LATER);
    let dated = format!("prefetch --toolchain stable-{LATER} --profile minimal");
    let (_, folder) = good(&dated, &set, folder).await;
    let offline = offline(&folder).start().await;
    let manifest = offline
        .get("/toolchains/dist/channel-rust-stable.toml")
        .await;
    assert_eq!(manifest.body, dist.object_at(&newer.manifest()));
    let sum = offline
        .get("/toolchains/dist/channel-rust-stable.toml.sha256")
        .await;
    assert!(
        sum.text()
            .starts_with(&crate::support::sha256(&manifest.body))
    );
}

#[tokio::test]
async fn what_was_asked_for_in_vain_can_be_fetched_by_that_list() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    dist.rustup("1.28.2");
    let set = settings(&dist);
    let offline = Mirror::of_index("http://127.0.0.1:1/index/")
        .settings("[offline]\nenabled = true\n[toolchains]\nenabled = true")
        .start()
        .await;
    for path in [
        "/toolchains/dist/channel-rust-stable.toml.sha256".to_owned(),
        format!("/toolchains{}", release.component("rust-src")),
        format!("/toolchains/rustup/dist/{HOST}/rustup-init"),
    ] {
        let reply = offline.get(&path).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
    }
    let wanted = offline
        .get_until("/wanted", |reply| reply.text().lines().count() == 3)
        .await;
    let program = Program::new(&["prefetch", "-"])
        .settings(&set)
        .input(&wanted.text());
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for start in ["rustc-", "rust-src-", "rustup-init."] {
        assert!(has(ended.folder.path(), start), "{start}");
    }
}

#[tokio::test]
async fn what_is_corrupt_is_found_and_dropped() {
    let dist = Dist::start().await;
    dist.large_release("stable", "1.93.0", DAY, 900_000);
    let set = settings(&dist);
    let folder = prefetched(&set).await;
    let day = folder.path().join("cache/toolchains/dist").join(DAY);
    let files: Vec<_> = std::fs::read_dir(&day)
        .expect("a folder")
        .flatten()
        .collect();
    let cargo = files
        .iter()
        .find(|file| file.file_name().to_string_lossy().starts_with("cargo-"));
    std::fs::write(cargo.expect("cargo").path(), "other").expect("written");
    std::fs::write(day.join("channel-rust-stable.toml"), "other").expect("written");
    let ended = run("verify --repair", &set, folder).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 bad"), "{}", ended.stdout);
    assert!(!has(ended.folder.path(), "cargo-"));
    let ended = run("check --verify rust-toolchain", &set, {
        std::fs::write(ended.folder.path().join("rust-toolchain"), "stable\n").expect("written");
        ended.folder
    })
    .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .contains(&format!("toolchains:{DAY}:cargo-1.93.0")),
        "{}",
        ended.stdout
    );
    let (_, folder) = good("evict --to 1MiB", &set, ended.folder).await;
    let left = stored(folder.path());
    assert!(
        has(folder.path(), "channel-rust-") && left.len() < 4,
        "manifests go last: {left:?}"
    );
}

/// A component that no manifest names isn't taken, whoever made the bundle.
#[tokio::test]
async fn a_bundle_brings_no_file_that_no_manifest_names() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let set = settings(&dist);
    let folder = prefetched(&set).await;
    let stray = format!("rustc-evil.{}.tar.gz", crate::support::sha256(b"evil"));
    let stray = folder
        .path()
        .join("cache/toolchains/dist")
        .join(DAY)
        .join(stray);
    std::fs::write(stray, "evil").expect("written");
    let (said, folder) = good("export -o b.tar.zst", &set, folder).await;
    assert!(
        said.contains("1 crates left out that no index lists"),
        "{said}"
    );
    let import = format!("import {}", folder.path().join("b.tar.zst").display());
    let (_, other) = good(&import, &set, new_folder()).await;
    assert!(has(other.path(), "rustc-1.93.0") && !has(other.path(), "rustc-evil"));
}

#[tokio::test]
async fn a_running_mirror_keeps_toolchains_warm() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let mirror = dist
        .mirror("")
        .settings("[prefetch]\ntoolchains = [\"stable\"]")
        .start()
        .await;
    dist.await_requests(1, &release.component("rustc")).await;
    dist.await_requests(1, &release.component("clippy")).await;
    let path = format!("/toolchains{}", release.component("rustc"));
    let reply = mirror.get(&path).await;
    assert_eq!(reply.body, dist.object_at(&release.component("rustc")));
    assert_eq!(dist.count(&release.component("rustc")), 1);
}

/// That of yesterday used to do for the newest, although today's checksum was here.
#[tokio::test]
async fn a_running_mirror_keeps_the_newest_rustup() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let path = format!("rustup/dist/{HOST}/rustup-init");
    let name = || {
        let newest = dist.object_at(&format!("/{path}"));
        format!("toolchains/{path}.{}", crate::support::sha256(&newest))
    };
    dist.rustup("1.28.1");
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .settings("[prefetch]\ntoolchains = [\"stable\"]")
        .start()
        .await;
    until("kept", || mirror.stored().contains(&name())).await;
    dist.rustup("1.28.2");
    let mirror = mirror.restart().await;
    until("kept, too", || mirror.stored().contains(&name())).await;
}

#[tokio::test]
async fn settings_say_what_is_allowed() {
    let upstream = Upstream::with_one_crate().await;
    for (toml, words) in [
        (
            "[toolchains]\nchannels = []",
            &["toolchains.channels", "\"1.*\""][..],
        ),
        (
            "[toolchains]\nchannels = [\"Stable\"]",
            &["channels", "nightly-2026-11-01"],
        ),
        ("[toolchains]\nfresh = 1", &["toolchains", "fresh"]),
        (
            "[prefetch]\ntoolchains = [\"stable\"]",
            &["toolchains.enabled"],
        ),
        (
            "[toolchains]\nenabled = true\n[prefetch]\ntoolchains = [\"mine\"]",
            &["mine", "1.95.0"],
        ),
        (
            "[registries.toolchains]\nindex = \"sparse+http://127.0.0.1:1/\"",
            &["toolchains", "another name"],
        ),
    ] {
        let program = Program::serving(&upstream, toml);
        program.run().await.refused(words);
    }
    let served = Program::serving(
        &upstream,
        "[access]\ntokens = \"t.toml\"\nanonymous = [\"toolchains\"]\n[toolchains]\nenabled = true",
    );
    let running = served.start().await;
    running.signal("TERM").await;
    assert_eq!(running.ended().await.code, Some(0));
}
