//! Rules and advisories cross the air gap with the crates: signed with them, the rules only with leave, and neither ever in part.

use std::{fs, path::Path};

use minisign::KeyPair;
use serde_json::json;

use crate::support::{
    Output, Package,
    bundle::{Desk, Forged, carried, export, filled, members, pack},
    command, sha256,
};

/// Settings with rules and a database of one advisory, about the crate `bad`.
fn settings(desk: &Desk) -> String {
    let path = desk.file("db/crates/bad/RUSTSEC-2024-0001.md");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let text = "```toml\n[advisory]\nid = \"RUSTSEC-2024-0001\"\npackage = \"bad\"\n```\n";
    fs::write(path, text).expect("an advisory");
    format!(
        "[policy]\ncontact = \"security@example.com\"\ncooldown = \"3d\"\n[policy.advisories]\npath = {:?}\ndeny = [\"malicious\", \"cvss>=9\"]\n[[policy.rules]]\nname = \"no pads\"\ncrates = [\"left-pad\"]\naction = \"deny\"\n[views.lts]\ncooldown = \"90d\"\n",
        desk.name("db")
    )
}

/// Settings inside of the gap, where both are put into files.
fn inside(desk: &Desk) -> String {
    format!(
        "[policy]\nfile = {:?}\n[policy.advisories]\npath = {:?}\n",
        desk.name("policy.toml"),
        desk.name("advisories.tar.zst")
    )
}

fn make_key(desk: &Desk) {
    let pair = KeyPair::generate_unencrypted_keypair().expect("a pair of keys");
    let secret = pair.sk.to_box(None).expect("a key").into_string();
    fs::write(desk.file("own.key"), secret).expect("a key file");
    let public = pair.pk.to_box().expect("a key").into_string();
    fs::write(desk.file("own.pub"), public).expect("a key file");
}

/// Exports all of `store` with rules and advisories, signed, as `b.tar.zst`.
async fn carry(store: &Path, desk: &Desk, settings: &str, more: &[&str]) -> Output {
    make_key(desk);
    let (output, key) = (desk.name("b.tar.zst"), desk.name("own.key"));
    let mut args = vec![
        "export",
        "--advisories",
        "--policy",
        "-o",
        &output,
        "--sign",
        &key,
    ];
    args.extend(more);
    command(&args, store, settings).await
}

/// Imports `bundle`, which is signed with `key`, with its rules.
fn with_policy<'a>(bundle: &'a str, key: &'a str) -> [&'a str; 5] {
    [
        "import",
        bundle,
        "--require-signature",
        key,
        "--with-policy",
    ]
}

#[tokio::test]
async fn rules_and_advisories_arrive_with_the_crates() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let (desk, to) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    let ran = carry(store.path(), &desk, &settings(&desk), &[]).await;
    ran.code(0)
        .stdout_contains("with the database of advisories, with the policy");
    let bundle = desk.name("b.tar.zst");
    let carried = carried(Path::new(&bundle));
    assert_eq!(carried[..2], ["advisories.tar.zst", "policy.toml"]);
    fs::write(desk.file("policy.toml"), "").expect("no rules yet");
    let key = desk.name("own.pub");
    let args = with_policy(&bundle, &key);
    command(&args, to.path(), &inside(&desk))
        .await
        .code(0)
        .stdout_contains("1 advisories are in")
        .stdout_contains("the rules are in");
    let rules = fs::read_to_string(desk.file("policy.toml")).expect("rules");
    for word in ["no pads", "cvss>=9", "lts", "3d", "security@example.com"] {
        assert!(rules.contains(word), "{word} in {rules}");
    }
    assert!(
        !rules.contains("path"),
        "what is about a machine stays there: {rules}"
    );
    // They hold: what is carried on from there is the same.
    let on = Desk::new();
    let again = carry(to.path(), &on, &inside(&desk), &[]).await;
    again.code(0);
    let before = members(Path::new(&bundle));
    let after = members(&on.file("b.tar.zst"));
    assert_eq!(before[2..4], after[2..4]);
    // And a second time there is nothing newer.
    command(&args, to.path(), &inside(&desk))
        .await
        .code(0)
        .stdout_contains("are as new as those of the bundle");
    // A mirror that starts has them.
    let ran = command(
        &["check"],
        to.path(),
        &format!("{}[offline]\nenabled = true\n", inside(&desk)),
    )
    .await;
    ran.code(0)
        .stdout_contains("1 about 1 crates, written")
        .stdout_contains("ago");
}

#[tokio::test]
async fn rules_are_taken_only_from_a_signed_bundle_and_with_leave() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let (desk, to) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    carry(store.path(), &desk, &settings(&desk), &[])
        .await
        .code(0);
    fs::write(desk.file("policy.toml"), "# own\n").expect("own rules");
    let (bundle, key) = (desk.name("b.tar.zst"), desk.name("own.pub"));
    let own = || fs::read_to_string(desk.file("policy.toml")).expect("rules");
    let ran = command(
        &["import", &bundle, "--with-policy"],
        to.path(),
        &inside(&desk),
    )
    .await;
    ran.code(2).stderr_contains("--require-signature");
    let ran = command(
        &["import", &bundle, "--require-signature", &key],
        to.path(),
        &inside(&desk),
    )
    .await;
    ran.code(0)
        .stdout_contains("has a policy, which is left out");
    assert_eq!(own(), "# own\n");
    // Without a place for them.
    let args = with_policy(&bundle, &key);
    let ran = command(&args, to.path(), "").await;
    ran.code(2).stderr_contains("policy.file");
    let ran = command(&["import", &bundle], to.path(), "").await;
    ran.code(0).stdout_contains("set `policy.advisories.path`");
    assert_eq!(own(), "# own\n");
}

/// A view of a registry that isn't there, or a key that this program doesn't know, would keep a mirror from starting.
#[tokio::test]
async fn rules_that_do_not_fit_here_leave_the_old_ones() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let (desk, to) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    let elsewhere = format!(
        "{}[views.other]\nregistry = \"internal\"\n[registries.internal]\nindex = \"http://127.0.0.1:1/\"\n",
        settings(&desk)
    );
    carry(store.path(), &desk, &elsewhere, &[]).await.code(0);
    fs::write(desk.file("policy.toml"), "# own\n").expect("own rules");
    let (bundle, key) = (desk.name("b.tar.zst"), desk.name("own.pub"));
    let args = with_policy(&bundle, &key);
    let ran = command(&args, to.path(), &inside(&desk)).await;
    ran.code(2)
        .stderr_contains("can't be used here")
        .stderr_contains("internal");
    let own = fs::read_to_string(desk.file("policy.toml")).expect("rules");
    assert_eq!(own, "# own\n");
}

#[tokio::test]
async fn a_file_of_rules_that_is_gone_or_has_other_things_is_said() {
    let (desk, store) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    let settings = inside(&desk);
    let ran = command(&["wanted"], store.path(), &settings).await;
    ran.code(2)
        .stderr_contains("policy.toml")
        .stderr_contains("import --with-policy");
    for (text, word) in [
        (
            "[server]\nlisten = \"0.0.0.0:1\"\n",
            "allowed here: policy, views",
        ),
        ("[policy]\nfile = \"other.toml\"\n", "policy.file"),
        ("[policy]\nmode = \"off\"\n", "mode"),
        ("[", "policy.toml"),
    ] {
        fs::write(desk.file("policy.toml"), text).expect("a file");
        let ran = command(&["wanted"], store.path(), &settings).await;
        ran.code(2).stderr_contains(word);
    }
}

#[tokio::test]
async fn what_is_missing_or_makes_no_sense_is_said_before_anything_is_written() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let desk = Desk::new();
    let output = desk.name("b.tar.zst");
    for (flags, word) in [
        (vec!["--advisories"], "policy.advisories.path"),
        (vec!["--policy"], "neither `[policy]` nor `[views]`"),
        (vec!["--policy", "--manifest-only"], "carries nothing"),
        (
            vec!["--policy", "--format", "local-registry"],
            "goes with bundles",
        ),
    ] {
        let mut args = vec!["export", "-o", &output];
        args.extend(&flags);
        let ran = command(&args, store.path(), "").await;
        ran.code(2).stderr_contains(word);
    }
    assert!(desk.files().is_empty());
}

#[tokio::test]
async fn of_several_parts_the_first_carries_them() {
    let packages = vec![
        Package::new("alpha", "1.0.0").payload(900_000),
        Package::new("beta", "1.0.0").payload(900_000),
    ];
    let (_upstream, store) = filled(packages).await;
    let desk = Desk::new();
    // What waits isn't carried.
    let settings = settings(&desk).replace("cooldown = \"3d\"\n", "");
    carry(store.path(), &desk, &settings, &["--split", "1MiB"])
        .await
        .code(0);
    let first = carried(&desk.file("b.1.tar.zst"));
    let second = carried(&desk.file("b.2.tar.zst"));
    assert_eq!(first[..2], ["advisories.tar.zst", "policy.toml"]);
    assert!(!second.contains(&"policy.toml".to_owned()));
}

/// What is attached is held to the manifest like everything else, and the manifest to what can be attached.
#[tokio::test]
async fn what_is_attached_cannot_lie() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let (desk, to) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    export(store.path(), &desk.file("plain.tar.zst"), &[])
        .await
        .code(0);
    let plain = Forged::of(&desk.file("plain.tar.zst"));
    let policy = b"[policy]\n".to_vec();
    let listed = |path: &str, bytes: &[u8]| json!({"path": path, "size": bytes.len(), "sha256": sha256(bytes)});
    let forge = |attached: Vec<serde_json::Value>, first: &[(&str, &[u8])]| {
        let mut forged = plain.clone();
        let manifest =
            json!({"format": 1, "registries": {}, "attached": attached, "entries": plain.entries});
        forged.manifest = Some(manifest.to_string());
        let mut members: Vec<_> = first
            .iter()
            .map(|(path, bytes)| {
                (
                    tar::EntryType::Regular,
                    path.as_bytes().to_vec(),
                    bytes.to_vec(),
                )
            })
            .collect();
        members.append(&mut forged.members);
        forged.members = members;
        pack(&forged.tar())
    };
    let good = listed("policy.toml", &policy);
    let other = listed("other.toml", &policy);
    let mut huge = good.clone();
    huge["size"] = json!(u64::MAX);
    let changed: &[u8] = b"[polixy]\n";
    for (bundle, word) in [
        (
            forge(vec![good.clone()], &[("policy.toml", changed)]),
            "has been changed",
        ),
        (
            forge(vec![good.clone()], &[]),
            "where its manifest has policy.toml",
        ),
        (
            forge(vec![], &[("policy.toml", &policy)]),
            "where its manifest has",
        ),
        (
            forge(vec![other], &[("other.toml", &policy)]),
            "doesn't know",
        ),
        (
            forge(vec![huge], &[("policy.toml", &policy)]),
            "that are carried",
        ),
        (
            forge(
                vec![good.clone(), good.clone()],
                &[("policy.toml", &policy), ("policy.toml", &policy)],
            ),
            "attached twice",
        ),
    ] {
        fs::write(desk.file("forged.tar.zst"), bundle).expect("a bundle");
        let ran = command(&["import", &desk.name("forged.tar.zst")], to.path(), "").await;
        ran.code(1).stderr_contains(word);
    }
    fs::write(
        desk.file("good.tar.zst"),
        forge(vec![good], &[("policy.toml", &policy)]),
    )
    .expect("a bundle");
    let ran = command(&["import", &desk.name("good.tar.zst")], to.path(), "").await;
    ran.code(0).stdout_contains("left out");
}

/// Two versions of a crate are stored, and by these settings only the first of them may be had.
const DENIED: &str = "[[policy.rules]]\nname = \"not this\"\ncrates = [\"alpha\"]\nversions = \"=1.1.0\"\naction = \"deny\"\nreason = \"it is bad\"\n";

async fn two_versions(desk: &Desk) -> (crate::support::Upstream, tempfile::TempDir) {
    let lock = |version: &str| {
        format!(
            "version = 4\n[[package]]\nname = \"alpha\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"
        )
    };
    for (folder, version) in [("good", "1.0.0"), ("bad", "1.1.0")] {
        fs::create_dir(desk.file(folder)).expect("a folder");
        let path = desk.file(&format!("{folder}/Cargo.lock"));
        fs::write(path, lock(version)).expect("a Cargo.lock");
    }
    filled(vec![
        Package::new("alpha", "1.0.0"),
        Package::new("alpha", "1.1.0"),
    ])
    .await
}

#[tokio::test]
async fn what_the_rules_keep_out_is_not_carried_and_that_is_said() {
    let desk = Desk::new();
    let (_upstream, store) = two_versions(&desk).await;
    let bundle = desk.name("b.tar.zst");
    let ran = command(&["export", "-o", &bundle], store.path(), DENIED).await;
    ran.code(0)
        .stdout_contains("1 crates left out that the rules keep out")
        .stderr_contains("denied   alpha 1.1.0")
        .stderr_contains("it is bad");
    let carried = carried(Path::new(&bundle));
    assert_eq!(carried.len(), 2, "{carried:?}");
    assert!(carried[1].contains("/1.0.0."), "{carried:?}");
    // Only tried out, they keep nothing out.
    let report = format!("[policy]\nmode = \"report\"\n{DENIED}");
    command(&["export", "-o", &bundle], store.path(), &report)
        .await
        .code(0)
        .stdout_contains("3 entries");
    // What is asked for by name is missed.
    let bad = desk.name("bad");
    let ran = command(&["export", "-o", &bundle, &bad], store.path(), DENIED).await;
    ran.code(1).stderr_contains("it is bad");
    let folder = desk.name("registry");
    let ran = command(
        &["export", "--format", "local-registry", "-o", &folder],
        store.path(),
        DENIED,
    )
    .await;
    ran.code(0)
        .stdout_contains("1 crates left out that the rules keep out");
    assert!(!desk.file("registry/alpha-1.1.0.crate").exists());
    assert!(desk.file("registry/alpha-1.0.0.crate").exists());
}

#[tokio::test]
async fn a_licence_keeps_a_stored_crate_out_too() {
    let desk = Desk::new();
    let (_upstream, store) = two_versions(&desk).await;
    let settings = "[policy.licenses]\nallow = [\"MIT\"]\nunknown = \"deny\"\n";
    let bundle = desk.name("b.tar.zst");
    let ran = command(&["export", "-o", &bundle], store.path(), settings).await;
    ran.code(0).stdout_contains("2 crates left out");
    let good = desk.name("good");
    let ran = command(&["check", &good], store.path(), settings).await;
    ran.code(1).stdout_contains("licence");
}

#[tokio::test]
async fn a_check_of_lockfiles_says_what_the_rules_refuse() {
    let desk = Desk::new();
    let (_upstream, store) = two_versions(&desk).await;
    let (good, bad) = (desk.name("good"), desk.name("bad"));
    command(&["check", &good], store.path(), DENIED)
        .await
        .code(0);
    command(&["check", &bad], store.path(), DENIED)
        .await
        .code(1)
        .stdout_contains("alpha@1.1.0")
        .stdout_contains("it is bad");
    command(&["check", &bad], store.path(), "").await.code(0);
}

#[tokio::test]
async fn a_prefetch_says_what_the_rules_refuse_and_does_not_fetch_it() {
    let desk = Desk::new();
    let (upstream, _store) = two_versions(&desk).await;
    let to = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "{DENIED}[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let (good, bad) = (desk.name("good"), desk.name("bad"));
    let ran = command(&["prefetch", &good, &bad], to.path(), &settings).await;
    ran.code(1).stdout_contains("it is bad");
    let stored = crate::support::bundle::objects(to.path());
    let crates = stored.keys().filter(|path| path.ends_with(".crate"));
    assert_eq!(crates.count(), 1, "{:?}", stored.keys());
}

/// The newest version used to be taken whatever the rules said, and so nothing at all came of the name.
#[tokio::test]
async fn a_prefetch_of_names_takes_what_is_allowed_and_says_what_it_left_out() {
    let desk = Desk::new();
    let (upstream, _store) = two_versions(&desk).await;
    let registry = format!(
        "[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let settings = format!("{DENIED}{registry}");
    const WHY: &str =
        "alpha 1.1.0 is denied by rule \"not this\" of this mirror's policy: it is bad";
    for (args, code, said, stored) in [
        (&["alpha"][..], 0, format!("note     left out: {WHY}"), 1),
        (
            &["--all-versions", "alpha"],
            0,
            format!("left out: {WHY}"),
            1,
        ),
        (&["alpha@1"], 0, format!("left out: {WHY}"), 1),
        (
            &["alpha@1.1.0"],
            1,
            format!("missing  alpha@1.1.0: {WHY}"),
            0,
        ),
        (
            &["alpha@>=1.1"],
            1,
            format!("missing  alpha@>=1.1: {WHY}"),
            0,
        ),
    ] {
        let to = tempfile::tempdir().expect("a folder");
        let args: Vec<_> = ["prefetch"].iter().chain(args).copied().collect();
        let ran = command(&args, to.path(), &settings).await;
        ran.code(code).stdout_contains(&said);
        let kept = crate::support::bundle::objects(to.path());
        let crates: Vec<_> = kept
            .keys()
            .filter(|path| path.ends_with(".crate"))
            .collect();
        assert_eq!(crates.len(), stored, "{args:?}: {crates:?}");
        assert!(
            crates.iter().all(|path| path.contains("/1.0.0.")),
            "{crates:?}"
        );
    }
    // Of a crate that is refused as such, nobody is given the index file that is stored.
    let to = tempfile::tempdir().expect("a folder");
    command(&["prefetch", "alpha"], to.path(), &registry)
        .await
        .code(0);
    let all = format!("[[policy.rules]]\ncrates = [\"alpha\"]\naction = \"deny\"\n{registry}");
    let ran = command(&["prefetch", "--update"], to.path(), &all).await;
    ran.code(0)
        .stdout_contains("skipped  crates-io/al/ph/alpha: alpha is denied by rule \"1\"")
        .stdout_contains("0 index files were out of date, 0 were not");
}
