//! Where upstream keeps its .crate files: its config.json says, in every form cargo knows.

use crate::support::{Mirror, Package, Rule, Upstream, When, client};

const DOWNLOAD: &str = "/api/v1/crates/Some_Crate/1.0.0+build/download";

fn package() -> Package {
    Package::new("Some_Crate", "1.0.0+build")
}

#[tokio::test]
async fn every_form_of_dl_leads_to_the_file() {
    for dl in [
        "{base}/dl",
        "{base}/api/v1/crates",
        "{base}/dl/{crate}/{version}/download",
        "{base}/dl/{crate}/{crate}-{version}.crate",
        "{base}/dl/{prefix}/{crate}-{version}",
        "{base}/dl/{lowerprefix}/{crate}-{version}",
        "{base}/dl/{sha256-checksum}",
        "{base}/{prefix}/{lowerprefix}/{crate}/{version}/{sha256-checksum}.crate",
    ] {
        let upstream = Upstream::new().dl(dl).publish(package()).start().await;
        let mirror = Mirror::of(&upstream).start().await;
        let reply = mirror.get(DOWNLOAD).await;
        assert_eq!(reply.status, 200, "{dl}: {}", reply.text());
        let file = upstream.crate_file("Some_Crate", "1.0.0+build");
        assert!(reply.complete && reply.body == file, "{dl}");

        let asked = &upstream.crate_requests()[0].path;
        let expected = upstream.crate_path("Some_Crate", "1.0.0+build");
        assert_eq!(asked.replace("%2B", "+"), expected, "{dl}");
    }
}

/// Something wrong with upstream's config.json.
type Fault = (&'static str, fn(When<'_>) -> Rule);

const FAULTS: &[Fault] = &[
    ("500", |on| on.fail(500)),
    ("refused: 404", |on| on.fail(404)),
    ("refused: 401", |on| on.fail(401)),
    ("204", |on| on.fail_with(204, &[], "")),
    ("nothing", |on| on.fail_with(200, &[], "")),
    ("HTML", |on| on.fail_with(200, &[], "<html></html>")),
    ("no dl", |on| {
        on.fail_with(200, &[], "{\"api\":\"https://example.com\"}")
    }),
    ("a dl that is no text", |on| {
        on.fail_with(200, &[], "{\"dl\":null}")
    }),
    ("a relative dl", |on| {
        on.fail_with(200, &[], "{\"dl\":\"/dl\"}")
    }),
    ("a dl of another scheme", |on| {
        on.fail_with(200, &[], "{\"dl\":\"file:///etc/{crate}\"}")
    }),
    ("half of it", |on| on.truncate(10)),
    ("silence", |on| on.hang()),
    ("silence in the body", |on| on.hang_after(10)),
    ("a reset", |on| on.reset()),
    ("no HTTP", |on| on.garbage()),
    ("more than a config.json can be", |on| {
        on.fail_with(200, &[], vec![b' '; 1 << 20])
    }),
];

#[tokio::test]
async fn without_upstreams_config_json_a_download_fails_clearly_until_it_is_there() {
    let upstream = Upstream::new().publish(package()).start().await;
    let settings =
        "[upstream]\nfirst_byte_timeout = \"500ms\"\nstall_timeout = \"500ms\"\nretries = 0";
    for (fault, happens) in FAULTS {
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        let rule = happens(upstream.on("config.json"));
        let reply = mirror.get(DOWNLOAD).await;
        match fault.strip_prefix("refused: ") {
            Some(status) => reply.assert_refused(status),
            None => reply.assert_unavailable(fault),
        }
        assert_eq!(rule.hits(), 1, "{fault}");
        assert_eq!(upstream.crate_requests().len(), 0, "{fault}");
        // The index needs none of it.
        let index = mirror.get("/index/so/me/some_crate").await;
        assert_eq!(index.status, 200, "{fault}");

        rule.lift();
        let reply = mirror.get(DOWNLOAD).await;
        let file = upstream.crate_file("Some_Crate", "1.0.0+build");
        assert!(reply.complete && reply.body == file, "{fault}");
        upstream.clear_log();
    }
}

#[tokio::test]
async fn config_json_is_asked_for_once_however_many_crates_are_fetched() {
    let names = ["one", "two", "three", "four", "five"];
    let upstream = names.iter().fold(Upstream::new(), |upstream, name| {
        upstream.publish(Package::new(name, "1.0.0"))
    });
    let upstream = upstream.start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate("config.json");
    let paths = names.map(|name| format!("/api/v1/crates/{name}/1.0.0/download"));
    let asking: Vec<_> = paths
        .into_iter()
        .map(|path| {
            let addr = mirror.addr();
            tokio::spawn(async move { client::get(addr, &path, &[]).await })
        })
        .collect();
    upstream.await_requests(names.len(), "/index/").await;
    gate.await_waiting(1).await;
    gate.open();
    for reply in asking {
        assert_eq!(reply.await.expect("a reply").status, 200);
    }
    assert_eq!(upstream.count("config.json"), 1);
}

/// Whichever server answers, the file has to have the checksum that the index says.
#[tokio::test]
async fn a_dl_that_leads_elsewhere_is_followed_and_checked() {
    let elsewhere = Upstream::new()
        .publish(package().file("src/lib.rs", "//! Other content.\n"))
        .start()
        .await;
    let dl = format!("{}/dl", elsewhere.url());
    let upstream = Upstream::new().dl(&dl).publish(package()).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let reply = mirror.get(DOWNLOAD).await;
    reply.assert_unavailable("another file of that name");
    assert_eq!(reply.status, 502);
    assert_eq!(elsewhere.crate_requests().len(), 1);
    elsewhere.publish(package());
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
}
