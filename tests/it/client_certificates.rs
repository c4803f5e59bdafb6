//! Client certificates: one of the right authority does instead of a token and is written down; every other one is no way in.

use std::{
    ffi::OsStr,
    fs,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::support::{
    Authority, Identity, Mirror, MirrorBuilder, Package, Program, Reply, Subject, TlsClient,
    TlsFolder, TokenFile, Upstream, client, curl, frames, requests, tools,
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

    /// Has the certificates of these authorities count, and waits until those of the last one do, which didn't before.
    async fn count(&self, mirror: &Mirror, authorities: &[&Authority]) {
        let pem: String = authorities
            .iter()
            .map(|authority| authority.pem())
            .collect();
        self.files.write("clients.pem", &pem);
        mirror.reread();
        let last = authorities.last().expect("one");
        let newcomer = last.issue(&Subject::client("newcomer"));
        let newcomer = self.files.client_with(&newcomer);
        let started = Instant::now();
        let addr = mirror.tls_addr();
        while newcomer.try_get(addr, INDEX, &[]).await.is_err() {
            assert!(started.elapsed().as_secs() < 15, "not in force");
        }
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
    all.count(&mirror, &[&next]).await;
    let reply = client.try_get(mirror.tls_addr(), INDEX, &[]).await;
    assert!(reply.is_err(), "{:?}", reply.map(|reply| reply.status));
}

/// It is shown once for each connection, and that may be open for years: it stayed whose it was at first.
#[tokio::test]
async fn an_authority_that_is_taken_away_ends_its_certificates_on_open_connections() {
    let all = Guarded::new().await;
    let mirror = all.mirror().start().await;
    let client = all.client("a").offering(&["h2"]);
    // One that doesn't heed that it should connect anew.
    let mut stream = client.connect(mirror.tls_addr()).await.expect("TLS");
    let opening = requests::opening(1 << 20);
    stream.write_all(&opening).await.expect("sent");
    assert_eq!(ask_over_http2(&mut stream, 1).await, 200);
    // And one that can't help it.
    let client = all.client("b");
    let mut closed = client.connect(mirror.tls_addr()).await.expect("TLS");
    let reply = client::get_over(&mut closed, "localhost", INDEX, &[]).await;
    assert_eq!(reply.expect("an answer").status, 200);

    let more = Authority::new("more");
    all.count(&mirror, &[&all.clients, &more]).await;
    assert_eq!(
        ask_over_http2(&mut stream, 3).await,
        200,
        "another one beside it takes nothing away"
    );
    let reply = client::get_over(&mut closed, "localhost", INDEX, &[]).await;
    assert_eq!(reply.expect("an answer").status, 200);

    all.count(&mirror, &[&Authority::new("others")]).await;
    assert_eq!(ask_over_http2(&mut stream, 5).await, 401);
    let rest = tokio::time::timeout(Duration::from_secs(15), closed.read(&mut [0; 64])).await;
    let rest = rest.expect("it is asked to connect anew");
    assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
}

/// Nobody had tried that over a socket. It is good for seconds, which are waited for.
#[tokio::test]
async fn a_certificate_that_expires_ends_on_the_connection_that_it_opened() {
    let all = Guarded::new().await;
    let mirror = all.mirror().start().await;
    let until = SystemTime::now() + Duration::from_secs(6);
    let brief = all.clients.issue_until(&Subject::client("brief"), until);
    let brief = all.files.client_with(&brief);
    // One that doesn't heed that it should connect anew.
    let stream = brief.clone().offering(&["h2"]);
    let mut stream = stream.connect(mirror.tls_addr()).await.expect("TLS");
    let opening = requests::opening(1 << 20);
    stream.write_all(&opening).await.expect("sent");
    assert_eq!(ask_over_http2(&mut stream, 1).await, 200);
    // And one that asks only when it is over.
    let mut quiet = brief.connect(mirror.tls_addr()).await.expect("TLS");
    let reply = client::get_over(&mut quiet, "localhost", INDEX, &[]).await;
    assert_eq!(reply.expect("an answer").status, 200);
    let left = until.duration_since(SystemTime::now());
    // Its last second is its own.
    let over = left.unwrap_or_default() + Duration::from_secs(1);
    tokio::time::sleep(over).await;
    assert_eq!(ask_over_http2(&mut stream, 3).await, 401);
    let reply = client::get_over(&mut quiet, "localhost", INDEX, &[]).await;
    let is_out = reply.as_ref().map_or(true, |reply| reply.status == 401);
    assert!(is_out, "{:?}", reply.map(|reply| reply.status));
    let anew = brief.try_get(mirror.tls_addr(), INDEX, &[]).await;
    assert!(anew.is_err(), "{:?}", anew.map(|reply| reply.status));
}

/// The status of the answer on a stream.
async fn ask_over_http2(stream: &mut TlsStream<TcpStream>, id: u32) -> u16 {
    let asked = requests::get(id, INDEX, &[]);
    stream.write_all(&asked).await.expect("sent");
    stream.flush().await.expect("sent");
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let [a, b, c, kind, _, of @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut content = vec![0; usize::try_from(length).expect("a length")];
        stream.read_exact(&mut content).await.expect("a frame");
        if kind == frames::HEADERS && u32::from_be_bytes(of) == id {
            return frames::status_in(&content);
        }
    }
}

/// Who has no token came in by way of a proxy that had a certificate.
#[tokio::test]
async fn the_certificate_of_a_trusted_proxy_opens_nothing_to_who_stands_behind_it() {
    let all = Guarded::new().await;
    let token = all.tokens.add("ci");
    let proxy = all.client("proxy");
    for (trusted, expected) in [("127.0.0.1", 401), ("127.0.0.2", 200)] {
        let server = format!("trusted_proxies = [\"{trusted}\"]");
        let mirror = all.mirror().server(&server).start().await;
        let addr = mirror.tls_addr();
        for said in [&[][..], &[("x-forwarded-for", "203.0.113.7")]] {
            let reply = proxy.get_with(addr, CRATE, said).await;
            assert_eq!(reply.status, expected, "{trusted}: {said:?}");
            let with_token = [said, &[("authorization", &*token)]].concat();
            let reply = proxy.get_with(addr, CRATE, &with_token).await;
            assert_eq!(reply.status, 200, "{trusted}: {said:?}");
        }
        mirror.stop().await;
    }
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
    let (authority, pair) = (all.files.authority_path(), all.files.path("curl.pem"));
    let trusting = [OsStr::new("--cacert"), authority.as_os_str()];
    let shown = [OsStr::new("--cert"), pair.as_os_str()];
    let url = format!("{}{INDEX}", mirror.tls_url());
    for (args, expected) in [(&shown[..], "200"), (&[], "401")] {
        let args = trusting.iter().chain(args);
        let curled = curl("%{http_code}", args, &url).await;
        assert_eq!(curled.written, expected);
    }
}
