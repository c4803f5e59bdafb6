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
        "", "serve", "check", "prefetch", "export", "import", "wanted", "verify", "evict",
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
        let upstream = self.upstream.index_url();
        let known = |text: &str| {
            let text = text.replace(&upstream, "http://upstream/");
            spans_hidden(&text)
        };
        let (out, err) = (known(&stdout), known(&stderr));
        write!(
            self.printed,
            "$ crate-mirror {words}\n{out}(standard error)\n{err}(exit code {code})\n\n"
        )
        .expect("a string");
        self
    }
}

/// `text` with every time that something took, which differs from run to run, as `…`.
fn spans_hidden(text: &str) -> String {
    let is_span = |word: &str| {
        let number = word.trim_end_matches(['m', 's', 'µ', ',', ';']);
        number.len() < word.len() && number.parse::<f64>().is_ok()
    };
    let hidden = |line: &str| {
        let words = line.split(' ');
        let words = words.map(|word| if is_span(word) { "…" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    text.split('\n').map(hidden).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn filling_looking_through_and_carrying_a_store() {
    let desk = Desk::new().await;
    let desk = desk
        .run("check Cargo.lock")
        .await
        .run("prefetch Cargo.lock")
        .await
        .run("prefetch leaf@9 nosuch")
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
        .run("evict leaf@1.2.0")
        .await
        .run("evict --max-size 1MiB")
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
