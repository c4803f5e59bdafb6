//! The crates.io of the simulation: over a real socket, with validators and without faults, and it counts what it is asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::population::{IndexFiles, changes, file, number, tag};

/// What it was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Index files, that were sent.
    pub(crate) index: AtomicU64,
    /// Index files that were said to be current.
    pub(crate) not_modified: AtomicU64,
    pub(crate) crates: AtomicU64,
}

/// A running one; it ends with the runtime.
pub(crate) struct CratesIo {
    pub(crate) addr: SocketAddr,
    pub(crate) asked: Arc<Asked>,
    /// The simulated time, in seconds.
    pub(crate) now: Arc<AtomicU64>,
}

impl CratesIo {
    pub(crate) async fn start(files: Arc<IndexFiles>, scale: u64) -> std::io::Result<CratesIo> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let (asked, now) = (Arc::<Asked>::default(), Arc::<AtomicU64>::default());
        let shared = (asked.clone(), now.clone(), files);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (asked, now, files) = shared.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let at = now.load(Ordering::Relaxed);
                    let answer = answer(&request, addr, &asked, &files, at, scale);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(CratesIo { addr, asked, now })
    }
}

fn answer(
    request: &Request<Incoming>,
    addr: SocketAddr,
    asked: &Asked,
    files: &IndexFiles,
    at: u64,
    scale: u64,
) -> Response<Whole> {
    let path = request.uri().path();
    debug_assert_eq!(request.method(), Method::GET);
    if path == "/index/config.json" {
        return answered(format!("{{\"dl\":\"http://{addr}/dl\"}}").into(), None);
    }
    if let Some(rest) = path.strip_prefix("/dl/") {
        let mut parts = rest.split('/');
        let found = parts.next().and_then(number).zip(parts.next());
        asked.crates.fetch_add(1, Ordering::Relaxed);
        return match found {
            Some((number, version)) => answered(file(number, version, scale), None),
            None => not_found(),
        };
    }
    let Some(number) = path.rsplit('/').next().and_then(number) else {
        return not_found();
    };
    let changes = changes(number, at);
    let tag = tag(number, changes);
    if is(request.headers(), &tag) {
        asked.not_modified.fetch_add(1, Ordering::Relaxed);
        let mut answer = answered(Bytes::new(), Some(&tag));
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    asked.index.fetch_add(1, Ordering::Relaxed);
    match files.get(number, changes) {
        Some(file) => answered(file, Some(&tag)),
        None => not_found(),
    }
}

fn is(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers.get(header::IF_NONE_MATCH);
    sent.is_some_and(|sent| sent.as_bytes() == tag.as_bytes())
}

fn answered(body: Bytes, tag: Option<&str>) -> Response<Whole> {
    let mut answer = Response::new(Whole(Some(body)));
    if let Some(tag) = tag.and_then(|tag| tag.parse().ok()) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

fn not_found() -> Response<Whole> {
    let mut answer = answered(Bytes::new(), None);
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// A body in one piece.
pub(crate) struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.0.take().filter(|bytes| !bytes.is_empty());
        std::task::Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |b| b.len() as u64))
    }
}
