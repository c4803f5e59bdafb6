//! [`Relay`]: stands in front of a real server, and breaks on demand what passes.

use std::net::SocketAddr;
use std::ops::Deref;

use tokio::net::TcpListener;

use super::faults::When;
use super::rules::Scope;
use super::server::{Origin, Server};

/// A running relay. Dropping it stops it.
pub struct Relay(Server);

/// What was asked, and what is to go wrong.
impl Deref for Relay {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl Relay {
    /// One in front of what listens there, on a free port of 127.0.0.1.
    pub async fn to(addr: SocketAddr) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("bind the relay");
        Relay(Server::over(Origin::Server(addr), listener))
    }

    /// Requests that change something (PUT, POST, DELETE) with this in their path; say next what happens to them.
    pub fn on_writes(&self, substring: &str) -> When<'_> {
        When::new(&self.0.shared.rules, Scope::Writes(substring.to_owned()))
    }

    /// Requests that change nothing (GET, HEAD) with this in their path; say next what happens to them.
    pub fn on_reads(&self, substring: &str) -> When<'_> {
        When::new(&self.0.shared.rules, Scope::Reads(substring.to_owned()))
    }
}
