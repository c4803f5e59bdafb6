//! The certificate and its key: refused at the start when they don't fit, read again when they change, kept when what comes next is no good, and counted down.

use std::time::{Duration, Instant, SystemTime};

use crate::support::{Authority, Package, Program, Running, Subject, TlsFolder, Upstream, client};

async fn upstream() -> Upstream {
    let leaf = Package::new("leaf", "1.0.0");
    Upstream::new().publish(leaf).start().await
}

async fn serving(upstream: &Upstream, files: &TlsFolder) -> Running {
    let settings = files.beside_plain("");
    Program::serving(upstream, &settings).start().await
}

/// The value of a line of metrics, without labels or with.
async fn metric(program: &Running, start: &str) -> f64 {
    let text = client::get(program.addr(), "/metrics", &[]).await.text();
    let line = text.lines().find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("no {start} in {text}"));
    let value = line.rsplit(' ').next().expect("a value");
    value.parse().expect("a number")
}

/// Each message names the key, the file, what is wrong, and what is wanted.
#[tokio::test]
async fn what_does_not_fit_is_refused_at_the_start() {
    let upstream = upstream().await;
    let other = Authority::new("other").issue(&Subject::LOCALHOST);
    for (name, content, words) in [
        (
            "key.pem",
            Some(other.key_pem()),
            ["`tls.key`", "isn't the key of", "wanted is PEM"],
        ),
        (
            "key.pem",
            None,
            ["`tls.key`", "No such file", "wanted is PEM"],
        ),
        (
            "cert.pem",
            None,
            ["`tls.certificate`", "No such file", "wanted is PEM"],
        ),
        (
            "cert.pem",
            Some(other.key_pem()),
            ["`tls.certificate`", "no certificate", "wanted is PEM"],
        ),
        (
            "cert.pem",
            Some("x".repeat(2 << 20)),
            ["`tls.certificate`", "larger than 1", "wanted is PEM"],
        ),
        (
            "clients.pem",
            Some(String::new()),
            ["`tls.client_ca`", "no certificate", "wanted is PEM"],
        ),
    ] {
        let files = TlsFolder::new();
        let settings = files.with_clients(&files.authority);
        match content {
            Some(content) => files.write(name, &content),
            None => std::fs::remove_file(files.path(name)).expect("removed"),
        }
        let message = Program::serving(&upstream, &settings).run().await;
        let message = message.refused(&words);
        assert!(message.contains(name), "{message}");
        let checked = Program::serving(&upstream, &settings).command("check");
        let checked = checked.run().await;
        assert_eq!(checked.code, Some(2), "{checked:?}");
        let line = format!("failed  {message}");
        assert!(checked.stdout.contains(&line), "{checked:?}");
    }
}

/// `check` stopped at the first mistake: who had mended that one learnt of the next.
#[tokio::test]
async fn check_says_all_that_is_wrong_and_goes_on_with_what_else_there_is() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let settings = files.with_clients(&files.authority);
    for name in ["cert.pem", "key.pem", "clients.pem"] {
        files.write(name, "none");
    }
    let settings = format!("{settings}\n[upstream]\nca_certificates = \"nowhere.pem\"\n");
    let checked = Program::serving(&upstream, &settings).command("check");
    let checked = checked.run().await;
    assert_eq!(checked.code, Some(2), "{checked:?}");
    for start in [
        "failed  `tls.certificate`: ",
        "failed  `tls.key`: ",
        "failed  `tls.client_ca`: ",
        "failed  `upstream.ca_certificates`: nowhere.pem",
        "ok      store ",
    ] {
        let is_said = checked.stdout.lines().any(|line| line.starts_with(start));
        assert!(is_said, "no {start:?} in {}", checked.stdout);
    }
}

/// `check` called one without a subjectAltName well, and no client took it.
#[tokio::test]
async fn a_certificate_that_names_no_host_is_no_good() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    for (names, start, said, code) in [
        (&[][..], "failed  tls ", "no client takes it", 1),
        (&["127.0.0.1"], "ok      tls ", " for 127.0.0.1: ", 0),
        (&["a.test", "::1"], "ok      tls ", " for a.test, ::1: ", 0),
    ] {
        let subject = Subject {
            common_name: Some("localhost"),
            names,
            ..Subject::LOCALHOST
        };
        files.put(&files.authority.issue(&subject));
        let program = Program::serving(&upstream, &files.settings("")).command("check");
        let checked = program.run().await;
        assert_eq!(checked.code, Some(code), "{checked:?}");
        let mut lines = checked.stdout.lines();
        let line = lines.find(|line| line.starts_with(start));
        assert!(line.is_some_and(|l| l.contains(said)), "{checked:?}");
    }
}

#[tokio::test]
async fn how_long_it_is_good_is_checked_counted_and_warned_of() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    for (days, said, state, code) in [
        (90, "90 days until it expires", "ok    ", 0),
        (9, "9 days until it expires; renew it", "ok    ", 0),
        (-3, "it expired 2 days ago; renew it", "failed", 1),
    ] {
        let subject = Subject {
            days,
            ..Subject::LOCALHOST
        };
        files.put(&files.authority.issue(&subject));
        let checked = Program::serving(&upstream, &files.settings(""));
        let checked = checked.command("check").run().await;
        let certificate = files.path("cert.pem");
        let line = format!(
            "{state}  tls {} for localhost: {said}\n",
            certificate.display()
        );
        assert!(checked.stdout.contains(&line), "{checked:?}");
        assert_eq!(checked.code, Some(code), "{checked:?}");
        let mut program = serving(&upstream, &files).await;
        if days < 14 {
            let warned = program
                .logged(|line| line.contains("tls.certificate"))
                .await;
            assert!(warned.contains("WARN") && warned.contains(said), "{warned}");
        }
        let name = "crate_mirror_tls_certificate_expiry_timestamp_seconds{";
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let left = metric(&program, name).await - now.as_secs_f64();
        assert_eq!((left / 86_400.0).floor(), days as f64);
    }
}

#[tokio::test]
async fn without_tls_there_is_nothing_that_could_expire() {
    let upstream = upstream().await;
    let program = Program::serving(&upstream, "").start().await;
    let text = client::get(program.addr(), "/metrics", &[]).await.text();
    assert!(!text.contains("tls_certificate_expiry"), "{text}");
}

/// Nobody has to tell it. Who is connected goes on.
#[tokio::test]
async fn a_changed_pair_is_shown_within_15_seconds_and_open_connections_go_on() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let program = serving(&upstream, &files).await;
    let (addr, client) = (program.tls_addr(), files.client());
    let mut open = client.connect(addr).await.expect("TLS");
    let next = files.authority.issue(&Subject::LOCALHOST);
    files.put(&next);
    client.shows(addr, &next).await;
    for _ in 0..2 {
        let reply = client::get_over(&mut open, "a", "/index/le/af/leaf", &[]).await;
        assert_eq!(reply.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn on_sighup_files_are_looked_at_at_once() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mut program = serving(&upstream, &files).await;
    let (addr, client) = (program.tls_addr(), files.client());
    let next = files.authority.issue(&Subject::LOCALHOST);
    files.put(&next);
    program.signal("HUP").await;
    program.logged(|line| line.contains("SIGHUP")).await;
    client.shows(addr, &next).await;
    program
        .logged(|line| line.contains("another certificate"))
        .await;
}

/// One half of a pair may be written a moment before the other: that alone isn't worth an error.
#[tokio::test]
async fn a_pair_that_is_no_good_leaves_the_one_before_in_use() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mut program = serving(&upstream, &files).await;
    let (addr, client) = (program.tls_addr(), files.client());
    let first = client.shown(addr).await;
    let other = files.authority.issue(&Subject::LOCALHOST);
    for (name, content, what) in [
        ("cert.pem", other.certificate_pem(), "isn't the key of"),
        ("cert.pem", String::new(), "no certificate"),
        ("key.pem", "garbage".to_owned(), "no certificate"),
    ] {
        let before = metric(&program, "crate_mirror_tls_reloads_failed_total").await;
        files.write(name, &content);
        if name == "cert.pem" {
            let line = program.logged(|line| line.contains("stay in use")).await;
            assert!(line.contains("ERROR") && line.contains(what), "{line}");
            let after = metric(&program, "crate_mirror_tls_reloads_failed_total").await;
            assert_eq!(after, before + 1.0);
        }
        assert_eq!(client.shown(addr).await, first);
    }
    let unusable = "crate_mirror_tls_files_unusable";
    assert_eq!(metric(&program, unusable).await, 1.0);
    let said = |page: &str| page.contains("The files of `tls` can't be used");
    let page = async || client::get(program.addr(), "/", &[]).await.text();
    let shown = page().await;
    assert!(said(&shown), "all is well, by the page: {shown}");
    files.put(&other);
    client.shows(addr, &other).await;
    // What a page says is made once a second.
    let started = Instant::now();
    while metric(&program, unusable).await != 0.0 || said(&page().await) {
        assert!(started.elapsed() < Duration::from_secs(20), "still said");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
