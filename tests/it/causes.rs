//! An error keeps what lies behind it: whoever embeds the mirror can ask what the system or a library has said, and need not read it out of a sentence.

use std::{error::Error as _, fs, io, net::TcpListener, path::Path, time::SystemTime};

use crate_mirror::{
    access::token_file,
    advisories::Database,
    app::App,
    audit::Reader,
    bundle::{SecretKeyError, SigningKey},
    config::{self, Flags, tls::TlsFiles},
    domain::CrateRequest,
    error::{Error, Kind, Result},
    policy::advisories::parse_osv,
    prefetch::{List, lockfile},
    tls,
    upstream::Document,
};

/// The error at the end of the chain, if it is of that type.
fn root<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    let mut last = error.source()?;
    while let Some(next) = last.source() {
        last = next;
    }
    last.downcast_ref()
}

fn io_kind<T>(done: Result<T>) -> Option<io::ErrorKind> {
    let error = done.err().expect("an error");
    root::<io::Error>(&error).map(io::Error::kind)
}

/// These said in words what the system had said, and kept nothing of it.
#[test]
fn of_files_that_cannot_be_read_the_systems_error_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let missing = lockfile(&folder.join("Cargo.lock"));
    assert_eq!(io_kind(missing), Some(io::ErrorKind::NotFound));
    assert_eq!(io_kind(lockfile(folder)), Some(io::ErrorKind::IsADirectory));
    let tokens = token_file::read(folder);
    assert_eq!(io_kind(tokens), Some(io::ErrorKind::Other), "a folder");
    let nowhere = token_file::change(Path::new("/nowhere/tokens.toml"), |_| Ok(()));
    assert_eq!(io_kind(nowhere), Some(io::ErrorKind::NotFound));
    let file = folder.join("file");
    fs::write(&file, "").expect("a file");
    let audited = Reader::open(&file.join("audit.jsonl")).map(drop);
    assert_eq!(io_kind(audited), Some(io::ErrorKind::NotADirectory));
}

/// What the JSON's reader had said was in the sentence only.
#[test]
fn of_an_advisory_that_is_no_json_the_readers_error_is_kept() {
    let broken = parse_osv(b"{\"id\": 7}").map(drop);
    let error = broken.expect_err("no advisory");
    let json = root::<serde_json::Error>(&error).expect("the reader's error");
    assert!(error.message().contains("line 1"), "{error}");
    assert_eq!(json.line(), 1);
}

/// Whoever listens where a mirror does if it isn't told otherwise is nobody's business here.
const ANY_PORT: &str = "[server]\nlisten = \"127.0.0.1:0\"\n";

/// The settings themselves, their rules, what they name, and what a bundle is made with: each of these was a sentence only.
#[tokio::test]
async fn of_what_settings_and_commands_name_it_is_kept_too() {
    let missing = Path::new("/nowhere/at/all");
    let flags = Flags {
        config: Some(missing.to_owned()),
        ..Flags::default()
    };
    let not_found = Some(io::ErrorKind::NotFound);
    assert_eq!(io_kind(config::load(&flags)), not_found);
    let read = Database::read(missing, SystemTime::now());
    assert_eq!(io_kind(read), not_found);
    let identity = tls::read(TlsFiles {
        certificate: missing,
        key: missing,
        client_ca: None,
    });
    assert_eq!(io_kind(identity), not_found);
    let loaded = SigningKey::load(missing, || Ok(String::new()));
    let Err(SecretKeyError::Unusable(error)) = loaded else {
        panic!("a key from nowhere");
    };
    assert_eq!(io_kind::<()>(Err(error)), not_found);
    for settings in [
        "[upstream]\nca_certificates = \"/nowhere/ca.pem\"",
        "[registries.a]\nindex = \"https://a.test/\"\ncredential = { kind = \"raw\", file = \"/nowhere/token\" }",
        "[registries.a]\nindex = \"https://a.test/\"\nclient_certificate = \"/nowhere/c\"\nclient_key = \"/nowhere/k\"",
        "[policy.advisories]\npath = \"/nowhere/db\"",
    ] {
        let settings = format!("{ANY_PORT}{settings}");
        assert_eq!(io_kind(started(&settings).await), not_found, "{settings}");
    }
}

#[tokio::test]
async fn of_a_store_that_cannot_be_made_the_systems_error_is_kept() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let settings = format!("{ANY_PORT}[store]\npath = {:?}", file.path().join("store"));
    let config = config::parse(&settings).expect("settings");
    let started = App::start(config).await.map(drop);
    assert_eq!(io_kind(started), Some(io::ErrorKind::NotADirectory));
}

#[tokio::test]
async fn of_an_address_that_is_taken_the_systems_error_is_kept() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address");
    let settings = format!("[server]\nlisten = \"{address}\"\n[offline]\nenabled = true");
    let started = started(&settings).await;
    assert_eq!(io_kind(started), Some(io::ErrorKind::AddrInUse));
}

/// Starts a mirror with these settings and a store of its own.
async fn started(settings: &str) -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!("{settings}\n[store]\npath = {:?}", folder.path());
    let config = config::parse(&settings).expect("settings");
    App::start(config).await.map(drop)
}

/// A sentence was all that was left of a connection that failed.
#[tokio::test]
async fn of_a_file_that_does_not_come_the_librarys_error_is_kept() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = free.local_addr().expect("an address");
    drop(free);
    let url = format!("http://me:hunter2@{address}/keys?hunter2");
    let url = url.parse().expect("a URL");
    let config = config::parse("[upstream]\nproxy = \"none\"").expect("settings");
    let document = Document::new(&url, &config.upstream).expect("a client");
    let error = document.fetch(1_000).await.expect_err("nobody is there");
    let refused = root::<io::Error>(&error).map(io::Error::kind);
    assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

/// Unless there may be a secret in it: a token where a table should be, a line of the file as its parser quotes it.
#[test]
fn of_settings_the_librarys_error_is_kept_where_it_holds_no_secret() {
    let of = |settings: &str| config::parse(settings).expect_err("a mistake");
    for told in [
        "[server]\nlisten = 7",
        "[server]\nlisten = \"nowhere\"",
        "[server]\nlistens = \"127.0.0.1:0\"",
        "[freshness]\nmax_stale = true",
        "[audit]\nrequired = \"perhaps\"",
    ] {
        let error = of(told);
        assert!(root::<figment::Error>(&error).is_some(), "{error:?}");
    }
    for secret in [
        "[registries.a]\nindex = \"https://a.test/\"\ncredential = \"hunter2\"",
        "[registries.a]\nindex = \"https://a.test/\"\ncredential.command = [\"get\", 7]\ncredential.ttl = \"hunter2\"",
        "[server]\nlisten = \"https://me:hunter2@a.test/\"",
        "[freshness]\nmax_stale = \"https://hq.test/t/hunter2/\"",
        "[registries.a]\ncredential = hunter2",
    ] {
        let error = of(secret);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// However often it is said anew, with a place before it, say.
#[test]
fn of_text_that_cannot_be_parsed_the_parsers_error_is_kept() {
    let text = "serde@^x";
    let error = CrateRequest::parse(text).expect_err("no requirement");
    assert_eq!(error.kind(), Kind::BadRequest);
    assert!(root::<semver::Error>(&error).is_some(), "{error:?}");
    let listed = List::read(&["-".to_owned()], text.as_bytes()).map(drop);
    let error = listed.expect_err("no requirement either");
    assert_eq!(error.kind(), Kind::Config);
    assert!(root::<semver::Error>(&error).is_some(), "{error:?}");
}
