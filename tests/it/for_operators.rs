//! What helps those who run a mirror: `health`, `init`, `completions`, `man`, and the line on a terminal.

use std::{os::fd::OwnedFd, path::Path, process::Stdio, time::Duration};

use crate_mirror::config;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use crate::support::{Program, TlsFolder, Upstream, client, program, tools, until};

async fn health(args: &[&str]) -> (Option<i32>, String) {
    let ended = Program::new(&["health"]);
    let ended = args.iter().fold(ended, |program, arg| program.arg(arg));
    let ended = ended.run().await;
    (ended.code, ended.stdout + &ended.stderr)
}

#[tokio::test]
async fn health_is_what_the_running_mirror_says_of_itself() {
    let upstream = Upstream::with_one_crate().await;
    let running = Program::serving(&upstream, "").start().await;
    let url = format!("--url={}", running.url());
    let (code, said) = health(&[&url]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("ready\n"), "{said}");
    let (code, said) = health(&[&url, "--live"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "ok\n"));
    drop(running);
    let (code, said) = health(&[&url]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no mirror answers at http://127.0.0.1:"),
        "{said}"
    );
}

/// By the settings alone, as a container's health check asks; whatever the certificate says of names.
#[tokio::test]
async fn health_finds_the_mirror_by_its_settings() {
    let (upstream, files) = (Upstream::with_one_crate().await, TlsFolder::new());
    let running = Program::serving(&upstream, &files.settings(""))
        .start()
        .await;
    let port = running.addr().port();
    let settings = format!(
        "[server]\nlisten = \"0.0.0.0:{port}\"\n{}",
        files.settings("")
    );
    let ended = Program::new(&["health"]).settings(&settings).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let nowhere = "[server]\nlisten = \"127.0.0.1:0\"\n";
    let ended = Program::new(&["health"]).settings(nowhere).run().await;
    ended.refused(&["server.listen", "--url"]);
}

fn initiated(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("mirror.toml")).expect("settings")
}

#[tokio::test]
async fn init_asks_three_questions_and_writes_settings_that_can_be_used() {
    let answers = "0.0.0.0\n0.0.0.0:3000\ncrates\nmuch\n2GiB\n";
    let program = Program::new(&["init"]).input(answers);
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("crate-mirror check"), "{ended:?}");
    // What can't be is asked again.
    for proposed in [" [127.0.0.1:8080]: ", " [50GiB]: "] {
        assert_eq!(ended.stderr.matches(proposed).count(), 2, "{ended:?}");
    }
    let text = initiated(ended.folder.path());
    let config = config::parse(&text).expect("settings");
    assert_eq!(config.server.listen.0, ([0, 0, 0, 0], 3000).into());
    assert_eq!(config.store.max_size.get(), 2 << 30);
    assert_eq!(config.store.path.0, ended.folder.path().join("crates"));
    // All the rest is there to be read.
    assert!(text.contains("# fresh_for = \"60s\""), "{text}");
}

#[tokio::test]
async fn init_takes_what_is_proposed_and_writes_over_nothing() {
    let ended = Program::new(&["init"]).input("\n\n\n").run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = initiated(ended.folder.path());
    assert!(text.contains("\nlisten = \"127.0.0.1:8080\" "), "{text}");
    let again = Program::new(&["init", "--yes"]).in_folder(ended.folder);
    let again = again.run().await;
    again.refused(&["mirror.toml", "isn't written over"]);
    assert_eq!(initiated(again.folder.path()), text);
    let nobody = Program::new(&["init"]).input("").run().await;
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    assert!(nobody.stderr.contains("--yes"), "{nobody:?}");
    let left = std::fs::read_dir(nobody.folder.path()).expect("a folder");
    let left = left.filter(|entry| {
        entry
            .as_ref()
            .is_ok_and(|e| e.file_name() != "standard input")
    });
    assert_eq!(left.count(), 0, "something half-written is left");
}

#[tokio::test]
async fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = Program::new(&["completions", shell]).run().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("prefetch"), "{shell}");
    }
    let listed = Program::new(&["man", "--list"]).run().await.stdout;
    assert!(listed.contains("\ntoken new\n"), "{listed}");
    for words in std::iter::once("").chain(listed.lines()) {
        let ended = Program::new(&["man"]).words(words).run().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let name = format!("crate-mirror {words}").trim().replace(' ', "-");
        let title = format!(".TH {name} 1");
        assert!(ended.stdout.contains(&title), "{title}: {}", ended.stdout);
    }
    let ended = Program::new(&["man", "nothing"]).run().await;
    ended.refused(&["nothing", "prefetch"]);
}

/// What the program says on a terminal, until `enough`. util-linux' script(1) has one.
async fn on_a_terminal(args: &str, folder: &Path, enough: impl Fn(&str) -> bool) -> String {
    let command = format!("echo process $$; exec {} {args}", program::binary());
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script (of util-linux) runs");
    let mut terminal = child.stdout.take().expect("a pipe");
    let mut said = String::new();
    let reading = async {
        let mut bytes = [0; 4096];
        while !enough(&said) {
            let read = terminal.read(&mut bytes).await.expect("read");
            assert!(read > 0, "it ended: {said}");
            said += &String::from_utf8_lossy(&bytes[..read]);
        }
    };
    let read = timeout(Duration::from_secs(30), reading).await;
    // Under script(1), whose own end would be the terminal's, it is sooner told than waited for.
    let process = said
        .split("process ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let process = process.expect("its number").trim();
    let ended = Command::new("kill").arg(process).status().await;
    assert!(ended.expect("kill runs").success(), "{process} goes on");
    assert!(read.is_ok(), "that is all: {said}");
    said
}

#[tokio::test]
async fn a_terminal_has_one_line_about_all_requests_unless_it_has_one_for_each() {
    if !tools::has("script", "--version") {
        return;
    }
    let upstream = Upstream::with_one_crate().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    std::fs::write(folder.path().join("mirror.toml"), settings).expect("settings");
    let line = "requests, ";
    let said = on_a_terminal("serve", folder.path(), |said| {
        said.contains("upstream is well")
    })
    .await;
    assert!(said.contains(line), "{said}");
    assert!(said.contains("no hits yet"), "{said}");
    // With the access log on, each request has a line, and there is no other.
    let asked = std::sync::Once::new();
    let said = on_a_terminal("--log info serve", folder.path(), |said| {
        let address = said.split(" listens on http://").nth(1);
        let address = address.and_then(|rest| rest.lines().next());
        if let Some(address) = address.filter(|_| said.contains("index = ")) {
            let address = address.trim().to_owned();
            asked.call_once(|| {
                tokio::spawn(async move { client::get(address, "/healthz", &[]).await });
            });
        }
        said.contains("/healthz")
    })
    .await;
    assert!(!said.contains(line), "{said}");
}

/// A mirror on a terminal of its own, started by a shell that outlives it and writes down how it has ended.
struct OnTerminal {
    script: Child,
    shell: OwnedFd,
    folder: TempDir,
}

impl OnTerminal {
    /// `words` come before the program's name.
    async fn start(upstream: &Upstream, words: &str) -> OnTerminal {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\naddress_file = \"addresses.toml\"\n[registries.crates-io]\nindex = \"{}\"\n",
            upstream.index_url()
        );
        std::fs::write(folder.path().join("mirror.toml"), settings).expect("settings");
        let inner = format!(
            "trap '' HUP; echo $$ > shell; {words} {} serve 2>log; echo $? > code",
            program::binary()
        );
        std::fs::write(folder.path().join("inner"), inner).expect("a script");
        let script = Command::new("env")
            // The outer shell is the terminal's own; it ends with that, and everything in front on it is told. Whoever runs this test may be made to outlive a terminal, too.
            .args([
                "--default-signal=HUP",
                "script",
                "-qefc",
                "sh inner; true",
                "/dev/null",
            ])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("script (of util-linux) runs");
        let addresses = folder.path().join("addresses.toml");
        until("it listens", || addresses.exists()).await;
        let shell = std::fs::read_to_string(folder.path().join("shell")).expect("its number");
        let shell = Pid::from_raw(shell.trim().parse().expect("a number")).expect("a process");
        let shell = pidfd_open(shell, PidfdFlags::NONBLOCK).expect("it runs");
        OnTerminal {
            script,
            shell,
            folder,
        }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// What the mirror has written down of itself.
    fn written(&self, key: &str) -> String {
        let written: toml::Table = self.file("addresses.toml").parse().expect("TOML");
        written[key].to_string().trim_matches('"').to_owned()
    }

    async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.written("process")])
            .status()
            .await;
        assert!(sent.expect("kill runs").success());
    }

    async fn serves(&self) {
        let url = self.written("listen");
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let reply = client::get(address, "/index/1/a", &[]).await;
        assert_eq!(reply.status, 200, "{}", self.file("log"));
    }

    /// Sends SIGHUP, and waits until it has read its files again.
    async fn is_told(&self) {
        let often = || self.file("log").matches("files that have changed").count();
        let before = often();
        self.signal("HUP").await;
        until("they are read again", || often() > before).await;
        self.serves().await;
    }

    /// Closes the terminal, as who closes its window does.
    async fn close(&mut self) {
        self.script.kill().await.expect("it ends");
    }

    /// How it has ended.
    async fn ended(self) -> String {
        let shell = self.shell.try_clone().expect("the same");
        let end = move || {
            let limit = Timespec {
                tv_sec: 30,
                tv_nsec: 0,
            };
            poll(&mut [PollFd::new(&shell, PollFlags::IN)], Some(&limit))
        };
        let ended = tokio::task::spawn_blocking(end).await.expect("no panic");
        assert_eq!(ended, Ok(1), "it goes on: {}", self.file("log"));
        self.file("code")
    }
}

/// It would run on with nobody to see it, and hold its port.
#[tokio::test]
async fn a_mirror_ends_with_the_terminal_that_it_was_started_on_and_not_by_a_sighup() {
    if !tools::has("script", "--version") {
        return;
    }
    let upstream = Upstream::with_one_crate().await;
    let mut mirror = OnTerminal::start(&upstream, "").await;
    mirror.is_told().await;
    mirror.close().await;
    let log = mirror.folder.path().join("log");
    let log = std::fs::File::open(log).expect("a log");
    assert_eq!(mirror.ended().await, "0\n", "in order");
    let log = std::io::read_to_string(log).expect("text");
    assert!(log.contains("terminal"), "{log}");
    assert!(log.contains("stopping"), "{log}");
}

#[tokio::test]
async fn a_mirror_that_was_made_to_outlive_its_terminal_does() {
    if !tools::has("script", "--version") {
        return;
    }
    let upstream = Upstream::with_one_crate().await;
    for words in ["nohup", "setsid"] {
        let mut mirror = OnTerminal::start(&upstream, words).await;
        mirror.close().await;
        mirror.serves().await;
        mirror.is_told().await;
        mirror.signal("TERM").await;
        assert_eq!(mirror.ended().await, "0\n", "{words}");
    }
}
