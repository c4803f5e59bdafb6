//! The floor: the same bytes from a server that is hardly more than hyper. What is faster than this has to do without hyper.

use std::{convert::Infallible, path::Path};

use http::{Request, Response, StatusCode, header};
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
    let file = site.get(request.uri().path());
    let gzip = request.headers().contains_key(header::ACCEPT_ENCODING);
    let body = file.map(|file| file.body(gzip).clone()).unwrap_or_default();
    let mut response = Response::new(Whole(body));
    if request.headers().contains_key(header::IF_NONE_MATCH) {
        *response.body_mut() = Whole(bytes::Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}
