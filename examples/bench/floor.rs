//! The floor: the same answers, headers and all, from a server that is hardly more than hyper. What is faster has to be better at something that hyper
//! leaves to others, such as how its writes reach the system.

use std::{convert::Infallible, path::Path};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};

use crate::{
    Result,
    bodies::Whole,
    origin::{listen, until_abandoned},
    site::Site,
};

/// Serves the files below `www` until whoever started this is gone.
pub(crate) async fn run(www: &Path) -> Result<()> {
    let site: &'static Site = Box::leak(Box::new(Site::load(www)?));
    let listener = listen().await?;
    let serving = async {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service =
                    service_fn(async |request| Ok::<_, Infallible>(answer(site, &request)));
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    };
    until_abandoned(serving).await;
    Ok(())
}

fn answer(site: &Site, request: &Request<Incoming>) -> Response<Whole> {
    let Some(file) = site.get(request.uri().path()) else {
        return Response::new(Whole(Bytes::new()));
    };
    let gzip = request.headers().contains_key(header::ACCEPT_ENCODING);
    let mut response = Response::new(Whole(file.body(gzip).clone()));
    *response.headers_mut() = file.headers.clone();
    let headers = response.headers_mut();
    headers.insert("x-cache", HeaderValue::from_static("hit"));
    if file.is_gzipped(gzip) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if request.headers().contains_key(header::IF_NONE_MATCH) {
        *response.body_mut() = Whole(Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}
