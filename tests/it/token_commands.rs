//! `token`: made once and printed once, listed and ended, with what is wrong said.

use crate::support::{Ended, Program};

const SETTINGS: &str = "[access]\ntokens = \"tokens.toml\"\n";

/// Runs the program in the folder that another one was run in.
async fn then(ended: Ended, words: &str) -> Ended {
    let program = Program::new(&["token"]).words(words);
    program.in_folder(ended.folder).run().await
}

async fn first(words: &str) -> Ended {
    let program = Program::new(&["token"]).words(words);
    program.settings(SETTINGS).run().await
}

#[tokio::test]
async fn a_token_is_printed_alone_and_only_its_digest_is_kept() {
    let made = first("new ci --expires 90d --registry crates-io").await;
    assert_eq!((made.code, &*made.stderr), (Some(0), ""));
    let token = made.stdout.strip_suffix('\n').expect("a line").to_owned();
    assert!(token.len() > 32 && token.bytes().all(|b| b.is_ascii_graphic()));
    let path = made.folder.path().join("tokens.toml");
    let file = std::fs::read_to_string(&path).expect("a file");
    let digest = crate::support::sha256(token.as_bytes());
    assert!(file.contains(&digest) && !file.contains(&token), "{file}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = then(made, "new dev").await;
    assert_ne!(other.stdout.trim_end(), token);
    let listed = then(other, "list").await;
    let lines: Vec<_> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.stdout);
    assert!(
        lines[0].starts_with("ci ") && lines[0].contains("expires 20"),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("crates-io"), "{}", lines[0]);
    assert!(lines[1].contains("never expires") && lines[1].ends_with("all registries"));
    assert!(!listed.stdout.contains(&token));
    let revoked = then(listed, "revoke ci").await;
    assert_eq!(revoked.code, Some(0), "{}", revoked.stderr);
    let left = then(revoked, "list").await;
    assert!(left.stdout.starts_with("dev") && left.stdout.lines().count() == 1);
}

#[tokio::test]
async fn one_that_has_expired_is_listed_as_such() {
    let made = first("new short --expires 1s").await;
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let listed = then(made, "list").await;
    assert!(listed.stdout.contains("expired 20"), "{}", listed.stdout);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    for (words, word) in [
        ("new", "NAME"),
        ("new a/b", "token's name"),
        ("new anonymous", "anonymous"),
        ("new ci --expires 0s", "from 1s"),
        ("new ci --expires soon", "from 1s"),
        ("new ci --registry A", "--registry"),
        ("revoke a/b", "token's name"),
    ] {
        let ended = first(words).await;
        assert_eq!(ended.code, Some(2), "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{words}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let made = first("new ci").await;
    let again = then(made, "new ci").await;
    assert_eq!((again.code, &*again.stdout), (Some(1), ""));
    assert!(
        again.stderr.contains("there is a token called ci"),
        "{}",
        again.stderr
    );
    let missing = then(again, "revoke dev").await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("no token called dev"),
        "{}",
        missing.stderr
    );
    let nowhere = Program::new(&["token", "new", "ci"])
        .settings("")
        .run()
        .await;
    nowhere.refused(&["`access.tokens`", "tokens.toml"]);
    let broken = Program::new(&["token", "new", "ci"]).settings(SETTINGS);
    let broken = broken.file("tokens.toml", "nonsense").run().await;
    broken.refused(&["tokens.toml", "line 1"]);
}

/// Views and toolchains can be named before they are switched on.
#[tokio::test]
async fn a_name_that_is_not_configured_is_taken_with_a_warning() {
    let made = first("new ci --registry toolchains --registry crates-io").await;
    assert_eq!((made.code, made.stdout.lines().count()), (Some(0), 1));
    assert!(
        made.stderr.contains("warning: toolchains"),
        "{}",
        made.stderr
    );
    assert!(!made.stderr.contains("crates-io"), "{}", made.stderr);
    let listed = then(made, "list").await;
    assert!(
        listed.stdout.contains("toolchains, crates-io"),
        "{}",
        listed.stdout
    );
}
