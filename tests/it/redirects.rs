//! Redirects: followed where they may lead. Those of index files only to known origins, and none into the network around this mirror.

use std::net::{IpAddr, ToSocketAddrs};

use crate::support::{
    Certificate, Mirror, Package, Program, Reply, Running, Tls, Upstream, client,
};

const INDEX: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";
const OTHERS: [&str; 5] = ["tokio", "anyhow", "regex", "bytes", "rayon"];

async fn upstream() -> Upstream {
    let names = OTHERS.into_iter().chain(["serde"]);
    let packages = names.map(|name| Package::new(name, "1.0.0"));
    Upstream::new().publish_all(packages).start().await
}

async fn get(process: &Running, path: &str) -> Reply {
    client::get(process.addr(), path, &[]).await
}

#[tokio::test]
async fn within_the_registry_they_are_followed() {
    let upstream = upstream().await;
    let index = upstream.index_file("serde");
    upstream.page("/moved/index", "text/plain", &index);
    upstream
        .on("/dl/serde")
        .redirect("/dl/./serde/1.0.0/download?moved=1#part");
    for status in [301, 302, 303, 307, 308] {
        let there = [("location", "/moved/again")];
        let first = upstream.on(INDEX).fail_with(status, &there, "");
        let second = upstream.on("/moved/again").redirect("index");
        let mirror = Mirror::of(&upstream).start().await;
        let reply = mirror.get(INDEX).await;
        let seen = (reply.status, reply.header("x-cache"));
        assert_eq!(seen, (200, Some("miss")), "{status}: {}", reply.text());
        assert_eq!(reply.text(), index, "{status}");
        first.lift();
        second.lift();
    }
}

/// An index file has no checksum, so that a server to which a redirect leads could list any crate in it.
#[tokio::test]
async fn an_index_file_is_taken_from_elsewhere_only_if_the_operator_has_named_it() {
    let (registry, elsewhere) = (upstream().await, upstream().await);
    let named = format!("[upstream]\nredirects = [\"{}\"]", elsewhere.url());
    for (asked, path) in [(INDEX, INDEX), ("/index/config.json", DOWNLOAD)] {
        let location = format!("{}{asked}", elsewhere.url());
        let rule = registry.on(asked).redirect(&location);
        elsewhere.clear_log();
        let mirror = Mirror::of(&registry).start().await;
        let reply = mirror.get(path).await;
        reply.assert_refused(&format!("`upstream.redirects = [\"{}\"]`", elsewhere.url()));
        assert!(elsewhere.requests().is_empty(), "{asked} was asked for");
        assert_eq!(rule.hits(), 1, "{asked}");

        let mirror = Mirror::of(&registry).settings(&named).start().await;
        assert_eq!(mirror.get(path).await.status, 200, "{asked}");
        assert!(elsewhere.count(asked) > 0, "{asked}");
        rule.lift();
    }
    // What is here is served all the same.
    let mirror = Mirror::of(&registry).always_asks().start().await;
    assert_eq!(mirror.get(INDEX).await.status, 200);
    registry.on(INDEX).redirect(&elsewhere.url());
    assert_eq!(mirror.get(INDEX).await.header("x-cache"), Some("stale"));
}

/// A crate may come from anywhere, because its checksum is known. What is meant for the registry alone isn't sent along.
#[tokio::test]
async fn a_crate_is_taken_from_elsewhere_and_credentials_stay_behind() {
    let (registry, elsewhere) = (upstream().await, upstream().await);
    let file = registry.crate_file("serde", "1.0.0");
    let location = format!("{}/dl/serde/1.0.0/download", elsewhere.url());
    registry
        .on_crate_files()
        .redirect(&location.replace("//", "//other:secret@"));
    let index = registry.index_url().replace("//", "//somebody:secret@");
    let named = format!("[upstream]\nredirects = [\"{}\"]", elsewhere.url());
    let mirror = Mirror::of_index(&index).settings(&named).start().await;
    let reply = mirror.get(DOWNLOAD).await;
    assert!(reply.complete && reply.body == file, "{}", reply.text());
    assert!(registry.requests()[0].header("authorization").is_some());

    registry
        .on("/to/ki/tokio")
        .redirect(&format!("{}/index/to/ki/tokio", elsewhere.url()));
    assert_eq!(mirror.get("/index/to/ki/tokio").await.status, 200);
    let seen = elsewhere.requests();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.header("authorization"), None, "{}", seen.path);
        assert_eq!(seen.header("referer"), None, "{}", seen.path);
    }

    // The file has to have the registry's checksum.
    elsewhere.on_everything().corrupt();
    let mirror = Mirror::of(&registry).start().await;
    mirror.get(DOWNLOAD).await.assert_unavailable("corrupt");
}

#[tokio::test]
async fn one_that_leads_to_itself_ends_soon() {
    let upstream = upstream().await;
    for (rule, path) in [
        (upstream.on(INDEX).redirect(""), INDEX),
        (
            upstream.on("/dl/tokio").redirect(""),
            "/api/v1/crates/tokio/1.0.0/download",
        ),
    ] {
        let mirror = Mirror::of(&upstream).start().await;
        mirror
            .get(path)
            .await
            .assert_refused("redirects more than 5 times in a row");
        assert_eq!(rule.hits(), 6, "{path}");
    }
}

#[tokio::test]
async fn one_that_leads_to_no_url_is_told() {
    let upstream = upstream().await;
    for location in [
        "ftp://a.test/",
        "http://",
        "file:///etc/passwd",
        "https://a b/",
    ] {
        let rule = upstream.on_everything().redirect(location);
        let mirror = Mirror::of(&upstream).start().await;
        let reply = mirror.get(INDEX).await;
        reply.assert_refused("redirects to what is no http or https URL");
        rule.lift();
    }
}

/// After a redirect from https to http, everybody on the way could send what they like.
#[tokio::test]
async fn from_https_none_is_followed_to_http() {
    let upstream = upstream().await;
    let tls = Tls::before(&upstream, Certificate::Good).await;
    let program = Program::new(&["serve"]).file("ca.pem", &tls.pem).settings(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[upstream]\nredirects = [\"{}\"]\n[registries.crates-io]\nindex = \"{}\"\n",
        upstream.url(),
        tls.index_url()
    ));
    let authority = program.folder().join("ca.pem");
    let authority = authority.to_str().expect("a path in UTF-8").to_owned();
    let program = program.env("NO_PROXY", "localhost");
    let process = program.env("SSL_CERT_FILE", &authority).start().await;
    let there = format!("{}{INDEX}", upstream.url());
    let rule = upstream.on(INDEX).times(1).redirect(&there);
    let reply = get(&process, INDEX).await;
    reply.assert_refused("redirects from https to http");
    assert_eq!((rule.hits(), upstream.count(INDEX)), (1, 1));
}

/// A name other than localhost that leads to this machine, if it has one.
fn own_name() -> Option<String> {
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let is_private = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback(),
    };
    let names = ["ip6-localhost", "ip6-loopback", hostname.trim()];
    let mut names = names.into_iter().filter(|name| !name.is_empty());
    let leads_here = |name: &&str| {
        let found = (*name, 0).to_socket_addrs();
        found.is_ok_and(|mut found| found.all(|addr| is_private(addr.ip())))
    };
    names.find(leads_here).map(str::to_owned)
}

/// By a redirect into the network around this mirror, a registry outside could have had anything read that this machine can reach.
#[tokio::test]
async fn no_registry_outside_leads_inside() {
    // As the proxy, it answers for every host.
    let outside = Upstream::new().dl("http://files.example/dl");
    let outside = outside.publish(Package::new("serde", "1.0.0"));
    let outside = outside.start().await;
    let inside = upstream().await;
    let port = inside.addr().port();
    let own = own_name();
    if own.is_none() {
        eprintln!("no name but localhost leads to this machine: not tried");
    }
    let hosts = [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "2130706433",
        "169.254.169.254",
    ];
    for host in hosts.into_iter().chain(own.as_deref()) {
        let there = format!("http://{host}:{port}/dl");
        let process = through(&outside, &format!("{host},127.0.0.1,::1"))
            .start()
            .await;
        let rule = outside.on_crate_files().redirect(&there);
        let reply = get(&process, DOWNLOAD).await;
        reply.assert_refused("leads to an address inside the network of this mirror");
        assert!(!reply.text().contains(host), "{}", reply.text());
        rule.lift();
        // Its config.json has to keep to that as well.
        let body = format!("{{\"dl\":\"{there}\"}}");
        let rule = outside.on("config.json").fail_with(200, &[], body);
        let process = through(&outside, &format!("{host},127.0.0.1,::1"))
            .start()
            .await;
        let reply = get(&process, DOWNLOAD).await;
        reply.assert_refused("leads to an address inside the network of this mirror");
        rule.lift();
        assert!(inside.requests().is_empty(), "{host} was asked");
    }
    let process = through(&outside, "").start().await;
    assert_eq!(get(&process, DOWNLOAD).await.status, 200);
}

/// A mirror of a registry that is nowhere, reached through `proxy`, which has it; hosts in `direct` aren't asked through it.
fn through(proxy: &Upstream, direct: &str) -> Program {
    let settings = "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io]\nindex = \"http://registry.example/index/\"\n";
    let program = Program::new(&["serve"]).settings(settings);
    let program = program.env("HTTP_PROXY", &proxy.url());
    program.env("NO_PROXY", direct)
}

#[tokio::test]
async fn no_byte_of_an_answer_from_elsewhere_is_quoted() {
    let (registry, elsewhere) = (upstream().await, upstream().await);
    registry.on_crate_files().redirect(&elsewhere.url());
    let secret = [
        ("location", "http://secret.test/secret"),
        ("x-secret", "secret"),
    ];
    for status in [
        200, 204, 206, 301, 302, 400, 401, 403, 404, 416, 429, 500, 503,
    ] {
        let rule = elsewhere
            .on_everything()
            .fail_with(status, &secret, "secret");
        let mirror = Mirror::of(&registry)
            .settings("[upstream]\nretries = 0")
            .start()
            .await;
        let reply = mirror.get(DOWNLOAD).await;
        assert!(reply.status >= 400, "{status}");
        assert!(
            !reply.text().contains("secret"),
            "{status}: {}",
            reply.text()
        );
        let headers = format!("{:?}", reply.headers);
        assert!(!headers.contains("secret"), "{status}: {headers}");
        rule.lift();
    }
}

/// An outage of the host that has the files used to stop the index, too.
#[tokio::test]
async fn the_circuit_is_that_of_the_host_that_failed() {
    let (registry, elsewhere) = (upstream().await, upstream().await);
    let once = "[upstream]\nretries = 0";
    let mirror = Mirror::of(&registry).settings(once).start().await;
    for name in OTHERS {
        let there = format!("{}/dl/{name}/1.0.0/download", elsewhere.url());
        registry.on(&format!("/dl/{name}")).redirect(&there);
    }
    elsewhere.on_everything().fail(503);
    for name in OTHERS {
        let path = format!("/api/v1/crates/{name}/1.0.0/download");
        mirror.get(&path).await.assert_unavailable(name);
    }
    let open = async |upstream: &Upstream| {
        let host = upstream.addr();
        let start = format!("crate_mirror_upstream_circuit_open{{host=\"{host}\"");
        mirror.metric(&start).await
    };
    assert_eq!(open(&elsewhere).await, 1.0);
    assert_eq!(open(&registry).await, 0.0);
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
}

/// A signed URL has its signature in the query, and readers of the log could have used it.
#[tokio::test]
async fn the_log_has_urls_without_query_and_without_user() {
    let (registry, elsewhere) = (upstream().await, upstream().await);
    let there = format!("{}/dl/serde/1.0.0/download?sig=secret", elsewhere.url());
    registry
        .on_crate_files()
        .redirect(&there.replace("//", "//secret:secret@"));
    let index = registry.index_url().replace("//", "//secret:secret@");
    let process = Program::new(&["serve"]).settings(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io]\nindex = \"{index}\"\n"
    ));
    let process = process.start().await;
    assert_eq!(get(&process, DOWNLOAD).await.status, 200);
    elsewhere.stop().await;
    let other = "/api/v1/crates/tokio/1.0.0/download";
    get(&process, other).await.assert_unavailable("gone");
    for path in ["/readyz", "/metrics"] {
        let text = get(&process, path).await.text();
        assert!(!text.contains("secret"), "{text}");
    }
    process.signal("TERM").await;
    let ended = process.ended().await;
    let urls = ended
        .stderr
        .lines()
        .filter(|line| line.contains("/dl/serde/1.0.0/download"));
    assert!(urls.count() >= 2, "{}", ended.stderr);
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
}
