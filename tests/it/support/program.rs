//! The program: the real binary in a process of its own, in an empty folder, with no environment
//! but what a test gives it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Upstream, cargo};

/// Nothing a test starts takes longer to end or to say something; what does hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a program's standard input is kept.
const INPUT: &str = "standard input";

/// Where cargo has put the program for the tests; an example that shares this kit has to find it itself.
pub fn binary() -> &'static str {
    let built = option_env!("CARGO_BIN_EXE_crate-mirror");
    built.expect("a test, not an example")
}

/// The program, about to be run.
pub struct Program {
    folder: TempDir,
    args: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Program {
    pub fn new(args: &[&str]) -> Program {
        Program {
            folder: TempDir::new().expect("a folder"),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: BTreeMap::new(),
        }
    }

    /// One that serves a mirror of `upstream` on a free port, with these lines more in its mirror.toml.
    pub fn serving(upstream: &Upstream, settings: &str) -> Program {
        Program::new(&["serve"]).settings(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{settings}\n[registries.crates-io]\nindex = \"{}\"\n",
            upstream.index_url()
        ))
    }

    /// One that serves a mirror of what is at `index`, with these lines after it in that registry's table.
    pub fn serving_with(index: &str, registry: &str) -> Program {
        Program::new(&["serve"]).settings(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[registries.crates-io]\nindex = \"{index}\"\n{registry}\n"
        ))
    }

    /// Another command than the one it was made with.
    pub fn command(mut self, command: &str) -> Program {
        self.args = vec![command.to_owned()];
        self
    }

    pub fn arg(mut self, arg: &str) -> Program {
        self.args.push(arg.to_owned());
        self
    }

    /// With as many arguments more as there are words.
    pub fn words(mut self, words: &str) -> Program {
        let words = words.split_whitespace().map(str::to_owned);
        self.args.extend(words);
        self
    }

    /// Runs in this folder, where another one has run.
    pub fn in_folder(mut self, folder: TempDir) -> Program {
        self.folder = folder;
        self
    }

    /// The mirror.toml in its folder.
    pub fn settings(self, toml: &str) -> Program {
        self.file("mirror.toml", toml)
    }

    /// A file in its folder.
    pub fn file(self, name: &str, content: &str) -> Program {
        std::fs::write(self.folder().join(name), content).expect("a file");
        self
    }

    /// What it can read from standard input; nothing if not said.
    pub fn input(self, text: &str) -> Program {
        self.file(INPUT, text)
    }

    pub fn env(mut self, name: &str, value: &str) -> Program {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Lets it find cargo, and the toolchain that is behind it.
    pub fn with_cargo(mut self) -> Program {
        let needed = cargo::inherited().into_iter();
        let needed =
            needed.filter_map(|(name, value)| Some((name.to_owned(), value.into_string().ok()?)));
        self.env.extend(needed);
        self
    }

    /// Where it will run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it to its end.
    pub async fn run(self) -> Ended {
        let output = timeout(PATIENCE, self.process().output()).await;
        let output = output.unwrap_or_else(|_| panic!("{:?} didn't end", self.args));
        self.left(&output.expect("the program runs"))
    }

    /// Runs it until it says how it is used, which is when it serves.
    pub async fn start(self) -> Running {
        let mut child = self.process().spawn().expect("the program runs");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        let mut process = Running {
            child,
            stdout: Said::new(stdout),
            stderr: Said::new(stderr),
            folder: self.folder,
        };
        let last = |line: &str| line.starts_with("index = ");
        if process.stdout.until(last).await.is_none() {
            let ended = process.ended().await;
            panic!("it didn't start: {ended:?}");
        }
        process
    }

    /// Begins to run it, with an input to write to.
    pub fn begin(self) -> (Running, ChildStdin) {
        let mut process = self.process();
        let mut child = process
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = Said::new(child.stdout.take().expect("a pipe"));
        let stderr = Said::new(child.stderr.take().expect("a pipe"));
        let folder = self.folder;
        let running = Running {
            child,
            stdout,
            stderr,
            folder,
        };
        (running, stdin)
    }

    /// Runs it to its end with its output going elsewhere.
    pub async fn run_into(self, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Ended {
        let mut process = self.process();
        let child = process.stdout(stdout).stderr(stderr).spawn();
        let output = child.expect("the program runs").wait_with_output();
        let output = timeout(PATIENCE, output).await;
        let output = output.unwrap_or_else(|_| panic!("{:?} didn't end", self.args));
        self.left(&output.expect("the program runs"))
    }

    fn left(self, output: &std::process::Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: self.folder,
        }
    }

    fn process(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args(&self.args)
            .current_dir(self.folder())
            .env_clear()
            // Fake upstreams speak plain HTTP; whoever forgets to name one asks nobody outside.
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .envs(&self.env)
            .stdin(
                std::fs::File::open(self.folder().join(INPUT))
                    .map_or_else(|_| Stdio::null(), Stdio::from),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// The program, serving. Dropping it kills it.
pub struct Running {
    child: Child,
    stdout: Said<ChildStdout>,
    stderr: Said<ChildStderr>,
    folder: TempDir,
}

impl Running {
    /// What it said on standard output so far.
    pub fn stdout(&self) -> &str {
        &self.stdout.so_far
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL it says that it listens on.
    pub fn url(&self) -> &str {
        let (_, url) = self
            .stdout()
            .lines()
            .find_map(|line| line.split_once(" listens on "))
            .expect("a line that says where it listens");
        url
    }

    pub fn addr(&self) -> SocketAddr {
        let (_, address) = self.url().split_once("://").expect("a URL");
        address.parse().expect("an address and a port")
    }

    /// Where it says that it speaks TLS, when that is a port of its own.
    pub fn tls_addr(&self) -> SocketAddr {
        let lines = &mut self.stdout().lines();
        let address = lines.find_map(|line| line.strip_prefix("It speaks TLS on https://"));
        let address = address.expect("a line that says where it speaks TLS");
        address.parse().expect("an address and a port")
    }

    /// Waits for a line on standard error that `wanted` picks; lines before it are passed over.
    pub async fn logged(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        match self.stderr.until(wanted).await {
            Some(line) => line,
            None => panic!("it ended without that line: {}", self.stderr.so_far),
        }
    }

    /// Sends it `TERM`, `INT` or another one.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("a process that still runs");
        let script = format!("kill -{name} {id}");
        let sent = Command::new("sh").args(["-c", &script]).status().await;
        assert!(sent.expect("a shell").success(), "{script}");
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        // Both at once: a full pipe would keep it from ending.
        tokio::join!(self.stdout.until(|_| false), self.stderr.until(|_| false));
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it didn't end"));
        Ended {
            code: status.expect("a status").code(),
            stdout: self.stdout.so_far,
            stderr: self.stderr.so_far,
            folder: self.folder,
        }
    }
}

/// What the program left.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none if a signal killed it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub folder: TempDir,
}

impl Ended {
    /// Refused: exit code 2, nothing on standard output, and one message that has all of `words`. Returns the message.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) -> &str {
        let Ended { stderr, stdout, .. } = self;
        assert_eq!((self.code, &**stdout), (Some(2), ""), "{stderr}");
        let message = stderr.strip_prefix("crate-mirror: ");
        let message = message.expect("a message of its own");
        let more = message.contains("crate-mirror: ");
        assert!(!more, "more than one message: {stderr}");
        for word in words {
            assert!(message.contains(word), "no {word:?} in {stderr}");
        }
        // What only its programmers understand.
        for word in ["panicked", "src/", "struct ", "RUST_BACKTRACE"] {
            assert!(!message.contains(word), "{word:?} in {stderr}");
        }
        message
    }
}

/// A stream's lines, those read so far kept.
struct Said<R> {
    lines: Lines<BufReader<R>>,
    so_far: String,
}

impl<R: AsyncRead + Unpin> Said<R> {
    fn new(stream: R) -> Said<R> {
        Said {
            lines: BufReader::new(stream).lines(),
            so_far: String::new(),
        }
    }

    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no more for long after: {}", self.so_far));
            let line = line.expect("UTF-8")?;
            self.so_far.extend([&line, "\n"]);
            if wanted(&line) {
                return Some(line);
            }
        }
    }
}
