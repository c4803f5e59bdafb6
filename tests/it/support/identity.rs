//! Certificates for the mirror and for who asks it, by an authority of a test's own; and [`TlsClient`], which trusts that.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Reply, client};

/// One that signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

/// What a certificate is to say.
pub struct Subject<'a> {
    pub common_name: Option<&'a str>,
    pub names: &'a [&'a str],
    /// In how many days it expires; it began in 2020.
    pub days: i64,
}

/// A certificate that outlives every test.
const FOR_EVER: i64 = 36_500;

impl Subject<'static> {
    /// The mirror as tests ask it.
    pub const LOCALHOST: Self = Self {
        common_name: None,
        names: &["localhost"],
        days: FOR_EVER,
    };

    /// A client of that name.
    pub const fn client(common_name: &'static str) -> Self {
        Self {
            common_name: Some(common_name),
            names: &[],
            days: FOR_EVER,
        }
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    pub fn issue(&self, subject: &Subject<'_>) -> Identity {
        // And an hour, which a test may take.
        let seconds = subject.days * 24 * 3_600 + 3_600;
        let span = Duration::from_secs(seconds.unsigned_abs());
        let until = match seconds < 0 {
            true => SystemTime::now() - span,
            false => SystemTime::now() + span,
        };
        self.issue_until(subject, until)
    }

    /// The same with the second in which it expires.
    pub fn issue_until(&self, subject: &Subject<'_>, until: SystemTime) -> Identity {
        let names: Vec<_> = subject.names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = subject.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = until.into();
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            certificate: signed.der().clone(),
            key: key.serialize_der(),
        }
    }
}

impl Identity {
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The files that the mirror speaks TLS with, and the authority that clients trust.
pub struct TlsFolder {
    folder: TempDir,
    pub authority: Authority,
}

impl TlsFolder {
    /// With a certificate for localhost.
    pub fn new() -> TlsFolder {
        let authority = Authority::new("test authority");
        let folder = TempDir::new().expect("a folder");
        let files = TlsFolder { folder, authority };
        files.write("ca.pem", &files.authority.pem());
        files.put(&files.authority.issue(&Subject::LOCALHOST));
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file for cargo's `http.cainfo` and for curl's `--cacert`.
    pub fn authority_path(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Writes a file as whoever is careful does: another one, put into its place.
    pub fn write(&self, name: &str, content: &str) {
        let next = self.path(&format!("{name}.next"));
        std::fs::write(&next, content).expect("a file");
        std::fs::rename(&next, self.path(name)).expect("in its place");
    }

    /// The mirror's certificate and key from now on.
    pub fn put(&self, identity: &Identity) {
        self.write("cert.pem", &identity.certificate_pem());
        self.write("key.pem", &identity.key_pem());
    }

    /// `[tls]` with these files, and what more there is to say.
    pub fn settings(&self, more: &str) -> String {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}\n")
    }

    /// The same on a port of its own.
    pub fn beside_plain(&self, more: &str) -> String {
        self.settings(&format!("listen = \"127.0.0.1:0\"\n{more}"))
    }

    /// Beside it, with client certificates of this authority in place of tokens.
    pub fn with_clients(&self, authority: &Authority) -> String {
        self.write("clients.pem", &authority.pem());
        self.beside_plain(&format!("client_ca = {:?}", self.path("clients.pem")))
    }

    /// A client that trusts the authority.
    pub fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.authority, rustls::ALL_VERSIONS, None)
    }

    /// The same that shows a certificate.
    pub fn client_with(&self, identity: &Identity) -> TlsClient {
        TlsClient::trusting(&self.authority, rustls::ALL_VERSIONS, Some(identity))
    }

    /// The same that speaks only this version of TLS.
    pub fn client_of(&self, version: &'static SupportedProtocolVersion) -> TlsClient {
        TlsClient::trusting(&self.authority, &[version], None)
    }
}

/// A client that speaks TLS, and asks for `localhost`.
#[derive(Clone)]
pub struct TlsClient(ClientConfig);

impl TlsClient {
    fn trusting(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions of TLS")
            .with_root_certificates(roots);
        TlsClient(match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![identity.certificate.clone()];
                let key = PrivateKeyDer::try_from(identity.key.clone()).expect("a key");
                let with = builder.with_client_auth_cert(chain, key);
                with.expect("a certificate and its key")
            }
        })
    }

    /// One that offers these protocols to speak within TLS.
    pub fn offering(mut self, protocols: &[&str]) -> TlsClient {
        self.0.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    pub async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(addr).await?).await
    }

    /// The same over a connection that is there.
    pub async fn over(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        let name = ServerName::try_from("localhost").expect("a name");
        connector.connect(name, stream).await
    }

    /// One request over HTTP/1.1 on a connection of its own.
    pub async fn try_get(
        &self,
        addr: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Reply> {
        let mut stream = self.connect(addr).await?;
        let host = format!("localhost:{}", addr.port());
        client::get_over(&mut stream, &host, path, headers).await
    }

    /// The same that is answered.
    pub async fn get(&self, addr: SocketAddr, path: &str) -> Reply {
        self.get_with(addr, path, &[]).await
    }

    pub async fn get_with(&self, addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
        let reply = self.try_get(addr, path, headers).await;
        reply.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The certificate that the mirror shows now.
    pub async fn shown(&self, addr: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(addr).await.expect("TLS");
        let shown = stream.get_ref().1.peer_certificates().expect("some");
        shown.first().expect("one").clone().into_owned()
    }

    /// Waits until it shows this one; panics after 15 seconds, within which a change is in force.
    pub async fn shows(&self, addr: SocketAddr, identity: &Identity) {
        let started = Instant::now();
        while self.shown(addr).await != identity.certificate {
            assert!(
                started.elapsed() < Duration::from_secs(15),
                "another one still"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
