//! What is watched: the metrics keep to Prometheus' conventions, the dashboard and the alerts of packaging/ ask for nothing that isn't counted, each alert fires
//! when it should and is explained.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{Bucket, Package, Program, Running, TlsFolder, Upstream, Zone, client, tools};

const PROMTOOL: &str = "promtool";

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A mirror with as much to tell as one can have: TLS, an upstream that was asked, a rule that has refused something.
async fn mirror(upstream: &Upstream, files: &TlsFolder) -> Running {
    let rules = "[[policy.rules]]\ncrates = [\"denied\"]\nversions = \"*\"\naction = \"deny\"\n";
    let settings = format!("{}\n{rules}", files.beside_plain(""));
    let program = Program::serving(upstream, &settings).start().await;
    for path in [
        "/index/le/af/leaf",
        "/api/v1/crates/leaf/1.0.0/download",
        "/api/v1/crates/denied/1.0.0/download",
    ] {
        client::get(program.addr(), path, &[]).await;
    }
    files.client().get(program.tls_addr(), "/healthz").await;
    program
}

async fn upstream() -> Upstream {
    let crates = ["leaf", "denied"].map(|name| Package::new(name, "1.0.0"));
    Upstream::new().publish_all(crates).start().await
}

async fn metrics(program: &Running) -> String {
    client::get(program.addr(), "/metrics", &[]).await.text()
}

/// The value of a metric without labels.
fn value(metrics: &str, name: &str) -> f64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name} in {metrics}"));
    value.parse().expect("a number")
}

/// What promtool says of `input`; it has to be content.
async fn promtool(args: &[&str], folder: &Path, input: &str) {
    let mut child = Command::new(PROMTOOL)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("written");
    drop(stdin);
    let said = child.wait_with_output().await.expect("it ends");
    let [out, err] = [said.stdout, said.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
    assert!(said.status.success(), "{args:?}: {out}{err}");
    // What it finds questionable is no failure to it, and is said on standard error.
    assert_eq!(err, "", "{args:?}");
}

#[tokio::test]
async fn metrics_keep_to_the_conventions() {
    if !tools::has(PROMTOOL, "--version") {
        return;
    }
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let program = mirror(&upstream, &files).await;
    let text = metrics(&program).await;
    promtool(&["check", "metrics"], program.folder(), &text).await;
}

#[tokio::test]
async fn the_process_says_what_it_takes_and_which_one_it_is() {
    let upstream = upstream().await;
    let program = Program::serving(&upstream, "").start().await;
    let text = metrics(&program).await;
    let before = value(&text, "process_open_fds");
    assert!(
        value(&text, "process_resident_memory_bytes") > 1e6,
        "{text}"
    );
    assert!(value(&text, "process_max_fds") > before, "{text}");
    assert!(value(&text, "process_start_time_seconds") > 1.6e9, "{text}");
    assert!(value(&text, "process_cpu_seconds_total") >= 0.0, "{text}");
    assert_eq!(
        value(&text, "crate_mirror_memory_budget_bytes"),
        256.0 * 1_048_576.0
    );
    let version = format!("version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
    assert!(text.contains("crate_mirror_build_info{"), "{text}");
    assert!(text.contains(&version), "{text}");
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut connection = client::Connection::open(program.addr()).await;
        let asked = connection.ask("GET", "/healthz", &[]).await;
        asked.expect("it takes it");
        connection.reply().await;
        open.push(connection);
    }
    let after = value(&metrics(&program).await, "process_open_fds");
    assert!(after >= before + 15.0, "{before} and {after}");
}

#[tokio::test]
async fn how_long_upstream_takes_is_measured() {
    let upstream = upstream().await;
    let late = Duration::from_millis(300);
    upstream.on("/index/le/af/leaf").slow(late);
    let program = Program::serving(&upstream, "").start().await;
    client::get(program.addr(), "/index/le/af/leaf", &[]).await;
    let text = metrics(&program).await;
    let of = "{kind=\"index\",registry=\"crates-io\"}";
    let name = "crate_mirror_upstream_request_duration_seconds";
    let sum = value(&text, &format!("{name}_sum{of}"));
    assert!(sum >= late.as_secs_f64(), "{sum}");
    assert_eq!(value(&text, &format!("{name}_count{of}")), 1.0);
}

/// The queries of the dashboard, with its variables filled in.
fn queries() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(text) if key == "expr" => found.push(
                            text.replace("$__rate_interval", "5m")
                                .replace("$job", ".*")
                                .replace("$instance", ".*"),
                        ),
                        other => collect(other, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let dashboard = read(&packaged("grafana/crate-mirror.json"));
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    assert!(found.len() > 30, "{found:?}");
    found
}

#[tokio::test]
async fn every_query_of_the_dashboard_can_be_asked() {
    if !tools::has(PROMTOOL, "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let rules = queries().into_iter().enumerate();
    let rules =
        rules.map(|(n, expr)| serde_json::json!({"record": format!("query_{n}"), "expr": expr}));
    let rules: Vec<_> = rules.collect();
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    // Each JSON text is a YAML one.
    std::fs::write(folder.path().join("rules.yml"), file.to_string()).expect("written");
    promtool(&["check", "rules", "rules.yml"], folder.path(), "").await;
}

/// The names of metrics of ours and of the process in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let ours = words.filter(|word| {
        let known = ["crate_mirror_", "process_"];
        known.iter().any(|start| word.starts_with(start))
    });
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

/// What isn't there doesn't increase, so that an alert would miss the first of all events; and a panel would say "No data" where all is well.
#[tokio::test]
async fn what_the_dashboard_and_the_alerts_ask_for_is_there_before_it_happens() {
    let (upstream, files, bucket) = (upstream().await, TlsFolder::new(), Bucket::new().await);
    let zone = Zone::of(&upstream, &bucket).settings(&files.beside_plain(""));
    let zone = zone.start().await;
    let counted = async || zone.get("/metrics").await.text();
    // What is stored is known when it has been looked through.
    let mut text = counted().await;
    for _ in 0..400 {
        if text.contains("crate_mirror_stored_bytes{") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        text = counted().await;
    }
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let there = names(&samples.collect::<Vec<_>>().join("\n"));
    let alerts = read(&packaged("prometheus/crate-mirror.rules.yml"));
    for asked in names(&format!("{}\n{alerts}", queries().join("\n"))) {
        assert!(there.contains(&asked), "{asked} isn't in {text}");
    }
    for series in [
        "index_suspicious_changes_total{change=\"checksum\",registry=\"crates-io\"}",
        "policy_denied_total{kind=\"cooldown\"}",
        "policy_would_deny_total{kind=\"channel\"}",
        "policy_warned_total{registry=\"crates-io\"}",
        "tls_handshakes_total{result=\"alert\"}",
        "bucket_requests_total{operation=\"put\",result=\"denied\"}",
        "upstream_requests_total{kind=\"crate\",registry=\"crates-io\",result=\"unavailable\"}",
        "upstream_request_duration_seconds_count{kind=\"index\",registry=\"crates-io\"}",
        "stored_objects{kind=\"crate\",registry=\"crates-io\"}",
    ] {
        let line = format!("\ncrate_mirror_{series} 0\n");
        assert!(text.contains(&line), "{line} isn't in {text}");
    }
    let host = format!(
        "circuit_open{{host=\"{}\",registry=\"crates-io\"}} 0\n",
        upstream.addr()
    );
    assert!(text.contains(&host), "{host} isn't in {text}");
}

/// By the tests beside them: one for each, and one in which all are quiet.
#[tokio::test]
async fn alerts_fire_when_they_should() {
    if !tools::has(PROMTOOL, "--version") {
        return;
    }
    let folder = packaged("prometheus");
    let (rules, tests) = ("crate-mirror.rules.yml", "crate-mirror.rules.test.yml");
    promtool(&["check", "rules", rules], &folder, "").await;
    promtool(&["test", "rules", tests], &folder, "").await;
    let tests = read(&folder.join(tests));
    for alert in alerts() {
        let tried = tests.contains(&format!("name: {alert}\n"));
        assert!(tried, "{alert} has no test");
    }
}

fn alerts() -> Vec<String> {
    let rules = read(&packaged("prometheus/crate-mirror.rules.yml"));
    let lines = rules.lines();
    let alerts = lines.filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = alerts.map(str::to_owned).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    alerts
}

#[test]
fn every_alert_is_explained() {
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let chapter = read(&chapter);
    let rules = read(&packaged("prometheus/crate-mirror.rules.yml"));
    // Whoever is called at night has the alert, and not this folder.
    let chapter_url = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/operating.md");
    for alert in alerts() {
        let heading = format!("\n### {alert}\n");
        assert!(
            chapter.contains(&heading),
            "{alert} isn't in docs/operating.md"
        );
        let link = format!("runbook_url: {chapter_url}#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} doesn't lead there");
    }
    let links = rules.matches("runbook").count();
    assert_eq!(links, alerts().len(), "one for each");
}
