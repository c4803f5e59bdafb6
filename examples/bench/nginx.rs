//! nginx, as fair as it gets: as many workers as cores, each with a listener of its own, files kept open and not looked at anew with each request,
//! connections to the origin kept, no log, the chunk size that suits its HTTP/2 best. `tcp_nopush` stays off: with it, its hits take twenty times as long
//! over loopback.
//!
//! It is three servers. `proxy_cache` with `gzip on` keeps what the origin sends without encoding and compresses for each client. The one that keeps
//! upstream's gzip passes on what encodings the client takes, and keeps one copy for each answer to that (`Vary`), which costs less. The third serves the
//! same files from a folder, with gzip twins made beforehand. nginx knows HTTP/2 without TLS only from clients that begin with it, so each has a second
//! port for that; to cargo, which asks for an upgrade, it speaks HTTP/1.1 over at most two connections. A third port is for TLS, with sessions kept and resumed.

use std::{fmt::Write as _, fs, net::SocketAddr, os::unix::fs::MetadataExt, path::Path};

use tempfile::TempDir;

use crate::{
    Result,
    child::{Child, End, free_ports},
    tools::Bench,
};

/// Someone may take a free port before nginx does.
const TRIES: usize = 5;

/// A running nginx with an empty cache.
pub(crate) struct Nginx {
    child: Child,
    /// `proxy_cache`, `gzip on`.
    pub(crate) compressing: Ports,
    /// `proxy_cache`, upstream's gzip kept.
    pub(crate) keeping: Ports,
    /// Files.
    pub(crate) files: Ports,
    _folder: TempDir,
}

/// Where one server listens.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
    /// Both within TLS.
    pub(crate) tls: SocketAddr,
}

impl Nginx {
    /// Starts one in front of `origin`, with the files below `www` for its third server; nothing if none is installed.
    pub(crate) async fn start(
        bench: &Bench,
        origin: SocketAddr,
        www: &Path,
    ) -> Result<Option<Self>> {
        let Some(program) = &bench.nginx else {
            return Ok(None);
        };
        let mut tried = 0;
        loop {
            match Self::try_start(program, bench, origin, www).await {
                Err(_) if tried < TRIES => tried += 1,
                started => return started.map(Some),
            }
        }
    }

    async fn try_start(
        program: &Path,
        bench: &Bench,
        origin: SocketAddr,
        www: &Path,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
        let ports = free_ports(9)?;
        let three = |at: usize| Ports {
            http1: ports[at],
            http2: ports[at + 1],
            tls: ports[at + 2],
        };
        let (compressing, keeping, files) = (three(0), three(3), three(6));
        let www = fs::canonicalize(www).map_err(|e| format!("{}: {e}", www.display()))?;
        let servers = [
            server(
                compressing,
                &proxy(
                    "compressing",
                    "gzip on;",
                    "proxy_set_header Accept-Encoding \"\";",
                ),
            ),
            server(keeping, &proxy("keeping", "gzip off;", "")),
            server(files, &static_files(&www)),
        ];
        let text = configuration(bench, origin, &servers.concat());
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).map_err(|e| format!("nginx.conf can't be written: {e}"))?;
        let mut command = bench.server(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"]);
        let child = Child::on(command, files.http2, End::Terminate).await?;
        Ok(Self {
            child,
            compressing,
            keeping,
            files,
            _folder: folder,
        })
    }

    /// The master's number; the workers are its children.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }
}

fn server(ports: Ports, rest: &str) -> String {
    let Ports { http1, http2, tls } = ports;
    format!(
        "server {{\nlisten {http1} reuseport backlog=4096;\nlisten {http2} http2 reuseport backlog=4096;\nlisten {tls} ssl http2 reuseport backlog=4096;\n{rest}}}\n"
    )
}

/// A cache that asks again only after an hour, as the mirror does here, and one request at a time for a thing. Like everybody who mirrors crates.io with
/// nginx it answers config.json itself: the origin's would lead cargo around it.
fn proxy(cache: &str, gzip: &str, extra: &str) -> String {
    format!(
        r#"{gzip}
gzip_types text/plain; gzip_proxied any; gzip_vary on; gzip_min_length 1024;
location = /index/config.json {{
  default_type application/json;
  return 200 '{{"dl":"http://$http_host/api/v1/crates"}}';
}}
location / {{
  proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; {extra}
  proxy_cache {cache}; proxy_cache_key $uri; proxy_cache_valid 200 1h; proxy_cache_valid 404 1m; proxy_ignore_headers Cache-Control;
  proxy_cache_lock on; proxy_cache_lock_age 60s; proxy_cache_lock_timeout 60s;
}}
"#
    )
}

fn static_files(www: &Path) -> String {
    format!(
        "root {};\ngzip_static on;\nlocation /api/ {{ default_type application/gzip; }}\n",
        www.display()
    )
}

fn configuration(bench: &Bench, origin: SocketAddr, servers: &str) -> String {
    let (workers, pair) = (bench.cores.of_servers(), &bench.certificate);
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let mut text = String::new();
    // Only root may and has to say as whom the workers run.
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        text.push_str("user root root;\n");
    }
    let most = rlimit::Resource::NOFILE.get_hard().unwrap_or(1024);
    let files = most.min(65_536);
    let _ = write!(
        text,
        "worker_processes {workers}; worker_rlimit_nofile {files}; daemon off; pid nginx.pid;\n\
         events {{ worker_connections {}; }}\n\
         http {{\n\
         access_log off; sendfile on; tcp_nopush off; tcp_nodelay on; default_type text/plain;\n\
         keepalive_requests 1000000000; keepalive_timeout 1h; server_tokens off;\n\
         open_file_cache max=20000 inactive=1h; open_file_cache_valid 10m; open_file_cache_min_uses 1; open_file_cache_errors off;\n\
         ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m; ssl_session_timeout 1h; ssl_session_tickets on;\n\
         http2_chunk_size 128k; http2_max_concurrent_streams 256;\n\
         client_body_temp_path temp_body; proxy_temp_path temp_proxy; fastcgi_temp_path temp_1; uwsgi_temp_path temp_2; scgi_temp_path temp_3;\n\
         proxy_cache_path compressing levels=1:2 keys_zone=compressing:16m max_size=10g inactive=1d use_temp_path=off;\n\
         proxy_cache_path keeping levels=1:2 keys_zone=keeping:16m max_size=10g inactive=1d use_temp_path=off;\n\
         upstream origin {{ server {origin}; keepalive 64; keepalive_requests 1000000000; }}\n\
         {servers}}}\n",
        files / 2
    );
    text
}
