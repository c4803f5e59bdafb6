//! The circuit: a host that keeps failing is left alone, what is here is served meanwhile, and one request at a time finds out whether it is back.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::{Mirror, MirrorBuilder, Package, Reply, Rule, Upstream, When};

const SERDE: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";
/// Crates that the mirror hasn't stored.
const OTHERS: [&str; 5] = ["tokio", "anyhow", "regex", "bytes", "rayon"];
/// How many failures in a row open the circuit. They count when they concern different objects, or when there was no answer at all.
const FAILURES: usize = 5;

/// A way in which requests go wrong.
type Way = (&'static str, fn(When<'_>) -> Rule);

/// An upstream with `serde` and the others.
async fn upstream() -> Upstream {
    let names = OTHERS.into_iter().chain(["serde"]);
    let packages = names.map(|name| Package::new(name, "1.0.0"));
    Upstream::new().publish_all(packages).start().await
}

/// A mirror that asks upstream for every index file, once.
fn mirror_of(upstream: &Upstream) -> MirrorBuilder {
    let once = "[upstream]\nretries = 0";
    Mirror::of(upstream).always_asks().settings(once)
}

/// A mirror that has `serde`, in front of an upstream that fails from now on, and has failed so often that it is left alone.
async fn with_an_open_circuit(upstream: &Upstream) -> (Mirror, Rule) {
    let mirror = mirror_of(upstream).start().await;
    assert_eq!(mirror.get(SERDE).await.status, 200);
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
    upstream.clear_log();
    let failing = upstream.on_everything().fail(503);
    for (before, name) in OTHERS.iter().enumerate() {
        mirror.get(&index(name)).await.assert_unavailable(name);
        assert_eq!(failing.hits(), before + 1);
    }
    (mirror, failing)
}

fn download(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

fn index(name: &str) -> String {
    format!("/index/{}", crate::support::index_path(name))
}

/// Once the circuit is open, a pause comes before every request, each twice as long as the one before. On a slow machine some pauses end during the test,
/// so a few requests may come.
#[track_caller]
fn assert_left_alone(upstream: &Upstream) {
    let seen = upstream.requests();
    let asked: Vec<_> = seen[FAILURES - 1..].iter().map(|seen| seen.at).collect();
    for (n, probe) in asked.windows(2).enumerate() {
        let pause = probe[1] - probe[0];
        let least = Duration::from_millis(900 << n.min(4));
        assert!(pause > least, "probe {n} after {pause:?}");
    }
}

#[track_caller]
fn assert_stale(reply: &Reply) {
    let seen = (reply.status, reply.header("x-cache"), reply.complete);
    assert_eq!(seen, (200, Some("stale"), true), "{}", reply.text());
}

/// Checks that this is a 503 with `Retry-After`, and returns its seconds.
#[track_caller]
fn told_to_wait(reply: &Reply) -> u64 {
    reply.assert_unavailable("an open circuit");
    assert_eq!(reply.status, 503);
    let seconds = reply.header("retry-after").expect("a Retry-After");
    seconds.parse().expect("whole seconds")
}

/// Asks until the answer is such a 503. On a slow machine the pause may have ended, and the answer is that of a probe.
async fn resting(mirror: &Mirror, path: &str) -> Reply {
    let told = |reply: &Reply| reply.header("retry-after").is_some();
    mirror.get_until(path, told).await
}

/// Waits until the pause is over, as a polite client does, with upstream well from now on.
async fn pause(mirror: &Mirror, path: &str, failing: &Rule) {
    let seconds = told_to_wait(&resting(mirror, path).await);
    assert!((1..=30).contains(&seconds), "{seconds} s");
    failing.lift();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// What `/metrics` says of the circuit to that upstream.
async fn gauge(mirror: &Mirror, upstream: &Upstream) -> f64 {
    let host = upstream.addr();
    let start = format!("crate_mirror_upstream_circuit_open{{host=\"{host}\"");
    mirror.metric(&start).await
}

/// What `/readyz` says of that upstream, on an answer that is 200 whatever it says.
async fn state(mirror: &Mirror, upstream: &Upstream) -> String {
    let reply = mirror.get("/readyz").await;
    assert_eq!(reply.status, 200);
    let (text, host) = (reply.text(), upstream.addr().to_string());
    let line = text.lines().find(|line| line.contains(&host));
    line.expect("a line about that host").to_owned()
}

/// Without a circuit every request during an outage waits for its own timeouts, and a host that is overloaded is asked even more often.
#[tokio::test]
async fn a_host_that_keeps_failing_is_left_alone_and_copies_are_served_at_once() {
    let upstream = upstream().await;
    let (mirror, _failing) = with_an_open_circuit(&upstream).await;
    for _ in 0..50 {
        assert_stale(&mirror.get(SERDE).await);
        assert_eq!(mirror.get(DOWNLOAD).await.header("x-cache"), Some("hit"));
    }
    assert_left_alone(&upstream);
}

#[tokio::test]
async fn what_is_not_here_is_a_503_that_says_when_to_come_back() {
    let upstream = upstream().await;
    let (mirror, _failing) = with_an_open_circuit(&upstream).await;
    let paths = OTHERS.into_iter().flat_map(|name| {
        let download = format!("/api/v1/crates/{name}/1.0.0/download");
        [index(name), download]
    });
    for path in paths {
        let reply = resting(&mirror, &path).await;
        assert!((1..=30).contains(&told_to_wait(&reply)), "{path}");
        let (text, host) = (reply.text(), upstream.addr().to_string());
        assert!(text.contains(&host), "which host? {text}");
    }
    assert_left_alone(&upstream);
}

/// A host that has just come back must not be asked by everybody at once.
#[tokio::test]
async fn after_the_pause_one_request_at_a_time_finds_out_and_closes_the_circuit() {
    let upstream = upstream().await;
    let (mirror, failing) = with_an_open_circuit(&upstream).await;
    let probe = index("tokio");
    pause(&mirror, &probe, &failing).await;
    upstream.clear_log();
    let gate = upstream.on_everything().gate();
    let meanwhile = async {
        gate.await_waiting(1).await;
        let others = OTHERS.iter().filter(|name| **name != "tokio");
        let paths: Vec<_> = others.map(|name| index(name)).collect();
        for reply in join_all(paths.iter().map(|path| mirror.get(path))).await {
            told_to_wait(&reply);
        }
        assert_stale(&mirror.get(SERDE).await);
        assert_eq!(upstream.requests().len(), 1, "{:?}", upstream.requests());
        gate.open();
    };
    let (reply, ()) = tokio::join!(mirror.get(&probe), meanwhile);
    assert_eq!(reply.text(), upstream.index_file("tokio"));

    for name in OTHERS {
        assert_eq!(mirror.get(&index(name)).await.status, 200, "{name}");
    }
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.header("x-cache"), Some("revalidated"));
}

#[tokio::test]
async fn a_probe_that_fails_makes_the_pause_longer() {
    let upstream = upstream().await;
    let (mirror, failing) = with_an_open_circuit(&upstream).await;
    let tokio = index("tokio");
    pause(&mirror, &tokio, &failing).await;
    upstream.clear_log();
    let failing = upstream.on_everything().times(1).fail(503);
    mirror.get(&tokio).await.assert_unavailable("the probe");
    assert_eq!(failing.hits(), 1);
    let well = |reply: &Reply| reply.status == 200;
    mirror.get_until(&tokio, well).await;
    let asked = upstream.requests();
    let pause = asked[1].at - asked[0].at;
    assert!(pause > Duration::from_millis(1900), "{pause:?}");
    assert_eq!(asked.len(), 2);
}

/// Requests that were under way when the circuit opened go on: their retries outlast the pause.
#[tokio::test]
async fn a_request_under_way_when_the_circuit_opens_is_served_when_upstream_is_back() {
    let upstream = upstream().await;
    let settings = "[upstream]\nretries = 10";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    let failing = upstream.on_everything().times(FAILURES).reset();
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.text(), upstream.index_file("serde"));
    let asked: Vec<_> = upstream.requests().iter().map(|seen| seen.at).collect();
    assert_eq!((failing.hits(), asked.len()), (FAILURES, FAILURES + 1));
    let pause = asked[FAILURES] - asked[FAILURES - 1];
    assert!(pause > Duration::from_millis(900), "{pause:?}");
}

#[tokio::test]
async fn metrics_and_readyz_say_which_host_is_left_alone_and_stay_well() {
    let upstream = upstream().await;
    let (mirror, failing) = with_an_open_circuit(&upstream).await;
    assert_eq!(gauge(&mirror, &upstream).await, 1.0);
    let line = state(&mirror, &upstream).await;
    assert!(line.contains("crates-io") && line.contains("failing"));
    assert_eq!(mirror.get("/healthz").await.status, 200);

    pause(&mirror, &index("tokio"), &failing).await;
    assert_eq!(mirror.get(&index("tokio")).await.status, 200);
    assert_eq!(gauge(&mirror, &upstream).await, 0.0);
    let line = state(&mirror, &upstream).await;
    assert!(!line.contains("failing"), "{line}");
}

/// crates.io's index and its crates are on different hosts; one that fails must not take the other along.
#[tokio::test]
async fn the_index_host_and_the_download_host_have_circuits_of_their_own() {
    let files = upstream().await;
    let names = OTHERS.into_iter().chain(["serde"]);
    let packages = names.map(|name| Package::new(name, "1.0.0"));
    let built = Upstream::new().dl(&format!("{}/dl", files.url()));
    let index_host = built.publish_all(packages).start().await;
    let mirror = mirror_of(&index_host).start().await;

    let failing = files.on_everything().fail(503);
    for name in OTHERS {
        mirror.get(&download(name)).await.assert_unavailable("503");
    }
    assert_eq!(failing.hits(), FAILURES);
    resting(&mirror, DOWNLOAD).await;
    assert_eq!(gauge(&mirror, &files).await, 1.0);
    assert_eq!(gauge(&mirror, &index_host).await, 0.0);
    assert!(state(&mirror, &files).await.contains("failing"));
    assert!(!state(&mirror, &index_host).await.contains("failing"));
    for name in OTHERS {
        let reply = mirror.get(&index(name)).await;
        assert_eq!(reply.header("x-cache"), Some("revalidated"));
    }
    pause(&mirror, DOWNLOAD, &failing).await;
    assert!(mirror.get(DOWNLOAD).await.complete);

    // The other way round: what the index said before is enough to download.
    let failing = index_host.on_everything().fail(503);
    for name in OTHERS {
        assert_stale(&mirror.get(&index(name)).await);
    }
    assert_eq!(failing.hits(), FAILURES);
    assert_eq!(gauge(&mirror, &index_host).await, 1.0);
    let reply = mirror.get("/api/v1/crates/tokio/1.0.0/download").await;
    assert!(reply.complete && reply.body == files.crate_file("tokio", "1.0.0"));
    assert_eq!(gauge(&mirror, &files).await, 0.0);
}

/// A registry that asks for a pause and doesn't get it blocks the client.
#[tokio::test]
async fn a_host_that_asks_several_times_to_be_left_alone_is() {
    let upstream = upstream().await;
    for status in [429, 503] {
        let mirror = mirror_of(&upstream).start().await;
        assert_eq!(mirror.get(SERDE).await.status, 200);
        upstream.clear_log();
        // Long enough for the slowest machine to do what follows before it is over.
        let header = [("retry-after", "60")];
        let failing = upstream.on_everything().fail_with(status, &header, "");
        for name in &OTHERS[..3] {
            assert_eq!(gauge(&mirror, &upstream).await, 0.0);
            assert_eq!(told_to_wait(&mirror.get(&index(name)).await), 60);
        }
        let other = mirror.get(&index("rayon")).await;
        assert!((1..=60).contains(&told_to_wait(&other)));
        assert_stale(&mirror.get(SERDE).await);
        assert_eq!(gauge(&mirror, &upstream).await, 1.0);
        assert_eq!(failing.hits(), 3);
        failing.lift();
    }
}

/// "Not for a day" for one file used to stop every crate for ten minutes.
#[tokio::test]
async fn one_object_that_is_to_be_left_alone_is_for_a_minute_and_stops_no_other() {
    let upstream = upstream().await;
    let header = [("retry-after", "86400")];
    for status in [429, 503] {
        let mirror = mirror_of(&upstream).start().await;
        let failing = upstream.on("/to/ki/tokio").fail_with(status, &header, "");
        assert_eq!(told_to_wait(&mirror.get(&index("tokio")).await), 60);
        for _ in 0..2 * FAILURES {
            assert!(told_to_wait(&mirror.get(&index("tokio")).await) <= 60);
        }
        assert_eq!(failing.hits(), 1, "it is left alone itself");
        for name in &OTHERS[1..] {
            assert_eq!(mirror.get(&index(name)).await.status, 200, "{name}");
            assert_eq!(mirror.get(&download(name)).await.status, 200, "{name}");
        }
        assert_eq!(gauge(&mirror, &upstream).await, 0.0);
        failing.lift();
    }
}

#[tokio::test]
async fn an_object_that_is_to_be_left_alone_is_for_that_long() {
    let upstream = upstream().await;
    for status in [429, 503] {
        let mirror = mirror_of(&upstream).start().await;
        upstream.clear_log();
        let header = [("retry-after", "2")];
        let failing = upstream.on_everything().times(1);
        let failing = failing.fail_with(status, &header, "");
        assert_eq!(told_to_wait(&mirror.get(&index("tokio")).await), 2);
        let well = |reply: &Reply| reply.status == 200;
        mirror.get_until(&index("tokio"), well).await;
        assert_eq!(failing.hits(), 1);
        assert_eq!(gauge(&mirror, &upstream).await, 0.0);
        let asked = upstream.requests();
        let pause = asked[1].at - asked[0].at;
        assert!(pause > Duration::from_millis(1900), "{pause:?}");
    }
}

/// Failures of one object that say nothing about the host. Some of them used to open the circuit.
#[tokio::test]
async fn one_path_that_fails_redirects_that_lead_nowhere_and_refusals_open_nothing() {
    let ways: [Way; 6] = [
        ("500", |on| on.fail(500)),
        ("503", |on| on.fail(503)),
        ("400", |on| on.fail(400)),
        ("403", |on| on.fail(403)),
        ("a redirect to nowhere", |on| {
            on.redirect("http://127.0.0.1:1/")
        }),
        ("a redirect to itself", |on| on.redirect("")),
    ];
    let upstream = upstream().await;
    for (way, happens) in ways {
        let mirror = mirror_of(&upstream).start().await;
        let failing = happens(upstream.on("/to/ki/tokio"));
        for _ in 0..2 * FAILURES {
            assert!(mirror.get(&index("tokio")).await.status >= 400, "{way}");
        }
        assert!(
            failing.hits() >= 2 * FAILURES,
            "{way} is asked for each time"
        );
        assert_eq!(gauge(&mirror, &upstream).await, 0.0, "{way}");
        failing.lift();
        let failing = happens(upstream.on("/dl/tokio"));
        for _ in 0..2 * FAILURES {
            assert!(mirror.get(&download("tokio")).await.status >= 400, "{way}");
        }
        assert_eq!(gauge(&mirror, &upstream).await, 0.0, "{way}");
        failing.lift();
        assert_eq!(mirror.get(SERDE).await.status, 200, "{way}");
    }
}

/// Downloads each of `OTHERS` once, from an upstream whose answers break off as `happens` says.
async fn break_off(upstream: &Upstream, happens: fn(When<'_>) -> Rule) -> (Mirror, Rule) {
    let impatient = "[upstream]\nretries = 0\nstall_timeout = \"200ms\"";
    let mirror = Mirror::of(upstream).settings(impatient).start().await;
    for name in OTHERS {
        assert_eq!(mirror.get(&index(name)).await.status, 200);
    }
    let failing = happens(upstream.on_crate_files());
    for name in OTHERS {
        let path = format!("/api/v1/crates/{name}/1.0.0/download");
        let reply = mirror.get(&path).await;
        assert!(!(reply.status == 200 && reply.complete), "{name} is whole");
    }
    (mirror, failing)
}

/// A host that answers every request with a head and then stalls used to be asked again and again, and every client waited for the whole stall.
#[tokio::test]
async fn a_host_whose_answers_break_off_is_left_alone_too() {
    let ways: &[Way] = &[
        ("silent", |on| on.hang_after(100)),
        ("reset", |on| on.reset_after(100)),
        ("closed", |on| on.truncate(100)),
    ];
    for (what, happens) in ways {
        let upstream = upstream().await;
        let (mirror, failing) = break_off(&upstream, *happens).await;
        assert_eq!(failing.hits(), FAILURES, "{what}");
        assert_eq!(gauge(&mirror, &upstream).await, 1.0, "{what}");
        told_to_wait(&resting(&mirror, DOWNLOAD).await);
        pause(&mirror, DOWNLOAD, &failing).await;
        let reply = mirror.get(DOWNLOAD).await;
        assert!(reply.complete && reply.body == upstream.crate_file("serde", "1.0.0"));
        assert_eq!(gauge(&mirror, &upstream).await, 0.0, "{what}");
    }
}

/// A long download over a bad line breaks off again and again; the host is there.
#[tokio::test]
async fn a_large_download_that_gets_on_between_its_breaks_does_not_open_the_circuit() {
    let large = Package::new("large", "1.0.0").payload(1_000_000);
    let small = Package::new("small", "1.0.0");
    let upstream = Upstream::new().ranges().publish(large).publish(small);
    let upstream = upstream.start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let breaking = upstream.on("/large/1.0.0").times(2 * FAILURES);
    let breaking = breaking.truncate(80_000);
    let reply = mirror.get("/api/v1/crates/large/1.0.0/download").await;
    assert!(reply.complete && reply.body == upstream.crate_file("large", "1.0.0"));
    assert_eq!(breaking.hits(), 2 * FAILURES);
    assert_eq!(upstream.crate_requests().len(), 2 * FAILURES + 1);
    let reply = mirror.get("/api/v1/crates/small/1.0.0/download").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(gauge(&mirror, &upstream).await, 0.0);
}

/// All bytes of each file had come, but not the end of the answer. Five of these used to open the circuit.
#[tokio::test]
async fn crates_that_only_lose_their_end_do_not_open_the_circuit() {
    let packages = OTHERS.into_iter().map(|name| Package::new(name, "1.0.0"));
    let chunked = Upstream::new().chunked();
    let upstream = chunked.publish_all(packages).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    for name in OTHERS {
        assert_eq!(mirror.get(&index(name)).await.status, 200);
    }
    let losing = upstream.on_crate_files().lose_end();
    for name in OTHERS {
        let reply = mirror.get(&download(name)).await;
        let file = upstream.crate_file(name, "1.0.0");
        assert!(reply.complete && reply.body == file, "{name}");
    }
    assert_eq!(losing.hits(), FAILURES);
    assert_eq!(gauge(&mirror, &upstream).await, 0.0);
}
