//! A mirror inside another program: start it, use it, stop it.
//!
//! `cargo run --example embed` starts one on a free port with a folder of its own and asks it for a file.

use crate_mirror::{app::App, config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = tempfile::tempdir()?;
    // The text is a mirror.toml; what it doesn't say has its default.
    let config = config::parse(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = {:?}\n[memory]\nbudget = \"64MiB\"\n",
        store.path()
    ))?;
    let mirror = App::start(config).await?;
    println!("cargo can use sparse+{}/index/", mirror.base_url());

    let url = format!("{}/index/config.json", mirror.base_url());
    println!("{url} says {}", reqwest::get(&url).await?.text().await?);

    mirror.stop().await;
    Ok(())
}
