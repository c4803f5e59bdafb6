//! The origin: what stands for crates.io. It serves the recorded files with ETags, gzipped for who takes that, over HTTP/1.1 and HTTP/2, and goes on in
//! HTTP/2 when cargo asks, so that cargo loses nothing by asking it directly. It answers after a delay that can be set, and counts what is asked.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::Read,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use crate_mirror::{
    http::parts::{accepts_gzip, none_match},
    transport::parts::{Offer, Upgraded},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http2, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Result,
    bodies::Whole,
    site::{File, Site},
};

/// `/bench/delay/MS` sets the delay.
pub(crate) const DELAY: &str = "/bench/delay/";
/// Tells how often each path was asked for since the last time, as JSON.
pub(crate) const COUNTS: &str = "/bench/counts";

/// More than cargo or the mirror ask for at once.
const MAX_STREAMS: u32 = 1024;

struct Origin {
    site: Site,
    delay_ms: AtomicU64,
    counts: Mutex<BTreeMap<String, u64>>,
}

/// Serves the files below `www` until whoever started this is gone.
pub(crate) async fn run(www: &Path) -> Result<()> {
    let origin = Arc::new(Origin {
        site: Site::load(www)?,
        delay_ms: AtomicU64::new(0),
        counts: Mutex::default(),
    });
    let listener = listen().await?;
    let serving = async {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(origin.clone(), stream));
        }
    };
    until_abandoned(serving).await;
    Ok(())
}

/// A free port of loopback, and the line that says which.
pub(crate) async fn listen() -> Result<TcpListener> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let listener = crate_mirror::transport::listen((Ipv4Addr::LOCALHOST, 0).into());
    let listener = listener.map_err(|e| format!("no free port: {e}"))?;
    let address = listener
        .local_addr()
        .map_err(|e| format!("no address: {e}"))?;
    println!("listens on http://{address}");
    Ok(listener)
}

/// Does `work` until standard input closes, which is when whoever started this has ended.
pub(crate) async fn until_abandoned(work: impl Future<Output = ()>) {
    let (gone, abandoned) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0; 1]);
        drop(gone);
    });
    tokio::select! {
        () = work => {}
        _ = abandoned => {}
    }
}

async fn serve(origin: Arc<Origin>, stream: TcpStream) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let origin = origin.clone();
        async move {
            let on_upgrade = hyper::upgrade::on(&mut request);
            let (head, _) = request.into_parts();
            Ok::<_, Infallible>(match Offer::of(&head) {
                Some(offer) => {
                    tokio::spawn(go_on_in_http2(origin, on_upgrade, offer));
                    switching_protocols()
                }
                None => origin.answer(&head).await,
            })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(MAX_STREAMS);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let _ = connection.await;
}

fn switching_protocols() -> Response<Whole> {
    let mut response = Response::new(Whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
    response
}

async fn go_on_in_http2(origin: Arc<Origin>, on_upgrade: OnUpgrade, offer: Offer) {
    let Ok(upgraded) = on_upgrade.await else {
        return;
    };
    let Ok(parts) = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) else {
        return;
    };
    let Ok(stream) = Upgraded::new(parts.io.into_inner(), &offer, &parts.read_buf) else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let origin = origin.clone();
        async move { Ok::<_, Infallible>(origin.answer(&request.into_parts().0).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(MAX_STREAMS);
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Origin {
    async fn answer(&self, request: &http::request::Parts) -> Response<Whole> {
        let path = request.uri.path();
        if let Some(ms) = path.strip_prefix(DELAY) {
            self.delay_ms
                .store(ms.parse().unwrap_or(0), Ordering::Relaxed);
            return Response::new(Whole(Bytes::new()));
        }
        if path == COUNTS {
            let counts = std::mem::take(&mut *self.counts());
            let json = serde_json::to_vec(&counts).unwrap_or_default();
            return Response::new(Whole(json.into()));
        }
        *self.counts().entry(path.to_owned()).or_default() += 1;
        let delay = self.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if path == "/index/config.json" {
            return config_json(request);
        }
        match self.site.get(path) {
            Some(file) => recorded(file, &request.headers),
            None => {
                let mut response = Response::new(Whole("not recorded\n".into()));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config_json(request: &http::request::Parts) -> Response<Whole> {
    let host = request
        .headers
        .get(header::HOST)
        .and_then(|h| h.to_str().ok());
    let host = request.uri.authority().map_or(host, |a| Some(a.as_str()));
    let root = format!("http://{}", host.unwrap_or_default());
    let config = serde_json::json!({ "dl": format!("{root}/api/v1/crates"), "api": root });
    Response::new(Whole(config.to_string().into()))
}

/// As crates.io answers for it.
fn recorded(file: &File, asked: &HeaderMap) -> Response<Whole> {
    let gzip = accepts_gzip(asked);
    let mut response = Response::new(Whole(file.body(gzip).clone()));
    *response.headers_mut() = file.headers.clone();
    if file.is_gzipped(gzip) {
        let gzip = HeaderValue::from_static("gzip");
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, gzip);
    }
    let known = asked.get(header::IF_NONE_MATCH);
    if known.is_some_and(|tags| none_match(tags.as_bytes(), file.etag.as_bytes())) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Whole(Bytes::new());
    }
    response
}
