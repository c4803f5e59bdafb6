//! The mirror's own pages: is it alive, what does it count, and what has to be pasted where.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Mirror, Upstream};

const INDEX: &str = "/index/1/a";
const CRATE: &str = "/api/v1/crates/a/1.0.0/download";

#[tokio::test]
async fn health_and_readiness_need_no_upstream() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    upstream.stop().await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let reply = mirror.get(path).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, text));
    }
}

#[tokio::test]
async fn the_status_page_shows_what_to_paste_for_the_host_that_was_asked() {
    let upstream = Upstream::with_one_crate().await;
    let other = "[registries.internal]\nindex = \"http://127.0.0.1:1/\"";
    let mirror = Mirror::of(&upstream).settings(other).start().await;
    let reply = mirror.get_with("/", &[("host", "mirror.example:99")]).await;
    let text = reply.text();
    for words in [
        "[source.crates-io]\nreplace-with = \"mirror\"\n\n[registries.mirror]\n",
        "index = \"sparse+http://mirror.example:99/index/\"\n",
        "[registries.internal]\nindex = \"sparse+http://mirror.example:99/registries/internal/index/\"\n",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// One unreadable line and Prometheus takes none of them.
#[tokio::test]
async fn every_line_of_the_metrics_is_one_that_prometheus_reads() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in [INDEX, CRATE, "/index/1/b", "/nothing"] {
        mirror.get(path).await;
    }
    let reply = mirror.get("/metrics").await;
    let kind = reply.header("content-type").expect("a type");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = reply.text();
    assert!(text.ends_with('\n'));
    let (mut types, mut helped, mut samples) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(!help.is_empty() && helped.insert(name), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series), "twice: {line}");
            let name = labels_checked(series);
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let family = name.strip_suffix(end)?;
                (types.get(family) == Some(&"histogram")).then_some(family)
            });
            let family = family.unwrap_or(name);
            assert!(
                types.contains_key(family) && helped.contains(family),
                "{line}"
            );
            // What a process takes has the same names in all programs.
            let ours = name.starts_with("crate_mirror_") || name.starts_with("process_");
            assert!(ours, "{line}");
            let counter = types[family] == "counter";
            assert!(!counter || name.ends_with("_total"), "{line}");
        }
    }
    assert!(samples.len() > 50, "{text}");
}

/// The name of a series whose labels are well-formed.
fn labels_checked(series: &str) -> &str {
    let word = |text: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        !text.is_empty() && text.bytes().all(legal) && !text.as_bytes()[0].is_ascii_digit()
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    assert!(word(name), "{series}");
    let labels = labels.strip_suffix('}').expect(series);
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once('=').expect(series);
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        assert!(
            word(key) && value.is_some_and(|v| !v.contains(['"', '\\'])),
            "{series}"
        );
    }
    name
}
