//! A service manager such as systemd knows when the mirror is ready, when it reads its settings again, that it isn't hung, and when it ends; and keeps its sockets for it,
//! so that a restart refuses nobody.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    time::timeout,
};

use crate::support::{Connection, Program, TlsFolder, TokenFile, Upstream, client, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in for a service manager: a socket that it is told things on, and a folder.
struct Manager {
    told: UnixDatagram,
    folder: TempDir,
    settings: String,
    env: Vec<(String, String)>,
}

impl Manager {
    /// For a mirror of `upstream`, with these lines more in its settings.
    fn of(upstream: &Upstream, settings: &str) -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        let told = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        Manager {
            told,
            folder,
            settings: format!(
                "{settings}\n[registries.crates-io]\nindex = \"{}\"\n",
                upstream.index_url()
            ),
            env: Vec::new(),
        }
    }

    fn env(mut self, name: &str, value: &str) -> Manager {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the program with up to two sockets, called so. It has them as its third and fourth file, and says what it has to say in a file.
    fn start(&self, sockets: &[(&str, &TcpListener)]) -> Child {
        let folder = self.folder.path();
        std::fs::write(folder.join("mirror.toml"), &self.settings).expect("settings");
        let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
        let mut handed = sockets.iter().map(|(_, socket)| {
            let socket = socket.try_clone().expect("a socket");
            Stdio::from(OwnedFd::from(socket))
        });
        let script =
            "exec 3<&0 4<&2 </dev/null 2>>log; export LISTEN_PID=$$; exec \"$0\" --log warn serve";
        Command::new("sh")
            .args(["-c", script, program::binary()])
            .current_dir(folder)
            .env_clear()
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .env("LISTEN_FDS", sockets.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(handed.next().unwrap_or_else(Stdio::null))
            .stderr(handed.next().unwrap_or_else(Stdio::null))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }

    /// The next thing that it is told.
    async fn hears(&self) -> String {
        let mut word = [0; 4096];
        let length = timeout(PATIENCE, self.told.recv(&mut word)).await;
        let length = length.unwrap_or_else(|_| panic!("told nothing: {}", self.log()));
        let length = length.expect("a word");
        String::from_utf8_lossy(&word[..length]).into_owned()
    }

    /// Waits until it is told this, passing over everything else.
    async fn hears_of(&self, wanted: &str) -> String {
        loop {
            let word = self.hears().await;
            if word.lines().any(|line| line == wanted) {
                return word;
            }
        }
    }

    /// What `health` says with the same settings, and its exit code.
    async fn health(&self) -> (Option<i32>, String) {
        let asked = Command::new(program::binary())
            .arg("health")
            .current_dir(self.folder.path())
            .env_clear()
            .output();
        let asked = asked.await.expect("the program runs");
        let said = [asked.stdout, asked.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (asked.status.code(), said)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("a process that runs").to_string();
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &id])
        .status()
        .await;
    assert!(sent.expect("kill runs").success());
}

async fn end(mut child: Child) {
    signal(&child, "TERM").await;
    let ended = timeout(PATIENCE, child.wait()).await.expect("it ends");
    assert!(ended.expect("a status").success());
}

#[tokio::test]
async fn it_is_told_when_the_mirror_is_ready_reads_again_and_ends() {
    let upstream = Upstream::with_one_crate().await;
    let manager = Manager::of(&upstream, "");
    let (socket, address) = socket();
    let child = manager.start(&[("listen", &socket)]);
    assert_eq!(manager.hears().await, "READY=1\n");
    // Ready is who answers.
    let reply = client::get(address, "/index/1/a", &[]).await;
    assert_eq!(reply.text(), upstream.index_file("a"));
    signal(&child, "HUP").await;
    let reloading = manager.hears().await;
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(manager.hears().await, "READY=1\n");
    signal(&child, "TERM").await;
    let stopping = manager.hears().await;
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    let ended = timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("it ends");
    assert!(ended.expect("a status").status.success());
}

#[tokio::test]
async fn its_watchdog_hears_from_the_mirror_again_and_again() {
    let upstream = Upstream::with_one_crate().await;
    let manager = Manager::of(&upstream, "").env("WATCHDOG_USEC", "300000");
    let (socket, _) = socket();
    let child = manager.start(&[("listen", &socket)]);
    manager.hears_of("READY=1").await;
    for _ in 0..4 {
        manager.hears_of("WATCHDOG=1").await;
    }
    // A process that doesn't run any more says nothing: that is what a watchdog is for.
    signal(&child, "STOP").await;
    tokio::task::yield_now().await;
    while let Ok(word) = timeout(Duration::from_millis(900), manager.hears()).await {
        assert_eq!(word, "WATCHDOG=1\n", "said before it was stopped");
    }
    signal(&child, "CONT").await;
    manager.hears_of("WATCHDOG=1").await;
    end(child).await;
}

/// Without the socket a client that came between two processes would be refused.
#[tokio::test]
async fn a_restart_refuses_nobody() {
    let upstream = Upstream::with_one_crate().await;
    let manager = Manager::of(&upstream, "");
    let (socket, address) = socket();
    let first = manager.start(&[("listen", &socket)]);
    manager.hears_of("READY=1").await;
    client::get(address, "/index/1/a", &[]).await;
    end(first).await;
    // Nobody serves now.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(address).await;
        let asked = connection.ask("GET", "/index/1/a", &[]).await;
        asked.expect("the socket is open");
        waiting.push(connection);
    }
    let second = manager.start(&[("listen", &socket)]);
    for mut connection in waiting {
        let reply = timeout(PATIENCE, connection.reply()).await;
        assert_eq!(reply.expect("an answer").text(), upstream.index_file("a"));
    }
    end(second).await;
}

#[tokio::test]
async fn sockets_are_known_by_their_names() {
    let (upstream, files) = (Upstream::with_one_crate().await, TlsFolder::new());
    let ((plain, at), (other, at_other)) = (socket(), socket());
    // Pages, which the settings say nothing of.
    let manager = Manager::of(&upstream, "");
    let child = manager.start(&[("admin", &other), ("listen", &plain)]);
    manager.hears_of("READY=1").await;
    assert_eq!(client::get(at, "/index/1/a", &[]).await.status, 200);
    assert_eq!(client::get(at, "/metrics", &[]).await.status, 404);
    assert_eq!(client::get(at_other, "/metrics", &[]).await.status, 200);
    assert_eq!(client::get(at_other, "/index/1/a", &[]).await.status, 404);
    end(child).await;
    // TLS, for which there has to be a certificate.
    let manager = Manager::of(&upstream, &files.settings(""));
    let child = manager.start(&[("listen", &plain), ("tls", &other)]);
    manager.hears_of("READY=1").await;
    assert_eq!(client::get(at, "/index/1/a", &[]).await.status, 200);
    assert_eq!(files.client().get(at_other, "/index/1/a").await.status, 200);
    end(child).await;
}

/// Settings can't say where sockets are that somebody else has opened.
#[tokio::test]
async fn health_finds_the_mirror_on_sockets_that_were_handed_over() {
    let upstream = Upstream::with_one_crate().await;
    let ((plain, _), (admin, _)) = (socket(), socket());
    for sockets in [
        &[("listen", &plain)][..],
        &[("listen", &plain), ("admin", &admin)],
    ] {
        let settings = "[server]\naddress_file = \"addresses.toml\"\n";
        let manager = Manager::of(&upstream, settings);
        let file = manager.folder.path().join("addresses.toml");
        let child = manager.start(sockets);
        manager.hears_of("READY=1").await;
        let (code, said) = manager.health().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("ready\n"), "{said}");
        end(child).await;
        assert!(!file.exists(), "it has ended");
    }
    // One that was killed has left its file, and isn't there.
    let manager = Manager::of(
        &upstream,
        "[server]\nlisten = \"127.0.0.1:0\"\naddress_file = \"addresses.toml\"\n",
    );
    let mut child = manager.start(&[]);
    manager.hears_of("READY=1").await;
    assert_eq!(manager.health().await.0, Some(0));
    child.kill().await.expect("killed");
    let (code, said) = manager.health().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no mirror answers at http://127.0.0.1:"),
        "{said}"
    );
}

/// It serves, which matters more.
#[tokio::test]
async fn an_address_file_that_cannot_be_written_stops_nobody() {
    let upstream = Upstream::with_one_crate().await;
    let settings = "[server]\naddress_file = \"nowhere/addresses.toml\"\n";
    let manager = Manager::of(&upstream, settings);
    let (socket, address) = socket();
    let child = manager.start(&[("listen", &socket)]);
    manager.hears_of("READY=1").await;
    assert_eq!(client::get(address, "/index/1/a", &[]).await.status, 200);
    end(child).await;
    assert!(
        manager.log().contains("server.address_file"),
        "{}",
        manager.log()
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_what_could() {
    let upstream = Upstream::with_one_crate().await;
    let (socket, _) = socket();
    for (name, words) in [("tls", "tls.certificate"), ("http", "listen, tls or admin")] {
        let manager = Manager::of(&upstream, "");
        let ended = manager.start(&[(name, &socket)]).wait().await;
        assert_eq!(ended.expect("a status").code(), Some(2), "{name}");
        assert!(manager.log().contains(words), "{}", manager.log());
    }
}

/// systemd puts what the unit loads by LoadCredential= into a folder that only the mirror can read, and says where.
#[tokio::test]
async fn keys_and_tokens_may_be_credentials_of_the_unit() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let folder = tokens.path();
    let (folder, name) = (folder.parent(), folder.file_name());
    let (folder, name) = (folder.expect("a folder"), name.expect("a name"));
    let folder = folder.to_str().expect("text");
    let settings = format!(
        "[access]\ntokens = \"${{CREDENTIALS_DIRECTORY}}/{}\"\n",
        name.display()
    );
    let program = Program::serving(&upstream, &settings).env("CREDENTIALS_DIRECTORY", folder);
    let running = program.start().await;
    let asked = |headers: Vec<(&'static str, String)>| {
        let address = running.addr();
        async move {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            client::get(address, "/index/1/a", &headers).await.status
        }
    };
    assert_eq!(asked(vec![]).await, 401);
    assert_eq!(asked(vec![("authorization", token)]).await, 200);
    // Run by hand there are none.
    let ended = Program::serving(&upstream, &settings).run().await;
    ended.refused(&["access.tokens", "LoadCredential"]);
}
