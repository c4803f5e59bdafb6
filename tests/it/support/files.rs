//! [`Files`]: a folder behind a web server that knows of nothing but files.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

/// A running server; it ends with the test's runtime.
pub struct Files {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Files {
    /// Serves what is, and will be, in `folder`.
    pub async fn of(folder: &Path) -> Files {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (root, asked) = (folder.to_owned(), Arc::default());
        let log: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        let answer = move |request: Request<Incoming>| {
            let path = percent_decode_str(request.uri().path())
                .decode_utf8_lossy()
                .into_owned();
            let found = std::fs::read(root.join(path.trim_start_matches('/')));
            log.lock().expect("a log").push(path);
            async move {
                let mut response = Response::new(Whole(Some(Bytes::new())));
                match found {
                    Ok(bytes) => response.body_mut().0 = Some(bytes.into()),
                    Err(_) => *response.status_mut() = StatusCode::NOT_FOUND,
                }
                Ok::<_, Infallible>(response)
            }
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
                tokio::spawn(served);
            }
        });
        Files { addr, asked }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a log").clone()
    }
}

/// A body in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.0.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
