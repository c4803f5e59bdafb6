//! Credentials: what a registry wants to see is shown to it, and to nobody else; and what becomes of one that it refuses.

use std::{path::Path, time::Duration};

use crate::support::{
    Mirror, MirrorBuilder, Package, Program, Reply, Running, TokenFile, Upstream, UpstreamBuilder,
    client,
};

const INDEX: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";
const REFUSED: &str = "127.0.0.1 refused this mirror's credential; ask whoever runs this mirror";

fn registry() -> UpstreamBuilder {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .publish(Package::new("tokio", "1.0.0"))
}

/// A mirror with the table `[registries.crates-io.credential]`.
fn showing(upstream: &Upstream, credential: &str) -> MirrorBuilder {
    let table = format!("[registries.crates-io.credential]\n{credential}");
    Mirror::of(upstream).settings(&table)
}

/// A file with this in it, in a folder that goes with the first value.
fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, content).expect("written");
    (folder, path)
}

/// A credential in the form `kind`, from a file.
fn from_file(kind: &str, path: &Path) -> String {
    format!("kind = {kind}\nfile = {path:?}")
}

/// One from a command that writes down each time that it is asked.
fn from_script(script: &str) -> String {
    format!("kind = \"raw\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]")
}

async fn get(process: &Running, path: &str) -> Reply {
    client::get(process.addr(), path, &[]).await
}

#[tokio::test]
async fn each_form_goes_to_config_json_the_index_and_the_dl_of_the_same_origin() {
    let (_folder, path) = file("hunter2\n");
    for (kind, expected) in [
        ("\"raw\"", "hunter2"),
        ("\"bearer\"", "Bearer hunter2"),
        ("\"basic\"\nuser = \"ci\"", "Basic Y2k6aHVudGVyMg=="),
    ] {
        let upstream = registry().token(expected).start().await;
        let mirror = showing(&upstream, &from_file(kind, &path)).start().await;
        for path in [INDEX, DOWNLOAD] {
            let reply = mirror.get(path).await;
            assert_eq!(reply.status, 200, "{kind}: {}", reply.text());
        }
        // It doesn't take a 401 first.
        let asked = upstream.requests();
        assert_eq!(asked.len(), 3, "{asked:?}");
    }
    let upstream = registry().start().await;
    let own = from_file("\"header\"\nheader = \"X-Api-Key\"", &path);
    let mirror = showing(&upstream, &own).start().await;
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
    for seen in upstream.requests() {
        assert_eq!(seen.header("x-api-key"), Some("hunter2"), "{}", seen.path);
        assert_eq!(seen.header("authorization"), None, "{}", seen.path);
    }
}

/// Cargo sends a URL's user to the index only; a registry that wants to see one wants to see it with its downloads too.
#[tokio::test]
async fn user_and_password_in_the_url_are_a_credential() {
    let upstream = registry().token("Basic bWU6aHVudGVyMg==").start().await;
    let url = upstream.index_url().replace("//", "//me:hunter2@");
    let mirror = Mirror::of_index(&url).start().await;
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
    let wrong = upstream.index_url().replace("//", "//me:hunter3@");
    let mirror = Mirror::of_index(&wrong).start().await;
    mirror.get(INDEX).await.assert_refused(REFUSED);
}

#[tokio::test]
async fn a_dl_elsewhere_is_shown_it_only_if_the_operator_says_so() {
    let (_folder, path) = file("hunter2");
    let elsewhere = registry().start().await;
    let dl = format!("{}/dl", elsewhere.url());
    let upstream = registry().token("hunter2").dl(&dl).start().await;
    let credential = from_file("\"raw\"", &path);
    let also = format!("{credential}\nalso = [\"{}\"]", elsewhere.url());
    for (credential, shown) in [(credential, None), (also, Some("hunter2"))] {
        elsewhere.clear_log();
        let mirror = showing(&upstream, &credential).start().await;
        assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
        let seen = elsewhere.requests();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].header("authorization"), shown);
    }
    // Who wants one there is told how.
    elsewhere.on_crate_files().fail(401);
    let mirror = showing(&upstream, &from_file("\"raw\"", &path))
        .start()
        .await;
    let reply = mirror.get(DOWNLOAD).await;
    reply.assert_refused("`registries.crates-io.credential.also`");
}

/// Nobody to whom a registry leads may learn it, in whatever header it is, and not when he leads back either.
#[tokio::test]
async fn it_goes_along_no_redirect_to_another_origin() {
    let (_folder, path) = file("hunter2");
    let (upstream, elsewhere) = (registry().start().await, registry().start().await);
    for (kind, header) in [
        ("\"raw\"", "authorization"),
        ("\"header\"\nheader = \"X-Api-Key\"", "x-api-key"),
    ] {
        let also = format!("\nalso = [\"{}\"]", elsewhere.url());
        for credential in [from_file(kind, &path), from_file(kind, &path) + &also] {
            upstream.clear_log();
            elsewhere.clear_log();
            let there = format!("{}/dl/serde/1.0.0/download", elsewhere.url());
            let out = upstream.on("/dl/serde").times(1).redirect(&there);
            let back = format!("{}/dl/serde/1.0.0/download?again", upstream.url());
            let and_back = elsewhere.on("/dl/serde").redirect(&back);
            let mirror = showing(&upstream, &credential).start().await;
            assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
            assert_eq!(elsewhere.requests()[0].header(header), None);
            let last = upstream.requests().pop().expect("a request");
            assert!(last.path.ends_with("?again"), "{}", last.path);
            assert_eq!(last.header(header), None);
            out.lift();
            and_back.lift();
        }
    }
    // Within the origin it stays.
    upstream
        .on("/dl/serde")
        .times(1)
        .redirect("/dl/serde/1.0.0/download?here");
    let mirror = showing(&upstream, &from_file("\"raw\"", &path))
        .start()
        .await;
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
    let last = upstream.requests().pop().expect("a request");
    assert_eq!(last.header("authorization"), Some("hunter2"));
}

#[tokio::test]
async fn one_that_is_refused_is_told_and_is_no_outage() {
    let (_folder, path) = file("wrong");
    let upstream = registry().token("right").start().await;
    let mirror = showing(&upstream, &from_file("\"raw\"", &path))
        .start()
        .await;
    for path in [INDEX, DOWNLOAD] {
        mirror.get(path).await.assert_refused(REFUSED);
    }
    // 403 says the same, and may say that it isn't enough for this.
    let open = registry().start().await;
    open.on_everything().fail(403);
    let mirror = showing(&open, &from_file("\"raw\"", &path)).start().await;
    for path in [INDEX, DOWNLOAD] {
        mirror
            .get(path)
            .await
            .assert_refused("127.0.0.1 refused this mirror's credential, or");
    }
    let ready = mirror.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
}

/// An object store behind the `dl` says 403 for what isn't there; it was shown nothing.
#[tokio::test]
async fn a_403_for_a_crate_still_means_missing_where_no_credential_was_shown() {
    let (_folder, path) = file("right");
    let elsewhere = registry().start().await;
    let dl = format!("{}/dl", elsewhere.url());
    let upstream = registry().token("right").dl(&dl).start().await;
    let mirror = showing(&upstream, &from_file("\"raw\"", &path))
        .start()
        .await;
    elsewhere.on_crate_files().fail(403);
    assert_eq!(mirror.get(DOWNLOAD).await.status, 404);
}

#[tokio::test]
async fn who_has_none_for_a_registry_that_wants_one_is_told_where_it_goes() {
    let upstream = registry().token("right").start().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in [INDEX, DOWNLOAD] {
        let reply = mirror.get(path).await;
        reply.assert_refused("`[registries.crates-io.credential]`");
    }
}

#[tokio::test]
async fn what_is_here_is_served_while_it_is_refused() {
    let (_folder, path) = file("first");
    let upstream = registry().start().await;
    let credential = from_file("\"raw\"", &path);
    let mirror = showing(&upstream, &credential).always_asks().start().await;
    for path in [INDEX, DOWNLOAD] {
        assert_eq!(mirror.get(path).await.status, 200);
    }
    upstream.on_everything().fail(401);
    assert_eq!(mirror.get(INDEX).await.header("x-cache"), Some("stale"));
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
}

/// Two registries on one server: what one of them refuses says nothing of the other.
#[tokio::test]
async fn one_that_is_refused_keeps_nobody_else_from_being_asked() {
    let (_folder, path) = file("wrong");
    let upstream = registry().start().await;
    let other = format!(
        "[registries.inner]\nindex = \"{0}\"\n[registries.inner.credential]\n{1}",
        upstream.index_url(),
        from_file("\"bearer\"", &path)
    );
    let mirror = Mirror::of(&upstream)
        .settings(&other)
        .always_asks()
        .start()
        .await;
    upstream.on("/to/ki/tokio").fail(401);
    for _ in 0..20 {
        let reply = mirror.get("/registries/inner/index/to/ki/tokio").await;
        reply.assert_refused(REFUSED);
    }
    assert_eq!(mirror.get(INDEX).await.status, 200);
}

/// A server may block who shows it what it refuses again and again, and everybody behind the same address with it.
#[tokio::test]
async fn one_that_is_refused_again_and_again_is_not_shown_for_a_while() {
    let (_folder, path) = file("wrong");
    let upstream = registry().token("right").start().await;
    let credential = from_file("\"raw\"", &path);
    let mirror = showing(&upstream, &credential).always_asks().start().await;
    for _ in 0..20 {
        mirror.get(INDEX).await.assert_refused(REFUSED);
    }
    let asked = upstream.requests().len();
    assert!((3..10).contains(&asked), "asked {asked} times");
    // Another one is tried at once.
    std::fs::write(&path, "right").expect("written");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(mirror.get(INDEX).await.status, 200);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_has_changed() {
    let (_folder, path) = file("old");
    let upstream = registry().token("new").start().await;
    let credential = from_file("\"raw\"", &path);
    let mirror = showing(&upstream, &credential).always_asks().start().await;
    mirror.get(INDEX).await.assert_refused(REFUSED);
    std::fs::write(&path, "new\n").expect("written");
    // The 401 has it read: nobody waits for anything.
    let reply = mirror.get(INDEX).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // What can't be read leaves what was there in use.
    std::fs::remove_file(&path).expect("removed");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(mirror.get(INDEX).await.status, 200);
    std::fs::write(&path, "two\nlines").expect("written");
    assert_eq!(mirror.get(INDEX).await.status, 200);
}

#[tokio::test]
async fn a_command_is_run_once_for_all_who_wait_and_its_answer_is_kept() {
    let (_folder, log) = file("");
    let script = format!("echo run >> {}; sleep 0.3; echo hunter2", log.display());
    let upstream = registry().token("hunter2").start().await;
    let mirror = showing(&upstream, &from_script(&script)).start().await;
    let (a, b) = (mirror.get(INDEX), mirror.get("/index/to/ki/tokio"));
    let (c, d) = (mirror.get(DOWNLOAD), mirror.get(INDEX));
    let replies = tokio::join!(a, b, c, d);
    for reply in [replies.0, replies.1, replies.2, replies.3] {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let runs = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(runs, "run\n");
}

/// A token that was good for twelve hours, and is taken back after one.
#[tokio::test]
async fn a_401_has_the_command_run_once_more_and_not_again_and_again() {
    let (_folder, path) = file("old");
    let (_other, log) = file("");
    let script = format!("echo run >> {}; cat {}", log.display(), path.display());
    let upstream = registry().start().await;
    let credential = from_script(&script);
    let mirror = showing(&upstream, &credential).always_asks().start().await;
    assert_eq!(mirror.get(INDEX).await.status, 200);
    let runs = || {
        std::fs::read_to_string(&log)
            .expect("a log")
            .lines()
            .count()
    };
    assert_eq!(runs(), 1);
    // It was run a moment ago: what it would print now is what it has printed.
    upstream.on_everything().fail(401);
    for _ in 0..5 {
        assert_eq!(mirror.get(INDEX).await.header("x-cache"), Some("stale"));
    }
    assert_eq!(runs(), 1);
}

#[tokio::test]
async fn a_command_that_fails_is_told_to_nobody_outside_and_its_status_is_logged() {
    let upstream = registry().token("hunter2").start().await;
    let script = "echo hunter2; echo 'the vault is sealed' >&2; exit 3";
    let settings = format!("[registries.crates-io.credential]\n{}", from_script(script));
    // Before the table of the registry itself, which the kit writes.
    let program = Program::new(&["serve"]).settings(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io]\nindex = \"{}\"\n{settings}",
        upstream.index_url()
    ));
    let mut process = program.start().await;
    let reply = get(&process, INDEX).await;
    reply.assert_unavailable("a command that fails");
    let text = reply.text();
    assert!(text.contains("can't get at its credential"), "{text}");
    assert!(
        !text.contains("sealed") && !text.contains("hunter2"),
        "{text}"
    );
    let line = process
        .logged(|line| line.contains("what it says on standard error isn't shown"))
        .await;
    assert!(line.contains("exit status: 3"), "{line}");
    assert!(
        !line.contains("sealed") && !line.contains("hunter2"),
        "{line}"
    );
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_file_or_a_variable_without_one_is_refused_at_the_start() {
    let of = |credential: &str| {
        Program::new(&["serve"]).settings(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io.credential]\nkind = \"raw\"\n{credential}"
        ))
    };
    for (content, words) in [
        (None, "can't be read"),
        (Some("\n"), "is empty"),
        (Some("one\ntwo"), "isn't one line"),
        (Some("gr\u{fc}n"), "that a header can't carry"),
    ] {
        let mut program = of("file = \"token\"");
        if let Some(content) = content {
            program = program.file("token", content);
        }
        let ended = program.run().await;
        ended.refused(&["`registries.crates-io.credential.file`", "token", words]);
    }
    let ended = of("env = \"CRATES_TOKEN\"").run().await;
    let key = "`registries.crates-io.credential.env`";
    ended.refused(&[key, "has no variable CRATES_TOKEN"]);
    let ended = of("env = \"CRATES_TOKEN\"").env("CRATES_TOKEN", "one\ntwo");
    let ended = ended.run().await;
    let said = ended.refused(&[key, "CRATES_TOKEN", "isn't one line"]);
    assert!(!said.contains("two"), "{said}");
}

/// Where the operator has it no other way it goes, and he is told what that means.
#[tokio::test]
async fn one_that_goes_over_plain_http_is_warned_of_at_the_start() {
    let told = "goes to http://registry.example over plain http";
    let keys = "[registries.crates-io.credential]\nkind = \"raw\"\nenv = \"CRATES_TOKEN\"\n";
    for (index, table) in [
        ("http://registry.example/index/", keys),
        ("http://me:hunter2@registry.example/index/", ""),
    ] {
        let program = Program::serving_with(index, table).env("CRATES_TOKEN", "hunter2");
        let mut process = program.start().await;
        let line = process.logged(|line| line.contains(told)).await;
        assert!(line.contains("WARN") && !line.contains("hunter2"), "{line}");
    }
    // Nobody is between this machine and itself.
    let upstream = registry().start().await;
    let program = Program::serving_with(&upstream.index_url(), keys);
    let process = program.env("CRATES_TOKEN", "hunter2").start().await;
    assert_eq!(get(&process, INDEX).await.status, 200);
    process.signal("TERM").await;
    let log = process.ended().await.stderr;
    assert!(!log.contains("over plain http"), "{log}");
}

/// A mirror of a mirror: the second one is the upstream of the first.
#[tokio::test]
async fn a_mirror_is_the_upstream_of_another_one_with_a_token() {
    let (origin, tokens) = (registry().start().await, TokenFile::new());
    let token = tokens.add("branch-office");
    let inner = Mirror::of(&origin)
        .settings(&tokens.settings(""))
        .start()
        .await;
    let (_folder, path) = file(&token);
    let credential = from_file("\"bearer\"", &path);
    let table = format!("[registries.crates-io.credential]\n{credential}");
    let outer = Mirror::of_index(&inner.index_url()).settings(&table);
    let outer = outer.always_asks().start().await;
    for path in [INDEX, DOWNLOAD] {
        let reply = outer.get(path).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    tokens.revoke("branch-office");
    let refused = |reply: &Reply| reply.header("x-cache") == Some("stale");
    outer.get_until(INDEX, refused).await;
    outer
        .get("/index/to/ki/tokio")
        .await
        .assert_refused(REFUSED);
    assert_eq!(outer.get(DOWNLOAD).await.status, 200);
}
