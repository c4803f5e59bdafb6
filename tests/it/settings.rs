//! What the operator wrote is taken at their word, or refused with one message that says where, which key, and what is allowed.

use crate::support::{Package, Program, Upstream, client};

async fn file_refused(toml: &str, words: &[&str]) {
    let ended = Program::new(&["check"]).settings(toml).run().await;
    let message = ended.refused(words);
    let file = message.starts_with("mirror.toml: ");
    assert!(file, "the file isn't named first: {message}");
}

/// `also` is of a credential: what else is written of it is refused with where it belongs or what is allowed, and with no value that could be secret.
#[tokio::test]
async fn other_origins_for_a_credential_are_origins_in_its_table() {
    let index = "[registries.inner]\nindex = \"https://crates.example/index/\"\n";
    let table = "[registries.inner.credential]\nkind = \"raw\"\nfile = \"t\"\n";
    let credential = "`registries.inner.credential";
    for (toml, key, allowed) in [
        (
            "also = [\"https://cdn.example\"]".to_owned(),
            "`registries.inner.also`",
            "allowed here: index,",
        ),
        (
            "credential = { also = [\"https://cdn.example\"] }".to_owned(),
            &format!("{credential}.kind` is missing"),
            "",
        ),
        (
            format!("{table}also = \"https://cdn.example\""),
            &format!("{credential}.also` is a text"),
            "allowed is a sequence",
        ),
        (
            format!("{table}also = [\"https://cdn.example/files\"]"),
            &format!("{credential}.also"),
            "an origin such as",
        ),
        (
            format!("{table}also = [\"http://cdn.example\"]"),
            &format!("{credential}`: `also` names http://cdn.example"),
            "allowed are https origins",
        ),
    ] {
        file_refused(&format!("{index}{toml}"), &[key, allowed]).await;
    }
}

/// A key that is misspelt and ignored would leave its default in force, unseen.
#[tokio::test]
async fn an_unknown_key_is_named_with_those_there_are() {
    for (toml, key, allowed) in [
        ("serve = 1", "`serve`", "server, tls, store, memory"),
        (
            "[serve]\nlisten = \"127.0.0.1:0\"",
            "`serve`",
            "server, tls, store",
        ),
        (
            "[server]\nlistn = 1",
            "`server.listn`",
            "listen, public_url",
        ),
        (
            "[store]\nPath = \"x\"",
            "`store.Path`",
            "path, max_size, max_age, sync, stall_timeout",
        ),
        (
            "[registries.crates-io]\nindex = \"http://127.0.0.1:1/\"\ntoken = \"x\"",
            "`registries.crates-io.token`",
            "index, default",
        ),
    ] {
        file_refused(toml, &["unknown key", key, allowed]).await;
    }
}

#[tokio::test]
async fn a_missing_key_is_named() {
    let toml = "[registries.internal]\ndefault = true";
    file_refused(toml, &["`registries.internal.index`", "missing"]).await;
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named_with_what_is_allowed() {
    for (toml, key, allowed) in [
        (
            "[freshness]\nfresh_for = 60",
            "`freshness.fresh_for`",
            "\"60s\"",
        ),
        (
            "[upstream]\nretries = \"2\"",
            "`upstream.retries`",
            "from 0 to 10",
        ),
        (
            "[upstream]\nretries = 1.5",
            "`upstream.retries`",
            "from 0 to 10",
        ),
        ("[store]\nsync = \"yes\"", "`store.sync`", "true or false"),
        ("[store]\npath = 5", "`store.path`", "folder"),
        (
            "[server]\nlisten = 8080",
            "`server.listen`",
            "127.0.0.1:8080",
        ),
        (
            "[memory]\nbudget = 1000000000",
            "`memory.budget`",
            "\"256MiB\"",
        ),
        ("[server]\npublic_url = true", "`server.public_url`", "http"),
    ] {
        file_refused(toml, &[key, allowed]).await;
    }
}

#[tokio::test]
async fn a_value_where_a_section_is_wanted_is_named() {
    for section in ["server", "upstream", "registries"] {
        let toml = format!("{section} = 5");
        file_refused(&toml, &[&format!("`{section}`")]).await;
    }
}

#[tokio::test]
async fn an_impossible_value_is_named_with_what_is_allowed() {
    for (toml, key, allowed) in [
        (
            "[freshness]\nfresh_for = \"soon\"",
            "`freshness.fresh_for`",
            "\"60s\"",
        ),
        (
            "[freshness]\nfresh_for = \"-1s\"",
            "`freshness.fresh_for`",
            "from 0s",
        ),
        (
            "[freshness]\npatience = \"21s\"",
            "`freshness.patience`",
            "20s",
        ),
        (
            "[upstream]\nconnect_timeout = \"0s\"",
            "`upstream.connect_timeout`",
            "from 1ms to 20s",
        ),
        (
            "[upstream]\nretries = 11",
            "`upstream.retries`",
            "from 0 to 10",
        ),
        (
            "[upstream]\nretries = -1",
            "`upstream.retries`",
            "from 0 to 10",
        ),
        (
            "[upstream]\nmax_concurrent = 0",
            "`upstream.max_concurrent`",
            "from 1 to 10000",
        ),
        (
            "[memory]\nbudget = \"1KiB\"",
            "`memory.budget`",
            "at least 1",
        ),
        (
            "[memory]\nbudget = \"much\"",
            "`memory.budget`",
            "\"256MiB\"",
        ),
        (
            "[server]\nlisten = \"here\"",
            "`server.listen`",
            "127.0.0.1:8080",
        ),
        (
            "[server]\nlisten = \"127.0.0.1\"",
            "`server.listen`",
            "127.0.0.1:8080",
        ),
        (
            "[server]\nlisten = \"127.0.0.1:99999\"",
            "`server.listen`",
            "127.0.0.1:8080",
        ),
        (
            "[server]\npublic_url = \"ftp://h/\"",
            "`server.public_url`",
            "http or https",
        ),
        (
            "[server]\npublic_url = \"https://h/?q\"",
            "`server.public_url`",
            "without `?`",
        ),
        ("[store]\npath = \"\"", "`store.path`", "folder"),
        (
            "[registries.a]\nindex = \"nowhere\"",
            "`registries.a.index`",
            "http or https",
        ),
        (
            "[registries.A]\nindex = \"http://h/\"",
            "`registries.A`",
            "lower-case letter",
        ),
        (
            "[registries.\"../x\"]\nindex = \"http://h/\"",
            "../x",
            "lower-case letter",
        ),
    ] {
        file_refused(toml, &[key, allowed]).await;
    }
}

/// It used to say "is unsigned int `11`" and "from 0s to 11months 30days 2h 4m 48s".
#[tokio::test]
async fn what_was_found_and_what_is_allowed_are_said_in_the_operators_words() {
    for (toml, found, allowed) in [
        (
            "[upstream]\nretries = 11",
            "is the number 11,",
            "from 0 to 10",
        ),
        (
            "[upstream]\nretries = -1",
            "is the number -1,",
            "from 0 to 10",
        ),
        (
            "[upstream]\nretries = 1.5",
            "is the number 1.5,",
            "from 0 to 10",
        ),
        ("[upstream]\nretries = true", "is true,", "from 0 to 10"),
        ("[upstream]\nretries = [1]", "is a list,", "from 0 to 10"),
        (
            "[store]\nsync = 1",
            "is the number 1,",
            "allowed is true or false",
        ),
        (
            "[store]\npath = { a = 1 }",
            "is a table,",
            "the path of a folder",
        ),
        (
            "[freshness]\nfresh_for = \"2y\"",
            "is \"2y\",",
            "from 0s to 365 days",
        ),
        (
            "[server]\nidle_timeout = \"2d\"",
            "is \"2d\",",
            "from 1s to 1 day",
        ),
        (
            "[server]\nshutdown_grace = \"2h\"",
            "is \"2h\",",
            "from 0s to 1h",
        ),
        (
            "[upstream]\nstall_timeout = \"0s\"",
            "is \"0s\",",
            "from 1ms to 5m",
        ),
    ] {
        file_refused(toml, &[found, allowed]).await;
    }
}

#[tokio::test]
async fn a_file_that_is_not_toml_is_refused_with_the_place() {
    for (toml, line) in [
        ("[server\n", "line 1"),
        ("[server]\nlisten = \n", "line 2"),
        ("[server]\n[store]\n[server]\n", "line 3"),
        (
            "[server]\nlisten = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"\n",
            "line 3",
        ),
    ] {
        file_refused(toml, &[line]).await;
    }
}

#[tokio::test]
async fn two_default_registries_are_refused() {
    let registry = |name| format!("[registries.{name}]\nindex = \"http://h/\"\ndefault = true\n");
    let toml = registry("a") + &registry("b");
    file_refused(
        &toml,
        &["`registries.a.default`", "`registries.b.default`", "one"],
    )
    .await;
}

/// A mirror of internal registries alone passed crates.io on, and its `check` needed the internet.
#[tokio::test]
async fn a_registry_that_is_disabled_is_neither_served_nor_checked() {
    let inner = Upstream::new().publish(Package::new("thing", "1.0.0"));
    let inner = inner.start().await;
    let disabled = "[registries.crates-io]\nenabled = false\n";
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{disabled}[registries.inner]\nindex = \"{}\"\n[registries.old]\nenabled = false\n",
        inner.index_url()
    );
    let ended = Program::new(&["check"]).settings(&settings).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.matches("registry ").count(), 1, "{ended:?}");
    let mirror = Program::new(&["serve"]).settings(&settings).start().await;
    // The only one that is left is the default one.
    for (path, status) in [
        ("/index/th/in/thing", 200),
        ("/registries/inner/index/th/in/thing", 200),
        ("/registries/crates-io/index/th/in/thing", 403),
        ("/registries/old/index/config.json", 403),
    ] {
        let reply = client::get(mirror.addr(), path, &[]).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn some_registry_must_be_enabled_and_it_must_be_clear_which_is_the_default_one() {
    let disabled = "[registries.crates-io]\nenabled = false\n";
    let more = |name| format!("[registries.{name}]\nindex = \"http://h/\"\n");
    let both = disabled.to_owned() + &more("a") + &more("b");
    for (toml, words) in [
        (
            disabled.to_owned(),
            &["every registry is disabled", "enabled"][..],
        ),
        (
            both.clone(),
            &[
                "no other registry is the default one",
                "registries.a.default",
            ],
        ),
        (
            "[registries.a]\nenabled = false\ndefault = true\n".to_owned(),
            &["`registries.a`", "isn't enabled", "default = true"],
        ),
    ] {
        file_refused(&toml, words).await;
    }
    let parsed = crate_mirror::config::parse(&(both + "default = true\n"));
    let default = parsed.and_then(|config| config.default_registry());
    assert_eq!(default.expect("valid settings").as_str(), "b");
    // Its index is known.
    let parsed = crate_mirror::config::parse("[registries.crates-io]\ndefault = true");
    assert_eq!(parsed.expect("valid settings").registries.len(), 1);
}

/// Without a word it would serve with the defaults, and nobody would see that the file was not read.
#[tokio::test]
async fn a_settings_file_that_is_named_must_be_readable() {
    for args in [["serve", "--config"], ["check", "--config"]] {
        let missing = Program::new(&args).arg("other.toml").run().await;
        missing.refused(&["other.toml", "No such file", "--config"]);
        let folder = Program::new(&args).arg(".").run().await;
        folder.refused(&[". is not a file", "--config"]);
        let beside = Program::new(&args).settings("").arg("other.toml");
        beside.run().await.refused(&["other.toml"]);
        let wrong = Program::new(&args).file("other.toml", "nope = 1");
        let ended = wrong.arg("other.toml").run().await;
        ended.refused(&["other.toml: ", "nope"]);
    }
}

#[tokio::test]
async fn an_environment_variable_that_is_wrong_is_named() {
    for (variable, value, allowed) in [
        ("CRATE_MIRROR_FRESHNESS__FRESH_FOR", "soon", "\"60s\""),
        ("CRATE_MIRROR_UPSTREAM__RETRIES", "99", "from 0 to 10"),
        ("CRATE_MIRROR_SERVER__LISTEN", "8080", "127.0.0.1:8080"),
        (
            "CRATE_MIRROR_SERVER__LISTN",
            "127.0.0.1:0",
            "listen, public_url",
        ),
        ("CRATE_MIRROR_NOPE", "x", "server, tls"),
    ] {
        let program = Program::new(&["check"]).env(variable, value);
        program.run().await.refused(&[variable, allowed]);
    }
}

#[tokio::test]
async fn a_flag_that_is_wrong_is_named() {
    let ended = Program::new(&["check", "--store", ""]).run().await;
    ended.refused(&["--store", "folder"]);
}
