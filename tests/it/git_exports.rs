//! The git index as a folder: git reads it, from a server that knows nothing of git too, and cargo builds from it.

use crate::support::{
    Cargo, Git, Mirror, Package, Upstream,
    bundle::{Desk, export, fetch},
    files::Files,
};

#[tokio::test]
async fn an_export_is_a_repository_that_any_web_server_can_serve() {
    let packages = [
        Package::new("tool", "1.0.0").dep("part", "1"),
        Package::new("part", "1.0.0"),
    ];
    let upstream = Upstream::new().publish_all(packages.clone()).start().await;
    let store = tempfile::tempdir().expect("a folder");
    fetch(&upstream, store.path(), &packages).await;
    let mirror = Mirror::of(&upstream).start().await;
    let desk = Desk::new();
    let folder = desk.file("site/index.git");
    let exported = async |words: &[&str]| {
        export(
            store.path(),
            &folder,
            &[&["--format", "git"], words].concat(),
        )
        .await
    };
    let refused = exported(&[]).await;
    refused.code(2).stderr_contains("--format git needs --url");
    let url = ["--url", mirror.url()];
    let first = exported(&url).await;
    first.success().stdout_contains("2 index files");
    let git = Git::new();
    git.check(&folder).await;
    git.run(&folder, &["verify-pack", &pack(&folder)])
        .await
        .success();
    // What git itself would write for servers that know nothing of it.
    let files = ["info/refs", "objects/info/packs"].map(|file| folder.join(file));
    let written = files
        .clone()
        .map(|file| std::fs::read_to_string(file).expect("a file"));
    git.run(&folder, &["update-server-info", "--force"])
        .await
        .success();
    let updated = files.map(|file| std::fs::read_to_string(file).expect("a file"));
    assert_eq!(written, updated);
    let served = Files::of(folder.parent().expect("a folder")).await;
    let clone = git
        .cloned(&format!("{}/index.git", served.url()), "clone", &[])
        .await;
    git.check(&clone).await;
    let shown = std::fs::read_to_string(clone.join("to/ol/tool")).expect("a file");
    assert_eq!(shown, upstream.index_file("tool"));
    let cargo = Cargo::unconfigured()
        .config(&format!(
            "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"file://{}\"\n",
            folder.display()
        ))
        .project(&[("tool", "1")]);
    cargo.run(&["build"]).await.success();
    // Again, with one more: it takes the place of the one before.
    let more = Package::new("more", "1.0.0");
    upstream.publish(more.clone());
    fetch(&upstream, store.path(), &[more]).await;
    exported(&url)
        .await
        .success()
        .stdout_contains("3 index files");
    git.check(&folder).await;
    // Its pack stays for who has begun to read it, and no other does.
    let packs = || std::fs::read_dir(folder.join("objects/pack")).expect("a folder");
    assert_eq!(packs().count(), 4);
    exported(&url).await.success();
    assert_eq!(packs().count(), 2);
    cargo
        .project(&[("more", "1")])
        .run(&["build"])
        .await
        .success();
    std::fs::write(desk.file("site/other"), "something").expect("a file");
    let words = ["--format", "git", "--url", mirror.url()];
    let refused = export(store.path(), &desk.file("site"), &words).await;
    refused
        .code(2)
        .stderr_contains("there is something else in");
}

/// The pack of a repository that has one.
fn pack(folder: &std::path::Path) -> String {
    let files = std::fs::read_dir(folder.join("objects/pack")).expect("a folder");
    let mut files = files.flatten().map(|entry| entry.path());
    let pack = files.find(|path| path.extension().is_some_and(|e| e == "pack"));
    pack.expect("a pack").display().to_string()
}
