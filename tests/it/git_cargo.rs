//! Cargo over the git index: today's, by libgit2 and by git itself, and the one that Debian 12 ships, which reads nothing else.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{Cargo, Mirror, Package, Upstream, index_path, tools, until};

/// How many packages the project of the old cargo needs.
const PACKAGES: usize = 60;
const OLD_CARGO: &str = "/usr/bin/cargo";

/// `root` needs all the others, each of which needs the next one.
async fn many() -> (Upstream, Vec<String>) {
    let names: Vec<_> = (1..PACKAGES).map(|n| format!("part-{n:02}")).collect();
    let mut root = Package::new("root", "1.0.0");
    let mut packages = Vec::new();
    for (number, name) in names.iter().enumerate() {
        root = root.dep(name, "1");
        let part = Package::new(name, "1.0.0");
        packages.push(match names.get(number + 1) {
            Some(next) => part.dep(next, "1"),
            None => part,
        });
    }
    let upstream = Upstream::new().publish(root).publish_all(packages);
    let names = ["root".to_owned()].into_iter().chain(names);
    (upstream.start().await, names.collect())
}

/// Has the index files of these crates fetched and stored.
async fn stock(mirror: &Mirror, names: &[String]) {
    for name in names {
        let path = format!("/index/{}", index_path(name));
        assert_eq!(mirror.get(&path).await.status, 200, "{name}");
    }
    let all = || names.iter().all(|name| mirror.index_record(name).exists());
    until("stored", all).await;
}

/// A cargo whose crates.io is the git index there.
fn cargo(mirror: &str) -> Cargo {
    Cargo::unconfigured().config(&format!(
        "[source.crates-io]\nreplace-with = \"mirror\"\n\n[source.mirror]\nregistry = \"{mirror}/git/index\"\n"
    ))
}

#[tokio::test]
async fn todays_cargo_resolves_sees_what_is_published_and_goes_on_offline() {
    for by_git in [false, true] {
        let upstream = Upstream::new()
            .publish(Package::new("app", "1.0.0").dep("lib", "1"))
            .publish(Package::new("lib", "1.0.0"))
            .start()
            .await;
        let mirror = Mirror::of(&upstream).always_asks().start().await;
        stock(&mirror, &["app".to_owned(), "lib".to_owned()]).await;
        let net = format!("[net]\ngit-fetch-with-cli = {by_git}\n");
        let cargo = cargo(mirror.url()).config(&net).project(&[("app", "1")]);
        cargo.run(&["fetch"]).await.success();
        assert!(
            cargo
                .lockfile()
                .contains("name = \"lib\"\nversion = \"1.0.0\"")
        );
        upstream.publish(Package::new("lib", "1.1.0"));
        stock(&mirror, &["lib".to_owned()]).await;
        let mut tries = 0;
        while !cargo
            .lockfile()
            .contains("name = \"lib\"\nversion = \"1.1.0\"")
        {
            cargo.run(&["update"]).await.success();
            tries += 1;
            assert!(tries < 50, "{}", cargo.lockfile());
        }
        cargo.run(&["build", "--locked"]).await.success();
        mirror.stop().await;
        cargo.run(&["clean"]).await.success();
        cargo.run(&["build", "--offline"]).await.success();
    }
}

/// Its commits are others then, and what the cargo has is known to nobody.
#[tokio::test]
async fn cargo_goes_on_after_the_mirror_was_started_again() {
    let upstream = Upstream::new()
        .publish(Package::new("lib", "1.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let door = Door::to(mirror.addr()).await;
    stock(&mirror, &["lib".to_owned()]).await;
    let cargo = cargo(&door.url()).project(&[("lib", "1")]);
    cargo.run(&["fetch"]).await.success();
    for version in ["1.1.0", "1.2.0"] {
        upstream.publish(Package::new("lib", version));
        stock(&mirror, &["lib".to_owned()]).await;
        cargo.run(&["update"]).await.success();
    }
    upstream.publish(Package::new("lib", "1.3.0"));
    let again = mirror.restart().await;
    door.leads_to(again.addr());
    stock(&again, &["lib".to_owned()]).await;
    let mut tries = 0;
    while !cargo.lockfile().contains("version = \"1.3.0\"") {
        cargo.run(&["update"]).await.success();
        tries += 1;
        assert!(tries < 50, "{}", cargo.lockfile());
    }
}

#[tokio::test]
async fn the_cargo_of_debian_12_builds_a_project_of_sixty_packages() {
    if !Path::new(OLD_CARGO).exists() {
        tools::skip("there is no /usr/bin/cargo (Debian's package `cargo`)");
        return;
    }
    let (upstream, names) = many().await;
    let mirror = Mirror::of(&upstream).start().await;
    stock(&mirror, &names).await;
    let cargo = cargo(mirror.url())
        .program(Path::new(OLD_CARGO))
        .env("RUSTC", "/usr/bin/rustc")
        .project(&[("root", "1")]);
    cargo.run(&["generate-lockfile"]).await.success();
    let locked = cargo.lockfile();
    assert_eq!(locked.matches("[[package]]").count(), PACKAGES + 1);
    assert!(locked.contains("registry+https://github.com/rust-lang/crates.io-index"));
    cargo.run(&["fetch", "--locked"]).await.success();
    cargo.run(&["check", "--offline"]).await.success();
}

/// An address that stays the same while what is behind it is another one.
struct Door {
    addr: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
}

impl Door {
    async fn to(behind: SocketAddr) -> Door {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let behind = Arc::new(Mutex::new(behind));
        let leads_to = behind.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let behind = *leads_to.lock().expect("nobody panics");
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(behind).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Door { addr, behind }
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    fn leads_to(&self, behind: SocketAddr) {
        *self.behind.lock().expect("nobody panics") = behind;
    }
}
