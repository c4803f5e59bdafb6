//! [`Child`]: a server in a process of its own. It ends with its owner, whatever ends that.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use crate::Result;

/// Nothing started here takes longer until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether a program that doesn't say so listens.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A running server.
pub(crate) struct Child {
    process: tokio::process::Child,
    pid: u32,
    address: SocketAddr,
    end: End,
    /// Kept open: it may say more than where it listens.
    stdout: Option<Lines<BufReader<ChildStdout>>>,
}

/// How a server is ended.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// At once.
    Kill,
    /// By SIGTERM, so that it ends what it has started itself.
    Terminate,
}

impl Child {
    /// Starts a program that prints `… listens on http://ADDRESS` and waits for that line.
    pub(crate) async fn that_says_where(mut command: Command) -> Result<Self> {
        let mut process = command
            // Our own roles end when this closes, also if we are killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{command:?} can't be started: {e}"))?;
        let stdout = process.stdout.take().ok_or("a child without an output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.ok().and_then(io::Result::ok).flatten();
        let address = line
            .as_deref()
            .and_then(|line| line.split_once("listens on http://")?.1.parse().ok())
            .ok_or_else(|| format!("{command:?} doesn't say where it listens: {line:?}"))?;
        Ok(Self {
            pid: process.id().ok_or("a child that has ended")?,
            process,
            address,
            end: End::Kill,
            stdout: Some(lines),
        })
    }

    /// Where it says next, in a line that begins with `start`, that it listens as well.
    pub(crate) async fn address_after(&mut self, start: &str) -> Result<SocketAddr> {
        let lines = self.stdout.as_mut().ok_or("a child without an output")?;
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.ok().and_then(io::Result::ok).flatten();
        let address = line
            .as_deref()
            .and_then(|line| line.strip_prefix(start)?.parse().ok());
        address.ok_or_else(|| format!("a line with {start:?} expected: {line:?}"))
    }

    /// Starts a program that was told to listen on `address` and waits until it does.
    pub(crate) async fn on(mut command: Command, address: SocketAddr, end: End) -> Result<Self> {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{command:?} can't be started: {e}"))?;
        let mut child = Self {
            pid: process.id().ok_or("a child that has ended")?,
            process,
            address,
            end,
            stdout: None,
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            if let Ok(Some(status)) = child.process.try_wait() {
                return Err(format!("{command:?} ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("{command:?} doesn't listen on {address}"));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(child)
    }

    /// The same, but it is asked to end, so that it finishes what it is about.
    pub(crate) fn gently(mut self) -> Self {
        self.end = End::Terminate;
        self
    }

    /// Its number, for what the system knows of it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        match self.end {
            End::Kill => {
                let _ = self.process.start_kill();
            }
            End::Terminate => {
                let pid = self.pid.to_string();
                let _ = std::process::Command::new("kill")
                    .args(["-TERM", &pid])
                    .status();
            }
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while matches!(self.process.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// So many ports of loopback that are free at the moment.
pub(crate) fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let bind = |_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: io::Result<Vec<_>> = (0..count).map(bind).collect();
    let addresses = listeners.and_then(|all| all.iter().map(|l| l.local_addr()).collect());
    addresses.map_err(|e| format!("no free port: {e}"))
}
