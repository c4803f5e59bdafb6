//! The git index: what is stored is in it and nothing else, as the sparse index would show it; a fetch carries what has changed; and git has nothing to say against any of it.

use std::path::Path;

use crate::support::{
    Git, Mirror, MirrorBuilder, Package, TokenFile, Upstream, client, index_path, until,
};

const NAMES: [&str; 8] = ["a", "ab", "abc", "abcd", "abce", "a_b-c", "Serde", "zebra"];

async fn upstream() -> Upstream {
    let packages = NAMES.map(|name| Package::new(name, "1.0.0"));
    Upstream::new().publish_all(packages).start().await
}

/// A mirror that has all index files of `NAMES`, and asks upstream whenever one is asked for.
async fn mirror(upstream: &Upstream) -> Mirror {
    stocked(Mirror::of(upstream).always_asks()).await
}

async fn stocked(builder: MirrorBuilder) -> Mirror {
    let mirror = builder.start().await;
    for name in NAMES {
        seen(&mirror, name).await;
    }
    mirror
}

/// Has an index file fetched, and waits until it is stored.
async fn seen(mirror: &Mirror, name: &str) {
    let path = index_path(&name.to_lowercase());
    let reply = mirror.get(&format!("/index/{path}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = mirror.index_record(&name.to_lowercase());
    until("stored", || {
        std::fs::read(&record).is_ok_and(|bytes| bytes.ends_with(&reply.body))
    })
    .await;
}

fn git_url(mirror: &Mirror) -> String {
    format!("{}/git/index", mirror.url())
}

/// Fetches until there is another commit than this one: a record is noticed when it has been written.
async fn fetched_after(git: &Git, clone: &Path, before: &str) -> String {
    for _ in 0..200 {
        git.run(clone, &["fetch", "--quiet", "origin"])
            .await
            .success();
        let now = git.says(clone, &["rev-parse", "origin/master"]).await;
        if now != before {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no other commit than {before}");
}

#[tokio::test]
async fn a_clone_has_what_is_stored_where_cargo_looks_for_it() {
    let upstream = upstream().await;
    upstream.publish(Package::new("unseen", "1.0.0"));
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&mirror), "clone", &[]).await;
    git.check(&clone).await;
    for name in NAMES {
        let path = index_path(&name.to_lowercase());
        let sparse = mirror.get(&format!("/index/{path}")).await;
        let file = std::fs::read(clone.join(&path)).expect("a file");
        assert_eq!(file, sparse.body, "{name}");
    }
    let config = std::fs::read(clone.join("config.json")).expect("a file");
    assert_eq!(config, mirror.get("/index/config.json").await.body);
    let listed = git.says(&clone, &["ls-files"]).await;
    assert_eq!(listed.lines().count(), NAMES.len() + 1, "{listed}");
    let head = git.says(&clone, &["symbolic-ref", "HEAD"]).await;
    assert_eq!(head, "refs/heads/master");
    let remote = git.says(&clone, &["ls-remote", "--symref", "origin"]).await;
    assert!(
        remote.starts_with("ref: refs/heads/master\tHEAD"),
        "{remote}"
    );
}

/// What depends on how a client came here is remembered for some of these ways; then the commits that others had fetched were no longer known.
#[tokio::test]
async fn the_commits_that_were_fetched_come_back_however_many_ask_under_other_names() {
    let upstream = upstream().await;
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&mirror), "clone", &[]).await;
    let first = git.says(&clone, &["rev-parse", "HEAD"]).await;
    upstream.publish(Package::new("abcd", "1.1.0"));
    seen(&mirror, "abcd").await;
    let second = fetched_after(&git, &clone, &first).await;
    for n in 0..70 {
        let mut stream = tokio::net::TcpStream::connect(mirror.addr())
            .await
            .expect("connected");
        let (host, path) = (
            format!("h{n}.example"),
            "/git/index/info/refs?service=git-upload-pack",
        );
        let headers = [("connection", "close")];
        let reply = client::get_over(&mut stream, &host, path, &headers).await;
        assert_eq!(reply.expect("an answer").status, 200);
    }
    let listed = git.says(&clone, &["ls-remote", "origin", "HEAD"]).await;
    assert!(listed.starts_with(&second), "{listed} isn't {second}");
    upstream.publish(Package::new("abcd", "1.2.0"));
    seen(&mirror, "abcd").await;
    let third = fetched_after(&git, &clone, &second).await;
    let parent = git.says(&clone, &["rev-parse", &format!("{third}^")]).await;
    assert_eq!(parent, second);
}

#[tokio::test]
async fn a_fetch_carries_what_has_changed_and_its_commit_follows_the_one_before() {
    let upstream = upstream().await;
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&mirror), "clone", &[]).await;
    let first = git.says(&clone, &["rev-parse", "HEAD"]).await;
    git.run(&clone, &["fetch", "origin"]).await.success();
    assert_eq!(
        git.says(&clone, &["rev-parse", "origin/master"]).await,
        first
    );
    upstream.publish(Package::new("abcd", "1.1.0"));
    seen(&mirror, "abcd").await;
    let second = fetched_after(&git, &clone, &first).await;
    let parent = git
        .says(&clone, &["rev-parse", &format!("{second}^")])
        .await;
    assert_eq!(parent, first);
    let changed = git
        .says(&clone, &["diff", "--name-only", &first, &second])
        .await;
    assert_eq!(changed, "ab/cd/abcd");
    upstream.publish(Package::new("newcomer", "1.0.0"));
    seen(&mirror, "newcomer").await;
    fetched_after(&git, &clone, &second).await;
    git.run(&clone, &["pull", "--quiet", "--ff-only"])
        .await
        .success();
    assert!(clone.join("ne/wc/newcomer").exists());
    git.check(&clone).await;
    // The objects of one change: a file, two folders and the one at the top, and a commit.
    let whole = git.cloned(&git_url(&mirror), "whole", &["--bare"]).await;
    git.check(&whole).await;
    let between = format!("{first}..{second}");
    let objects = git.says(&whole, &["rev-list", "--objects", &between]).await;
    assert_eq!(objects.lines().count(), 5, "{objects}");
    let count = git.says(&whole, &["rev-list", "--count", "HEAD"]).await;
    assert_eq!(count, "3");
}

#[tokio::test]
async fn the_same_content_is_the_same_tree_and_after_a_start_the_same_commit() {
    let upstream = upstream().await;
    let public = "public_url = \"http://mirror.test\"";
    let builder = Mirror::of(&upstream).server(public);
    let mirror = stocked(builder).await;
    let git = Git::new();
    let here = |mirror: &Mirror| format!("http://{}/git/index", mirror.addr());
    let clone = git.cloned(&here(&mirror), "clone", &[]).await;
    let mirror = mirror.restart().await;
    let url = here(&mirror);
    let remote = git.says(&clone, &["ls-remote", &url, "HEAD"]).await;
    let head = git.says(&clone, &["rev-parse", "HEAD"]).await;
    assert_eq!(remote.split('\t').next(), Some(&*head));
    // A mirror that has seen other states before has other commits, and the same tree.
    upstream.publish(Package::new("abcd", "1.1.0"));
    mirror.age("abcd", std::time::Duration::from_secs(3_600));
    let mirror = mirror.restart().await;
    seen(&mirror, "abcd").await;
    let url = here(&mirror);
    let other = git.cloned(&url, "other", &[]).await;
    git.run(&clone, &["fetch", "--quiet", &url, "master"])
        .await
        .success();
    git.check(&clone).await;
    let tree = ["rev-parse", "FETCH_HEAD^{tree}"];
    let fetched = git.says(&clone, &tree).await;
    let cloned = git.says(&other, &["rev-parse", "HEAD^{tree}"]).await;
    assert_eq!(fetched, cloned);
}

#[tokio::test]
async fn a_shallow_clone_is_as_deep_as_it_is_asked_to_be_and_can_be_deepened() {
    let upstream = upstream().await;
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let url = git_url(&mirror);
    let clone = git.cloned(&url, "clone", &["--depth", "1"]).await;
    git.check(&clone).await;
    let mut last = git.says(&clone, &["rev-parse", "HEAD"]).await;
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        upstream.publish(Package::new("abcd", version));
        seen(&mirror, "abcd").await;
        last = fetched_after(&git, &clone, &last).await;
    }
    git.check(&clone).await;
    for depth in [1, 2, 3] {
        let name = format!("depth-{depth}");
        let options = ["--depth", &depth.to_string()];
        let shallow = git.cloned(&url, &name, &options).await;
        git.check(&shallow).await;
        let count = git.says(&shallow, &["rev-list", "--count", "HEAD"]).await;
        assert_eq!(count, depth.to_string());
        git.run(&shallow, &["fetch", "--quiet", "--unshallow"])
            .await
            .success();
        git.check(&shallow).await;
        let count = git.says(&shallow, &["rev-list", "--count", "HEAD"]).await;
        assert_eq!(count, "4");
        let inside = ["rev-parse", "--is-shallow-repository"];
        assert_eq!(git.says(&shallow, &inside).await, "false");
    }
}

#[tokio::test]
async fn it_shows_what_the_rules_show_and_each_view_has_its_own() {
    let upstream = upstream().await;
    upstream.publish(Package::new("abcd", "2.0.0"));
    let rules = "[[policy.rules]]\ncrates = [\"abcd\"]\nversions = \">=2\"\naction = \"deny\"\nreason = \"too new\"\n[[policy.rules]]\ncrates = [\"zebra\"]\naction = \"deny\"\nreason = \"striped\"\n[views.lts]\nregistry = \"crates-io\"\n[[views.lts.rules]]\ncrates = [\"abce\"]\nversions = \"*\"\naction = \"deny\"\nreason = \"old\"";
    let mirror = Mirror::of(&upstream).settings(rules).start().await;
    for name in NAMES.iter().filter(|name| **name != "zebra") {
        seen_under_rules(&mirror, name).await;
    }
    let git = Git::new();
    for place in ["", "/views/lts", "/registries/crates-io"] {
        let name = format!("clone{}", place.replace('/', "-"));
        let url = format!("{}{place}/git/index", mirror.url());
        let clone = git.cloned(&url, &name, &[]).await;
        git.check(&clone).await;
        for name in ["abcd", "abce"] {
            let path = index_path(name);
            let sparse = mirror.get(&format!("{place}/index/{path}")).await;
            let file = std::fs::read(clone.join(&path)).expect("a file");
            assert_eq!(
                String::from_utf8_lossy(&file),
                sparse.text(),
                "{place} {name}"
            );
        }
        assert!(!clone.join("ze/br/zebra").exists());
        let config = std::fs::read_to_string(clone.join("config.json")).expect("a file");
        assert!(
            config.contains(&format!("{place}/api/v1/crates\"")),
            "{config}"
        );
    }
    let day = mirror.get("/at/2026-11-01/git/index/info/refs?service=git-upload-pack");
    assert_eq!(day.await.status, 404);
}

/// Has an index file fetched and stored, whatever is shown of it.
async fn seen_under_rules(mirror: &Mirror, name: &str) {
    let path = index_path(&name.to_lowercase());
    let reply = mirror.get(&format!("/index/{path}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = mirror.index_record(&name.to_lowercase());
    until("stored", || record.exists()).await;
}

#[tokio::test]
async fn offline_it_shows_what_can_be_had() {
    let upstream = upstream().await;
    upstream.publish(Package::new("abcd", "1.1.0"));
    let folder = tempfile::tempdir().expect("a folder");
    let online = stocked(Mirror::of(&upstream).store(folder.path())).await;
    online.download_all(&upstream, &["abcd".to_owned()]).await;
    online.stop().await;
    let offline = Mirror::of(&upstream)
        .store(folder.path())
        .settings("[offline]\nenabled = true")
        .start()
        .await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&offline), "clone", &[]).await;
    git.check(&clone).await;
    for name in ["abcd", "abce"] {
        let path = index_path(name);
        let sparse = offline.get(&format!("/index/{path}")).await;
        let file = std::fs::read(clone.join(&path)).expect("a file");
        assert_eq!(String::from_utf8_lossy(&file), sparse.text(), "{name}");
    }
    let hidden = std::fs::read_to_string(clone.join("ab/ce/abce")).expect("a file");
    assert!(hidden.contains("\"yanked\":true"), "{hidden}");
}

#[tokio::test]
async fn a_crate_that_upstream_no_longer_has_goes() {
    let upstream = upstream().await;
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&mirror), "clone", &[]).await;
    let first = git.says(&clone, &["rev-parse", "HEAD"]).await;
    upstream.delete("zebra");
    let reply = mirror.get("/index/ze/br/zebra").await;
    assert_eq!(reply.status, 404);
    let second = fetched_after(&git, &clone, &first).await;
    let changed = git
        .says(&clone, &["diff", "--name-status", &first, &second])
        .await;
    assert_eq!(changed, "D\tze/br/zebra");
}

#[tokio::test]
async fn who_may_not_ask_gets_nothing_and_a_token_goes_as_a_password_or_in_the_path() {
    let upstream = upstream().await;
    let tokens = TokenFile::new();
    let token = tokens.add("ci");
    let builder = Mirror::of(&upstream).settings(&tokens.settings("token_in_path = true"));
    let mirror = builder.start().await;
    let headers = [("authorization", &*token)];
    let reply = mirror.get_with("/index/ab/cd/abcd", &headers).await;
    assert_eq!(reply.status, 200);
    let record = mirror.index_record("abcd");
    until("stored", || record.exists()).await;
    let git = Git::new();
    let refused = git
        .run(git.folder(), &["clone", &git_url(&mirror), "no"])
        .await;
    refused.failure().stderr_contains("could not read Username");
    let refs = "/git/index/info/refs?service=git-upload-pack";
    let reply = mirror.get(refs).await;
    assert_eq!(reply.status, 401);
    let challenge = reply.text() + &format!("{:?}", reply.headers);
    assert!(challenge.contains("Basic realm="), "{challenge}");
    let with_password = git_url(&mirror).replace("http://", &format!("http://ci:{token}@"));
    let clone = git.cloned(&with_password, "password", &[]).await;
    let config = std::fs::read_to_string(clone.join("config.json")).expect("a file");
    assert!(
        config.contains("auth-required") && !config.contains(&token),
        "{config}"
    );
    let in_path = format!("{}/t/{token}/git/index", mirror.url());
    let clone = git.cloned(&in_path, "path", &[]).await;
    git.check(&clone).await;
    let config = std::fs::read_to_string(clone.join("config.json")).expect("a file");
    let dl = format!("/t/{token}/api/v1/crates\"");
    assert!(
        config.contains(&dl) && !config.contains("auth-required"),
        "{config}"
    );
    assert!(clone.join("ab/cd/abcd").exists());
}

#[tokio::test]
async fn what_waits_comes_when_its_time_has_come() {
    let upstream = upstream().await;
    let now = std::time::SystemTime::now();
    let published = humantime::format_rfc3339_seconds(now).to_string();
    upstream.publish(Package::new("abcd", "2.0.0").pubtime(&published));
    let cooldown = "[policy]\ncooldown = \"8s\"";
    let mirror = Mirror::of(&upstream).settings(cooldown).start().await;
    seen_under_rules(&mirror, "abcd").await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&mirror), "clone", &[]).await;
    let first = git.says(&clone, &["rev-parse", "HEAD"]).await;
    let hidden = std::fs::read_to_string(clone.join("ab/cd/abcd")).expect("a file");
    assert!(
        hidden.contains("\"vers\":\"2.0.0\"") && hidden.contains("\"yanked\":true"),
        "{hidden}"
    );
    shown_after(&git, &clone, &first, &upstream).await;
}

#[tokio::test]
async fn a_history_is_begun_anew_now_and_then_and_who_has_an_old_state_goes_on() {
    const STATES: usize = 70;
    let upstream = upstream().await;
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let url = git_url(&mirror);
    let clone = git.cloned(&url, "clone", &["--bare"]).await;
    let mut tip = git.says(&clone, &["rev-parse", "HEAD"]).await;
    for number in 0..STATES {
        upstream.publish(Package::new("abcd", &format!("1.0.{}", number + 1)));
        seen(&mirror, "abcd").await;
        tip = tip_after(&mirror, &tip).await;
    }
    let fetched = git
        .run(&clone, &["fetch", "origin", "+master:master"])
        .await;
    fetched.success();
    git.check(&clone).await;
    assert_eq!(git.says(&clone, &["rev-parse", "master"]).await, tip);
    let count = git.says(&clone, &["rev-list", "--count", "master"]).await;
    assert_eq!(count.parse::<usize>().ok(), Some(STATES + 1 - 64));
    let whole = git.cloned(&url, "whole", &["--bare"]).await;
    git.check(&whole).await;
    let file = git.says(&whole, &["show", "HEAD:ab/cd/abcd"]).await;
    assert_eq!(file, upstream.index_file("abcd").trim_end());
}

/// The commit that comes after this one.
async fn tip_after(mirror: &Mirror, before: &str) -> String {
    for _ in 0..500 {
        let refs = mirror
            .get("/git/index/info/refs?service=git-upload-pack")
            .await;
        let text = refs.text();
        let end = text.find(" HEAD").expect("a reference");
        let tip = &text[end - 40..end];
        if tip != before {
            return tip.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("no other commit than {before}");
}

#[tokio::test]
async fn what_the_settings_name_is_always_in_it_and_fresh() {
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("crates.txt");
    std::fs::write(&list, "abcd\nserde # and a remark\nunknown-to-everybody\n").expect("a file");
    let settings = format!(
        "[git_index]\ncrates = [{list:?}]\nevery = \"10s\"\n[freshness]\nfresh_for = \"0s\""
    );
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    let records = ["abcd", "serde"].map(|name| mirror.index_record(name));
    until("stored", || records.iter().all(|record| record.exists())).await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&mirror), "clone", &[]).await;
    let listed = git.says(&clone, &["ls-files"]).await;
    assert_eq!(listed, "ab/cd/abcd\nconfig.json\nse/rd/serde");
    upstream.publish(Package::new("abcd", "1.1.0"));
    let first = git.says(&clone, &["rev-parse", "HEAD"]).await;
    shown_after(&git, &clone, &first, &upstream).await;
}

/// Fetches until the index file of `abcd` is upstream's as it is now, which it wasn't in that commit.
async fn shown_after(git: &Git, clone: &Path, commit: &str, upstream: &Upstream) {
    let file = async |commit: &str| {
        git.says(clone, &["show", &format!("{commit}:ab/cd/abcd")])
            .await
    };
    let now = upstream.index_file("abcd");
    assert_ne!(file(commit).await, now.trim_end());
    for _ in 0..400 {
        git.run(clone, &["fetch", "--quiet", "origin"])
            .await
            .success();
        if file("origin/master").await == now.trim_end() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the index file never came");
}

/// Whoever puts objects into the store beside a running mirror says so, and that is heard here, too.
#[tokio::test]
async fn what_is_imported_beside_it_is_in_it() {
    use crate::support::bundle::{Desk, export, import};
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let online = stocked(Mirror::of(&upstream).store(folder.path())).await;
    online.stop().await;
    let (desk, store) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    let bundle = desk.file("bundle.tar.zst");
    export(folder.path(), &bundle, &[]).await.success();
    let builder = Mirror::of(&upstream).store(store.path());
    let offline = builder.settings("[offline]\nenabled = true\nindex = \"full\"");
    let offline = offline.start().await;
    let git = Git::new();
    let clone = git.cloned(&git_url(&offline), "clone", &[]).await;
    assert_eq!(git.says(&clone, &["ls-files"]).await, "config.json");
    import(store.path(), &[bundle.to_str().expect("a path")])
        .await
        .success();
    git.run(&clone, &["pull", "--quiet", "--ff-only"])
        .await
        .success();
    git.check(&clone).await;
    let listed = git.says(&clone, &["ls-files"]).await;
    assert_eq!(listed.lines().count(), NAMES.len() + 1, "{listed}");
}
