//! Who was answered what, and what upstream did wrong, can be read afterwards, by people and by machines.

use serde_json::Value;

use crate::support::{Ended, Frames, Package, Program, Rule, Running, Upstream, When, client};

const INDEX: &str = "/index/1/a";
const CRATE: &str = "/api/v1/crates/a/1.0.0/download";

async fn stopped(process: Running) -> Ended {
    process.signal("TERM").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// What each request was answered, as JSON; everything on standard error has to be.
fn access_lines(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines().map(|line| {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(parsed.is_object(), "{line}");
        parsed
    });
    lines.filter(|line| line["target"] == "access").collect()
}

#[tokio::test]
async fn json_logs_have_one_line_a_request_with_all_that_is_known_of_it() {
    let upstream = Upstream::with_one_crate().await;
    let program = Program::serving(&upstream, "").arg("--log-format=json");
    let process = program.start().await;
    let agent = ("user-agent", "cargo/1.95.0 (a \"test\")");
    let addr = process.addr();
    let mut expected = Vec::new();
    for (method, path, status, outcome) in [
        ("GET", INDEX, 200, "miss"),
        ("GET", INDEX, 200, "hit"),
        ("HEAD", INDEX, 200, "hit"),
        ("GET", CRATE, 200, "miss"),
        ("GET", "/index/1/b", 404, "absent"),
        ("GET", "/nothing?secret=1", 404, "absent"),
        ("PUT", INDEX, 405, "absent"),
    ] {
        let reply = client::request(addr, method, path, &[agent]).await;
        assert_eq!(reply.status, status, "{path}");
        let path = path.split('?').next().unwrap_or_default();
        expected.push((method, path, status, outcome, reply.body.len(), "HTTP/1.1"));
    }
    let mut frames = Frames::upgrade(addr, INDEX).await;
    let body = frames.response(1).await.body;
    expected.push(("GET", INDEX, 200, "hit", body.len(), "HTTP/2"));
    drop(frames);
    let stderr = stopped(process).await.stderr;
    let lines = access_lines(&stderr);
    assert_eq!(lines.len(), expected.len(), "{stderr}");
    for (line, (method, path, status, outcome, bytes, protocol)) in lines.iter().zip(expected) {
        for (key, value) in [
            ("client", Value::from("127.0.0.1")),
            ("method", method.into()),
            ("path", path.into()),
            ("status", status.into()),
            ("outcome", outcome.into()),
            ("bytes", bytes.into()),
            ("protocol", protocol.into()),
            ("complete", true.into()),
        ] {
            assert_eq!(line[key], value, "{key} in {line}");
        }
        assert!(
            line["duration_ms"].as_f64().is_some_and(|ms| ms >= 0.0),
            "{line}"
        );
        assert!(line["timestamp"].is_string(), "{line}");
        let asked_by = if protocol == "HTTP/2" { "-" } else { agent.1 };
        assert_eq!(line["user_agent"], asked_by, "{line}");
    }
    assert!(
        !stderr.contains("secret"),
        "queries may hold secrets: {stderr}"
    );
}

#[tokio::test]
async fn an_answer_that_was_cut_off_says_so_in_its_line() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0").payload(1_000_000))
        .start()
        .await;
    upstream.on_crate_files().corrupt();
    let program = Program::serving(&upstream, "").arg("--log-format=json");
    let process = program.start().await;
    let reply = client::get(process.addr(), CRATE, &[]).await;
    assert!(!reply.complete);
    let stderr = stopped(process).await.stderr;
    let lines = access_lines(&stderr);
    assert_eq!(lines.len(), 1, "{stderr}");
    assert_eq!(lines[0]["complete"], false, "{}", lines[0]);
    assert!(stderr.contains("checksum"), "{stderr}");
}

#[tokio::test]
async fn human_logs_are_lines_of_words_without_colours_where_nobody_sees_them() {
    let upstream = Upstream::with_one_crate().await;
    let process = Program::serving(&upstream, "").start().await;
    client::get(process.addr(), INDEX, &[("user-agent", "a-test/1")]).await;
    let stderr = stopped(process).await.stderr;
    assert!(!stderr.contains('\u{1b}'), "escapes: {stderr:?}");
    let lines: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains(" access: "))
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    for word in [
        "INFO",
        "client=127.0.0.1",
        "\"GET\"",
        INDEX,
        "status=200",
        "\"miss\"",
        "bytes=",
        "duration_ms=",
        "HTTP/1.1",
        "a-test/1",
    ] {
        assert!(lines[0].contains(word), "{word}: {}", lines[0]);
    }
}

/// A client that could put a line break into a log line could write log lines of its own.
#[tokio::test]
async fn a_client_cannot_write_lines_of_its_own_into_the_log() {
    let upstream = Upstream::with_one_crate().await;
    let process = Program::serving(&upstream, "").start().await;
    let agent = "x\tINFO access: forged \u{85} \u{2028} \u{9b}31m";
    client::get(process.addr(), INDEX, &[("user-agent", agent)]).await;
    client::get(process.addr(), "/%0aforged%1b", &[]).await;
    let stderr = stopped(process).await.stderr;
    let lines = stderr.lines().filter(|line| line.contains("forged"));
    assert_eq!(lines.count(), 2, "{stderr}");
    let control = stderr.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{stderr:?}");
}

#[tokio::test]
async fn access_lines_can_be_turned_off_and_the_rest_kept() {
    let upstream = Upstream::with_one_crate().await;
    let process = Program::serving(&upstream, "")
        .arg("--log=info,access=off")
        .start()
        .await;
    client::get(process.addr(), INDEX, &[]).await;
    let stderr = stopped(process).await.stderr;
    assert!(!stderr.contains(" access: "), "{stderr}");
    assert!(stderr.contains("stopping"), "{stderr}");
}

type Fault = (fn(When<'_>) -> Rule, &'static str);

/// The faults for which no warning says both what went wrong and what was asked for, each with what was logged instead.
async fn unlogged(faults: &[Fault]) -> Vec<(&'static str, String)> {
    let upstream = Upstream::with_one_crate().await;
    let settings = "[upstream]\nretries = 0\nfirst_byte_timeout = \"2s\"";
    let mut unlogged = Vec::new();
    for (fault, words) in faults {
        let rule = fault(upstream.on(INDEX));
        let process = Program::serving(&upstream, settings).start().await;
        let reply = client::get(process.addr(), INDEX, &[]).await;
        assert!(reply.status >= 400, "{words}: {reply:?}");
        let stderr = stopped(process).await.stderr;
        let mut warned = stderr.lines().filter(|line| line.contains(" WARN "));
        let names = |line: &str| {
            ["1/a", "of a", "name=a"]
                .iter()
                .any(|name| line.contains(name))
        };
        if !warned.any(|line| line.contains(words) && names(line)) {
            unlogged.push((*words, stderr));
        }
        rule.lift();
    }
    unlogged
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_logged_with_what_was_asked() {
    let faults: &[Fault] = &[
        (|when| when.fail(500), "500"),
        (|when| when.fail(429), "429"),
        (|when| when.reset(), "can't be reached"),
        (|when| when.garbage(), "can't be reached"),
        (|when| when.hang(), "within 2s"),
    ];
    assert_eq!(unlogged(faults).await, []);
}

/// An answer that must not be served looks like a success on the wire; without this the log has a 200 from upstream, a 502 to the client, and
/// no word in between.
#[tokio::test]
async fn an_answer_that_must_not_be_served_is_logged_with_the_reason() {
    let faults: &[Fault] = &[
        (
            |when| when.fail_with(200, &[], "<html>Log in</html>"),
            "HTML",
        ),
        (
            |when| when.fail_with(200, &[], other_line()),
            "a line of \"b\"",
        ),
        (|when| when.fail_with(200, &[], ""), "empty"),
        (|when| when.fail(204), "empty"),
        (|when| when.fail(418), "418"),
        (|when| when.corrupt(), "UTF-8"),
        (|when| when.truncate(10), "broke off"),
    ];
    assert_eq!(unlogged(faults).await, []);
}

fn other_line() -> String {
    Package::new("b", "1.0.0").index_line() + "\n"
}
