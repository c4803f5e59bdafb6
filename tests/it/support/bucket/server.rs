//! The server in this process: S3 over HTTP/1.1 on a free port.

use std::{net::SocketAddr, sync::Arc};

use hyper_util::rt::TokioIo;
use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use super::{Keys, objects::Objects, service::Service};

/// A running server. Dropping it stops it.
pub(super) struct Server {
    addr: SocketAddr,
    objects: Arc<Objects>,
    task: JoinHandle<()>,
}

/// Who is known, by the first of their keys.
struct Known(Vec<(String, SecretKey)>);

#[async_trait::async_trait]
impl S3Auth for Known {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        let found = self.0.iter().find(|(known, _)| known == id);
        found.map(|(_, secret)| secret.clone()).ok_or_else(|| {
            s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )
        })
    }
}

impl Server {
    /// One that the holders of these keys may ask.
    pub(super) async fn start(known: &[Keys<'_>]) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let objects = Arc::<Objects>::default();
        let mut builder = S3ServiceBuilder::new(Service(objects.clone()));
        let known = known.iter();
        builder.set_auth(Known(
            known
                .map(|keys| (keys.id.to_owned(), SecretKey::from(keys.secret)))
                .collect(),
        ));
        let task = tokio::spawn(accept(listener, builder.build()));
        Server {
            addr,
            objects,
            task,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }
}

async fn accept(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        connections.spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is none of the server's errors.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
