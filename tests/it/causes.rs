//! An error keeps what lies behind it: whoever embeds the mirror can ask what the system or a library has said, and need not read it out of a sentence.

use std::{error::Error as _, fs, io, net::TcpListener, path::Path};

use crate_mirror::{
    access::token_file,
    app::App,
    audit::Reader,
    config,
    domain::CrateRequest,
    error::{Error, Kind, Result},
    prefetch::{List, lockfile},
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

#[tokio::test]
async fn of_an_address_that_is_taken_the_systems_error_is_kept() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "[server]\nlisten = \"{address}\"\n[store]\npath = {:?}\n[offline]\nenabled = true",
        folder.path()
    );
    let config = config::parse(&settings).expect("settings");
    let started = App::start(config).await.map(drop);
    assert_eq!(io_kind(started), Some(io::ErrorKind::AddrInUse));
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
