//! Secrets: whatever goes wrong, and however much is logged, no token, password or key that the mirror was given or shown is in what it writes or answers.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::support::{
    Authority, Certificate, Mirror, Package, Program, Running, Subject, Tls, TlsFolder, TokenFile,
    Upstream, UpstreamBuilder, bundle, client, until,
};

const INDEX: &str = "index/se/rd/serde";
const CRATE: &str = "api/v1/crates/serde/1.0.0/download";

/// What must be nowhere: each secret in the clear, and as it looks within base64, wherever in there it begins.
struct Planted(Vec<(String, String)>);

impl Planted {
    fn new() -> Planted {
        Planted(Vec::new())
    }

    /// A secret that nothing else looks like.
    fn plant(&mut self, what: &str) -> String {
        let secret = format!("Planted-{what}-{:016x}", fastrand::u64(..));
        self.add(what, &secret);
        secret
    }

    fn add(&mut self, what: &str, secret: &str) {
        self.0.push((what.to_owned(), secret.to_owned()));
        for before in 0..3 {
            let text = "x".repeat(before) + secret;
            let coded = BASE64_STANDARD.encode(&text);
            let coded = coded.trim_end_matches('=');
            // The first and the last characters hold bits of what is beside it.
            let within = &coded[(before * 8).div_ceil(6)..coded.len() - 1];
            self.0
                .push((format!("{what} in base64"), within.to_owned()));
        }
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, text: &str) {
        assert!(!text.is_empty(), "there is nothing in {place}");
        for (what, secret) in &self.0 {
            if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                panic!("{what} is in {place}: {line}");
            }
        }
    }
}

fn registry() -> UpstreamBuilder {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .publish(Package::new("tokio", "1.0.0"))
}

/// A registry's table and that of its credential.
fn table(name: &str, index: &str, more: &str) -> String {
    format!("[registries.{name}]\nindex = \"{index}\"\n{more}\n")
}

fn credential(name: &str, keys: &str) -> String {
    format!("[registries.{name}.credential]\n{keys}")
}

/// All that clients get to see while they ask for this with each of `shown`.
async fn answers(process: &Running, paths: &[String], shown: &[(&str, &str)]) -> String {
    let mut all = String::new();
    for path in paths {
        let reply = client::get(process.addr(), path, shown).await;
        for (name, value) in reply.headers.iter() {
            all += &format!("{name}: {value}\n");
        }
        all += &format!("{path}\n{}\n", reply.text());
    }
    all
}

#[tokio::test]
async fn they_are_in_no_log_and_in_nothing_that_is_answered_whatever_goes_wrong() {
    let (mut planted, tokens, files) = (Planted::new(), TokenFile::new(), TlsFolder::new());
    let upstream = registry().start().await;
    let url = upstream.index_url();
    let tls = Tls::before(&upstream, Certificate::Good).await;
    let token = tokens.add("ci");
    planted.add("a token", &token);
    let guess = planted.plant("guess");
    let key = fs::read_to_string(files.path("key.pem")).expect("a key");
    let middle = key.lines().nth(1).expect("a key's line");
    planted
        .0
        .push(("a private key".to_owned(), middle.to_owned()));

    let of_file = planted.plant("file");
    let of_env = planted.plant("environment");
    let of_command = planted.plant("command");
    let of_argument = planted.plant("argument");
    let of_url = planted.plant("url");
    let of_dl = planted.plant("dl");
    let of_proxy = planted.plant("proxy");
    let of_failure = planted.plant("failure");
    let of_collector = format!("authorization=Bearer {}", planted.plant("collector"));
    let dl = format!(
        "http://me:{of_dl}@{}/dl/{{crate}}?{of_dl}#",
        upstream.addr()
    );
    let odd = registry().dl(&dl).start().await;
    #[cfg(feature = "opentelemetry")]
    let mut collector = crate::traces::Collector::start().await;
    let settings = [
        #[cfg(feature = "opentelemetry")]
        collector.settings(),
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[audit]\npath = \"audit.jsonl\"\n{}",
            tokens.settings("token_in_path = true")
        ),
        files.beside_plain(""),
        "[freshness]\nfresh_for = \"0s\"\npatience = \"0s\"\n[upstream]\nretries = 0".to_owned(),
        table(
            "crates-io",
            &url.replace("//", &format!("//me:{of_url}@")),
            "",
        ),
        table(
            "file",
            &url,
            &credential("file", "kind = \"raw\"\nfile = \"secret\""),
        ),
        table(
            "env",
            &url,
            &credential("env", "kind = \"bearer\"\nenv = \"CRATES_TOKEN\""),
        ),
        table(
            "command",
            &url,
            &credential(
                "command",
                &format!(
                    "kind = \"basic\"\nuser = \"ci\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $0\", \"{of_command}\"]"
                ),
            ),
        ),
        table(
            "header",
            &url,
            &credential(
                "header",
                &format!(
                    "kind = \"header\"\nheader = \"X-Api-Key\"\ncommand = [\"/bin/echo\", \"{of_argument}\"]"
                ),
            ),
        ),
        table(
            "failure",
            &url,
            &credential(
                "failure",
                &format!(
                    "kind = \"raw\"\ncommand = [\"/bin/sh\", \"-c\", \"echo {of_failure}; echo bad {of_failure} >&2; exit 1\"]"
                ),
            ),
        ),
        table("odd", &odd.index_url(), ""),
        table(
            "proxied",
            "http://registry.example/index/",
            &format!("proxy = \"http://me:{of_proxy}@{}\"", upstream.addr()),
        ),
        table(
            "tunnelled",
            "https://registry.example/index/",
            &format!("proxy = \"http://me:{of_proxy}@{}\"", upstream.addr()),
        ),
        table(
            "distrusted",
            &tls.index_url().replace("//", &format!("//me:{of_url}@")),
            "proxy = \"none\"",
        ),
        table(
            "nowhere",
            &format!("http://me:{of_url}@127.0.0.1:1/index/"),
            "proxy = \"none\"",
        ),
    ];
    let program = |command: &str| {
        Program::new(&["--log", "trace", command])
            .settings(&settings.join("\n"))
            .file("secret", &of_file)
            .env("CRATES_TOKEN", &of_env)
            // For collectors of traces that want a token.
            .env("OTEL_EXPORTER_OTLP_HEADERS", &of_collector)
    };
    let checked = program("check").run().await;
    planted.are_not_in("what check says", &checked.stdout);
    planted.are_not_in("what check logs", &checked.stderr);

    let process = program("serve").start().await;
    let names = [
        "crates-io",
        "file",
        "env",
        "command",
        "header",
        "failure",
        "odd",
        "proxied",
        "tunnelled",
        "distrusted",
        "nowhere",
    ];
    let of_registries = names.iter().flat_map(|name| {
        let bare = format!("/registries/{name}");
        [
            format!("{bare}/{INDEX}"),
            format!("{bare}/{CRATE}"),
            format!("{bare}/index/to/ki/tokio"),
        ]
    });
    let paths: Vec<_> = of_registries.collect();
    let pages = ["/", "/metrics", "/readyz", "/healthz", "/nothing"].map(str::to_owned);
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("u:{token}")));
    let bearer = format!("Bearer {token}");
    let broken = upstream.url() + "/dl";
    for fault in 0..8 {
        match fault {
            0 => drop(upstream.on_everything().fail(401)),
            1 => drop(upstream.on_everything().fail(403)),
            2 => drop(upstream.on_everything().fail(407)),
            3 => drop(upstream.on_everything().fail(500)),
            4 => drop(upstream.on_everything().garbage()),
            5 => drop(upstream.on_everything().truncate(3)),
            6 => drop(
                upstream
                    .on_everything()
                    .redirect(&broken.replace("//", &format!("//me:{of_dl}@"))),
            ),
            _ => {}
        }
        let said = answers(&process, &paths, &[("authorization", &bearer)]).await;
        planted.are_not_in("an answer", &said);
        upstream.heal();
    }
    let html = ("accept", "text/html");
    for shown in [
        &token,
        &basic,
        &bearer,
        &guess,
        &format!("Digest {guess}"),
        &format!("{guess} {guess}"),
        &format!("{guess}.{guess}.{guess}"),
    ] {
        let said = answers(&process, &pages, &[("authorization", shown), html]).await;
        planted.are_not_in("a page", &said);
    }
    let twice = [("authorization", token.as_str()), ("authorization", &guess)];
    planted.are_not_in("a page", &answers(&process, &pages, &twice).await);
    // One that is right gets its own token back in `dl`, and nothing else does.
    let paths = [
        format!("/t/{token}/{INDEX}"),
        format!("/t/{token}/{CRATE}"),
        format!("/t/{token}/nothing"),
        format!("/t/{token}/%zz"),
        format!("/t/{guess}/{INDEX}"),
        format!("/t/{guess}/{CRATE}"),
        format!("/{INDEX}?token={token}"),
        format!("/t/{token}"),
    ];
    let said = answers(&process, &paths, &[]).await;
    let said: String = said.lines().filter(|line| !line.starts_with('/')).collect();
    planted.are_not_in("an answer", &said);

    // What is broken while it runs.
    tokens.write(&format!("[tokens.ci]\nsha256 = \"{guess}\"\n{guess}\n"));
    fs::write(
        process.folder().join("secret"),
        format!("{of_file}\n{of_file}"),
    )
    .expect("written");
    fs::write(files.path("key.pem"), format!("{middle}\n{middle}")).expect("written");
    process.signal("HUP").await;
    let log = process.folder().join("audit.jsonl");
    let has_lines = |path: &Path| fs::metadata(path).is_ok_and(|m| m.len() > 0);
    until("the audit log has lines", || has_lines(&log)).await;
    let after = ["/metrics".to_owned(), format!("/registries/file/{INDEX}")];
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let said = answers(&process, &after, &[("authorization", &bearer)]).await;
    planted.are_not_in("an answer", &said);
    process.signal("TERM").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Each part of it that may be text.
    #[cfg(feature = "opentelemetry")]
    {
        let spans = collector.received().concat();
        let spans = String::from_utf8_lossy(&spans).replace(char::is_control, "\n");
        assert!(spans.contains("crate_mirror.registry"), "no span: {spans}");
        planted.are_not_in("what a collector gets", &spans);
    }
    let audit = fs::read_to_string(ended.folder.path().join("audit.jsonl"));
    planted.are_not_in("the audit log", &audit.expect("a file"));
    planted.are_not_in("what it prints", &ended.stdout);
    planted.are_not_in("the log", &ended.stderr);
    for word in [
        "TRACE",
        "refused this mirror's credential",
        "can't get at its credential",
    ] {
        assert!(ended.stderr.contains(word), "{word} is not in the log");
    }
}

/// HTTP/2 is another library's, whose own lines are in the log, too: on the side that shows a token and on the side that is shown it.
#[tokio::test]
async fn they_are_in_no_log_of_http2_either() {
    let (mut planted, tokens, files) = (Planted::new(), TokenFile::new(), TlsFolder::new());
    let upstream = registry().start().await;
    let token = tokens.add("branch-office");
    planted.add("a token", &token);
    let settings = [tokens.settings(""), files.beside_plain("")].join("\n");
    let inner = Program::serving(&upstream, &settings);
    let inner = inner.arg("--log").arg("trace").start().await;
    let tls = inner.stdout().lines();
    let mut tls = tls.filter_map(|line| line.strip_prefix("It speaks TLS on https://"));
    let port = tls.next().and_then(|address| address.rsplit_once(':'));
    let (_, port) = port.expect("an address");
    let index = format!("https://localhost:{port}/index/");
    let trusted = format!("ca_certificates = {:?}", files.authority_path());
    for keys in ["kind = \"raw\"", "kind = \"basic\"\nuser = \"ci\""] {
        let table = format!(
            "proxy = \"none\"\n{trusted}\n{}\ncommand = [\"/bin/echo\", \"{token}\"]",
            credential("crates-io", keys)
        );
        let outer = Program::serving_with(&index, &table);
        let outer = outer.arg("--log").arg("trace").start().await;
        for path in [INDEX, CRATE] {
            let reply = client::get(outer.addr(), &format!("/{path}"), &[]).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        outer.signal("TERM").await;
        let log = outer.ended().await.stderr;
        assert!(log.contains("h2::"), "it isn't HTTP/2");
        planted.are_not_in("the log of who shows it", &log);
    }
    inner.signal("TERM").await;
    let log = inner.ended().await.stderr;
    assert!(log.contains("h2::"), "it isn't HTTP/2");
    planted.are_not_in("the log of who is shown it", &log);
}

/// A mirror in front of a mirror whose URL has the token in its path: every line about a request upstream had it, at the usual level too, and so had `check`.
#[tokio::test]
async fn a_token_in_the_path_of_an_upstream_is_in_no_log_and_in_nothing_that_check_says() {
    let (mut planted, tokens) = (Planted::new(), TokenFile::new());
    let upstream = registry().start().await;
    let token = tokens.add("branch-office");
    planted.add("a token", &token);
    let inner = Program::serving(&upstream, &tokens.settings("token_in_path = true"));
    let inner = inner.arg("--log").arg("trace").start().await;
    let index = format!("http://{}/t/{token}/index/", inner.addr());
    let settings = "proxy = \"none\"\n[upstream]\nretries = 0\n[freshness]\nfresh_for = \"0s\"";
    let settings = |index: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"s\"\n[registries.crates-io]\nindex = \"{index}\"\n{settings}"
        )
    };
    let checked = Program::new(&["check"]).settings(&settings(&index));
    let checked = checked.run().await;
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("/t/-/index/"), "{said}");
    planted.are_not_in("what check says", &said);
    let wrong = Program::new(&["check"]).settings(&settings(&format!("{index}?")));
    let wrong = wrong.run().await;
    planted.are_not_in("what check says", &wrong.stderr);

    for level in ["info", "trace"] {
        let outer = Program::new(&["--log", level, "serve"]).settings(&settings(&index));
        let outer = outer.start().await;
        let paths = [
            INDEX,
            CRATE,
            "index/to/ki/tokio",
            "index/se/rd/serde",
            "status",
        ];
        let paths = paths.map(|path| format!("/{path}"));
        planted.are_not_in("an answer", &answers(&outer, &paths, &[]).await);
        outer.signal("TERM").await;
        let log = outer.ended().await.stderr;
        assert!(log.contains("/t/-/index/se/rd/serde"), "{log}");
        assert!(log.contains("/t/-/api/v1/crates/"), "{log}");
        planted.are_not_in("the log", &log);
    }
    inner.signal("TERM").await;
    planted.are_not_in("the log of the other", &inner.ended().await.stderr);

    let alone = Program::new(&["--log", "trace", "serve"]).settings(&settings(&index));
    let alone = alone.start().await;
    let paths = [format!("/{INDEX}"), format!("/{CRATE}")];
    planted.are_not_in("an answer", &answers(&alone, &paths, &[]).await);
    alone.signal("TERM").await;
    let log = alone.ended().await.stderr;
    assert!(log.contains("upstream failed"), "{log}");
    planted.are_not_in("the log", &log);
}

/// A bundle goes to other people, and its manifest names the registry it comes from.
#[tokio::test]
async fn the_manifest_of_a_bundle_names_its_registry_without_what_is_secret_in_its_url() {
    let (mut planted, tokens) = (Planted::new(), TokenFile::new());
    let upstream = registry().start().await;
    let token = tokens.add("branch-office");
    planted.add("a token", &token);
    let password = planted.plant("password");
    let inner = Program::serving(&upstream, &tokens.settings("token_in_path = true"));
    let inner = inner.start().await;
    let index = format!("http://me:{password}@{}/t/{token}/index/", inner.addr());
    let program = Program::serving_with(&index, "proxy = \"none\"");
    let fetched = program.command("prefetch").arg("serde").run().await;
    assert_eq!(fetched.code, Some(0), "{}", fetched.stderr);
    planted.are_not_in("what prefetch says", &(fetched.stdout + &fetched.stderr));
    let exported = Program::new(&["export", "-o", "b.tar.zst"]).in_folder(fetched.folder);
    let exported = exported.run().await;
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    planted.are_not_in("what export says", &(exported.stdout + &exported.stderr));
    let folder = exported.folder.path();
    for (name, bytes) in bundle::members(&folder.join("b.tar.zst")) {
        let text = String::from_utf8_lossy(&bytes);
        if name.contains("manifest") {
            assert!(text.contains("/t/-/index/"), "{text}");
        }
        planted.are_not_in(&name, &format!("{text} "));
    }
}

/// The keys of an issuer may be under a URL with something in it that only the two know.
#[tokio::test]
async fn the_url_of_an_issuers_keys_is_told_without_its_query() {
    let mut planted = Planted::new();
    let secret = planted.plant("query");
    let upstream = registry().start().await;
    let jwt = format!(
        "[access.jwt.ci]\nissuer = \"https://ci.example\"\naudience = \"a\"\nsubjects = [\"*\"]\nkeys = \"{}/jwks?key={secret}\"\n",
        upstream.url()
    );
    for offline in ["", "[offline]\nenabled = true\n"] {
        let program = Program::serving(&upstream, &format!("{jwt}{offline}")).command("check");
        let checked = program.run().await;
        let said = checked.stdout + &checked.stderr;
        assert!(said.contains("/jwks"), "{said}");
        planted.are_not_in("what check says", &said);
    }
}

/// The last line that a command had written to standard error was in the log and in what `check` says.
#[tokio::test]
async fn what_a_command_for_a_credential_says_on_standard_error_is_shown_nowhere() {
    let mut planted = Planted::new();
    let secret = planted.plant("argument");
    let upstream = registry().start().await;
    let keys = format!(
        "kind = \"raw\"\ncommand = [\"/bin/sh\", \"-c\", \"echo unknown option $0 >&2; exit 2\", \"{secret}\"]"
    );
    let settings = table(
        "crates-io",
        &upstream.index_url(),
        &credential("crates-io", &keys),
    );
    let checked = Program::new(&["--log", "trace", "check"]).settings(&settings);
    let checked = checked.run().await;
    let said = checked.stdout + &checked.stderr;
    assert!(
        said.contains("exit status: 2") && said.contains("by hand"),
        "{said}"
    );
    planted.are_not_in("what check says", &said);
}

/// A token in place of the table that says where to get it, or a line with one that is no TOML, was quoted.
#[tokio::test]
async fn settings_that_cannot_be_read_are_told_without_a_secret_that_is_in_them() {
    let mut planted = Planted::new();
    let secret = planted.plant("setting");
    let index = "index = \"https://registry.example/index/\"";
    let in_table =
        |keys: &str| format!("[registries.inner]\n{index}\n[registries.inner.credential]\n{keys}");
    for (toml, word) in [
        (
            format!("[registries.inner]\n{index}\ncredential = \"{secret}\""),
            "`registries.inner.credential`",
        ),
        (
            in_table(&format!(
                "kind = \"raw\"\ncommand = \"get-token --secret {secret}\""
            )),
            "`registries.inner.credential.command`",
        ),
        (
            in_table(&format!("kind = \"{secret}\"")),
            "`registries.inner.credential.kind`",
        ),
        (
            in_table(&format!(
                "kind = \"raw\"\nfile = \"t\"\nalso = \"{secret}\""
            )),
            "`registries.inner.credential.also`",
        ),
        (
            in_table(&format!("kind = \"raw\"\nfile = \"t\"\nttl = \"{secret}\"")),
            "`registries.inner.credential.ttl`",
        ),
        (
            format!("[registries]\ninner = \"https://me:{secret}@registry.example/\""),
            "`registries.inner`",
        ),
        (
            format!("[registries.inner]\nindex = \"https://registry.example/t/{secret}/index/?\""),
            "`registries.inner.index`",
        ),
        (
            format!("[registries.inner]\nindex = \"https://registry.example/index?{secret}\""),
            "`registries.inner.index`",
        ),
        (
            in_table(&format!(
                "kind = \"raw\"\ncommand = [\"get-token\", \"{secret}]"
            )),
            "at line 5, column",
        ),
        (in_table(&format!("token {secret}")), "at line 4, column"),
        (in_table(&format!("token = {secret}")), "at line 4, column"),
    ] {
        let ended = Program::new(&["check"]).settings(&toml).run().await;
        let said = ended.refused(&[word]);
        planted.are_not_in("what is said of it", said);
    }
    let variable = "CRATE_MIRROR_REGISTRIES__CRATES-IO__CREDENTIAL";
    let ended = Program::new(&["check"]).env(variable, &secret).run().await;
    planted.are_not_in("what is said of a variable", &ended.stderr);
}

/// Whoever the registry led to could see it, and it let this mirror in there as somebody else's registry chose.
#[tokio::test]
async fn a_client_certificate_is_shown_at_the_origin_of_the_index_and_where_also_says_so() {
    let (origin, tokens, files) = (registry().start().await, TokenFile::new(), TlsFolder::new());
    let offices = Authority::new("branch offices");
    let other = Mirror::of(&origin).settings(&tokens.settings(""));
    let other = other.settings(&files.with_clients(&offices)).start().await;
    let dl = format!("{}/api/v1/crates", other.tls_url());
    let leading = registry().dl(&dl).start().await;
    let office = offices.issue(&Subject::client("branch-office"));
    let shown = format!(
        "proxy = \"none\"\nca_certificates = {:?}\nclient_certificate = \"office.pem\"\nclient_key = \"office.key\"\n",
        files.authority_path()
    );
    let also = format!(
        "kind = \"raw\"\nenv = \"OTHER\"\nalso = [\"{}\"]",
        other.tls_url()
    );
    let also = credential("crates-io", &also);
    let own = format!("{}/index/", other.tls_url());
    for (index, more, status) in [
        (&leading.index_url(), "", 403),
        (&leading.index_url(), &also, 200),
        (&own, "", 200),
    ] {
        let program = Program::serving_with(index, &format!("{shown}{more}"))
            .file("office.pem", &office.certificate_pem())
            .file("office.key", &office.key_pem())
            .env("OTHER", "none-of-its-tokens");
        let process = program.start().await;
        let reply = client::get(process.addr(), &format!("/{CRATE}"), &[]).await;
        assert_eq!(reply.status, status, "{index} {more}: {}", reply.text());
    }
}

/// The search itself: what is planted is found, in the clear and in base64.
#[test]
fn what_is_planted_would_be_found() {
    let mut planted = Planted::new();
    let secret = planted.plant("token");
    let found = |text: &str| planted.0.iter().any(|(_, needle)| text.contains(needle));
    assert!(found(&format!("authorization: {secret}")));
    for user in ["", "a", "ab", "abc", "abcd"] {
        let basic = BASE64_STANDARD.encode(format!("{user}:{secret}"));
        assert!(found(&format!("Basic {basic}")), "{user}");
    }
    assert!(!found("nothing of the kind"));
}
