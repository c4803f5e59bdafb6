//! The wire: what is between a build machine and a server that isn't on it. It passes bytes on after a delay, in order and as many as come.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    Result,
    origin::{listen, until_abandoned},
};

/// Passes connections on to `to`; a byte takes `delay` in each direction.
pub(crate) async fn run(to: SocketAddr, delay: Duration) -> Result<()> {
    let listener = listen().await?;
    let serving = async {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(far) = TcpStream::connect(to).await {
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    let (from_near, to_near) = near.into_split();
                    let (from_far, to_far) = far.into_split();
                    tokio::spawn(carry(from_near, to_far, delay));
                    carry(from_far, to_near, delay).await;
                }
            });
        }
    };
    until_abandoned(serving).await;
    Ok(())
}

/// Carries bytes one way until there are no more.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
) {
    let (on_the_way, mut arriving) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = arriving.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut space = BytesMut::new();
    loop {
        space.reserve(64 << 10);
        match from.read_buf(&mut space).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let bytes = space.split().freeze();
                if on_the_way.send((Instant::now() + delay, bytes)).is_err() {
                    return;
                }
            }
        }
    }
}
