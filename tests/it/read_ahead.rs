//! Read ahead: while cargo still waits for one level of dependencies, the mirror asks for the next; never at a client's cost, and never for ever.

use std::time::Duration;

use crate::support::{Mirror, Package, Upstream, index_path};

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

/// `level-0` needs `level-1` and so on; each needs a `test-N` for its tests, and has an optional `off-N`.
async fn chain(levels: usize) -> Upstream {
    let upstream = Upstream::new();
    let packages = (0..levels).flat_map(|n| {
        let package = Package::new(&format!("level-{n}"), "1.0.0")
            .dep(&format!("level-{}", n + 1), "1")
            .dev_dep(&format!("test-{n}"), "1")
            .optional_dep(&format!("off-{n}"), "1");
        let others = ["test", "off"].map(|kind| Package::new(&format!("{kind}-{n}"), "1.0.0"));
        [package].into_iter().chain(others)
    });
    let last = Package::new(&format!("level-{levels}"), "1.0.0");
    let packages = packages.chain([last]);
    upstream.publish_all(packages).start().await
}

fn asked(upstream: &Upstream, name: &str) -> usize {
    upstream.count(&index(name))
}

async fn fetched(mirror: &Mirror) -> f64 {
    mirror
        .metric("crate_mirror_read_ahead_fetched_total ")
        .await
}

#[tokio::test]
async fn dependencies_are_fetched_before_anybody_asks_for_them() {
    let upstream = chain(5).await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get(&index("level-0")).await;
    upstream.await_requests(1, &index("level-5")).await;
    for n in 0..5 {
        assert_eq!(asked(&upstream, &format!("level-{n}")), 1);
        assert_eq!(
            asked(&upstream, &format!("test-{n}")),
            0,
            "only for its own tests"
        );
        assert_eq!(
            asked(&upstream, &format!("off-{n}")),
            0,
            "nobody turned it on"
        );
    }
    mirror
        .get_until("/metrics", |reply| {
            reply.text().contains("read_ahead_fetched_total 5\n")
        })
        .await;
    for n in 1..=5 {
        assert_eq!(
            mirror
                .get(&index(&format!("level-{n}")))
                .await
                .header("x-cache"),
            Some("hit")
        );
    }
    let metrics = mirror.get("/metrics").await.text();
    assert!(
        metrics.contains("crate_mirror_read_ahead_useful_total 5\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("crate_mirror_read_ahead_unasked 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn switched_off_it_does_nothing() {
    let upstream = chain(2).await;
    let off = "[read_ahead]\nenabled = false";
    let mirror = Mirror::of(&upstream).settings(off).start().await;
    mirror.get(&index("level-0")).await;
    mirror.stop().await;
    assert_eq!(upstream.index_requests().len(), 1);
}

#[tokio::test]
async fn it_goes_as_deep_and_asks_for_as_many_files_as_configured() {
    for (limit, levels) in [("depth = 2", 2.0), ("max_files = 3", 3.0)] {
        let upstream = chain(6).await;
        let settings = format!("[read_ahead]\n{limit}");
        let mirror = Mirror::of(&upstream).settings(&settings).start().await;
        mirror.get(&index("level-0")).await;
        upstream
            .await_requests(1, &index(&format!("level-{levels}")))
            .await;
        // Stopping waits for what is under way.
        let enough = format!("read_ahead_fetched_total {levels}\n");
        mirror
            .get_until("/metrics", |reply| reply.text().contains(&enough))
            .await;
        mirror.stop().await;
        assert_eq!(
            upstream.index_requests().len() as f64,
            1.0 + levels,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_client_joins_what_was_asked_for_ahead() {
    let upstream = chain(1).await;
    let gate = upstream.gate(&index("level-1"));
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get(&index("level-0")).await;
    gate.await_waiting(1).await;
    let path = index("level-1");
    let (reply, ()) = tokio::join!(mirror.get(&path), async { gate.open() });
    assert_eq!(reply.text(), upstream.index_file("level-1"));
    assert_eq!(asked(&upstream, "level-1"), 1);
}

/// With stale copies the whole graph is known at once: asked for level by level, it used to cost one round trip each.
#[tokio::test]
async fn a_stale_graph_is_checked_all_at_once() {
    let upstream = chain(4).await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get(&index("level-0")).await;
    mirror
        .get_until("/metrics", |reply| {
            reply.text().contains("read_ahead_fetched_total 4\n")
        })
        .await;
    let mirror = mirror.restart().await;
    for n in 0..=4 {
        mirror.age(&format!("level-{n}"), Duration::from_secs(3600));
    }
    upstream.clear_log();
    // The answers are held until all files have been asked for.
    let gate = upstream.on_index_files().gate();
    let path = index("level-0");
    let (reply, ()) = tokio::join!(mirror.get(&path), async {
        gate.await_waiting(5).await;
        gate.open();
    });
    assert_eq!(reply.text(), upstream.index_file("level-0"));
}

/// Clients come first: there are permits for their requests however much is read ahead.
#[tokio::test]
async fn it_leaves_places_to_clients() {
    let many = (0..40).fold(Package::new("root", "1.0.0"), |p, n| {
        p.dep(&format!("dep-{n}"), "1")
    });
    let upstream = (0..40)
        .fold(Upstream::new().publish(many), |u, n| {
            u.publish(Package::new(&format!("dep-{n}"), "1.0.0"))
        })
        .publish(Package::new("other", "1.0.0"))
        .start()
        .await;
    let settings = "[upstream]\nmax_concurrent = 8";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    let gate = upstream.gate("/dep-");
    mirror.get(&index("root")).await;
    gate.await_waiting(6).await;
    let reply = mirror.get(&index("other")).await;
    assert_eq!((reply.status, gate.waiting()), (200, 6));
    gate.open();
    upstream.await_requests(40, "/dep-").await;
}

#[tokio::test]
async fn a_circle_of_dependencies_has_an_end() {
    let upstream = Upstream::new()
        .publish(Package::new("chicken", "1.0.0").dep("egg", "1"))
        .publish(Package::new("egg", "1.0.0").dep("chicken", "1"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    mirror.get(&index("chicken")).await;
    upstream.await_requests(1, &index("egg")).await;
    mirror.stop().await;
    assert!(upstream.index_requests().len() < 20);
}

#[tokio::test]
async fn a_dependency_that_fails_or_lies_costs_nobody_anything() {
    let upstream = chain(3).await;
    upstream.on(&index("level-1")).fail_with(200, &[], "<html>");
    let mirror = Mirror::of(&upstream).start().await;
    let reply = mirror.get(&index("level-0")).await;
    assert_eq!(reply.text(), upstream.index_file("level-0"));
    upstream.await_requests(1, &index("level-1")).await;
    upstream.heal();
    // A request that comes while the bad answer is still being read shares its failure.
    let path = index("level-1");
    let reply = mirror.get_until(&path, |reply| reply.status == 200).await;
    assert_eq!(reply.text(), upstream.index_file("level-1"));
    assert!(fetched(&mirror).await < 3.0);
}

/// Whatever the rules keep out, nobody will be given: not asked for, it is no work for anybody either.
#[tokio::test]
async fn it_follows_neither_denied_crates_nor_denied_versions() {
    let package = |name: &str, version: &str, deps: &[&str]| {
        let package = Package::new(name, version);
        deps.iter().fold(package, |p, dep| p.dep(dep, "1"))
    };
    let rules = "[[policy.rules]]\ncrates = [\"banned\"]\naction = \"deny\"\n\
        [[policy.rules]]\ncrates = [\"dep\"]\nversions = \"=1.1.0\"\naction = \"deny\"\n";
    let good = ["dep", "good"];
    let bad = ["banned", "behind-banned", "evil"];
    for (mode, enforced) in [("enforce", true), ("report", false)] {
        let upstream = Upstream::new()
            .publish(package("root", "1.0.0", &["banned", "dep"]))
            .publish(package("banned", "1.0.0", &["behind-banned"]))
            .publish(package("behind-banned", "1.0.0", &[]))
            .publish(package("dep", "1.0.0", &["good"]))
            .publish(package("dep", "1.1.0", &["evil"]))
            .publish(package("good", "1.0.0", &[]))
            .publish(package("evil", "1.0.0", &[]))
            .start()
            .await;
        let settings = format!("[policy]\nmode = \"{mode}\"\n{rules}");
        let mirror = Mirror::of(&upstream).settings(&settings).start().await;
        mirror.get(&index("root")).await;
        let last = match enforced {
            true => "read_ahead_fetched_total 2\n",
            false => "read_ahead_fetched_total 4\n",
        };
        mirror
            .get_until("/metrics", |reply| reply.text().contains(last))
            .await;
        mirror.stop().await;
        for name in good {
            let expected = usize::from(enforced || name == "dep");
            assert_eq!(asked(&upstream, name), expected, "{mode}: {name}");
        }
        for name in bad {
            assert_eq!(
                asked(&upstream, name),
                usize::from(!enforced),
                "{mode}: {name}"
            );
        }
    }
}
