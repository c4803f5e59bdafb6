//! TLS in front of a fake upstream, with a certificate of a test's own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::Upstream;

/// What is the matter with the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Nothing, if it is trusted; it is its own authority.
    Good,
    Expired,
    NotYetValid,
    OtherName,
    /// It is that of an authority.
    Authority,
}

/// What it is also called, where a proxy leads to it.
const ELSEWHERE: &str = "registry.example";

/// A port of 127.0.0.1 that speaks TLS and passes on what it hears. Dropping it stops it.
pub struct Tls {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The certificate, as a file for SSL_CERT_FILE has it.
    pub pem: String,
    task: JoinHandle<()>,
}

impl Tls {
    /// One in front of `upstream`.
    pub async fn before(upstream: &Upstream, kind: Certificate) -> Tls {
        Tls::before_addr(upstream.addr(), kind).await
    }

    /// One in front of what listens there.
    pub async fn before_addr(to: SocketAddr, kind: Certificate) -> Tls {
        let name = match kind {
            Certificate::OtherName => "other.test",
            Certificate::Good
            | Certificate::Expired
            | Certificate::NotYetValid
            | Certificate::Authority => "localhost",
        };
        let names = [name.to_owned(), ELSEWHERE.to_owned()];
        let mut params = CertificateParams::new(names).expect("two names");
        let (first, last) = match kind {
            Certificate::Expired => (2000, 2001),
            Certificate::NotYetValid => (3000, 3001),
            Certificate::Good | Certificate::OtherName | Certificate::Authority => (2000, 3000),
        };
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        if kind == Certificate::Authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let connections = Arc::new(AtomicUsize::new(0));
        let task = accept(listener, acceptor, to, connections.clone());
        let task = tokio::spawn(task);
        Tls {
            addr,
            connections,
            pem: super::identity::pem("CERTIFICATE", certificate.der()),
            task,
        }
    }

    /// `https://localhost:PORT`
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    /// `https://localhost:PORT/index/`
    pub fn index_url(&self) -> String {
        format!("{}/index/", self.url())
    }

    /// `https://registry.example:PORT/index/`, for who asks through a proxy, which this machine itself isn't asked through.
    pub fn index_url_elsewhere(&self) -> String {
        format!("https://{ELSEWHERE}:{}/index/", self.addr.port())
    }

    /// How many connections there have been, those without trust included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    to: SocketAddr,
    connections: Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        connections.fetch_add(1, Ordering::Relaxed);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Who doesn't trust the certificate leaves here.
            let mut stream = acceptor.accept(stream).await?;
            let mut upstream = TcpStream::connect(to).await?;
            copy_bidirectional(&mut stream, &mut upstream).await
        });
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.task.abort();
    }
}
