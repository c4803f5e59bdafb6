//! Over HTTP/2: cargo asks for `Upgrade: h2c` on every plain connection, the mirror grants it, and all of a project's crates come over it at once.

use crate::support::{Cargo, Mirror, Package, Upstream};

const CRATES: usize = 45;

/// Many crates, none of which needs another, so that cargo asks for all of them together.
async fn many_crates() -> (Upstream, Vec<String>) {
    let names: Vec<_> = (0..CRATES).map(|n| format!("many-{n:02}")).collect();
    let upstream = names.iter().fold(Upstream::new(), |upstream, name| {
        upstream.publish(Package::new(name, "1.0.0").payload(20_000))
    });
    (upstream.start().await, names)
}

fn project(mirror: &Mirror, names: &[String]) -> Cargo {
    let deps: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    Cargo::new(&mirror.index_url()).project(&deps)
}

/// How many requests came by each protocol, as one reading of the metrics shows. A reading is itself one over HTTP/1.1, counted when it has ended.
#[derive(Debug, PartialEq)]
struct Requests {
    http1: f64,
    http2: f64,
}

impl Requests {
    async fn so_far(mirror: &Mirror) -> Requests {
        let text = mirror.get("/metrics").await.text();
        let count = |protocol| {
            let start =
                format!("crate_mirror_requests_by_protocol_total{{protocol=\"{protocol}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&start));
            let value = value.unwrap_or_else(|| panic!("no {start} in {text}"));
            value.parse().expect("a number")
        };
        Requests {
            http1: count("HTTP/1.1"),
            http2: count("HTTP/2"),
        }
    }
}

/// Without HTTP/2 cargo makes two connections and asks one thing at a time on each.
#[tokio::test]
async fn all_that_cargo_asks_for_arrives_over_http2() {
    let (upstream, names) = many_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = project(&mirror, &names);

    assert_eq!(Requests::so_far(&mirror).await.http2, 0.0);
    let ran = cargo.run(&["fetch"]).await;
    ran.success()
        .stderr_lacks("warning")
        .stderr_lacks("spurious");
    // config.json, every index file and every crate; the reading above is the one over HTTP/1.1.
    let expected = Requests {
        http1: 1.0,
        http2: (1 + 2 * CRATES) as f64,
    };
    assert_eq!(Requests::so_far(&mirror).await, expected);
}

/// A farm of clean build machines: only the first one's requests go further than the mirror.
#[tokio::test]
async fn a_second_machine_is_served_without_asking_upstream() {
    let (upstream, names) = many_crates().await;
    let hour = "[freshness]\nfresh_for = \"1h\"";
    let mirror = Mirror::of(&upstream).settings(hour).start().await;
    let cargo = project(&mirror, &names);
    cargo.run(&["fetch"]).await.success();
    assert_eq!(upstream.index_requests().len(), CRATES);
    assert_eq!(upstream.crate_requests().len(), CRATES);

    upstream.clear_log();
    cargo.fresh_home();
    cargo.remove_lockfile();
    let ran = cargo.run(&["fetch"]).await;
    ran.success()
        .stderr_lacks("warning")
        .stderr_lacks("spurious");
    let downloaded = ran.stderr.matches("Downloaded many-").count();
    assert_eq!(downloaded, CRATES, "{ran}");
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

/// Two hundred streams of one connection wait for one upstream; none may be refused or lost meanwhile.
#[tokio::test]
async fn requests_wait_together_on_one_connection() {
    let (upstream, names) = many_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = project(&mirror, &names);
    cargo.run(&["generate-lockfile"]).await.success();

    let gate = upstream.on_crate_files().gate();
    let fetching = tokio::spawn(async move { cargo.run(&["fetch", "--locked"]).await });
    gate.await_waiting(CRATES).await;
    gate.open();
    let ran = fetching.await.expect("cargo ran");
    ran.success().stderr_lacks("warning");
}

/// `http.multiplexing = false` is what people set behind a proxy that spoils HTTP/2.
#[tokio::test]
async fn a_cargo_that_wants_no_http2_is_served_over_http1() {
    let (upstream, names) = many_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = project(&mirror, &names).config("[http]\nmultiplexing = false\n");

    let ran = cargo.run(&["fetch"]).await;
    ran.success().stderr_lacks("warning");
    let expected = Requests {
        http1: (1 + 2 * CRATES) as f64,
        http2: 0.0,
    };
    assert_eq!(Requests::so_far(&mirror).await, expected);
}

/// Much more than one window of flow control, beside small ones that must not wait for it.
#[tokio::test]
async fn a_large_crate_and_small_ones_share_a_connection() {
    let upstream = Upstream::new()
        .publish(Package::new("large", "1.0.0").payload(12_000_000))
        .publish(Package::new("small", "1.0.0"))
        .publish(Package::new("smaller", "1.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let names = ["large", "small", "smaller"].map(str::to_owned);
    let cargo = project(&mirror, &names);

    // Through the mirror as it arrives, from memory, and from the store.
    cargo.run(&["fetch"]).await.success();
    cargo.fresh_home();
    cargo.run(&["fetch", "--locked"]).await.success();
    let mirror = mirror.restart().await;
    let cargo = project(&mirror, &names);
    let ran = cargo.run(&["fetch"]).await;
    ran.success().stderr_lacks("warning");
    assert_eq!(upstream.crate_requests().len(), 3);
    assert_eq!(Requests::so_far(&mirror).await.http1, 0.0);
}
