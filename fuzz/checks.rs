//! What must hold of every input that comes from outside, one function per fuzz target.
//!
//! The fuzz targets run these over what libFuzzer thinks of; `tests/it/seeds.rs` runs them over the committed seeds, so that a check that
//! doesn't hold or doesn't compile any more is noticed without cargo-fuzz. A check panics when a promise is broken.
//!
//! Inputs of more than one part are lines of text, so that seeds can be read and written by hand.

#[path = "access.rs"]
mod access_checks;
#[path = "advisory.rs"]
mod advisory_checks;
#[path = "bundle.rs"]
mod bundle_checks;
#[path = "connection.rs"]
mod connection_checks;
#[path = "git.rs"]
mod git_checks;
#[path = "policy.rs"]
mod policy_checks;
#[path = "tls.rs"]
mod tls_checks;
#[path = "toolchain.rs"]
mod toolchain_checks;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    domain::{
        CrateId, CrateKey, CrateName, Dependency, DownloadTemplate, IndexFile, IndexKey, IndexPath,
        Key, Lockfile, RegistryName, Sha256, Validators, View,
        lockfile::{Locked, PackageSource},
    },
    http::parts::{
        Agent, ByteRange, Extent, Place, Route, SearchQuery, accepts_gzip, is_strongly, none_match,
    },
    policy::render,
    prefetch::lockfile_in,
    store::StoreRecord,
    transport::parts::{Offer, Upgraded},
    upstream::parts::{gunzip as decompress, retry_after, starts_at, validators},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header, request};
use tokio::io::{AsyncRead, ReadBuf};

pub use access_checks::{accepted, authorization, jwt};
pub use advisory_checks::{advisories_in, advisory};
pub use bundle_checks::{bundle, manifest, stored_of};
pub use connection_checks::connection;
pub use git_checks::{git_request, understood};
pub use policy_checks::{decided, policy};
pub use tls_checks::certificate;
pub use toolchain_checks::toolchain;

/// Splits `input` at the first `separator`, which may be missing.
fn part<'a>(input: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    let found = input.windows(separator.len()).position(|w| w == separator);
    match found {
        Some(at) => (&input[..at], &input[at + separator.len()..]),
        None => (input, &[]),
    }
}

/// The first line of `input`, as text, and the rest.
fn line(input: &[u8]) -> Option<(&str, &[u8])> {
    let (line, rest) = part(input, b"\n");
    Some((std::str::from_utf8(line).ok()?, rest))
}

/// Any string can be asked for; what is understood stays inside the store and has one way to be written.
pub fn router(input: &[u8]) {
    let Ok(asked) = std::str::from_utf8(input) else {
        return;
    };
    match Route::parse(asked) {
        Ok(Route::Index { place, name }) => {
            let registry = place.registry;
            let key = IndexKey::new(registry.unwrap_or_else(RegistryName::crates_io), name);
            assert_in_store(&key.path());
            let written = format!("{}/index/{}", prefix(&place), key.path);
            assert_eq!(written, asked, "index files have one path");
        }
        Ok(route @ Route::Download { place, id }) => {
            let key = CrateKey {
                registry: place.registry.unwrap_or_else(RegistryName::crates_io),
                id,
                sha256: Sha256::of(input),
            };
            assert_in_store(&key.path());
            let (prefix, CrateId { name, version }) = (prefix(&place), id);
            for written in [
                format!("{prefix}/api/v1/crates/{name}/{version}/download"),
                format!("{prefix}/crates/{name}/{version}/download"),
                format!("{prefix}/crates/{name}/{name}-{version}.crate"),
            ] {
                assert_eq!(Route::parse(&written).ok(), Some(route), "{written}");
            }
        }
        Ok(_) | Err(_) => {}
    }
}

/// Whatever is searched for is bounded, is no command to a terminal, and is the same when it is written again.
pub fn query(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(query) = SearchQuery::parse(Some(text)) else {
        return;
    };
    assert!(query.words.chars().count() <= SearchQuery::MAX_WORDS);
    assert!(!query.words.chars().any(char::is_control));
    assert!((1..=SearchQuery::MAX_PER_PAGE).contains(&query.per_page));
    assert!((1..=SearchQuery::MAX_PAGE).contains(&query.page));
    let words = query.words.bytes().map(|b| format!("%{b:02X}"));
    let written = format!(
        "q={}&per_page={}&page={}",
        words.collect::<String>(),
        query.per_page,
        query.page
    );
    assert_eq!(SearchQuery::parse(Some(&written)).ok(), Some(query));
}

/// Where the paths of a registry begin, as it is seen somehow.
fn prefix(place: &Place) -> String {
    let registry = place.registry;
    let registry = registry.map_or_else(String::new, |name| format!("/registries/{name}"));
    match place.view {
        View::Usual => registry,
        View::Named(view) => format!("{registry}/views/{view}"),
        View::AsOf(day) => format!("{registry}/at/{day}"),
    }
}

/// A key's path can't leave its folder, can be a file on every system, and is read back as the key it was made from.
fn assert_in_store(path: &str) {
    for segment in path.split('/') {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.+".contains(&b);
        assert!(segment.bytes().all(plain), "{path}: {segment:?}");
        assert!(!segment.is_empty() && segment.len() < 256, "{path}");
        assert!(!segment.starts_with('.'), "{path}: {segment:?}");
    }
    let read = Key::from_path(path).unwrap_or_else(|| panic!("{path} is no key's path"));
    assert_eq!(written(&read), path);
}

fn written(key: &Key) -> String {
    key.path()
}

/// A path that is understood is written the same, and what an upstream's `dl` makes of a crate is a URL of the web.
///
/// The input is a path; or a crate's name, its version and a `dl`, a line each.
pub fn paths(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(key) = Key::from_path(text) {
        assert_eq!(written(&key), text);
        assert_in_store(text);
    }
    let mut lines = text.splitn(3, '\n');
    if let (Some(name), Some(version), Some(dl)) = (lines.next(), lines.next(), lines.next()) {
        download_url(name, version, dl);
    }
}

fn download_url(name: &str, version: &str, dl: &str) {
    let (Ok(id), Ok(template)) = (CrateId::parse(name, version), DownloadTemplate::parse(dl))
    else {
        return;
    };
    let url = template.url(&id, &Sha256::of(dl.as_bytes()));
    if let Ok(url) = &url {
        assert!(matches!(url.scheme(), "http" | "https"), "{url}");
        assert!(url.has_host(), "{url}");
    }
    if !dl.contains('{') {
        let appended = url::Url::parse(&format!("{dl}/{name}/{version}/download"));
        assert_eq!(url.ok(), appended.ok(), "{dl}");
    }
}

/// The record in `input`, if it is one once the digests and the length in its header are filled in, which no fuzzer guesses.
pub fn record_of(input: &[u8]) -> Option<StoreRecord> {
    const OWN: &str = ",\"header_sha256\":\"@header\"";
    let (header, body) = line(input)?;
    let header = header
        .replace("@sha256", &Sha256::of(body).to_string())
        .replace("@length", &body.len().to_string());
    let without = Sha256::of(header.replace(OWN, "").as_bytes());
    let header = header.replace("@header", &without.to_string());
    let stored = [header.as_bytes(), b"\n", body].concat();
    StoreRecord::decode(stored.into()).ok()
}

/// A stored record is read or refused; what is read can be stored and is read the same.
///
/// `@sha256` and `@length` in the first line stand for what is true of the rest, because no fuzzer guesses a checksum.
pub fn index_record(input: &[u8]) {
    let _ = StoreRecord::decode(Bytes::copy_from_slice(input));
    let Some(read) = record_of(input) else {
        return;
    };
    assert_eq!(read.sha256, Sha256::of(&read.body));
    let again = StoreRecord::decode(read.encode().concat().into()).expect("what we wrote");
    assert_eq!(again.body, read.body);
    assert_eq!(again.sha256, read.sha256);
    assert_eq!(again.validators, read.validators);
    assert_eq!(
        (again.modified_at, again.checked_at),
        (read.modified_at, read.checked_at)
    );
}

/// An index file is refused or kept as it came, every version it lists is found where its line says, and it is never at odds with itself.
///
/// The input is a crate's name and then its index file.
pub fn index_file(input: &[u8]) {
    let Some((Ok(name), body)) = line(input).map(|(name, body)| (CrateName::parse(name), body))
    else {
        return;
    };
    let Some(file) = parse(name, body) else {
        return;
    };
    assert_eq!(file.body(), body);
    assert_eq!(file.name().to_lowercase(), name.to_lowercase());
    for listed in file.versions() {
        let id = CrateId {
            name: file.name(),
            version: *listed.version(),
        };
        let found = file.find(&id).expect("listed, so found");
        assert_eq!(found.sha256, listed.sha256, "{id} has one checksum");
        let alone = parse(name, &body[listed.line.clone()]).expect("a line is a file of its own");
        let versions: Vec<_> = alone.versions().iter().map(|v| v.version()).collect();
        assert_eq!(versions, [listed.version()]);
    }
    assert_nothing_changed(&file, &file);
    let dependency = Dependency::any(name);
    if let Some(version) = dependency.resolve(&file, |_| false) {
        assert!(!version.yanked, "no resolver picks a yanked version");
        for next in dependency.next(&file, version) {
            assert!(next.req.is_some(), "a dependency says what it wants");
        }
    }
    if let Some(shown) = render(&file, |_| true) {
        let shown = parse(name, &shown).expect("still an index file");
        assert!(shown.versions().iter().all(|version| version.yanked));
    }
    let middle = body.len() / 2;
    let end = middle + part(&body[middle..], b"\n").0.len();
    if let Some(before) = parse(name, &body[..end]) {
        assert_nothing_vanished(&before, &file);
    }
}

fn parse(name: CrateName, body: &[u8]) -> Option<IndexFile> {
    IndexFile::parse(IndexPath::of(name), Bytes::copy_from_slice(body)).ok()
}

fn assert_nothing_changed(before: &IndexFile, now: &IndexFile) {
    let changes = now.changes_since(before);
    assert!(changes.vanished.is_empty(), "{changes:?}");
    assert!(changes.replaced.is_empty(), "{changes:?}");
}

/// A file that has only grown has lost nothing.
fn assert_nothing_vanished(before: &IndexFile, now: &IndexFile) {
    let changes = now.changes_since(before);
    assert!(changes.vanished.is_empty(), "{changes:?}");
    for replaced in changes.replaced {
        let checksums = |file: &IndexFile| {
            let mut all = file.versions().iter();
            all.find(|v| v.version() == replaced).map(|v| v.sha256)
        };
        assert_ne!(checksums(before), checksums(now), "{replaced}");
    }
}

/// A Cargo.lock is read or refused in one line; what is read is read the same in the words of another version.
///
/// The same bytes are taken for the archive in a .crate file that has one.
pub fn lockfile(input: &[u8]) {
    let id = CrateId::parse("a", "1.0.0").expect("valid");
    if let Err(e) = lockfile_in(input, &id) {
        assert!(!e.message().contains('\n'), "{e}");
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let read = match Lockfile::parse(text) {
        Ok(read) => read,
        Err(e) => {
            assert!(!e.message().contains('\n'), "{e}");
            return;
        }
    };
    let again: String = read.packages.iter().map(written_again).collect();
    let again = Lockfile::parse(&again).expect("what we wrote");
    assert_eq!(again.packages, read.packages);
}

fn written_again(locked: &Locked) -> String {
    let source = match &locked.source {
        PackageSource::CratesIo => "https://github.com/rust-lang/crates.io-index",
        PackageSource::Index(url) => url.as_str(),
    };
    let CrateId { name, version } = locked.id;
    let checksum = locked.sha256.map(|sum| format!("checksum = \"{sum}\"\n"));
    let checksum = checksum.unwrap_or_default();
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = {:?}\n{checksum}",
        format!("registry+{source}")
    )
}

/// Conditional and accept headers mean what RFC 9110 has them mean, and no value of them does harm.
///
/// The input is the ETag of what would be sent, and then header values, a line each.
pub fn headers(input: &[u8]) {
    let (etag, values) = part(input, b"\n");
    let values: Vec<&[u8]> = values.split(|&b| b == b'\n').collect();
    for value in &values {
        let matches = none_match(value, etag);
        if let (Some(etag), Some(listed)) = (entity_tag(etag), entity_tags(value)) {
            let expected = listed.contains(&etag);
            assert_eq!(matches, expected, "{:?}", value.escape_ascii().to_string());
        }
        if is_strongly(value, etag) {
            assert!(matches, "what is the same is the same weakly");
        }
        range_is_there(value);
    }
    gzip_however_listed(&values);
}

/// Section 14.1.2: what is understood of a range lies in the file, and is what any number of digits and one hyphen say.
fn range_is_there(value: &[u8]) {
    let Some(range) = ByteRange::parse(value) else {
        return;
    };
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let hyphens = value.iter().filter(|b| **b == b'-').count();
    assert!(digits > 0 && hyphens == 1, "{}", value.escape_ascii());
    for length in [0, 1, 2, 1000, u64::MAX] {
        match range.within(length) {
            Extent::Part(part) => {
                assert!(part.first() < part.end() && part.end() <= length);
                let again = format!("bytes={}-{}", part.first(), part.end() - 1);
                let again = ByteRange::parse(again.as_bytes()).expect("a range");
                assert_eq!(again.within(length), Extent::Part(part));
            }
            Extent::Nothing => {}
        }
    }
}

/// The tags of a well-formed list, without their `W/`; an independent reading of RFC 9110, sections 5.6.1 and 8.8.3.
fn entity_tags(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut quoted = false;
    let elements = list.split(|&b| {
        quoted ^= b == b'"';
        b == b',' && !quoted
    });
    let elements = elements.map(<[u8]>::trim_ascii);
    // Section 5.6.1.2: empty elements are ignored.
    elements
        .filter(|element| !element.is_empty())
        .map(entity_tag)
        .collect()
}

/// What stands between the quotes of a well-formed tag.
fn entity_tag(tag: &[u8]) -> Option<&[u8]> {
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    let opaque = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let valid = |&b: &u8| b == 0x21 || (0x23..=0x7e).contains(&b) || b >= 0x80;
    opaque.iter().all(valid).then_some(opaque)
}

/// Section 5.3: a list in several lines is the same as one, joined by commas.
fn gzip_however_listed(values: &[&[u8]]) {
    let readable = |value: &&[u8]| {
        let value = HeaderValue::from_bytes(value);
        value.is_ok_and(|value| value.to_str().is_ok())
    };
    let values: Vec<&[u8]> = values.iter().copied().filter(readable).collect();
    let accepts = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("readable");
            headers.append(header::ACCEPT_ENCODING, value);
        }
        accepts_gzip(&headers)
    };
    let joined = values.join(&b","[..]);
    assert_eq!(accepts(&values), accepts(&[&joined]));
    let refused = [&b"gzip;q=0"[..], &joined].join(&b","[..]);
    assert!(!accepts(&[&refused]), "gzip was refused by name");
    let accepted = [&b"gzip"[..], &joined].join(&b","[..]);
    assert!(accepts(&[&accepted]), "gzip was named");
}

/// What upstream says beside its bodies is understood as RFC 9110 has it or not at all: where a part starts, how long to wait, what to ask with next
/// time.
///
/// The input is header values, a line each.
pub fn answer_headers(input: &[u8]) {
    for value in input.split(|&b| b == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(value) else {
            continue;
        };
        let named = |name| HeaderMap::from_iter([(name, value.clone())]);
        let start = starts_at(&named(header::CONTENT_RANGE));
        assert_eq!(start, content_range(value.as_bytes()), "{value:?}");
        assert_wait(&named(header::RETRY_AFTER), value.as_bytes());
        assert_sent_back(&named(header::ETAG), |kept| kept.etag);
        assert_sent_back(&named(header::LAST_MODIFIED), |kept| kept.last_modified);
    }
}

/// The first position of a well-formed `Content-Range` that isn't zero; an independent reading of section 14.4.
fn content_range(value: &[u8]) -> Option<u64> {
    let (unit, rest) = part(value, b" ");
    let (first, rest) = part(rest, b"-");
    let (last, length) = part(rest, b"/");
    let (first, last) = (digits(first)?, digits(last)?);
    let fits = length == b"*" || digits(length)? > last;
    let well_formed = unit.eq_ignore_ascii_case(b"bytes") && first <= last && fits;
    (well_formed && first != 0).then_some(u64::try_from(first).ok()?)
}

/// A number that fits into 64 bits.
fn digits(text: &[u8]) -> Option<u128> {
    let number = text.iter().try_fold(0_u128, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u128::from(b - b'0'))?;
        Some(number * 10 + digit).filter(|&n| n <= u128::from(u64::MAX))
    });
    number.filter(|_| !text.is_empty())
}

/// Section 10.2.3: seconds, or a date to wait for. Nobody is believed who wants to be left alone for more than a minute.
fn assert_wait(headers: &HeaderMap, value: &[u8]) {
    const LONGEST: Duration = Duration::from_secs(60);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let wait = retry_after(headers, now);
    assert!(wait.is_none_or(|wait| wait <= LONGEST));
    let Some(seconds) = digits(value.trim_ascii()).and_then(|n| u64::try_from(n).ok()) else {
        return;
    };
    let expected = Duration::from_secs(seconds).min(LONGEST);
    assert_eq!(wait, Some(expected), "{value:?}");
}

/// A validator is forgotten, or goes back as it came: visible, short, and a header value.
fn assert_sent_back(headers: &HeaderMap, kept: fn(Validators) -> Option<String>) {
    if let Some(kept) = kept(validators(headers)) {
        assert!((1..=Validators::MAX_LEN).contains(&kept.len()));
        assert_ne!(kept, "*", "it would be answered 304 for ever");
        let back = HeaderValue::from_str(&kept).expect("it came as one");
        assert!(headers.values().any(|value| value == back));
    }
}

/// What is no gzip is refused, nothing decodes to more than was allowed, and what was encoded comes back.
pub fn gunzip(input: &[u8]) {
    const LIMIT: usize = 1 << 20;
    if let Ok(decoded) = decompress(input, LIMIT) {
        let length = decoded.body.len();
        assert!(length <= LIMIT);
        let again = decompress(input, length).map(|again| again.body);
        assert_eq!(again.ok(), Some(decoded.body), "the limit");
        assert!(length == 0 || decompress(input, length - 1).is_err());
    }
    let mut encoder = flate2::read::GzEncoder::new(input, flate2::Compression::fast());
    let mut encoded = Vec::new();
    io::Read::read_to_end(&mut encoder, &mut encoded).expect("memory");
    let decoded = decompress(&*encoded, input.len());
    let decoded = decoded.expect("gzip");
    assert_eq!((&decoded.body[..], decoded.is_plain), (input, true));
    let cut = encoded.len() / 2;
    assert!(decompress(&encoded[..cut], LIMIT).is_err(), "half a body");
}

/// An offer of HTTP/2 is ignored or repeats its request faithfully, and what the client goes on with is read the same however it is cut.
///
/// The input is a request's head, a blank line, a line whose bytes are the sizes of pieces, and what the client sends after our 101.
pub fn upgrade(input: &[u8]) {
    let (head, rest) = part(input, b"\n\n");
    let Some(request) = request(head) else {
        return;
    };
    for agent in request.headers.get_all(header::USER_AGENT) {
        let _ = Agent::parse(agent.as_bytes()).takes_upgrade();
    }
    let Some(offer) = Offer::of(&request) else {
        return;
    };
    let (sizes, sent) = part(rest, b"\n");
    let (opening, _) = read(&offer, b"", sent_in(&[], &[]));
    let settings = settings_of(&opening, &request);
    let expected = passed_on(sent, settings);
    let early = sizes.first().map_or(0, |&size| usize::from(size));
    let early = early.min(sent.len());
    for already_read in [0, early, sent.len()] {
        let (already, later) = sent.split_at(already_read);
        let (read, ended) = read(&offer, already, sent_in(later, sizes));
        let when = format!("{already_read} bytes came with the request");
        assert_eq!(ended, expected.map(drop), "{when}");
        match expected {
            Ok(rest) => assert_eq!(read, [&opening[..], rest].concat(), "{when}"),
            Err(io::ErrorKind::UnexpectedEof) => assert_eq!(read, opening, "{when}"),
            // What was wrong may have come before anything was read.
            Err(_) => {}
        }
    }
}

/// A request of HTTP/1.1 from its head's lines; those that are no headers are passed over.
fn request(head: &[u8]) -> Option<request::Parts> {
    let mut lines = head.split(|&b| b == b'\n');
    let (method, uri) = part(lines.next()?, b" ");
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let (name, value) = part(line, b":");
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// A connection on which bytes arrive in pieces of given sizes, over and over.
struct Pieces<'a> {
    left: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

fn sent_in<'a>(left: &'a [u8], sizes: &'a [u8]) -> Pieces<'a> {
    let sizes = sizes.iter().cycle();
    Pieces { left, sizes }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.sizes.next().map_or(usize::MAX, |&b| usize::from(b));
        // An empty read would be the connection's end.
        let size = size.max(1).min(self.left.len()).min(buffer.remaining());
        let (piece, left) = self.left.split_at(size);
        buffer.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

/// Everything that an HTTP/2 server gets to read of it, and how that ends.
fn read(
    offer: &Offer,
    already_read: &[u8],
    inner: Pieces<'_>,
) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let mut all = Vec::new();
    let mut stream = match Upgraded::new(inner, offer, already_read) {
        Ok(stream) => Box::pin(stream),
        Err(e) => return (all, Err(e.kind())),
    };
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let mut space = [0; 1000];
        let mut buffer = ReadBuf::new(&mut space);
        match stream.as_mut().poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return (all, Ok(())),
            Poll::Ready(Ok(())) => all.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(e)) => return (all, Err(e.kind())),
            Poll::Pending => panic!("it waits for what has arrived"),
        }
    }
}

const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What of `sent` an HTTP/2 server has yet to read: not the magic, and not the settings if they are repeated. An error if this is no HTTP/2, or not enough of it.
fn passed_on<'a>(sent: &'a [u8], settings: &[u8]) -> Result<&'a [u8], io::ErrorKind> {
    let Some(rest) = sent.strip_prefix(MAGIC) else {
        return Err(match MAGIC.starts_with(sent) {
            true => io::ErrorKind::UnexpectedEof,
            false => io::ErrorKind::InvalidData,
        });
    };
    if rest.len() < 9 || (rest[..9] == settings[..9] && rest.len() < settings.len()) {
        return Err(io::ErrorKind::UnexpectedEof);
    }
    Ok(rest.strip_prefix(settings).unwrap_or(rest))
}

/// The SETTINGS frame of an opening, in which the request must stand as it was made.
fn settings_of<'a>(opening: &'a [u8], request: &request::Parts) -> &'a [u8] {
    let frames = opening.strip_prefix(MAGIC).expect("the magic");
    let (settings, rest) = frame(frames);
    assert_eq!(settings[3..9], [4, 0, 0, 0, 0, 0], "SETTINGS");
    assert_eq!((settings.len() - 9) % 6, 0, "six bytes a setting");
    let (headers, rest) = frame(rest);
    assert_eq!(headers[3..9], [1, 5, 0, 0, 0, 1], "HEADERS, all, stream 1");
    assert!(rest.is_empty() && headers.len() <= 9 + 16_384);
    let fields = literals(&headers[9..]);
    let (pseudo, plain) = fields.split_at(4);
    let names: Vec<&[u8]> = pseudo.iter().map(|(name, _)| *name).collect();
    let expected: [&[u8]; 4] = [b":method", b":scheme", b":path", b":authority"];
    assert_eq!(names, expected);
    assert_eq!(pseudo[0].1, request.method.as_str().as_bytes());
    let path = request.uri.path_and_query().expect("a path");
    assert_eq!(pseudo[2].1, path.as_str().as_bytes());
    for (name, value) in plain {
        let name = HeaderName::from_lowercase(name).expect("a name in lower case");
        assert!(!matches!(name.as_str(), "connection" | "upgrade" | "host"));
        let mut values = request.headers.get_all(&name).iter();
        assert!(values.any(|v| v == value), "{name} is as it was");
    }
    settings
}

/// The first frame, with its head, and what follows it.
fn frame(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    bytes.split_at(9 + length as usize)
}

/// The fields of an HPACK block that has only literals, neither indexed nor compressed (RFC 7541, section 6.2.2).
fn literals(mut block: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut fields = Vec::new();
    while let Some(rest) = block.strip_prefix(&[0]) {
        let (name, rest) = string(rest);
        let (value, rest) = string(rest);
        fields.push((name, value));
        block = rest;
    }
    assert!(block.is_empty(), "a literal begins with a zero");
    fields
}

/// Section 5.2: a length with a prefix of seven bits, and as many bytes.
fn string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 1;
    let mut length = usize::from(bytes[0]);
    assert!(length < 128, "not compressed");
    if length == 127 {
        for shift in (0..).step_by(7) {
            length += usize::from(bytes[at] & 127) << shift;
            at += 1;
            if bytes[at - 1] < 128 {
                break;
            }
        }
    }
    bytes[at..].split_at(length)
}
