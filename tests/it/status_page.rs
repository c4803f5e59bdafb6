//! The status page: what it says to paste into cargo's configuration works as pasted.

use crate::support::{Cargo, Mirror, Package, Upstream};

/// A registry whose crate `twin` says where it is from.
async fn twin(from: &str) -> Upstream {
    let source = format!("pub fn from() -> &'static str {{ \"{from}\" }}");
    let package = Package::new("twin", "1.0.0").file("src/lib.rs", &source);
    Upstream::new().publish(package).start().await
}

/// With a registry `internal` beside crates.io, whose section goes on with `more`.
async fn pasting_the_status_page_works(more: &str) {
    let (public, internal) = (twin("public").await, twin("internal").await);
    let settings = format!(
        "[registries.internal]\nindex = \"{}\"\n{more}",
        internal.index_url()
    );
    let mirror = Mirror::of(&public).settings(&settings).start().await;

    let page = mirror.get("/").await.text();
    let settings: String = page
        .lines()
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .flat_map(|line| [line, "\n"])
        .collect();
    // Whatever else these lines do, they must not send this test to the real crates.io.
    let replaces = settings.contains("[source.crates-io]\nreplace-with");
    assert!(replaces, "{page}");

    let cargo = Cargo::unconfigured()
        .config(&settings)
        .project(&[("twin", "1")]);
    let main = "fn main() { println!(\"{}\", twin::from()) }";
    cargo.write("src/main.rs", main);
    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("public");

    cargo.manifest("[dependencies]\ntwin = { version = \"1\", registry = \"internal\" }\n");
    cargo.remove_lockfile();
    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("internal");
}

#[tokio::test]
async fn what_the_status_page_says_to_paste_works() {
    pasting_the_status_page_works("").await;
}

/// What is pasted must never lead crates.io's names to another registry: that is dependency confusion by copy and paste.
#[tokio::test]
async fn what_the_status_page_says_to_paste_works_with_another_default_registry() {
    pasting_the_status_page_works("default = true\n").await;
}
