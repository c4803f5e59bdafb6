//! Handshakes: connections over TLS that are opened, asked one small thing, and closed, one after the other by several clients. The clients are a process of
//! their own, and the same for every server: rustls, TLS 1.3, HTTP/1.1.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use crate::{
    Result, proc,
    record::Recording,
    report::Report,
    servers::{Protocol, Server, Servers},
    stats::Sample,
    tools::Bench,
};

/// So many clients at once.
const CLIENTS: usize = 16;

/// Who connects to whom, and how.
#[derive(Args, Debug)]
pub(crate) struct Shakers {
    /// The server.
    #[arg(long)]
    address: SocketAddr,
    /// What is asked for.
    #[arg(long)]
    path: String,
    /// For how long.
    #[arg(long)]
    millis: u64,
    /// In sessions that are resumed, instead of new ones.
    #[arg(long)]
    resumed: bool,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Shaken {
    count: u64,
    seconds: f64,
}

/// One kind of handshake at every server.
#[derive(Serialize)]
pub(crate) struct Handshakes {
    pub(crate) what: &'static str,
    pub(crate) cells: Vec<HandshakeCell>,
}

/// What one server did there.
#[derive(Serialize)]
pub(crate) struct HandshakeCell {
    pub(crate) server: Server,
    pub(crate) per_second: Sample,
    pub(crate) cpu_us: Sample,
}

impl Handshakes {
    /// The mirror's figures over nginx's: by handshakes a second, and by CPU time.
    pub(crate) fn ratios(&self) -> Option<(Sample, Sample)> {
        let find = |server| self.cells.iter().find(|cell| cell.server == server);
        let (ours, theirs) = (find(Server::Mirror)?, find(Server::ProxyCache)?);
        Some((
            ours.per_second.over(&theirs.per_second),
            theirs.cpu_us.over(&ours.cpu_us),
        ))
    }
}

/// Measures handshakes in new sessions and in resumed ones.
pub(crate) async fn run(bench: &Bench, recording: &Recording, report: &mut Report) -> Result<()> {
    let kinds = [
        ("handshakes, TLS 1.3, new sessions", false),
        ("handshakes, TLS 1.3, resumed sessions", true),
    ];
    let kinds: Vec<_> = kinds
        .into_iter()
        .filter(|(what, _)| bench.wants(what))
        .collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let servers = Servers::start(bench, &recording.www).await?;
    let found = |server| Some((server, servers.find(server, Protocol::Http1Tls)?));
    let found: Vec<_> = [Server::Mirror, Server::ProxyCache]
        .into_iter()
        .filter_map(found)
        .collect();
    for (what, resumed) in kinds {
        let cell = |(server, _): &(Server, _)| HandshakeCell {
            server: *server,
            per_second: Sample::default(),
            cpu_us: Sample::default(),
        };
        let mut cells: Vec<_> = found.iter().map(cell).collect();
        for round in 1..=bench.rounds {
            eprintln!("round {round} of {}: {what}", bench.rounds);
            for ((_, (address, pid)), cell) in found.iter().zip(&mut cells) {
                let before = proc::cpu(*pid);
                let shaken = shake(bench, *address, &recording.small, resumed).await?;
                let cpu = proc::cpu(*pid).saturating_sub(before);
                let count = shaken.count.max(1) as f64;
                cell.per_second.0.push(count / shaken.seconds);
                cell.cpu_us.0.push(cpu.as_secs_f64() * 1e6 / count);
            }
        }
        report.handshakes.push(Handshakes { what, cells });
    }
    Ok(())
}

async fn shake(bench: &Bench, address: SocketAddr, path: &str, resumed: bool) -> Result<Shaken> {
    let mut command = bench.load(&bench.me);
    let millis = bench.shot().as_millis().to_string();
    command
        .args([
            "handshakes",
            "--address",
            &address.to_string(),
            "--path",
            path,
        ])
        .args(["--millis", &millis])
        .args(resumed.then_some("--resumed"))
        .kill_on_drop(true);
    let output = command.output().await;
    let output = output.map_err(|e| format!("{command:?} can't be run: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&said).map_err(|e| format!("{command:?}: {e}: {said}{complaint}"))
}

/// Connects again and again, and prints how it went as JSON.
pub(crate) async fn shakers(wanted: &Shakers) -> Result<()> {
    let mut clients = JoinSet::new();
    let started = Instant::now();
    let end = started + Duration::from_millis(wanted.millis);
    for _ in 0..CLIENTS {
        let client = Client::new(wanted)?;
        clients.spawn(async move {
            // One more, so that there is a session to be resumed.
            client.once(None).await?;
            let mut count = 1u64;
            while Instant::now() < end {
                let kind = match client.resumes {
                    true => HandshakeKind::Resumed,
                    false => HandshakeKind::Full,
                };
                client.once(Some(kind)).await?;
                count += 1;
            }
            Ok::<_, String>(count)
        });
    }
    let mut count = 0;
    while let Some(client) = clients.join_next().await {
        count += client.map_err(|e| e.to_string()).flatten()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let json = serde_json::to_string(&Shaken { count, seconds });
    println!("{}", json.map_err(|e| format!("JSON: {e}"))?);
    Ok(())
}

/// One client, with the sessions it has had.
struct Client {
    address: SocketAddr,
    request: String,
    connector: TlsConnector,
    resumes: bool,
}

impl Client {
    fn new(wanted: &Shakers) -> Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13]);
        let mut config = builder
            .map_err(|e| format!("no TLS: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAll))
            .with_no_client_auth();
        if !wanted.resumed {
            config.resumption = Resumption::disabled();
        }
        Ok(Self {
            address: wanted.address,
            request: format!(
                "GET {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
                wanted.path
            ),
            connector: TlsConnector::from(Arc::new(config)),
            resumes: wanted.resumed,
        })
    }

    /// Connects, asks, and reads the answer to its end.
    async fn once(&self, expected: Option<HandshakeKind>) -> Result<()> {
        let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
        let failed = |e: std::io::Error| format!("{}: {e}", self.address);
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let connected = self.connector.connect(name, stream).await;
        let mut stream = connected.map_err(failed)?;
        let asked = stream.write_all(self.request.as_bytes()).await;
        asked.map_err(failed)?;
        let mut answer = Vec::with_capacity(16 << 10);
        stream.read_to_end(&mut answer).await.map_err(failed)?;
        let kind = stream.get_ref().1.handshake_kind();
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(format!("{}: not 200", self.address));
        }
        match expected.is_some() && kind != expected {
            true => Err(format!(
                "{}: {kind:?} instead of {expected:?}",
                self.address
            )),
            false => Ok(()),
        }
    }
}

/// One that trusts everybody: who checks is the client, and that isn't what is measured.
#[derive(Debug)]
struct TrustsAll;

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
