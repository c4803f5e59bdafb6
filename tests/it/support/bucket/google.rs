//! [`Google`]: Google Cloud Storage in this process: the operations that its XML API shares with S3, with Google's credentials, and the service that tells a
//! machine its token.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use object_store::{
    ClientOptions, ObjectStore, StaticCredentialProvider,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use super::{objects::Objects, service::Service};

/// What a machine is told, and what requests are sent with.
const TOKEN: &str = "of-this-machine-0123456789";
/// Where it is told (`cloud.google.com/compute/docs/metadata`).
const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// A running service. Dropping it stops it.
pub(super) struct Google {
    addr: SocketAddr,
    objects: Arc<Objects>,
    task: JoinHandle<()>,
}

impl Google {
    pub(super) async fn start() -> Google {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let objects = Arc::<Objects>::default();
        let service = S3ServiceBuilder::new(Service(objects.clone())).build();
        let task = tokio::spawn(accept(listener, service));
        Google {
            addr,
            objects,
            task,
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn make_bucket(&self, name: &str) {
        self.objects.make_bucket(name);
    }

    /// The environment of a machine there, which has an identity and no keys.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        let addr = self.addr.to_string();
        vec![
            ("GCE_METADATA_HOST", addr.clone()),
            ("GCE_METADATA_IP", addr),
        ]
    }

    pub(super) fn client(&self, bucket: &str) -> Arc<dyn ObjectStore> {
        super::with_ring();
        let bearer = TOKEN.to_owned();
        let credentials = StaticCredentialProvider::new(GcpCredential { bearer });
        let client = GoogleCloudStorageBuilder::new()
            .with_base_url(&self.endpoint())
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_bucket_name(bucket)
            .with_credentials(Arc::new(credentials))
            .build();
        Arc::new(client.expect("a client of the bucket"))
    }
}

async fn accept(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let answer = service_fn(move |request| answer(service.clone(), request));
        connections.spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is none of the server's errors.
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    service: S3Service,
    mut request: Request<Incoming>,
) -> Result<Response<s3s::Body>, Infallible> {
    let said = |status, text: String| {
        let mut response = Response::new(s3s::Body::from(text));
        *response.status_mut() = status;
        Ok(response)
    };
    if request.uri().path() == TOKEN_PATH {
        return match request.headers().get("metadata-flavor") {
            Some(flavor) if flavor == "Google" => {
                let json = format!(
                    "{{\"access_token\":\"{TOKEN}\",\"expires_in\":3600,\"token_type\":\"Bearer\"}}"
                );
                said(StatusCode::OK, json)
            }
            Some(_) | None => said(StatusCode::FORBIDDEN, String::new()),
        };
    }
    let shown = request.headers_mut().remove(header::AUTHORIZATION);
    if shown.is_none_or(|shown| shown != format!("Bearer {TOKEN}")) {
        let xml = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>";
        return said(StatusCode::UNAUTHORIZED, xml.to_owned());
    }
    let response = hyper::service::Service::call(&service, request).await;
    Ok(response.expect("an answer"))
}

impl Drop for Google {
    fn drop(&mut self) {
        self.task.abort();
    }
}
