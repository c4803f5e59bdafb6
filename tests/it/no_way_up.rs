//! No way up: what stands between this mirror and its upstream is named, to cargo's user too, and what can't get better isn't tried again.

use crate::support::{Cargo, Certificate, Package, Program, Reply, Running, Tls, Upstream, client};

const INDEX: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";

async fn upstream() -> Upstream {
    let serde = Package::new("serde", "1.0.0");
    Upstream::new().publish(serde).start().await
}

fn program(index: &str) -> Program {
    Program::new(&["serve"]).settings(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io]\nindex = \"{index}\"\n"
    ))
}

/// The program with these certificates of authorities, and no others.
fn trusting(program: Program, pem: &str) -> Program {
    // Programs in tests have proxy variables that lead nowhere. This one needs none.
    let program = program.env("NO_PROXY", "localhost");
    let program = program.file("authorities.pem", pem);
    let file = program.folder().join("authorities.pem");
    let file = file.to_str().expect("a path in UTF-8").to_owned();
    program.env("SSL_CERT_FILE", &file)
}

async fn get(process: &Running, path: &str) -> Reply {
    client::get(process.addr(), path, &[]).await
}

/// It used to be tried three times, for each of the four times that cargo asks, and then "can't be reached; try again in a moment".
#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_is_told_and_not_tried_again() {
    let upstream = upstream().await;
    let other = Tls::before(&upstream, Certificate::Good).await;
    for (kind, is_known, words) in [
        (
            Certificate::Good,
            false,
            "nobody this machine knows has signed",
        ),
        (Certificate::Expired, true, "has expired"),
        (Certificate::NotYetValid, true, "isn't valid yet"),
        (Certificate::OtherName, true, "is that of another host"),
        (
            Certificate::Authority,
            true,
            "the certificate of an authority",
        ),
        (
            Certificate::Authority,
            false,
            "the certificate of an authority",
        ),
    ] {
        let tls = Tls::before(&upstream, kind).await;
        let authority = if is_known { &tls.pem } else { &other.pem };
        let process = trusting(program(&tls.index_url()), authority).start().await;
        let reply = get(&process, INDEX).await;
        reply.assert_refused(words);
        assert!(reply.text().contains("(localhost)"), "{}", reply.text());
        assert_eq!(tls.connections(), 1, "{kind:?}");
        get(&process, DOWNLOAD).await.assert_refused(words);
    }
    let process = trusting(program(&other.index_url()), &other.pem)
        .start()
        .await;
    assert_eq!(get(&process, INDEX).await.status, 200);
}

#[tokio::test]
async fn cargo_shows_what_is_wrong_with_a_certificate_and_does_not_ask_again() {
    let upstream = upstream().await;
    let tls = Tls::before(&upstream, Certificate::Expired).await;
    let process = trusting(program(&tls.index_url()), &tls.pem).start().await;
    let index = format!("http://{}/index/", process.addr());
    let cargo = Cargo::new(&index).project(&[("serde", "1")]);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_contains("has expired");
    assert_eq!(tls.connections(), 1);
}

/// While the circuit is open, too, the answer says what is wrong with the way, and not only that the host isn't asked at the moment.
#[tokio::test]
async fn however_often_it_is_asked_for_it_stays_told() {
    let upstream = upstream().await;
    let tls = Tls::before(&upstream, Certificate::Expired).await;
    let process = trusting(program(&tls.index_url()), &tls.pem).start().await;
    for _ in 0..20 {
        get(&process, INDEX).await.assert_refused("has expired");
    }
    let connections = tls.connections();
    assert!((5..20).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_named_with_its_status() {
    let proxy = upstream().await;
    let tls = Tls::before(&proxy, Certificate::Good).await;
    let url = format!("http://somebody:secret@{}", proxy.addr());
    for (status, words) in [
        (
            407,
            "wants credentials before it leads to crates-io (registry.example) (407)",
        ),
        (
            403,
            "answered 403 Forbidden when asked to lead to crates-io (registry.example)",
        ),
        (405, "answered 405"),
    ] {
        let rule = proxy.on("registry.example:443").fail(status);
        let program = program("https://registry.example/index/").env("HTTPS_PROXY", &url);
        let process = trusting(program, &tls.pem).start().await;
        let reply = get(&process, INDEX).await;
        reply.assert_refused(words);
        let text = reply.text();
        assert!(
            text.contains(&format!("the proxy {} ", proxy.addr())),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert!(rule.hits() <= 2, "{status}: asked {} times", rule.hits());
        rule.lift();
    }
    // A proxy that couldn't may be able to a moment later.
    proxy.on("registry.example:443").fail(502);
    let program = program("https://registry.example/index/").env("HTTPS_PROXY", &url);
    let process = trusting(program, &tls.pem).start().await;
    let reply = get(&process, INDEX).await;
    reply.assert_unavailable("502");
    assert!(reply.text().contains("answered 502"), "{}", reply.text());
    assert!(reply.text().contains("; try again in "), "{}", reply.text());
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named_and_not_upstream_blamed() {
    let upstream = upstream().await;
    let addr = upstream.addr();
    let tls = Tls::before(&upstream, Certificate::Good).await;
    upstream.stop().await;
    for (variable, index) in [
        ("HTTP_PROXY", "http://registry.example/index/"),
        ("HTTPS_PROXY", "https://registry.example/index/"),
    ] {
        let program = program(index).env(variable, &format!("http://{addr}"));
        let process = trusting(program, &tls.pem).start().await;
        let reply = get(&process, INDEX).await;
        reply.assert_unavailable(variable);
        let words =
            format!("the proxy {addr} on the way to crates-io (registry.example) can't be reached");
        assert!(reply.text().contains(&words), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let process = program("http://nothing.invalid/index/").start().await;
    let leads_nowhere = Upstream::new().dl("http://nothing.invalid/dl");
    let leads_nowhere = leads_nowhere.publish(Package::new("serde", "1.0.0"));
    let leads_nowhere = leads_nowhere.start().await;
    let other = program(&leads_nowhere.index_url()).start().await;
    for reply in [get(&process, INDEX).await, get(&other, DOWNLOAD).await] {
        let text = reply.text();
        // A machine without a name service can't know that it doesn't exist.
        match reply.status {
            403 => reply.assert_refused("the name service knows no nothing.invalid"),
            _ => {
                reply.assert_unavailable("DNS");
                let words = "the name nothing.invalid can't be resolved at the moment";
                assert!(text.contains(words), "{text}");
            }
        }
    }
}

/// The mirror used to refuse to start, also with an upstream for which no certificates are needed.
#[tokio::test]
async fn without_certificates_of_authorities_a_plain_upstream_is_served() {
    let upstream = upstream().await;
    let process = trusting(program(&upstream.index_url()), "").start().await;
    assert_eq!(get(&process, INDEX).await.status, 200);
    assert_eq!(get(&process, DOWNLOAD).await.status, 200);

    let tls = Tls::before(&upstream, Certificate::Good).await;
    let dl = tls.index_url().replace("/index/", "/dl");
    let elsewhere = Upstream::new()
        .dl(&dl)
        .publish(Package::new("serde", "1.0.0"));
    let elsewhere = elsewhere.start().await;
    let process = trusting(program(&elsewhere.index_url()), "").start().await;
    let reply = get(&process, DOWNLOAD).await;
    reply.assert_refused("ca-certificates");
    reply.assert_refused("SSL_CERT_FILE");
}

#[tokio::test]
async fn without_certificates_of_authorities_an_https_upstream_is_an_error_that_says_what_to_do() {
    let ended = trusting(program("https://registry.example/index/"), "")
        .run()
        .await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for words in ["SSL_CERT_FILE", "ca-certificates", "authorities.pem"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_socks_proxy_is_refused_at_the_start_by_the_name_of_its_variable() {
    let upstream = upstream().await;
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
        let program = program(&upstream.index_url());
        let ended = program.env(variable, "socks5h://somebody:secret@127.0.0.1:1080");
        let ended = ended.run().await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let words = format!("{variable} names a SOCKS proxy, which isn't supported");
        assert!(ended.stderr.contains(&words), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

/// `NO_PROXY` used to work for names only.
#[tokio::test]
async fn no_proxy_with_a_star_holds_for_addresses_too() {
    let upstream = upstream().await;
    let program = program(&upstream.index_url());
    let program = program.env("HTTP_PROXY", "http://127.0.0.1:1");
    let process = program.env("NO_PROXY", "*").start().await;
    assert_eq!(get(&process, INDEX).await.status, 200);
}
