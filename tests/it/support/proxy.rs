//! A proxy as companies have them: it leads to other hosts, for who knows its password.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A proxy. Dropping it stops it.
pub struct Proxy {
    addr: SocketAddr,
    password: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// One that wants this password of `user`, and leads to this machine's port whatever the host is called.
    pub async fn with_password(password: &str) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let wanted = format!(
            "proxy-authorization: Basic {}",
            BASE64_STANDARD.encode(format!("user:{password}"))
        );
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lead(stream, wanted.clone(), noted.clone()));
            }
        });
        Proxy {
            addr,
            password: password.to_owned(),
            asked,
            task,
        }
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        format!("http://user:{}@{}", self.password, self.addr)
    }

    /// Its URL without.
    pub fn bare_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The first lines of what it was asked and has done.
    pub fn led(&self) -> Vec<String> {
        self.asked.lock().expect("the proxy's log").clone()
    }
}

async fn lead(mut stream: TcpStream, wanted: String, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let first = lines.next()?;
    let knows_it = lines.any(|line| match line.split_once(' ') {
        Some((name, rest)) => format!("{} {rest}", name.to_lowercase()) == wanted,
        None => false,
    });
    if !knows_it {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(refusal.as_bytes()).await.ok();
    }
    let (method, rest) = first.split_once(' ')?;
    let target = rest.split(' ').next()?;
    let target = target.strip_prefix("http://").unwrap_or(target);
    let port = target.split('/').next()?.rsplit_once(':')?.1;
    let port: u16 = port.parse().ok()?;
    asked
        .lock()
        .expect("the proxy's log")
        .push(first.to_owned());
    let mut there = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    match method {
        "CONNECT" => {
            let made = b"HTTP/1.1 200 Connection Established\r\n\r\n";
            stream.write_all(made).await.ok()?;
        }
        // A whole URL, which the kit's upstreams understand, too.
        _ => there.write_all(head.as_bytes()).await.ok()?,
    }
    copy_bidirectional(&mut stream, &mut there).await.ok()?;
    Some(())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
