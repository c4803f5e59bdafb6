//! The whole way across an air gap, with the real program and the real cargo: filled outside, carried as a file, built from inside; and again with
//! what was missing.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{Cargo, Ended, Mirror, Package, Program, Upstream};

/// How many packages the project has: more than most. Each needs the two before it, so that the graph is deep.
const PACKAGES: usize = 160;

fn name(n: usize) -> String {
    format!("pack-{n:03}")
}

async fn registry() -> Upstream {
    let packages = (0..PACKAGES).flat_map(|n| {
        let version = |version: &str| {
            let package = Package::new(&name(n), version);
            let needs = [n.checked_sub(1), n.checked_sub(7)].into_iter().flatten();
            needs.fold(package, |package, before| package.dep(&name(before), "1"))
        };
        [version("1.0.0"), version("1.0.1")]
    });
    Upstream::new().publish_all(packages).start().await
}

/// The program on one side of the gap, with its store in that folder. Outside it has `upstream`, inside it has none.
struct Side<'a> {
    folder: &'a Path,
    settings: String,
}

impl Side<'_> {
    async fn run(&self, words: &[&str]) -> Ended {
        let config = self.folder.join("mirror.toml");
        fs::write(&config, &self.settings).expect("settings");
        let config = config.to_str().expect("UTF-8");
        let program = Program::new(&[words, &["--config", config]].concat());
        program.with_cargo().run().await
    }

    async fn done(&self, words: &[&str]) -> Ended {
        let ended = self.run(words).await;
        let (code, stderr) = (ended.code, &ended.stderr);
        assert_eq!(code, Some(0), "{words:?}: {} {stderr}", ended.stdout);
        ended
    }
}

fn entries(manifest: &Path) -> usize {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    manifest["entries"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_farm_with_no_way_out_builds_what_was_carried_in() {
    let upstream = registry().await;
    let [outside, inside, disk] = [(); 3].map(|()| TempDir::new().expect("a folder"));
    let store = |side: &TempDir| {
        format!(
            "[store]\npath = {:?}\nsync = false\n",
            side.path().join("store")
        )
    };
    let out = Side {
        folder: outside.path(),
        settings: format!(
            "{}[registries.crates-io]\nindex = \"{}\"\n",
            store(&outside),
            upstream.index_url()
        ),
    };
    let inn = Side {
        folder: inside.path(),
        settings: format!("{}[offline]\nenabled = true\n", store(&inside)),
    };
    let on_disk = |name: &str| disk.path().join(name).to_str().expect("UTF-8").to_owned();

    // Outside a project is developed; its lockfile is what has to be carried.
    let developed = Mirror::of(&upstream).start().await;
    let project = Cargo::new(&developed.index_url()).project(&[(&name(PACKAGES - 1), "1")]);
    project.run(&["generate-lockfile"]).await.success();
    assert!(project.lockfile().matches("[[package]]").count() > 150);
    let lockfile = project.project_dir().join("Cargo.lock");
    let lockfile = lockfile.to_str().expect("UTF-8");
    out.done(&["prefetch", lockfile]).await;
    let bundle = on_disk("crates.tar.zst");
    out.done(&["export", "-o", &bundle]).await;
    assert_eq!(
        entries(&disk.path().join("crates.manifest.json")),
        2 * PACKAGES
    );

    // The upstream is gone: nothing from here on can ask it.
    upstream.stop().await;
    inn.done(&["import", &bundle]).await;
    inn.done(&["check", lockfile]).await;
    let farm = Mirror::unconfigured()
        .store(&inside.path().join("store"))
        .settings("[offline]\nenabled = true");
    let farm = farm.start().await;
    let build = Cargo::new(&farm.index_url()).project(&[(&name(PACKAGES - 1), "1")]);
    build.write("Cargo.lock", &project.lockfile());
    build.run(&["build", "--locked"]).await.success();
    build.run(&["update"]).await.success();
    build.run(&["build"]).await.success();

    // A new lockfile: inside it can't be built, and what is missing is known.
    upstream.restart().await;
    upstream.publish(Package::new("newcomer", "2.0.0").dep("its-friend", "0.3"));
    upstream.publish(Package::new("its-friend", "0.3.1").dep(&name(3), "1"));
    let deps = [(&*name(PACKAGES - 1), "1"), ("newcomer", "2")];
    let project = project.project(&deps);
    project.run(&["update", "--workspace"]).await.success();
    let build = build.project(&deps);
    build.write("Cargo.lock", &project.lockfile());
    let failed = build.run(&["build", "--locked"]).await;
    failed.failure();
    let missing = inn.run(&["check", lockfile]).await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stdout.contains("newcomer@2.0.0"),
        "{}",
        missing.stdout
    );
    let list = on_disk("list");
    // What was missed is written down beside the answer, perhaps after it.
    let wanted = inn.done(&["wanted"]).await.stdout;
    fs::write(&list, &wanted).expect("a list");
    assert!(wanted.contains("newcomer\n"), "{wanted}");
    inn.done(&[
        "export",
        "--manifest-only",
        "-o",
        &on_disk("inside.manifest.json"),
    ])
    .await;

    // The list goes out, and only the difference comes back; the farm's server sees it without a restart.
    out.done(&["prefetch", "--deps", &list]).await;
    let delta = on_disk("more.tar.zst");
    out.done(&[
        "export",
        "-o",
        &delta,
        "--since",
        &on_disk("inside.manifest.json"),
    ])
    .await;
    assert_eq!(
        entries(&disk.path().join("more.manifest.json")),
        4,
        "only what is new"
    );
    upstream.stop().await;
    inn.done(&["import", &delta]).await;
    build.run(&["build", "--locked"]).await.success();
    assert_eq!(inn.done(&["wanted"]).await.stdout, "");
}
