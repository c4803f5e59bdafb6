//! The crowd: many clients, each with a connection of its own, that ask at the same moment. A process of its own, so that its CPU time is nobody else's.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    sync::Barrier,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    Result,
    bodies::{drain, text},
};

/// Nobody waits longer for an answer.
const LIMIT: Duration = Duration::from_secs(120);

/// Who asks whom for what.
#[derive(Args, Debug)]
pub(crate) struct Crowd {
    /// The server.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// A file with a path on each line. Each client asks for all of them.
    #[arg(long)]
    pub(crate) paths: PathBuf,
    /// How many clients.
    #[arg(long)]
    pub(crate) count: usize,
    /// All paths at once over HTTP/2, instead of one after the other over HTTP/1.1.
    #[arg(long)]
    pub(crate) http2: bool,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crowded {
    /// When the last client had all it asked for, in seconds since the moment.
    pub(crate) last: f64,
    /// The bodies of all.
    pub(crate) bytes: u64,
    /// How many clients got something else than 200 and a whole body.
    pub(crate) failed: usize,
}

/// Asks, and prints how it went as JSON.
pub(crate) async fn run(crowd: &Crowd) -> Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let text = fs::read_to_string(&crowd.paths).map_err(|e| format!("the paths: {e}"))?;
    let paths: Arc<[String]> = text.lines().map(str::to_owned).collect();
    let ready = Arc::new(Barrier::new(crowd.count));
    let mut clients = JoinSet::new();
    for _ in 0..crowd.count {
        let (address, paths, ready) = (crowd.address, paths.clone(), ready.clone());
        match crowd.http2 {
            true => clients.spawn(all_at_once(address, paths, ready)),
            false => clients.spawn(one_by_one(address, paths, ready)),
        };
    }
    let mut crowded = Crowded::default();
    while let Some(client) = clients.join_next().await {
        match client.map_err(|e| e.to_string()).flatten() {
            Ok((took, bytes)) => {
                crowded.last = crowded.last.max(took.as_secs_f64());
                crowded.bytes += bytes;
            }
            Err(why) => {
                eprintln!("a client: {why}");
                crowded.failed += 1;
            }
        }
    }
    let json = serde_json::to_string(&crowded).map_err(|e| format!("JSON: {e}"))?;
    println!("{json}");
    Ok(())
}

/// How long it took from the moment all were ready, and how many bytes came.
type Served = Result<(Duration, u64)>;

async fn one_by_one(address: SocketAddr, paths: Arc<[String]>, ready: Arc<Barrier>) -> Served {
    let stream = connect(address).await?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|e| format!("no connection: {e}"))?;
    tokio::spawn(watch(connection));
    ready.wait().await;
    let (started, mut bytes) = (Instant::now(), 0);
    for path in &*paths {
        let answer = async {
            let mut request = request(address, path)?;
            // Over HTTP/2 the URL says it, and nginx refuses a request that says it twice.
            let host = HeaderValue::from_str(&address.to_string());
            let host = host.map_err(|e| e.to_string())?;
            request.headers_mut().insert(header::HOST, host);
            let answer = sender.send_request(request).await;
            read(answer.map_err(|e| format!("{path}: {e}"))?).await
        };
        bytes += timeout(LIMIT, answer).await.map_err(|_| "too slow")??;
    }
    Ok((started.elapsed(), bytes))
}

async fn all_at_once(address: SocketAddr, paths: Arc<[String]>, ready: Arc<Barrier>) -> Served {
    let stream = connect(address).await?;
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|e| format!("no connection: {e}"))?;
    tokio::spawn(watch(connection));
    ready.wait().await;
    let (started, mut bytes) = (Instant::now(), 0);
    let mut answers = JoinSet::new();
    for path in &*paths {
        let (request, mut sender) = (request(address, path)?, sender.clone());
        answers.spawn(async move {
            sender.ready().await.map_err(|e| e.to_string())?;
            let answer = sender.send_request(request).await;
            read(answer.map_err(|e| e.to_string())?).await
        });
    }
    while let Some(answer) = timeout(LIMIT, answers.join_next())
        .await
        .map_err(|_| "too slow")?
    {
        bytes += answer.map_err(|e| e.to_string()).flatten()?;
    }
    Ok((started.elapsed(), bytes))
}

/// Lets a connection go on, and says how it ended if not well: its requests only know that it is gone.
async fn watch(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(e) = connection.await {
        eprintln!("a connection: {e:?}");
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|e| format!("{address}: {e}"))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn request(address: SocketAddr, path: &str) -> Result<Request<String>> {
    let request = Request::get(format!("http://{address}{path}"));
    let request = request.header(header::ACCEPT_ENCODING, "deflate, gzip");
    request
        .body(String::new())
        .map_err(|e| format!("{path}: {e}"))
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Result<u64> {
    let status = answer.status();
    if status == StatusCode::OK {
        return drain(answer.into_body()).await.map_err(|e| e.to_string());
    }
    Err(format!("{status}: {}", text(answer.into_body()).await))
}
