//! [`Inherited`]: sockets that a service manager has opened for us, and hands over when it starts us (sd_listen_fds(3)).
//!
//! It keeps them while we are restarted, so that who connects meanwhile waits and isn't refused. Ports below 1024 need no privilege of ours then.

use std::{env, net::TcpListener};

use listenfd::ListenFd;

use crate::error::{Error, Result};

/// The sockets that were handed over, by what they are for. Each may have several addresses, and none when nothing was handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    /// In place of `server.listen`: called `listen`, or the only ones.
    pub server: Vec<TcpListener>,
    /// In place of `tls.listen`: called `tls`.
    pub tls: Vec<TcpListener>,
    /// In place of `server.admin_listen`: called `admin`.
    pub admin: Vec<TcpListener>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Server,
    Tls,
    Admin,
}

impl Purpose {
    /// By its name (`FileDescriptorName=`). One that nobody has named is called like its unit.
    fn of(name: &str) -> Result<Self> {
        match name {
            "listen" | "" | "unknown" | "crate-mirror.socket" => Ok(Self::Server),
            "tls" => Ok(Self::Tls),
            "admin" => Ok(Self::Admin),
            _ => Err(Error::config(format!(
                "a socket called {name:?} was handed over by the service manager; allowed is FileDescriptorName=listen, tls or admin"
            ))),
        }
    }
}

impl Inherited {
    /// Takes what was handed over to this process. Changes the environment, so that programs that this one starts don't take it for theirs: to be called before
    /// there are other threads.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when a socket's name isn't one of ours, or it isn't one that listens for TCP.
    pub fn take() -> Result<Self> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let (mut handed, mut taken) = (ListenFd::from_env(), Self::default());
        for number in 0..handed.len() {
            let name = names.next().unwrap_or_default();
            let purpose = Purpose::of(name)?;
            let socket = handed.take_tcp_listener(number).map_err(|e| {
                Error::config(format!(
                    "the socket {name:?} that the service manager handed over can't be used: {e}; it has to be ListenStream= with an address and a port"
                ))
                .with_source(e)
            })?;
            taken.of(purpose).extend(socket);
        }
        Ok(taken)
    }

    fn of(&mut self, purpose: Purpose) -> &mut Vec<TcpListener> {
        match purpose {
            Purpose::Server => &mut self.server,
            Purpose::Tls => &mut self.tls,
            Purpose::Admin => &mut self.admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_name() {
        for (name, purpose) in [
            ("listen", Purpose::Server),
            ("", Purpose::Server),
            ("crate-mirror.socket", Purpose::Server),
            ("tls", Purpose::Tls),
            ("admin", Purpose::Admin),
        ] {
            assert_eq!(Purpose::of(name).expect(name), purpose);
        }
        let said = Purpose::of("http").expect_err("no such name").to_string();
        assert!(said.contains("listen, tls or admin"), "{said}");
    }
}
