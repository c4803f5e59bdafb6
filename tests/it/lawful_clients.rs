//! Lawful clients: whatever HTTP/2 allows a client to do, in any order, it gets each answer whole, and never more of it than it has given leave for.
//!
//! What they do is drawn from a seed. A failure says which; `CRATE_MIRROR_TEST_SEED` repeats it, and `CRATE_MIRROR_TEST_CLIENTS_SECONDS` lets them go
//! on for longer.

use std::{
    collections::BTreeMap,
    env, thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::support::{
    Frame, Frames, Mirror, Package, Upstream, client,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, MAGIC, PADDED, PING,
        PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, frame as frame_of, status_in,
    },
    requests,
};

/// Frames of this kind mean nothing (RFC 9113, section 5.5).
const UNKNOWN: u8 = 0x77;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// What a connection and each of its streams may be sent at first (RFC 9113, section 6.9.2).
const FIRST_WINDOW: i64 = 65_535;
const LARGEST_WINDOW: i64 = (1 << 31) - 1;

const CLIENTS: u64 = 4;
const STREAMS: usize = 40;
const STEPS: usize = 300;
/// How many resets there may be at once. More look like an attack, and the server closes.
const RESETS: usize = 8;

/// What is asked for, and what comes.
type Answers = BTreeMap<&'static str, (u16, Vec<u8>)>;

struct Client {
    rng: Rng,
    frames: Frames,
    answers: Answers,
    streams: BTreeMap<u32, Asked>,
    next: u32,
    /// What we may be sent on the connection.
    window: i64,
    /// What each stream may be sent at first by the most generous settings that the server may go by.
    first_window: i64,
    /// The first windows of the settings that it goes by, and of those that it hasn't acknowledged yet.
    told: Vec<i64>,
    pings: usize,
    resets: usize,
}

/// One request.
struct Asked {
    path: &'static str,
    body: Vec<u8>,
    window: i64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asked,
    Answered,
    Ended,
    TakenBack,
}

impl Client {
    async fn open(mirror: &Mirror, answers: &Answers, seed: u64) -> Client {
        let mut rng = Rng::with_seed(seed);
        let mut streams = BTreeMap::new();
        let (told, frames) = match rng.bool() {
            true => {
                let mut frames =
                    Frames::after_upgrade(client::Connection::open(mirror.addr()).await);
                frames.send_bytes(MAGIC).await;
                frames.send(SETTINGS, 0, 0, &[]).await;
                (vec![FIRST_WINDOW; 2], frames)
            }
            false => {
                // Its settings say so, twice, and are acknowledged once.
                let window = FIRST_WINDOW + 1;
                let path = *answers.keys().next().expect("something to ask for");
                streams.insert(1, Asked::new(path, window));
                let frames = Frames::upgrade(mirror.addr(), path).await;
                (vec![window; 2], frames)
            }
        };
        Client {
            rng,
            frames,
            answers: answers.clone(),
            streams,
            next: 3,
            window: FIRST_WINDOW,
            first_window: told[0],
            told,
            pings: 0,
            resets: 0,
        }
    }

    async fn live(mut self) {
        for _ in 0..STEPS {
            match self.rng.u32(..100) {
                0..25 => self.ask().await,
                25..50 => {
                    let by = self.rng.i64(1..70_000);
                    self.widen(by).await;
                }
                50..55 => self.ping().await,
                55..60 => self.change_settings().await,
                60..65 => self.prioritize().await,
                65..68 => self.take_back().await,
                68..70 => {
                    let payload = vec![0; self.rng.usize(..100)];
                    let (flags, stream) = (self.rng.u8(..), self.rng.u32(..9));
                    self.frames.send(UNKNOWN, flags, stream, &payload).await;
                }
                _ => self.read_some().await,
            }
        }
        // Now all of it.
        while self.outstanding() > 0 || self.pings > 0 || self.told.len() > 1 {
            self.widen(1 << 20).await;
            match self.frames.next().await {
                Some(frame) => self.receive(frame).await,
                None => panic!("closed with {} answers outstanding", self.outstanding()),
            }
        }
        for (id, asked) in &self.streams {
            let (status, body) = &self.answers[asked.path];
            if asked.state == State::Ended {
                assert!(
                    *body == asked.body,
                    "other bytes on {id}: {} {status}",
                    asked.path
                );
            }
        }
    }

    fn outstanding(&self) -> usize {
        let open = |asked: &&Asked| matches!(asked.state, State::Asked | State::Answered);
        self.streams.values().filter(open).count()
    }

    /// A request, its head cut into frames and filled up in any way that is allowed.
    async fn ask(&mut self) {
        if self.streams.len() >= STREAMS {
            return;
        }
        let paths: Vec<_> = self.answers.keys().copied().collect();
        let path = paths[self.rng.usize(..paths.len())];
        let filler = "f".repeat(self.rng.usize(..2000));
        let block = requests::block(path, &[("x-filler", &filler)]);
        let mut rest = &block[..];
        let stream = self.next;
        self.next += 2 * self.rng.u32(1..4);
        let (mut bytes, mut frames) = (Vec::new(), 0);
        // Some are empty. More of them than a server has patience for would be an attack.
        for kind in [HEADERS, CONTINUATION, CONTINUATION, CONTINUATION] {
            let length = match kind == HEADERS || self.rng.bool() {
                true => self.rng.usize(..=rest.len()),
                false => rest.len(),
            };
            let length = if frames == 3 { rest.len() } else { length };
            frames += 1;
            let (piece, later) = rest.split_at(length);
            rest = later;
            let mut flags = if rest.is_empty() { END_HEADERS } else { 0 };
            let mut payload = Vec::new();
            if kind == HEADERS {
                flags |= END_STREAM;
                let padding = self.rng.bool().then(|| self.rng.u8(..200));
                if let Some(length) = padding {
                    flags |= PADDED;
                    payload.push(length);
                }
                if self.rng.bool() {
                    flags |= WITH_PRIORITY;
                    payload.extend(self.priority(stream));
                }
                payload.extend(piece);
                payload.extend(vec![0; padding.unwrap_or(0).into()]);
            } else {
                payload.extend(piece);
            }
            bytes.extend(frame_of(kind, flags, stream, &payload));
            if rest.is_empty() {
                break;
            }
        }
        // In pieces that have nothing to do with frames.
        while !bytes.is_empty() {
            let piece = bytes.split_off(bytes.len().min(self.rng.usize(1..3000)));
            self.frames.send_bytes(&bytes).await;
            bytes = piece;
        }
        let told = self.told.iter().copied().max().unwrap_or(0);
        self.streams.insert(stream, Asked::new(path, told));
    }

    /// What a stream depends on: any other, and how much (RFC 9113, section 6.3).
    fn priority(&mut self, stream: u32) -> [u8; 5] {
        let other = self.rng.u32(..1000);
        let other = if other == stream { 0 } else { other };
        let [a, b, c, d] = other.to_be_bytes();
        [a, b, c, d, self.rng.u8(..)]
    }

    async fn prioritize(&mut self) {
        let stream = self.rng.u32(1..1000);
        let payload = self.priority(stream);
        self.frames.send(PRIORITY, 0, stream, &payload).await;
    }

    /// Gives leave to be sent about so much more, on the connection and on any stream that is open.
    async fn widen(&mut self, by: i64) {
        let most = by.min(LARGEST_WINDOW / 2 - self.window);
        if most > 0 {
            self.window += most;
            self.update(0, most).await;
        }
        let open = self.streams.iter_mut();
        let open = open.filter(|(_, asked)| matches!(asked.state, State::Asked | State::Answered));
        let mut updates = Vec::new();
        for (id, asked) in open {
            let more = by.min(LARGEST_WINDOW / 2 - asked.window);
            if more > 0 && (by >= 1 << 20 || self.rng.u8(..4) == 0) {
                asked.window += more;
                updates.push((*id, more));
            }
        }
        for (id, more) in updates {
            self.update(id, more).await;
        }
    }

    async fn update(&mut self, stream: u32, by: i64) {
        let by = u32::try_from(by).expect("a small number").to_be_bytes();
        self.frames.send(WINDOW_UPDATE, 0, stream, &by).await;
    }

    async fn ping(&mut self) {
        self.pings += 1;
        self.frames.send(PING, 0, 0, b"eightish").await;
    }

    /// Other sizes of windows, frames and tables. A smaller window counts when the server has said that it knows of it.
    async fn change_settings(&mut self) {
        if self.told.len() > 5 {
            return;
        }
        let windows = [1, 10, 1000, FIRST_WINDOW, 100_000];
        let window = windows[self.rng.usize(..windows.len())];
        let tables = [0, 100, 4096, 65_536];
        let mut payload = Vec::new();
        let frame = self.rng.u32(16_384..1 << 24);
        for (name, value) in [
            (4, u32::try_from(window).expect("a small number")),
            (5, frame),
            (1, tables[self.rng.usize(..tables.len())]),
            (0x5a5a, self.rng.u32(..)),
        ] {
            payload.extend(u16::to_be_bytes(name));
            payload.extend(value.to_be_bytes());
        }
        self.frames.send(SETTINGS, 0, 0, &payload).await;
        self.told.push(window);
        self.adjust();
    }

    /// Each stream may be sent what the most generous settings allow that the server may go by.
    fn adjust(&mut self) {
        let most = self.told.iter().copied().max().unwrap_or(0);
        for asked in self.streams.values_mut() {
            asked.window += most - self.first_window;
        }
        self.first_window = most;
    }

    /// Takes back a request that is being answered.
    async fn take_back(&mut self) {
        if self.resets == RESETS {
            return;
        }
        let mut open = self.streams.iter_mut();
        let Some((id, asked)) = open.find(|(_, asked)| asked.state == State::Answered) else {
            return;
        };
        (asked.state, self.resets) = (State::TakenBack, self.resets + 1);
        let id = *id;
        self.frames.send(RST_STREAM, 0, id, &CANCEL).await;
    }

    async fn read_some(&mut self) {
        for _ in 0..self.rng.u8(1..10) {
            match timeout(Duration::from_millis(1), self.frames.next()).await {
                Ok(Some(frame)) => self.receive(frame).await,
                Ok(None) => panic!("closed"),
                Err(_) => return,
            }
        }
    }

    async fn receive(&mut self, frame: Frame) {
        assert!(frame.payload.len() < 1 << 24);
        match frame.kind {
            SETTINGS if frame.is_ack(SETTINGS) => {
                assert!(self.told.len() > 1, "one acknowledgement too many");
                self.told.remove(0);
                self.adjust();
            }
            SETTINGS => self.frames.send(SETTINGS, ACK, 0, &[]).await,
            PING if frame.is_ack(PING) => self.pings -= 1,
            GOAWAY => panic!("told to go: {frame:?}"),
            DATA | HEADERS | RST_STREAM => self.take(frame),
            _ => {}
        }
    }

    /// Takes a part of an answer.
    fn take(&mut self, frame: Frame) {
        let id = frame.stream;
        let length = i64::try_from(frame.payload.len()).expect("a small number");
        let asked = self.streams.get_mut(&id);
        let asked = asked.unwrap_or_else(|| panic!("nobody asked for {frame:?}"));
        if frame.kind == DATA {
            self.window -= length;
            asked.window -= length;
            assert!(self.window >= 0, "more than there was leave for");
        }
        if asked.state == State::TakenBack {
            return;
        }
        assert_ne!(frame.kind, RST_STREAM, "{id}: {}", asked.path);
        match frame.kind {
            HEADERS => {
                assert_eq!(asked.state, State::Asked, "{id}: a second head");
                let expected = self.answers[asked.path].0;
                let status = status_in(&frame.payload);
                assert!(
                    status == expected || status == 0,
                    "{id}: {status}, {}",
                    asked.path
                );
                asked.state = State::Answered;
            }
            _ => {
                assert_eq!(asked.state, State::Answered, "{id}: data before its head");
                let (left, by) = (asked.window, length);
                assert!(left >= 0 || by == 0, "{id}: {left} beyond its window");
                asked.body.extend(&frame.payload);
            }
        }
        if frame.ends_stream() {
            asked.state = State::Ended;
        }
    }
}

impl Asked {
    fn new(path: &'static str, window: i64) -> Asked {
        Asked {
            path,
            body: Vec::new(),
            window,
            state: State::Asked,
        }
    }
}

/// Says what to repeat when a client has failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("CRATE_MIRROR_TEST_SEED={} repeats it", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}: {text} is no number")),
    )
}

/// A mirror of small and large index files and crates; one of them is too large for its memory, and comes from the disk.
async fn mirror() -> (Upstream, Mirror, Answers) {
    let wide = "many lines ".repeat(10_000);
    let upstream = Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .publish(Package::new("wide", "1.0.0").field("lines", wide.into()))
        .publish(Package::new("little", "1.0.0").payload(20_000))
        .publish(Package::new("large", "1.0.0").payload(300_000))
        .start()
        .await;
    let budget = "[memory]\nbudget = \"1MiB\"";
    let mirror = Mirror::of(&upstream).settings(budget).start().await;
    let mut answers = Answers::new();
    for path in [
        "/index/se/rd/serde",
        "/index/wi/de/wide",
        "/index/no/ne/none",
        "/api/v1/crates/little/1.0.0/download",
        "/api/v1/crates/large/1.0.0/download",
        "/healthz",
    ] {
        let reply = mirror.get(path).await;
        assert!(reply.complete, "{path}");
        answers.insert(path, (reply.status, reply.body));
    }
    (upstream, mirror, answers)
}

#[tokio::test]
async fn every_lawful_client_gets_each_answer_whole() {
    let (_upstream, mirror, answers) = mirror().await;
    let seconds = number("CRATE_MIRROR_TEST_CLIENTS_SECONDS").unwrap_or(2);
    let repeated = number("CRATE_MIRROR_TEST_SEED");
    let mut seed = repeated.unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    let (started, mut clients) = (Instant::now(), 0);
    while clients == 0 || started.elapsed() < Duration::from_secs(seconds) {
        let _seed = Seed(seed);
        let some = (seed..seed + CLIENTS).map(async |seed| {
            let client = Client::open(&mirror, &answers, seed).await;
            client.live().await;
        });
        join_all(some).await;
        (seed, clients) = (seed + CLIENTS, clients + CLIENTS);
    }
    eprintln!("{clients} lawful clients");
}
