//! Client certificates: one of the right authority does instead of a token and is written down; every other one is no way in.

use std::{fs, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::support::{
    Authority, Identity, Mirror, MirrorBuilder, Package, Program, Reply, Subject, TlsClient,
    TlsFolder, TokenFile, Upstream, tools,
};

const INDEX: &str = "/index/1/a";
const CRATE: &str = "/api/v1/crates/a/1.0.0/download";

/// Who may ask: who has a token, or a certificate of `clients`.
struct Guarded {
    upstream: Upstream,
    files: TlsFolder,
    clients: Authority,
    tokens: TokenFile,
}

impl Guarded {
    async fn new() -> Guarded {
        let a = Package::new("a", "1.0.0");
        Guarded {
            upstream: Upstream::new().publish(a).start().await,
            files: TlsFolder::new(),
            clients: Authority::new("clients"),
            tokens: TokenFile::new(),
        }
    }

    fn settings(&self) -> String {
        let audit = format!("[audit]\npath = {:?}\n", self.audit());
        self.files.with_clients(&self.clients) + &self.tokens.settings("") + &audit
    }

    fn mirror(&self) -> MirrorBuilder {
        Mirror::of(&self.upstream).settings(&self.settings())
    }

    fn client(&self, name: &'static str) -> TlsClient {
        self.files
            .client_with(&self.clients.issue(&Subject::client(name)))
    }

    fn audit(&self) -> std::path::PathBuf {
        self.files.path("audit.jsonl")
    }
}

async fn get(mirror: &Mirror, client: &TlsClient, path: &str) -> Reply {
    client.get(mirror.tls_addr(), path).await
}

#[tokio::test]
async fn a_certificate_does_instead_of_a_token_and_is_written_down() {
    let all = Guarded::new().await;
    let token = all.tokens.add("ci");
    let mirror = all.mirror().start().await;
    let mirror_of_ours = all.client("inner.example");
    for path in [INDEX, CRATE, "/metrics", "/index/config.json"] {
        assert_eq!(
            get(&mirror, &mirror_of_ours, path).await.status,
            200,
            "{path}"
        );
        let stranger = get(&mirror, &all.files.client(), path).await;
        assert_eq!(stranger.status, 401, "{path}");
    }
    // Who shows none comes in with a token; and a right token says more of who asks than a certificate.
    let header = [("authorization", &*token)];
    for client in [all.files.client(), mirror_of_ours.clone()] {
        let reply = client.get_with(mirror.tls_addr(), CRATE, &header).await;
        assert_eq!(reply.status, 200);
    }
    let wrong = [("authorization", "cm_wrong")];
    let reply = mirror_of_ours
        .get_with(mirror.tls_addr(), CRATE, &wrong)
        .await;
    assert_eq!(reply.status, 200);
    let plain = mirror.get(CRATE).await;
    assert_eq!(
        plain.status, 401,
        "there are no certificates on the plain port"
    );
    mirror.stop().await;
    let audit = fs::read_to_string(all.audit()).expect("an audit log");
    let line = |line: &str| -> Value { serde_json::from_str(line).expect(line) };
    let who: Vec<_> = audit.lines().map(|l| line(l)["who"].clone()).collect();
    let expected = [
        "cert:inner.example",
        "anonymous",
        "ci",
        "ci",
        "cert:inner.example",
        "anonymous",
    ];
    assert_eq!(who, expected, "{audit}");
}

#[tokio::test]
async fn the_access_log_names_the_holder() {
    let all = Guarded::new().await;
    let program = Program::serving(&all.upstream, &all.settings());
    let mut program = program.start().await;
    let odd = all.client("ci\n2026-11-29 ERROR forged");
    assert_eq!(odd.get(program.tls_addr(), INDEX).await.status, 200);
    let is_access = |line: &str| line.contains(" access: ") && line.contains(INDEX);
    let line = program.logged(is_access).await;
    assert!(line.contains("cert:ci?2026-11-29 ERROR forged"), "{line}");
}

/// The handshake fails: whoever has such a certificate gets as far as nobody at all.
#[tokio::test]
async fn a_certificate_that_is_no_good_is_refused_at_the_handshake() {
    let all = Guarded::new().await;
    let mirror = all.mirror().start().await;
    let expired = Subject {
        days: -1,
        ..Subject::client("old")
    };
    let names: Vec<_> = (0..2_200).map(|n| format!("host-{n}.example")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let huge = Subject {
        names: &names,
        ..Subject::client("huge")
    };
    let others = Authority::new("clients");
    let refused = async |identity: &Identity, result: &str| {
        let metric = format!("crate_mirror_tls_handshakes_total{{result=\"{result}\"}}");
        let count = async || mirror_metric(&all, &mirror, &metric).await;
        let before = count().await;
        let client = all.files.client_with(identity);
        let reply = client.try_get(mirror.tls_addr(), "/healthz", &[]).await;
        assert!(reply.is_err(), "{:?}", reply.map(|reply| reply.status));
        let text = get(&mirror, &all.client("metrics"), "/metrics")
            .await
            .text();
        assert_eq!(count().await, before + 1.0, "{result}: {text}");
    };
    refused(&others.issue(&Subject::client("a")), "certificate").await;
    refused(&all.clients.issue(&expired), "certificate").await;
    // More than forty kilobytes.
    refused(&all.clients.issue(&huge), "protocol").await;
    assert_eq!(get(&mirror, &all.client("a"), INDEX).await.status, 200);
}

/// In TLS 1.3 a client has sent its request by then. With that unread the system reset the connection, and the alert was lost now and then.
#[tokio::test]
async fn who_is_refused_is_told_so_by_an_alert_every_time() {
    let all = Guarded::new().await;
    let mirror = all.mirror().start().await;
    let stranger = Authority::new("strangers").issue(&Subject::client("a"));
    let client = all.files.client_with(&stranger);
    for _ in 0..50 {
        let refused = client.try_get(mirror.tls_addr(), INDEX, &[]).await;
        let why = refused.map(|reply| reply.status).expect_err("refused");
        assert!(why.to_string().contains("alert"), "{why}");
    }
}

/// Metrics want a token, too.
async fn mirror_metric(all: &Guarded, mirror: &Mirror, start: &str) -> f64 {
    let text = get(mirror, &all.client("metrics"), "/metrics").await.text();
    let line = text.lines().find(|line| line.starts_with(start));
    line.map_or(0.0, |line| {
        let value = line.rsplit(' ').next().expect("a value");
        value.parse().expect("a number")
    })
}

/// A session is resumed without the certificate being looked at again, so that it has to end with the authority.
#[tokio::test]
async fn an_authority_that_is_taken_away_ends_its_certificates_and_their_sessions() {
    let all = Guarded::new().await;
    let mirror = all.mirror().start().await;
    let client = all.client("a");
    assert_eq!(get(&mirror, &client, INDEX).await.status, 200);
    let next = Authority::new("others");
    all.files.write("clients.pem", &next.pem());
    mirror.reread();
    let newcomer = all.files.client_with(&next.issue(&Subject::client("b")));
    let started = std::time::Instant::now();
    while newcomer
        .try_get(mirror.tls_addr(), INDEX, &[])
        .await
        .is_err()
    {
        assert!(started.elapsed().as_secs() < 15, "not in force");
    }
    let reply = client.try_get(mirror.tls_addr(), INDEX, &[]).await;
    assert!(reply.is_err(), "{:?}", reply.map(|reply| reply.status));
}

/// Where everybody may ask, a certificate still says who does.
#[tokio::test]
async fn where_everybody_may_ask_certificates_name_who_does() {
    let all = Guarded::new().await;
    let audit = format!("[audit]\npath = {:?}\n", all.audit());
    let settings = all.files.with_clients(&all.clients) + &audit;
    let mirror = Mirror::of(&all.upstream).settings(&settings).start().await;
    for client in [all.client("a"), all.files.client()] {
        assert_eq!(get(&mirror, &client, CRATE).await.status, 200);
    }
    mirror.stop().await;
    let audit = fs::read_to_string(all.audit()).expect("an audit log");
    assert!(
        audit.contains("\"cert:a\"") && audit.contains("\"anonymous\""),
        "{audit}"
    );
}

#[tokio::test]
async fn curl_is_let_in_by_its_certificate() {
    if !tools::has("curl", "--version") {
        return;
    }
    let all = Guarded::new().await;
    let mirror = all.mirror().start().await;
    let identity = all.clients.issue(&Subject::client("curl"));
    all.files.write(
        "curl.pem",
        &(identity.certificate_pem() + &identity.key_pem()),
    );
    for (args, expected) in [
        (
            vec!["--cert".into(), all.files.path("curl.pem").into_os_string()],
            "200",
        ),
        (vec![], "401"),
    ] {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--max-time",
                "60",
            ])
            .args([
                "--write-out",
                "%{http_code}",
                "--output",
                "/dev/null",
                "--cacert",
            ])
            .arg(all.files.authority_path())
            .args(args)
            .arg(format!("{}{INDEX}", mirror.tls_url()))
            .stdin(Stdio::null())
            .output();
        let output = output.await.expect("curl runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{output:?}"
        );
    }
}
