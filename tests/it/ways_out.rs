//! Ways out: a proxy with a password, authorities of a company's own, and whom to ask about this mirror, each for all registries or for one.

use crate::support::{
    Certificate, Package, Program, Proxy, Reply, Running, Seen, Tls, Upstream, client,
};

const INDEX: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";

async fn upstream() -> Upstream {
    let serde = Package::new("serde", "1.0.0");
    Upstream::new().publish(serde).start().await
}

/// The program with these lines of `[upstream]`, of crates-io's table, and nothing else.
fn program(upstream: &str, index: &str, registry: &str) -> Program {
    Program::new(&["serve"]).settings(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[upstream]\n{upstream}\n[registries.crates-io]\nindex = \"{index}\"\n{registry}\n"
    ))
}

async fn get(process: &Running, path: &str) -> Reply {
    client::get(process.addr(), path, &[]).await
}

#[tokio::test]
async fn a_proxy_with_a_password_is_used_in_place_of_that_of_the_environment() {
    let upstream = upstream().await;
    let tls = Tls::before(&upstream, Certificate::Good).await;
    let proxy = Proxy::with_password("hunter2").await;
    let setting = format!("proxy = \"{}\"", proxy.url());
    let trusted = "ca_certificates = \"ca.pem\"";
    for (general, own) in [
        (format!("{setting}\n{trusted}"), String::new()),
        (format!("proxy = \"none\"\n{trusted}"), setting.clone()),
    ] {
        let before = proxy.led().len();
        // Exceptions are the environment's, too.
        let program = program(&general, &tls.index_url_elsewhere(), &own).env("NO_PROXY", "*");
        let process = program.file("ca.pem", &tls.pem).start().await;
        let reply = get(&process, INDEX).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(proxy.led().len() > before, "it wasn't asked");
    }
    assert!(proxy.led()[0].starts_with("CONNECT registry.example:"));
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_says_where_it_goes_and_no_password_is_told() {
    let upstream = upstream().await;
    let tls = Tls::before(&upstream, Certificate::Good).await;
    let proxy = Proxy::with_password("hunter2").await;
    let wrong = proxy.url().replace("hunter2", "hunter3");
    for (general, own, key) in [
        (proxy.bare_url(), None, "`upstream.proxy`"),
        (wrong.clone(), None, "`upstream.proxy`"),
        (proxy.url(), Some(wrong), "`registries.crates-io.proxy`"),
    ] {
        let own = own.map_or(String::new(), |own| format!("proxy = \"{own}\""));
        let general = format!("proxy = \"{general}\"\nca_certificates = \"ca.pem\"");
        let program = program(&general, &tls.index_url_elsewhere(), &own);
        let process = program.file("ca.pem", &tls.pem).start().await;
        let reply = get(&process, INDEX).await;
        reply.assert_refused("(407)");
        let text = reply.text();
        assert!(text.contains(key) && !text.contains("hunter"), "{text}");
    }
}

/// Over plain http a proxy is asked for whole URLs, each with its password.
#[tokio::test]
async fn a_plain_upstream_is_reached_through_a_proxy_with_its_password() {
    let proxy = upstream().await;
    let url = format!("http://user:hunter2@{}", proxy.addr());
    let setting = format!("proxy = \"{url}\"");
    let program = program(&setting, "http://registry.example/index/", "");
    let process = program.start().await;
    assert_eq!(get(&process, INDEX).await.status, 200);
    for seen in proxy.requests() {
        let sent = seen.header("proxy-authorization");
        assert_eq!(sent, Some("Basic dXNlcjpodW50ZXIy"));
        assert_eq!(seen.header("authorization"), None);
    }
}

/// A credential may go to this machine in clear, and a proxy elsewhere saw it.
#[tokio::test]
async fn this_machine_is_asked_without_the_proxy_of_the_settings_or_of_the_environment() {
    let (upstream, proxy) = (upstream().await, self::upstream().await);
    let url = format!("http://{}", proxy.addr());
    let token = "[registries.crates-io.credential]\nkind = \"raw\"\nenv = \"TOKEN\"";
    let port = upstream.addr().port();
    for host in ["127.0.0.1", "localhost"] {
        let index = format!("http://{host}:{port}/index/");
        for setting in [format!("proxy = \"{url}\""), String::new()] {
            let program = program(&setting, &index, token).env("TOKEN", "hunter2");
            let program = program.env("HTTP_PROXY", &url).env("http_proxy", &url);
            let process = program.start().await;
            assert_eq!(get(&process, INDEX).await.status, 200, "{setting}");
            assert_eq!(get(&process, DOWNLOAD).await.status, 200, "{setting}");
        }
    }
    assert!(proxy.requests().is_empty(), "the proxy was asked");
    // Its crates are at 127.0.0.1, which is another origin than localhost.
    let of_index = |seen: &Seen| seen.path.starts_with("/index/");
    let asked = upstream.requests();
    let mut asked = asked.iter().filter(|seen| of_index(seen));
    assert!(asked.all(|seen| seen.header("authorization") == Some("hunter2")));
}

#[tokio::test]
async fn none_stands_for_no_proxy_at_all() {
    let upstream = upstream().await;
    for (general, own) in [
        ("proxy = \"none\"", ""),
        ("proxy = \"http://127.0.0.1:1\"", "proxy = \"none\""),
    ] {
        let program = program(general, &upstream.index_url(), own);
        let process = program
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .start()
            .await;
        assert_eq!(get(&process, INDEX).await.status, 200, "{general} {own}");
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_beside_the_systems_or_for_one_registry() {
    let upstream = upstream().await;
    let tls = Tls::before(&upstream, Certificate::Good).await;
    let other = Tls::before(&upstream, Certificate::Good).await;
    let (ours, theirs) = (
        "ca_certificates = \"ca.pem\"",
        "ca_certificates = \"other.pem\"",
    );
    for (general, own, is_trusted) in [
        (ours, "", true),
        ("", ours, true),
        (theirs, ours, true),
        (ours, theirs, false),
        (theirs, "", false),
    ] {
        let program = program(general, &tls.index_url(), own);
        let program = program
            .file("ca.pem", &tls.pem)
            .file("other.pem", &other.pem);
        // The kit gives every program a proxy that isn't there.
        let process = program.env("NO_PROXY", "localhost").start().await;
        let reply = get(&process, INDEX).await;
        match is_trusted {
            true => assert_eq!(reply.status, 200, "{general} {own}: {}", reply.text()),
            false => reply.assert_refused("`upstream.ca_certificates`"),
        }
    }
    // A machine without any authorities of its own trusts these.
    let program = program(ours, &tls.index_url(), "").file("ca.pem", &tls.pem);
    let program = program
        .file("none.pem", "")
        .env("SSL_CERT_FILE", "none.pem");
    let process = program.env("NO_PROXY", "localhost").start().await;
    assert_eq!(get(&process, INDEX).await.status, 200);
}

#[tokio::test]
async fn a_file_of_certificates_that_cannot_be_used_is_named_with_its_key() {
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, words) in [
        (None, "can't be read"),
        (Some(""), "no certificates in PEM"),
        (Some(key), "no certificates in PEM"),
        (Some(broken), "a certificate that can't be used"),
        (Some("-----BEGIN CERTIFICATE-----\n!\n"), "can be read"),
    ] {
        for (general, own, name) in [
            (
                "ca_certificates = \"ca.pem\"",
                "",
                "`upstream.ca_certificates`",
            ),
            (
                "",
                "ca_certificates = \"ca.pem\"",
                "`registries.crates-io.ca_certificates`",
            ),
        ] {
            let mut program = program(general, "https://registry.example/", own);
            if let Some(content) = content {
                program = program.file("ca.pem", content);
            }
            program.run().await.refused(&[name, "ca.pem", words]);
        }
    }
}

#[tokio::test]
async fn the_contact_is_in_the_user_agent() {
    let upstream = upstream().await;
    let program = program("contact = \"ops@example.com\"", &upstream.index_url(), "");
    let process = program.start().await;
    assert_eq!(get(&process, INDEX).await.status, 200);
    assert_eq!(get(&process, DOWNLOAD).await.status, 200);
    for seen in upstream.requests() {
        let agent = seen.header("user-agent").expect("a user agent");
        assert!(agent.starts_with("crate-mirror/"), "{agent}");
        assert!(agent.ends_with("; ops@example.com)"), "{agent}");
    }
}

/// A parser that quotes the line it can't read quotes the password in it.
#[tokio::test]
async fn a_password_in_the_settings_is_in_no_message_about_them() {
    for toml in [
        "[upstream]\nproxy = \"http://me:hunter2@proxy:1\nretries = 1",
        "[upstream]\nproxy = \"ftp://me:hunter2@proxy:1\"",
        "[upstream]\nproxy = [\"http://me:hunter2@proxy:1\"]",
        "[registries.a]\nindex = \"https://me:hunter2@crates.example/?a\"",
        "[server]\npublic_url = \"https://me:hunter2@crates.example/?a\"",
    ] {
        let ended = Program::new(&["check"]).settings(toml).run().await;
        let said = ended.refused(&["mirror.toml: "]);
        assert!(!said.contains("hunter2"), "{said}");
    }
}
