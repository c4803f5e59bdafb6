//! What can't work is said at start and not by the first client: usage, addresses and stores; and `check` says it without starting.

use std::net::TcpListener;

use crate::support::{Package, Program, Upstream};

#[tokio::test]
async fn usage_that_is_not_understood_exits_with_2_and_says_what_would_be() {
    for (args, word) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["frobnicate"], "frobnicate"),
        (&["check", "more"], "more"),
        (&["--listen", "here"], "--listen"),
        (&["--listen"], "--listen"),
        (&["--log-format", "xml"], "human, json"),
        (&["--log", "a=b=c"], "--log"),
    ] {
        let ended = Program::new(args).run().await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    let help = Program::new(&["--help"]).run().await;
    assert_eq!(help.code, Some(0), "{}", help.stderr);
    for word in ["--config", "--listen", "--store", "serve", "check"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
}

/// A port that another program has is found at start, not by the first client.
#[tokio::test]
async fn an_address_that_is_taken_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = Program::new(&["--listen", &address]).run().await;
    ended.refused(&["`server.listen`", &address, "in use"]);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_refused_with_the_reason() {
    for (store, reason) in [
        ("taken", "not a folder"),
        ("taken/below", "Not a directory"),
        ("taken/far/below", "Not a directory"),
    ] {
        let program = |command: &str| {
            Program::new(&[command, "--listen", "127.0.0.1:0"])
                .file("taken", "a file")
                .arg(&format!("--store={store}"))
        };
        let ended = program("serve").run().await;
        let why = ended.refused(&["`store.path`", store, reason]).to_owned();
        assert!(!ended.stderr.contains("listens"), "{}", ended.stderr);
        // `check` says it too, and goes on.
        let checked = program("check").run().await;
        assert_eq!(checked.code, Some(2), "{}", checked.stderr);
        let line = format!("failed  {}", why.trim_end());
        assert!(checked.stdout.contains(&line), "{}", checked.stdout);
    }
}

/// An operator can see which file, if any, the settings came from.
#[tokio::test]
async fn check_says_which_settings_it_read() {
    let upstream = Upstream::new().start().await;
    let toml = format!(
        "[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let program = Program::new(&["check", "--config", "other.toml"]);
    let ended = program.file("other.toml", &toml).settings("").run().await;
    let line = ended.stdout.lines().next();
    assert_eq!(
        line,
        Some("ok      settings other.toml"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn check_says_of_each_part_whether_it_can_be_used() {
    let upstream = Upstream::new().publish(Package::new("a", "1.0.0"));
    let (upstream, other) = (upstream.start().await, Upstream::new().start().await);
    let toml = format!(
        "[upstream]\nretries = 0\n[registries.crates-io]\nindex = \"{}\"\n[registries.other]\nindex = \"{}\"\n",
        upstream.index_url(),
        other.index_url()
    );
    let check = || {
        Program::new(&["check", "--store", "here"])
            .settings(&toml)
            .run()
    };
    let ended = check().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let parts: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(parts.len(), 4, "{}", ended.stdout);
    assert!(
        parts.iter().all(|part| part.starts_with("ok ")),
        "{parts:?}"
    );
    for words in [
        "settings mirror.toml",
        "store here",
        &upstream.index_url(),
        &other.index_url(),
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }

    other.stop().await;
    let ended = check().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let failed: Vec<_> = ended
        .stdout
        .lines()
        .filter(|line| !line.starts_with("ok "))
        .collect();
    assert_eq!(failed.len(), 1, "{}", ended.stdout);
    for word in ["failed ", "other", "refused"] {
        assert!(failed[0].contains(word), "{word}: {}", failed[0]);
    }
}
