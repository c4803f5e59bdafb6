//! [`ServiceManager`]: who has started `serve` and wants to know how it is (sd_notify(3)). Where nobody does, nothing is said.

use std::{fs::File, io, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::error::{Error, Result};

/// What is always there to be opened.
const SPARE: &str = "/dev/null";

/// systemd, or another one that speaks its protocol.
pub(super) struct ServiceManager {
    /// After how long without a word it takes us for hung.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled(),
        }
    }

    /// Whether there is one.
    pub(super) fn listens(&self) -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// Says that clients can come now.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// Says in a line how it goes: `systemctl status` shows it.
    pub(super) fn status(&self, line: &str) {
        tell(&[NotifyState::Status(line)]);
    }

    /// Says that settings are read again; [`ready`](Self::ready) says when that is done.
    pub(super) fn reloading(&self) {
        // Newer ones want to know since when, so that an older word of ours isn't taken for the end of this.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// Says that it is about to end, for which it may take so long.
    pub(super) fn stopping(&self, at_most: Duration) {
        let most = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(most)]);
    }

    /// Says again and again that it isn't hung, as long as the runtime turns; for ever.
    pub(super) async fn reassure(&self) {
        let Some(patience) = self.watchdog else {
            return std::future::pending().await;
        };
        // A word takes a socket, and clients may have taken all the others.
        let mut spare = File::open(SPARE).ok();
        loop {
            match turns().await {
                Ok(()) => {}
                // It has come that far, so that it isn't hung: it has more to do than there are sockets for.
                Err(e) => tracing::error!("the runtime turns, and {e}"),
            }
            drop(spare.take());
            tell(&[NotifyState::Watchdog]);
            spare = File::open(SPARE).ok();
            // Twice could be too late where a machine is busy.
            tokio::time::sleep(patience / 3).await;
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!("the service manager can't be told: {e}");
    }
}

/// Comes to its end when the runtime does its work: a task of its own has run on a thread that serves, a byte has gone through the system's sockets, and a timer has
/// come due.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when there are no sockets left.
async fn turns() -> Result<()> {
    let turn = tokio::spawn(async {
        let (mut here, mut there) = UnixStream::pair()?;
        here.write_all(b"!").await?;
        there.read_exact(&mut [0]).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        io::Result::Ok(())
    });
    let turned = turn.await.map_err(|e| Error::ended_early("it", e))?;
    turned.map_err(|e| Error::internal("no socket can be had").caused_by(e))
}

#[cfg(test)]
mod tests {
    use tokio::runtime;

    use super::*;

    /// A watchdog is there for this: what hangs says nothing.
    #[test]
    fn a_runtime_that_hangs_does_not_turn() {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(turns()).expect("it turns");
        let (go_on, hangs) = std::sync::mpsc::channel::<()>();
        let (hung, is_hung) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let _ = hung.send(());
            let _ = hangs.recv();
        });
        runtime.block_on(is_hung).expect("it hangs now");
        // Its timers hang, too, so that only others can tell.
        let turned = runtime.spawn(turns());
        std::thread::sleep(Duration::from_millis(200));
        assert!(!turned.is_finished(), "its only thread hangs");
        drop(go_on);
        let turned = runtime.block_on(turned).expect("it runs again");
        turned.expect("it turns again");
    }
}
