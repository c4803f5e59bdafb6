//! What the commands print, word for word: scripts read it, and people learn from it. A change of it shows as a difference of a snapshot.
//!
//! `INSTA_UPDATE=always cargo test --test it printed::` writes the snapshots anew.

use std::fmt::Write;

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::support::{Ended, Package, Program, Upstream, sha256};

#[tokio::test]
async fn the_help_of_every_command() {
    let mut all = String::new();
    for command in [
        "",
        "serve",
        "check",
        "prefetch",
        "export",
        "import",
        "wanted",
        "verify",
        "evict",
        "token",
        "token new",
        "audit who",
    ] {
        let words = format!("{command} --help");
        let ended = Program::new(&[]).words(&words).run().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        all += &format!("$ crate-mirror {}\n{}\n", words.trim(), ended.stdout);
    }
    assert_snapshot!("help", all);
}

/// A folder with settings, a lockfile and what `prefetch` has brought, and what was printed so far.
struct Desk {
    upstream: Upstream,
    folder: TempDir,
    printed: String,
}

impl Desk {
    async fn new() -> Desk {
        let upstream = Upstream::new()
            .publish(Package::new("leaf", "1.0.0"))
            .publish(Package::new("leaf", "1.2.0"))
            .publish(Package::new("tree", "0.3.0").dep("leaf", "1.0"))
            .start()
            .await;
        let entry = |(name, version): (&str, &str)| {
            let sum = sha256(&upstream.crate_file(name, version));
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{sum}\"\n\n"
            )
        };
        let lock: String = [("leaf", "1.2.0"), ("tree", "0.3.0")].map(entry).concat();
        let program = Program::serving(&upstream, "").file("Cargo.lock", &lock);
        let ended = program.command("verify").run().await;
        Desk {
            upstream,
            folder: ended.folder,
            printed: String::new(),
        }
    }

    /// Runs a command there and writes down what it printed.
    async fn run(mut self, words: &str) -> Desk {
        let program = Program::new(&[]).words(words).in_folder(self.folder);
        let Ended {
            code,
            stdout,
            stderr,
            folder,
        } = program.run().await;
        let code = code.expect("an exit code");
        self.folder = folder;
        let upstream = format!("http://{}", self.upstream.addr());
        let known = |text: &str| comparable(&text.replace(&upstream, "http://upstream"));
        let (out, err) = (known(&stdout), known(&stderr));
        write!(
            self.printed,
            "$ crate-mirror {words}\n{out}(standard error)\n{err}(exit code {code})\n\n"
        )
        .expect("a string");
        self
    }
}

/// `text` without what differs from run to run: lines of the log, the times that something took, and how large compressed files became.
fn comparable(text: &str) -> String {
    let is_logged = |line: &&str| !line.starts_with("20");
    let hidden = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        for at in 1..words.len() {
            let is_time = words[at] == "s" || words[at] == "s,";
            let is_file_size = line.starts_with("  bundle") && words[at].ends_with("B)");
            if is_time || is_file_size {
                words[at - 1] = "…";
            }
        }
        words.join(" ")
    };
    let lines = text.split('\n').filter(is_logged).map(hidden);
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn filling_looking_through_and_carrying_a_store() {
    let desk = Desk::new().await;
    let desk = desk
        .run("check Cargo.lock")
        .await
        .run("prefetch Cargo.lock")
        .await
        .run("prefetch leaf@9")
        .await
        .run("check Cargo.lock")
        .await
        .run("check")
        .await
        .run("verify")
        .await
        .run("wanted")
        .await
        .run("export -o bundle.tar.zst Cargo.lock")
        .await
        .run("import --store inside bundle.tar.zst")
        .await
        .run("import --store inside bundle.tar.zst")
        .await
        .run("import --store inside nosuch.tar.zst")
        .await
        .run("evict")
        .await;
    assert_snapshot!("story", desk.printed);
}

#[tokio::test]
async fn mistakes_in_settings_and_arguments() {
    let desk = Desk::new().await;
    let desk = desk
        .run("nosuch")
        .await
        .run("serve --listen nowhere")
        .await
        .run("check --config nosuch.toml")
        .await
        .run("export -o nowhere/bundle.tar.zst")
        .await
        .run("evict")
        .await;
    assert_snapshot!("mistakes", desk.printed);
}
