//! Real cargo behind a mirror whose upstream wants something to be shown: a credential of each kind from each source, a proxy's password, a certificate.

use crate::support::{
    Authority, Cargo, Certificate, Mirror, Package, Program, Proxy, Subject, Tls, TlsFolder,
    TokenFile, Upstream, UpstreamBuilder,
};

const PROVIDER: &str = "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n";

fn registry() -> UpstreamBuilder {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").dep("b", "1"))
        .publish(Package::new("b", "1.0.0"))
}

/// Builds what needs `a` through the mirror of this address, and nobody shows it anything.
async fn builds(mirror: std::net::SocketAddr) {
    let cargo = Cargo::new(&format!("http://{mirror}/index/"));
    let cargo = cargo.project(&[("a", "1")]).env("CARGO_NET_RETRY", "0");
    cargo.run(&["build"]).await.success();
}

#[tokio::test]
async fn cargo_builds_from_a_registry_that_wants_a_credential_of_each_kind_from_each_source() {
    for (kind, header, value) in [
        ("\"raw\"", "authorization", "hunter2"),
        ("\"bearer\"", "authorization", "Bearer hunter2"),
        (
            "\"basic\"\nuser = \"ci\"",
            "authorization",
            "Basic Y2k6aHVudGVyMg==",
        ),
        ("\"header\"\nheader = \"X-Api-Key\"", "x-api-key", "hunter2"),
    ] {
        let upstream = registry().wants(header, value).start().await;
        for source in [
            "file = \"token\"",
            "env = \"CRATES_TOKEN\"",
            "command = [\"/bin/echo\", \"hunter2\"]",
        ] {
            let table = format!("[registries.crates-io.credential]\nkind = {kind}\n{source}\n");
            let program = Program::serving_with(&upstream.index_url(), &table);
            let program = program
                .file("token", "hunter2\n")
                .env("CRATES_TOKEN", "hunter2");
            builds(program.start().await.addr()).await;
        }
        let refused = upstream
            .requests()
            .iter()
            .filter(|r| r.status == Some(401))
            .count();
        assert_eq!(refused, 0, "{kind}");
    }
}

/// What the mirror's operator has to mend reaches whoever waits for the build, as one sentence and at once.
#[tokio::test]
async fn cargo_prints_that_the_credential_was_refused() {
    let upstream = registry().token("right").start().await;
    let table = "[registries.crates-io.credential]\nkind = \"raw\"\nenv = \"CRATES_TOKEN\"\n";
    let program = Program::serving_with(&upstream.index_url(), table);
    let program = program.env("CRATES_TOKEN", "hunter2").start().await;
    let cargo = Cargo::new(&format!("http://{}/index/", program.addr()));
    let cargo = cargo.project(&[("a", "1")]);
    let ended = cargo.run(&["fetch"]).await;
    let words = "127.0.0.1 refused this mirror's credential; ask whoever runs this mirror";
    ended.failure().stderr_contains(words);
    ended.stderr_lacks("spurious").stderr_lacks("hunter2");
}

/// A branch office's mirror in front of headquarters': tokens all the way.
#[tokio::test]
async fn cargo_builds_through_a_chain_of_two_mirrors_with_tokens() {
    let (origin, inner, outer) = (registry().start().await, TokenFile::new(), TokenFile::new());
    let (office, developer) = (inner.add("branch-office"), outer.add("developer"));
    let headquarters = Mirror::of(&origin).settings(&inner.settings(""));
    let headquarters = headquarters.start().await;
    let table = format!(
        "[registries.crates-io.credential]\nkind = \"raw\"\ncommand = [\"/bin/echo\", {office:?}]\n"
    );
    let branch = Mirror::of_index(&headquarters.index_url());
    let branch = branch.settings(&table).settings(&outer.settings(""));
    let branch = branch.start().await;
    let cargo = Cargo::new(&branch.index_url()).config(PROVIDER);
    let cargo = cargo
        .project(&[("a", "1")])
        .env("CARGO_REGISTRIES_MIRROR_TOKEN", &developer);
    cargo.run(&["build"]).await.success();
}

#[tokio::test]
async fn cargo_builds_through_a_chain_of_two_mirrors_with_client_certificates() {
    let (origin, tokens, files) = (registry().start().await, TokenFile::new(), TlsFolder::new());
    let offices = Authority::new("branch offices");
    let headquarters = Mirror::of(&origin).settings(&tokens.settings(""));
    let headquarters = headquarters.settings(&files.with_clients(&offices));
    let headquarters = headquarters.start().await;
    let index = format!("{}/index/", headquarters.tls_url());
    let office = offices.issue(&Subject::client("branch-office"));
    let stranger = Authority::new("strangers").issue(&Subject::client("branch-office"));
    let of = |table: &str| {
        let trusting = format!(
            "ca_certificates = {:?}\nproxy = \"none\"\n",
            files.authority_path()
        );
        Program::serving_with(&index, &format!("{trusting}{table}"))
    };
    let shown = "client_certificate = \"office.pem\"\nclient_key = \"office.key\"\n";
    let branch = of(shown)
        .file("office.pem", &office.certificate_pem())
        .file("office.key", &office.key_pem());
    builds(branch.start().await.addr()).await;
    // Without one it is a client without a token, and with a stranger's it isn't let in.
    for (branch, words) in [
        (
            of(""),
            "it wants credentials, and this mirror has none for it",
        ),
        (
            of(shown)
                .file("office.pem", &stranger.certificate_pem())
                .file("office.key", &stranger.key_pem()),
            "refused this mirror's client certificate",
        ),
    ] {
        let branch = branch.start().await;
        let cargo = Cargo::new(&format!("http://{}/index/", branch.addr()));
        let ended = cargo.project(&[("a", "1")]).run(&["fetch"]).await;
        ended.failure().stderr_contains(words);
    }
    // A certificate and a key that don't belong together are no certificate.
    let ended = of(shown)
        .file("office.pem", &office.certificate_pem())
        .file("office.key", &stranger.key_pem());
    let ended = ended.run().await;
    let keys = ["client_certificate", "client_key", "can't be used together"];
    ended.refused(&keys);
}

#[tokio::test]
async fn cargo_builds_where_all_goes_through_a_proxy_with_a_password_and_a_company_signs() {
    let files = registry().start().await;
    let files = Tls::before(&files, Certificate::Good).await;
    let dl = files.index_url_elsewhere().replace("/index/", "/dl");
    let upstream = registry().dl(&dl).start().await;
    let (tls, proxy) = (
        Tls::before(&upstream, Certificate::Good).await,
        Proxy::with_password("hunter2").await,
    );
    let table = format!(
        "ca_certificates = \"ca.pem\"\nproxy = \"{}\"\n",
        proxy.url()
    );
    let program = Program::serving_with(&tls.index_url_elsewhere(), &table);
    let trusted = format!("{}\n{}", tls.pem, files.pem);
    builds(program.file("ca.pem", &trusted).start().await.addr()).await;
    assert!(!proxy.led().is_empty());
}
