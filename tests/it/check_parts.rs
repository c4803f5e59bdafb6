//! `check` tries each part that a mirror needs, says what came of it, and changes nothing.

use crate::support::{
    Authority, Ended, Package, Program, Subject, TokenFile, Upstream, UpstreamBuilder,
};

const KEYS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fn registry() -> UpstreamBuilder {
    Upstream::new().publish(Package::new("a", "1.0.0"))
}

fn jwt(keys: &str) -> String {
    format!(
        "[access.jwt.ci]\nissuer = \"https://ci.example\"\naudience = \"a\"\nkeys = \"{keys}\"\nsubjects = [\"*\"]\n"
    )
}

fn check(upstream: &Upstream, settings: &str) -> Program {
    Program::serving(upstream, settings).command("check")
}

/// The line that begins with these words, and whether all is well.
#[track_caller]
fn line(ended: &Ended, start: &str, code: i32) -> String {
    let Ended { stdout, stderr, .. } = ended;
    assert_eq!(ended.code, Some(code), "{stdout}{stderr}");
    let line = stdout.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("no {start:?} in {stdout}"))
        .to_owned()
}

#[tokio::test]
async fn the_file_of_tokens_is_counted_or_said_to_be_missing_or_broken() {
    let (upstream, tokens) = (registry().start().await, TokenFile::new());
    let settings = tokens.settings("");
    let ended = check(&upstream, &settings).run().await;
    let said = line(&ended, "ok      tokens: there is no ", 0);
    assert!(said.ends_with("so that nobody has one"), "{said}");
    tokens.add("ci");
    tokens.grant("old", Some(std::time::Duration::ZERO), &[]);
    let ended = check(&upstream, &settings).run().await;
    let said = line(&ended, "ok      tokens ", 0);
    assert!(said.ends_with(": 2, of which 1 have expired"), "{said}");
    tokens.write("[tokens.ci]\nsha256 = \"hunter2\"\n");
    let ended = check(&upstream, &settings).run().await;
    let said = line(&ended, "failed  tokens: ", 1);
    assert!(
        said.contains("tokens.toml") && !said.contains("hunter2"),
        "{said}"
    );
}

/// It isn't followed, and nothing but the upstream's refusal said that it had expired.
#[tokio::test]
async fn how_long_a_client_certificate_is_good_is_said_before_it_expires() {
    let (upstream, clients) = (registry().start().await, Authority::new("clients"));
    for (days, start, code, end) in [
        (90, "ok      ", 0, ": 90 days until it expires"),
        (3, "ok      ", 0, ": 3 days until it expires; renew it"),
        (-3, "failed  ", 1, "; renew it"),
    ] {
        let subject = Subject {
            days,
            ..Subject::client("inner")
        };
        let identity = clients.issue(&subject);
        let shown = "client_certificate = \"shown.pem\"\nclient_key = \"shown.key\"\n";
        let program = Program::serving_with(&upstream.index_url(), shown).command("check");
        let program = program
            .file("shown.pem", &identity.certificate_pem())
            .file("shown.key", &identity.key_pem());
        let ended = program.run().await;
        let said = line(&ended, &format!("{start}client certificate for "), code);
        assert!(said.ends_with(end), "{said}");
    }
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_read_or_fetched() {
    let upstream = registry().start().await;
    upstream.page("/jwks", "application/json", KEYS);
    upstream.page("/html", "text/html", "<html>sign in</html>");
    for (keys, start, code, words) in [
        ("jwks.json", "ok ", 0, ": 1 at jwks.json"),
        ("broken.json", "failed", 1, "no set of keys"),
        ("nothing.json", "failed", 1, "nothing.json"),
        ("{}/jwks", "ok ", 0, ": 1 at http://127.0.0.1:"),
        ("{}/html", "failed", 1, "no set of keys"),
        ("{}/404", "failed", 1, "404"),
    ] {
        let keys = keys.replace("{}", &upstream.url());
        let program = check(&upstream, &jwt(&keys));
        let program = program
            .file("jwks.json", KEYS)
            .file("broken.json", "<html>");
        let ended = program.run().await;
        let said = line(&ended, start, code);
        let said = match start {
            "failed" => said,
            _ => line(&ended, "ok      keys of access.jwt.ci", code),
        };
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test]
async fn the_audit_log_is_tried_without_being_made() {
    let upstream = registry().start().await;
    let ended = check(&upstream, "[audit]\npath = \"audit.jsonl\"\n")
        .run()
        .await;
    line(&ended, "ok      audit audit.jsonl", 0);
    assert!(!ended.folder.path().join("audit.jsonl").exists());
    let ended = check(&upstream, "[audit]\npath = \"audit.jsonl\"\n");
    let ended = ended.file("audit.jsonl", "{}\n").run().await;
    line(&ended, "ok      audit audit.jsonl", 0);
    let text = std::fs::read_to_string(ended.folder.path().join("audit.jsonl"));
    assert_eq!(text.expect("still there"), "{}\n");
    let ended = check(&upstream, "[audit]\npath = \"nowhere/audit.jsonl\"\n")
        .run()
        .await;
    line(
        &ended,
        "failed  audit nowhere/audit.jsonl: it can't be written",
        1,
    );
}

#[tokio::test]
async fn a_credential_is_shown_and_what_came_of_it_is_said() {
    let guarded = registry().token("hunter2").start().await;
    let open = registry().start().await;
    let elsewhere = registry()
        .token("hunter2")
        .dl("https://files.example/dl")
        .start()
        .await;
    let of = |upstream: &Upstream, source: &str| {
        let table = format!("[registries.crates-io.credential]\nkind = \"raw\"\n{source}\n");
        let program = Program::serving_with(&upstream.index_url(), &table).command("check");
        program.file("token", "hunter2").file("wrong", "hunter3")
    };
    let command = "command = [\"/bin/echo\", \"hunter2\"]";
    for (upstream, source, words) in [
        (
            &guarded,
            "file = \"token\"",
            "raw, from the file token; taken",
        ),
        (&guarded, command, "raw, from the command /bin/echo; taken"),
        (&guarded, command, "without it config.json is 401"),
        (&guarded, command, "shown for the index and for crates"),
        (
            &open,
            command,
            "not tried, because config.json is given to everybody",
        ),
        (&elsewhere, command, "shown for the index only"),
    ] {
        let ended = of(upstream, source).run().await;
        let said = line(&ended, "ok      credential of crates-io: ", 0);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("hunter"), "{said}");
    }
    for (source, words) in [
        ("file = \"wrong\"", "refused this mirror's credential"),
        (
            "command = [\"/bin/false\"]",
            "the command /bin/false failed",
        ),
    ] {
        let ended = of(&guarded, source).run().await;
        let said = line(&ended, "failed  registry crates-io: ", 1);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("hunter"), "{said}");
    }
}
