//! The load: what one client asks for, one request after the other, and what it remembers of the answers.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::{sync::watch, time::sleep};

use super::{
    World,
    connection::{ClientConnection, Manner, Outcome, Request},
    reign::Life,
};
use crate::support::index_path;

/// Every so many-th client speaks HTTP/2.
const HTTP2: u64 = 4;
/// So many validators are remembered.
const REMEMBERED: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Index {
        name: String,
        condition: Condition,
    },
    Download {
        name: String,
        version: String,
    },
    /// A crate that has never been.
    Unknown {
        path: String,
    },
    Config,
    Health,
}

/// What a request for an index file is conditional on.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    None,
    /// An ETag that this mirror gave out with a body of this crate.
    Seen(String),
    /// One that it can't have given out for this crate: another crate's, or made up.
    Foreign(String),
}

pub(super) struct Client {
    world: Arc<World>,
    rng: Rng,
    connection: ClientConnection,
    /// Crates and the ETags that came with their index files.
    seen: VecDeque<(String, String)>,
}

impl Client {
    pub(super) fn new(world: Arc<World>, number: u64, rng: Rng) -> Client {
        let connection = match number % HTTP2 {
            0 => ClientConnection::http2(),
            _ => ClientConnection::http1(),
        };
        Client {
            world,
            rng,
            connection,
            seen: VecDeque::new(),
        }
    }

    /// Asks one mirror or another, in whichever life it is, until it is stopped.
    pub(super) async fn run(mut self, mut mirrors: Vec<watch::Receiver<Option<Arc<Life>>>>) {
        loop {
            let mirror = self.rng.usize(0..mirrors.len());
            let lives = &mut mirrors[mirror];
            sleep(Duration::from_millis(self.rng.u64(0..60))).await;
            let life = match lives.wait_for(Option::is_some).await {
                Ok(life) => life.clone().expect("a life"),
                Err(_) => return,
            };
            self.ask(&life).await;
        }
    }

    async fn ask(&mut self, life: &Life) {
        let (ask, manner) = (self.some_ask(), self.some_manner());
        let request = self.request(&ask);
        let asked = Instant::now();
        let outcome = self.connection.ask(life.addr, &request, manner).await;
        let world = self.world.clone();
        world.figures.asked(&outcome);
        if let Outcome::Answered(answer) = outcome {
            world.judge(&ask, &answer, life, asked).await;
            if let (Ask::Index { name, .. }, 200, Some(etag)) = (ask, answer.status, answer.etag) {
                self.seen.push_front((name, etag));
                self.seen.truncate(REMEMBERED);
            }
        }
    }

    fn some_ask(&mut self) -> Ask {
        let (world, rng) = (self.world.clone(), &mut self.rng);
        match rng.u8(0..20) {
            0..=4 => Ask::Index {
                name: world.truth.some_name(rng),
                condition: Condition::None,
            },
            5..=8 => self.some_condition(),
            9..=16 => {
                let (name, version) = world.truth.some_version(rng);
                Ask::Download { name, version }
            }
            17..=18 => {
                let name = format!("no-such-crate-{}", rng.u8(0..30));
                let path = match rng.bool() {
                    true => format!("/index/{}", index_path(&name)),
                    false => format!("/api/v1/crates/{name}/1.0.0/download"),
                };
                Ask::Unknown { path }
            }
            _ if rng.bool() => Ask::Config,
            _ => Ask::Health,
        }
    }

    fn some_condition(&mut self) -> Ask {
        let rng = &mut self.rng;
        let name = self.world.truth.some_name(rng);
        let remembered = match self.seen.len() {
            0 => None,
            count => self.seen.get(rng.usize(0..count)).cloned(),
        };
        match remembered {
            Some((name, etag)) if rng.u8(0..4) > 0 => Ask::Index {
                name,
                condition: Condition::Seen(etag),
            },
            Some((other, etag)) if other != name => Ask::Index {
                name,
                condition: Condition::Foreign(etag),
            },
            Some(_) | None => Ask::Index {
                name,
                condition: Condition::Foreign(format!("W/\"{:032x}\"", rng.u128(..))),
            },
        }
    }

    fn some_manner(&mut self) -> Manner {
        match self.rng.u8(0..20) {
            0 => Manner::LeaveAfter(0),
            1 => Manner::LeaveAfter(self.rng.usize(1..2_000)),
            2 => Manner::LeaveAfter(self.rng.usize(1..500_000)),
            3 => Manner::Slow,
            _ => Manner::Whole,
        }
    }

    fn request(&mut self, ask: &Ask) -> Request {
        let mut headers = Vec::new();
        if self.rng.bool() {
            headers.push(("accept-encoding", "deflate, gzip".to_owned()));
        }
        let path = match ask {
            Ask::Index { name, condition } => {
                match condition {
                    Condition::None => {}
                    Condition::Seen(etag) | Condition::Foreign(etag) => {
                        headers.push(("if-none-match", etag.clone()));
                    }
                }
                format!("/index/{}", index_path(name))
            }
            Ask::Download { name, version } => format!("/api/v1/crates/{name}/{version}/download"),
            Ask::Unknown { path } => path.clone(),
            Ask::Config => "/index/config.json".to_owned(),
            Ask::Health => "/healthz".to_owned(),
        };
        Request { path, headers }
    }
}
