//! The listening socket.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// How many connections may have come and not been accepted yet; the system may allow fewer. Of the usual 128, five hundred clients that come at once
/// leave some to try again after a second, and the system takes them for an attack.
const BACKLOG: u32 = 4096;

/// Listens on `address`; port 0 lets the system choose. Must be called within a tokio runtime.
///
/// # Errors
/// When the address can't be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port is free again as soon as the one who had it has ended.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes a socket that somebody else has opened, and that listens already. Must be called within a tokio runtime.
///
/// # Errors
/// When the system doesn't let it be used so.
pub fn listen_on(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpStream},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn hundreds_who_come_at_once_are_not_turned_away() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let come = |_| TcpStream::connect_timeout(&address, Duration::from_millis(500));
        let waiting: io::Result<Vec<_>> = (0..300).map(come).collect();
        assert_eq!(waiting.expect("all connect").len(), 300);
    }
}
