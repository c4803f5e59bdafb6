//! Several registries: each is served under its own path, and nothing of one is ever taken for the other's.

use crate::support::{Cargo, Mirror, Package, Reply, Seen, Upstream, client, index_path, sha256};

/// Two registries that both have a crate `twin` 1.0.0, with different content, and each one of its own.
struct Two {
    public: Upstream,
    internal: Upstream,
}

impl Two {
    async fn start() -> Two {
        let twin = |from: &str| {
            let source = format!("pub fn from() -> &'static str {{ \"{from}\" }}");
            Package::new("twin", "1.0.0").file("src/lib.rs", &source)
        };
        Two {
            public: Upstream::new()
                .publish(twin("public"))
                .publish(Package::new("open-source", "1.0.0"))
                .start()
                .await,
            internal: Upstream::new()
                .publish(twin("internal"))
                .publish(Package::new("secret-sauce", "2.0.0"))
                .dl("{base}/files/{lowerprefix}/{crate}-{version}.crate")
                .no_validators()
                .start()
                .await,
        }
    }

    /// A mirror of both; `more` is added to what is said of the internal one.
    async fn mirror(&self, more: &str) -> Mirror {
        let internal = format!(
            "[registries.internal]\nindex = \"{}\"\n{more}",
            self.internal.index_url()
        );
        Mirror::of(&self.public).settings(&internal).start().await
    }
}

fn index_of(mirror: &Mirror, registry: &str) -> String {
    format!("{}/registries/{registry}/index/", mirror.url())
}

/// Real cargo with crates.io replaced by the mirror's default registry and `internal` beside it.
fn cargo_with_internal(mirror: &Mirror) -> Cargo {
    Cargo::new(&mirror.index_url()).registry("internal", &index_of(mirror, "internal"))
}

/// A project that needs both twins and prints where each is from.
fn both_twins(cargo: Cargo) -> Cargo {
    let cargo = cargo.project_toml(
        "[dependencies]\ntwin = \"1\"\nother = { package = \"twin\", version = \"1\", registry = \"internal\" }\n",
    );
    cargo.write(
        "src/main.rs",
        "fn main() { println!(\"{} {}\", twin::from(), other::from()) }",
    );
    cargo
}

fn download(name: &str, version: &str) -> String {
    format!("api/v1/crates/{name}/{version}/download")
}

fn dl_of(config: &Reply) -> String {
    let config: serde_json::Value = serde_json::from_slice(&config.body).expect("config.json");
    config["dl"].as_str().expect("a dl").to_owned()
}

#[tokio::test]
async fn cargo_takes_each_dependency_from_its_registry() {
    let two = Two::start().await;
    let mirror = two.mirror("").await;
    let cargo = cargo_with_internal(&mirror).project_toml(
        "[dependencies]\nopen-source = \"1\"\nsecret-sauce = { version = \"2\", registry = \"internal\" }\n",
    );
    cargo.write(
        "src/main.rs",
        "fn main() { println!(\"{} {}\", open_source::version(), secret_sauce::version()) }",
    );

    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("1.0.0 2.0.0");
    // Names of internal crates are nobody else's business.
    assert_eq!(two.public.count("secret-sauce"), 0);
    assert_eq!(two.internal.count("open-source"), 0);
}

/// A mirror that keeps both under the crate's name alone is a way to smuggle a public crate into a build (dependency confusion).
#[tokio::test]
async fn a_crate_that_both_registries_have_is_never_mixed_up() {
    let two = Two::start().await;
    let mirror = two.mirror("").await;
    let cargo = both_twins(cargo_with_internal(&mirror));
    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("public internal");

    let mirror = mirror.restart().await;
    let mut expected = Vec::new();
    for (registry, upstream) in [("crates-io", &two.public), ("internal", &two.internal)] {
        let file = upstream.crate_file("twin", "1.0.0");
        let sha256 = sha256(&file);
        expected.push(format!("{registry}/crates/tw/in/twin/1.0.0.{sha256}.crate"));
        expected.push(format!("{registry}/index/tw/in/twin"));
        let root = format!("/registries/{registry}");
        let index = mirror.get(&format!("{root}/index/tw/in/twin")).await;
        assert_eq!(index.text(), upstream.index_file("twin"));
        let reply = mirror
            .get(&format!("{root}/{}", download("twin", "1.0.0")))
            .await;
        assert!(reply.body == file, "{registry}: other bytes");
    }
    assert_eq!(mirror.stored(), expected);
}

/// What an internal crate needs of crates.io is written in its index line as a registry of its own.
#[tokio::test]
async fn an_internal_crate_can_need_one_of_crates_io() {
    let two = Two::start().await;
    let package = Package::new("needy", "1.0.0").dep("open-source", "1");
    let crates_io =
        "\"kind\":\"normal\",\"registry\":\"https://github.com/rust-lang/crates.io-index\"";
    let line = package
        .index_line()
        .replace("\"kind\":\"normal\"", crates_io);
    two.internal.publish(package.raw_line(&line));
    let mirror = two.mirror("").await;
    let cargo = cargo_with_internal(&mirror)
        .project_toml("[dependencies]\nneedy = { version = \"1\", registry = \"internal\" }\n");

    cargo.run(&["check"]).await.success();
    assert_eq!(two.public.crate_requests().len(), 1);
    assert_eq!(two.internal.count("open-source"), 0);
}

/// A team that has the registry's own URL in its projects changes only cargo's configuration, and its lock files stay as they are.
#[tokio::test]
async fn an_internal_registry_can_be_replaced_by_the_mirror_like_crates_io() {
    let two = Two::start().await;
    let mirror = two.mirror("").await;
    let own = two.internal.index_url();
    let ours = index_of(&mirror, "internal");
    let replaced = format!(
        "[source.internal]\nregistry = \"sparse+{own}\"\nreplace-with = \"internal-mirror\"\n\
         [source.internal-mirror]\nregistry = \"sparse+{ours}\"\n"
    );
    let cargo = Cargo::new(&mirror.index_url())
        .registry("internal", &own)
        .config(&replaced)
        .project_toml(
            "[dependencies]\nsecret-sauce = { version = \"2\", registry = \"internal\" }\n",
        );

    cargo.run(&["fetch"]).await.success();
    let lockfile = cargo.lockfile();
    assert!(
        lockfile.contains(&own) && !lockfile.contains(mirror.url()),
        "{lockfile}"
    );
    let from_cargo = |seen: &Seen| {
        let agent = seen.header("user-agent").unwrap_or_default();
        agent.starts_with("cargo/")
    };
    let requests = two.internal.requests();
    assert!(
        !requests.iter().any(from_cargo),
        "past the mirror: {requests:?}"
    );
    assert_eq!(two.internal.crate_requests().len(), 1);
}

#[tokio::test]
async fn every_registry_has_an_index_of_its_own_and_the_default_one_two() {
    let two = Two::start().await;
    let mirror = two.mirror("").await;
    let url = mirror.url();
    for (root, upstream, own) in [
        ("", &two.public, "open-source"),
        ("/registries/crates-io", &two.public, "open-source"),
        ("/registries/internal", &two.internal, "secret-sauce"),
    ] {
        let config = mirror.get(&format!("{root}/index/config.json")).await;
        assert_eq!(dl_of(&config), format!("{url}{root}/api/v1/crates"));
        let index = mirror.get(&format!("{root}/index/tw/in/twin")).await;
        assert_eq!(index.text(), upstream.index_file("twin"), "{root}");
        let path = index_path(own);
        let own = mirror.get(&format!("{root}/index/{path}")).await;
        assert_eq!(own.status, 200, "{root}");
    }
    let absent = mirror
        .get("/registries/internal/index/op/en/open-source")
        .await;
    assert_eq!(absent.status, 404);
    assert!(absent.text().contains("internal"), "{}", absent.text());
    // The default registry under its two paths is one cache.
    let twins = two.public.count("/tw/in/twin");
    assert_eq!(twins, 1, "asked twice for what was there");
}

#[tokio::test]
async fn another_registry_can_be_the_default_one() {
    let two = Two::start().await;
    let mirror = two.mirror("default = true\n").await;
    let reply = mirror.get("/index/tw/in/twin").await;
    assert_eq!(reply.text(), two.internal.index_file("twin"));
    let reply = mirror.get(&format!("/{}", download("twin", "1.0.0"))).await;
    assert!(
        reply.body == two.internal.crate_file("twin", "1.0.0"),
        "other bytes"
    );
    assert_eq!(two.public.requests().len(), 0);

    let cargo = Cargo::new(&index_of(&mirror, "crates-io"));
    let cargo = both_twins(cargo.registry("internal", &mirror.index_url()));
    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("public internal");

    // A registry's place in the store goes by its name, not by its rank.
    let mirror = mirror.restart().await;
    let stored = mirror.stored();
    for registry in ["crates-io", "internal"] {
        let index = format!("{registry}/index/tw/in/twin");
        assert!(stored.contains(&index), "no {index} in {stored:?}");
    }
}

/// It used to be 404, of which cargo makes "config.json not found in registry", and of an index file that there is no such package.
#[tokio::test]
async fn an_unknown_registry_is_answered_with_the_names_of_the_known_ones_and_cargo_prints_it() {
    let two = Two::start().await;
    let mirror = two.mirror("[views.lts]\ncooldown = \"0s\"\n").await;
    let known = "this mirror has no registry secret; it has crates-io, internal.\n";
    for path in [
        "index/config.json",
        "index/tw/in/twin",
        &download("twin", "1.0.0"),
    ] {
        let reply = mirror.get(&format!("/registries/secret/{path}")).await;
        assert_eq!((reply.status, &*reply.text()), (403, known), "{path}");
    }
    let reply = mirror.get("/registries/secret/api/v1/crates?q=twin").await;
    let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(
        (reply.status, json["errors"][0]["detail"].as_str()),
        (403, Some(known.trim_end()))
    );
    let views = "this mirror has no view old; it has lts";
    for (place, words) in [
        ("registries/secret", known.trim_end()),
        ("views/old", views),
    ] {
        let index = format!("{}/{place}/index/", mirror.url());
        let cargo = Cargo::new(&index).project(&[("twin", "1")]);
        let ran = cargo.run(&["fetch"]).await;
        ran.failure().stderr_contains(words);
    }
    assert!(two.public.requests().is_empty() && two.internal.requests().is_empty());
}

/// Retries and places for requests are each registry's own.
#[tokio::test]
async fn a_registry_that_hangs_does_not_hold_up_the_other() {
    let two = Two::start().await;
    let mirror = two.mirror("[upstream]\nmax_concurrent = 1\n").await;
    let gate = two.internal.on_everything().gate();
    let (addr, held) = (mirror.addr(), "/registries/internal/index/tw/in/twin");
    let waiting = tokio::spawn(async move { client::get(addr, held, &[]).await });
    gate.await_waiting(1).await;

    let cargo = cargo_with_internal(&mirror).project(&[("twin", "1"), ("open-source", "1")]);
    cargo.run(&["fetch"]).await.success();
    gate.open();
    let reply = waiting.await.expect("an answer");
    assert_eq!(reply.text(), two.internal.index_file("twin"));
}
