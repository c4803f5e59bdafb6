//! A bundle can be signed, in minisign's format, and an import that wants a signature writes nothing before it has checked it.

use std::{fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use minisign::KeyPair;
use tempfile::TempDir;

use crate::support::{
    Output, Package,
    bundle::{Desk, export, filled, import, members, objects},
    command, program, tools,
};

/// Writes `NAME.key` and `NAME.pub`, with a password if there is one.
fn make_key(desk: &Desk, name: &str, password: Option<&str>) {
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.expect("a pair of keys");
    let secret = pair.sk.to_box(None).expect("a key").into_string();
    fs::write(desk.file(&format!("{name}.key")), secret).expect("a key file");
    let public = pair.pk.to_box().expect("a key").into_string();
    fs::write(desk.file(&format!("{name}.pub")), public).expect("a key file");
}

/// A store, a key named `own` and a bundle it has signed.
async fn a_signed_bundle() -> (TempDir, Desk) {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let desk = Desk::new();
    make_key(&desk, "own", None);
    let sign = ["--sign", &desk.name("own.key")];
    export(store.path(), &desk.file("signed.tar.zst"), &sign)
        .await
        .code(0);
    (store, desk)
}

/// Imports a bundle of the desk, which must be signed by that key.
async fn import_signed(store: &Path, desk: &Desk, bundle: &str, key: &str) -> Output {
    let bundle = desk.name(bundle);
    import(store, &[&bundle, "--require-signature", key]).await
}

#[tokio::test]
async fn what_the_key_has_signed_is_taken_and_nothing_else() {
    let (store, desk) = a_signed_bundle().await;
    let inside = tempfile::tempdir().expect("a folder");
    make_key(&desk, "other", None);
    export(store.path(), &desk.file("unsigned.tar.zst"), &[])
        .await
        .code(0);
    let own = desk.name("own.pub");
    for (bundle, key, words) in [
        (
            "signed.tar.zst",
            &desk.name("other.pub"),
            "different from public key",
        ),
        ("unsigned.tar.zst", &own, "it is not signed"),
    ] {
        let ran = import_signed(inside.path(), &desk, bundle, key).await;
        ran.code(1).stderr_contains(words).stderr_contains(bundle);
        assert!(objects(inside.path()).is_empty());
    }
    import_signed(inside.path(), &desk, "signed.tar.zst", &own)
        .await
        .code(0);
    assert_eq!(objects(inside.path()), objects(store.path()));
    // The key may be given as text, and an import without `--require-signature` takes signed bundles, too.
    let text = fs::read_to_string(&own).expect("a key");
    let key = text.lines().nth(1).expect("a key");
    import_signed(inside.path(), &desk, "signed.tar.zst", key)
        .await
        .code(0);
    import(inside.path(), &[&desk.name("signed.tar.zst")])
        .await
        .code(0);
}

#[tokio::test]
async fn nothing_is_written_when_a_word_of_manifest_or_signature_has_changed() {
    let (_store, desk) = a_signed_bundle().await;
    let inside = tempfile::tempdir().expect("a folder");
    let members = members(&desk.file("signed.tar.zst"));
    let pack = |changed: usize, bytes: Vec<u8>| {
        let mut archive = tar::Builder::new(Vec::new());
        for (at, (path, own)) in members.iter().enumerate() {
            let bytes = if at == changed { &bytes } else { own };
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            archive
                .append_data(&mut header, path, &bytes[..])
                .expect("memory");
        }
        let tar = archive.into_inner().expect("memory");
        fs::write(desk.file("forged"), crate::support::bundle::pack(&tar)).expect("a file");
    };
    let own = desk.name("own.pub");
    let (manifest, signature) = (&members[0].1, &members[1]);
    assert_eq!(signature.0, "manifest.json.minisig");
    // The same JSON with other white space isn't what was signed.
    pack(0, [&manifest[..], b"\n"].concat());
    let ran = import_signed(inside.path(), &desk, "forged", &own).await;
    ran.code(1).stderr_contains("its signature is not right");
    let text = String::from_utf8(signature.1.clone()).expect("text");
    let lines: Vec<_> = text.lines().collect();
    let mut wrong = vec![
        String::new(),
        "x".repeat(5_000),
        text.replace("file:manifest.json", "file:other.json"),
        lines[..2].join("\n"),
        lines[..3].join("\n"),
        format!("{text}more\n"),
    ];
    for at in [1, 3] {
        for replacement in [
            "",
            "RWQ=",
            "AAAA",
            "§§§§",
            &"A".repeat(100),
            &"A".repeat(88),
        ] {
            let mut lines = lines.clone();
            lines[at] = replacement;
            wrong.push(lines.join("\n"));
        }
    }
    // minisign's legacy signatures, for which all of the text would have to be held in memory.
    let mut legacy = STANDARD.decode(lines[1]).expect("base64");
    legacy[..2].copy_from_slice(b"Ed");
    let legacy = text.replace(lines[1], &STANDARD.encode(legacy));
    pack(1, legacy.into_bytes());
    let ran = import_signed(inside.path(), &desk, "forged", &own).await;
    ran.code(1).stderr_contains("minisign's legacy kind");
    for signature in wrong {
        pack(1, signature.clone().into_bytes());
        let ran = import_signed(inside.path(), &desk, "forged", &own).await;
        ran.code(1).stderr_lacks("panicked");
        assert!(objects(inside.path()).is_empty(), "{signature}");
    }
    pack(1, text.into_bytes());
    import_signed(inside.path(), &desk, "forged", &own)
        .await
        .code(0);
}

#[tokio::test]
async fn a_key_with_a_password_signs_when_the_environment_has_it() {
    let (store, desk) = a_signed_bundle().await;
    make_key(&desk, "locked", Some("open sesame"));
    let signed = |password: &'static str| {
        let program = program::Program::new(&["export", "-o"])
            .arg(&desk.name("locked.tar.zst"))
            .arg("--sign")
            .arg(&desk.name("locked.key"))
            .arg("--store")
            .arg(store.path().to_str().expect("UTF-8"));
        program.env("CRATE_MIRROR_SIGN_PASSWORD", password).run()
    };
    let wrong = signed("close sesame").await;
    wrong.refused(&["locked.key can't be used", "Wrong password"]);
    assert!(!desk.file("locked.tar.zst").exists());
    let right = signed("open sesame").await;
    assert_eq!(right.code, Some(0), "{right:?}");
    let inside = tempfile::tempdir().expect("a folder");
    let key = desk.name("locked.pub");
    import_signed(inside.path(), &desk, "locked.tar.zst", &key)
        .await
        .code(0);
}

#[tokio::test]
async fn each_part_is_signed() {
    let packages = (0..3).map(|n| Package::new(&format!("crate-{n}"), "1.0.0").payload(600_000));
    let (_upstream, store) = filled(packages.collect()).await;
    let (desk, inside) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    make_key(&desk, "own", None);
    let args = ["--split", "1MiB", "--sign", &desk.name("own.key")];
    export(store.path(), &desk.file("b.tar.zst"), &args)
        .await
        .code(0);
    for part in ["b.1.tar.zst", "b.2.tar.zst", "b.3.tar.zst"] {
        assert!(fs::metadata(desk.file(part)).expect("a part").len() <= 1 << 20);
        import_signed(inside.path(), &desk, part, &desk.name("own.pub"))
            .await
            .code(0);
    }
    assert_eq!(objects(inside.path()), objects(store.path()));
}

#[tokio::test]
async fn what_is_no_key_is_told_so() {
    let (store, desk) = a_signed_bundle().await;
    fs::write(desk.file("text"), "not a key\n").expect("a file");
    for key in [
        desk.name("text"),
        desk.name("own.key"),
        "RWQnonsense".to_owned(),
        String::new(),
    ] {
        let ran = import_signed(store.path(), &desk, "signed.tar.zst", &key).await;
        ran.code(2).stderr_contains("--require-signature");
    }
    for key in ["text", "own.pub", "nothing"] {
        let sign = ["--sign", &desk.name(key)];
        let ran = export(store.path(), &desk.file("b.tar.zst"), &sign).await;
        ran.code(2).stderr_contains("--sign").stderr_contains(key);
    }
}

/// The standard tool, minisign, accepts our signatures, and we accept its. Skipped where it isn't installed.
#[tokio::test]
async fn the_standard_tool_makes_our_keys_and_verifies_our_signatures() {
    if !tools::has("minisign", "-v") {
        return;
    }
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let (desk, inside) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    let (secret, public) = (desk.name("std.key"), desk.name("std.pub"));
    let minisign = |args: &[&str]| {
        let output = Command::new("minisign")
            .args(args)
            .output()
            .expect("minisign runs");
        assert!(output.status.success(), "{output:?}");
    };
    minisign(&["-G", "-W", "-f", "-p", &public, "-s", &secret]);
    let bundle = desk.name("b.tar.zst");
    let args = ["export", "-o", &bundle, "--sign", &secret];
    command(&args, store.path(), "").await.code(0);
    import_signed(inside.path(), &desk, "b.tar.zst", &public)
        .await
        .code(0);
    for (path, bytes) in members(Path::new(&bundle)).into_iter().take(2) {
        fs::write(desk.file(&path), bytes).expect("a file");
    }
    minisign(&["-V", "-q", "-m", &desk.name("manifest.json"), "-p", &public]);
}
