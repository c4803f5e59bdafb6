//! The pages in a real browser: nothing complains, nothing is loaded from elsewhere, everybody can use them, and what strangers write stays text.

use std::{fs, path::Path};

use serde_json::json;

use crate::support::{
    Mirror, Package, TokenFile, Upstream,
    browser::{self, Browser},
};

const HOSTILE: &str =
    "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">\"'>";

/// What somebody would see who looks at a mirror that is in use: crates that are here, yanked, denied, waiting, and hit by an advisory.
async fn in_use() -> (Upstream, Mirror, tempfile::TempDir) {
    let described = |package: Package, description: &str| {
        let (name, version) = (package.name().to_owned(), package.version().to_owned());
        let manifest = format!(
            "[package]\nname = {name:?}\nversion = {version:?}\nedition = \"2018\"\nlicense = \"MIT OR Apache-2.0\"\ndescription = {description:?}\nrepository = \"https://example.com/{name}\"\nkeywords = [\"parser\", \"async\"]\n[dependencies]\n{}",
            if name == "url-tool" {
                "bytes-lite = \"1\"\n"
            } else {
                ""
            }
        );
        package.file("Cargo.toml", &manifest)
    };
    let lite = "A small buffer type for network code";
    let tool = |version: &str| {
        Package::new("url-tool", version)
            .dep("bytes-lite", "^1.2")
            .optional_dep("serde", "^1")
            .target_dep("cfg(unix)", "libc", "^0.2")
            .feature("default", &["std"])
            .feature("std", &[])
            .feature("serde", &["dep:serde"])
            .rust_version("1.70")
    };
    let upstream = Upstream::new()
        .publish(described(
            Package::new("bytes-lite", "1.2.0").pubtime("2024-02-01T10:00:00Z"),
            lite,
        ))
        .publish(described(
            Package::new("bytes-lite", "1.3.0").pubtime("2025-06-01T10:00:00Z"),
            lite,
        ))
        .publish(described(
            tool("2.0.0").pubtime("2024-05-01T00:00:00Z"),
            "Parses URLs as browsers do",
        ))
        .publish(described(
            tool("2.1.0").pubtime("2024-09-01T00:00:00Z").yanked(true),
            "Parses URLs as browsers do",
        ))
        .publish(described(
            tool("2.2.0").pubtime("2025-03-01T00:00:00Z"),
            "Parses URLs as browsers do",
        ))
        .publish(described(
            tool("3.0.0").pubtime("2998-01-01T00:00:00Z"),
            "Parses URLs as browsers do",
        ))
        .publish(described(
            Package::new("hostile", "1.0.0").pubtime("2024-01-01T00:00:00Z"),
            HOSTILE,
        ))
        .publish(Package::new("left-padding", "0.1.0"))
        .start()
        .await;
    let advisories = tempfile::tempdir().expect("a folder");
    let folder = advisories.path().join("crates/url-tool");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(
        folder.join("RUSTSEC-2025-0042.md"),
        "```toml\n[advisory]\nid = \"RUSTSEC-2025-0042\"\npackage = \"url-tool\"\ndate = \"2025-02-01\"\nurl = \"https://example.com/advisory\"\n[versions]\npatched = [\">=2.2.0\"]\n```\n\n# Host confusion in url-tool\n",
    )
    .expect("written");
    let settings = format!(
        "[policy]\ncooldown = \"7d\"\ncontact = \"security@example.com\"\n[policy.advisories]\npath = {:?}\n\
         [[policy.rules]]\nname = \"no padding\"\ncrates = [\"left-padding\"]\naction = \"deny\"\nreason = \"write the eleven lines yourself\"\n\
         [registries.internal]\nindex = \"http://127.0.0.1:1/\"\n[views.slow]\ncooldown = \"90d\"\n",
        advisories.path()
    );
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    for path in [
        "/index/by/te/bytes-lite",
        "/index/ur/l-/url-tool",
        "/index/ho/st/hostile",
        "/index/le/ft/left-padding",
        "/api/v1/crates/bytes-lite/1.3.0/download",
        "/api/v1/crates/url-tool/2.2.0/download",
        "/api/v1/crates/hostile/1.0.0/download",
        "/api/v1/crates/url-tool/3.0.0/download",
    ] {
        for _ in 0..3 {
            mirror.get(path).await;
        }
    }
    for name in ["hostile", "url-tool", "bytes-lite"] {
        let path = format!("/search?q={name}");
        mirror
            .get_until(&path, |reply| reply.text().contains("# "))
            .await;
    }
    (upstream, mirror, advisories)
}

const PAGES: [&str; 9] = [
    "/",
    "/search",
    "/search?q=url",
    "/search?q=pwned",
    "/crates/url-tool",
    "/crates/hostile",
    "/crates/left-padding",
    "/policy",
    "/wanted",
];

#[tokio::test]
async fn no_page_complains_or_loads_anything_from_elsewhere() {
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (_upstream, mirror, _advisories) = in_use().await;
    for page in PAGES {
        browser.open(&format!("{}{page}", mirror.url())).await;
        assert_eq!(browser.complaints(), [""; 0], "{page}");
        let requests = browser.requests();
        assert!(requests.len() >= 3, "page, style and script: {requests:?}");
        for url in requests {
            assert!(url.starts_with(mirror.url()), "{page} asks for {url}");
        }
        let title = browser.evaluate("document.title").await;
        let title = title.as_str().unwrap_or_default();
        assert!(title.ends_with("crate-mirror"), "{page}: {title}");
    }
}

#[tokio::test]
async fn what_strangers_write_stays_text() {
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (_upstream, mirror, _advisories) = in_use().await;
    for page in [
        "/crates/hostile",
        "/search?q=pwned",
        "/search?q=%3Cscript%3Edocument.title%3D'pwned'%3C/script%3E",
    ] {
        browser.open(&format!("{}{page}", mirror.url())).await;
        let scripts = browser.evaluate("document.scripts.length").await;
        assert_eq!(scripts, 1, "{page}: our own");
        assert_eq!(
            browser.evaluate("document.images.length").await,
            0,
            "{page}"
        );
        let text = browser.evaluate("document.body.innerText").await;
        assert!(
            text.as_str().is_some_and(|text| text.contains("<script>")),
            "{page}: {text}"
        );
        let title = browser.evaluate("document.title").await;
        assert_ne!(title, "pwned", "{page}");
    }
}

/// Roles, names, contrast, landmarks, on a screen and on a phone, in the light and in the dark.
#[tokio::test]
async fn axe_finds_nothing() {
    let Some(axe) = browser::axe() else { return };
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (_upstream, mirror, _advisories) = in_use().await;
    for (width, scheme) in [(1280, "light"), (390, "dark")] {
        browser.looks(width, 900, scheme).await;
        for page in PAGES {
            browser.open(&format!("{}{page}", mirror.url())).await;
            browser
                .evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                .await;
            browser.evaluate(&format!("{axe}; true")).await;
            let run = "axe.run().then(r => JSON.stringify(r.violations.map(v => [v.id, v.impact, v.nodes.map(n => n.html.slice(0, 200) + ' ' + n.failureSummary)])))";
            let found = browser.evaluate(run).await;
            assert_eq!(found, "[]", "{page} {width} {scheme}");
        }
    }
}

#[tokio::test]
async fn nothing_is_wider_than_a_phone() {
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (_upstream, mirror, _advisories) = in_use().await;
    browser.looks(360, 740, "light").await;
    for page in PAGES {
        browser.open(&format!("{}{page}", mirror.url())).await;
        let wide = browser
            .evaluate("document.documentElement.scrollWidth")
            .await;
        assert!(
            wide.as_u64().is_some_and(|wide| wide <= 360),
            "{page}: {wide}"
        );
    }
}

#[tokio::test]
async fn the_keyboard_reaches_the_tabs_and_the_copy_buttons_copy() {
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (_upstream, mirror, _advisories) = in_use().await;
    browser.open(&format!("{}/", mirror.url())).await;
    let shown = "[...document.querySelectorAll('.panel')].findIndex(p => p.offsetHeight > 0)";
    assert_eq!(browser.evaluate(shown).await, 0);
    for _ in 0..30 {
        let at = browser.evaluate("document.activeElement.id").await;
        if at == "way0" {
            break;
        }
        browser.press("Tab", 9).await;
    }
    browser.press("ArrowRight", 39).await;
    assert_eq!(browser.evaluate(shown).await, 1, "the next tab");
    browser.evaluate("Object.defineProperty(navigator, 'clipboard', { value: { writeText: text => { window.copied = text; return Promise.resolve(); } } })").await;
    browser
        .evaluate("document.querySelector('button.copy').click()")
        .await;
    let copied = browser.evaluate("window.copied").await;
    let expected = "[source.crates-io]\nreplace-with = \"mirror\"";
    assert!(
        copied
            .as_str()
            .is_some_and(|text| text.starts_with(expected)),
        "{copied}"
    );
}

/// A browser that has no token sees how to use the mirror and nothing else, and is asked for one where there is more.
#[tokio::test]
async fn without_a_token_a_browser_sees_how_to_use_it_alone() {
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = Mirror::of(&upstream)
        .settings(&tokens.settings(""))
        .start()
        .await;
    let text = "document.body.innerText";
    browser.open(&format!("{}/", mirror.url())).await;
    let seen = browser.evaluate(text).await;
    let seen = seen.as_str().unwrap_or_default();
    assert!(
        seen.contains("With a token") && !seen.contains("What it does now"),
        "{seen}"
    );
    assert_eq!(browser.complaints(), [""; 0]);
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("me:{token}"),
    );
    browser
        .sends(json!({ "Authorization": format!("Basic {basic}") }))
        .await;
    browser.open(&format!("{}/", mirror.url())).await;
    let seen = browser.evaluate(text).await;
    assert!(
        seen.as_str()
            .is_some_and(|seen| seen.contains("What it does now")),
        "{seen}"
    );
}

/// Takes the pictures for the documentation, where `CRATE_MIRROR_SCREENSHOTS` names a folder for them.
#[tokio::test]
async fn pictures() {
    let Some(folder) = std::env::var_os("CRATE_MIRROR_SCREENSHOTS") else {
        return;
    };
    let Some(mut browser) = Browser::start().await else {
        return;
    };
    let (_upstream, mirror, _advisories) = in_use().await;
    let folder = Path::new(&folder);
    for (name, page, width, scheme) in [
        ("home", "/", 1000, "light"),
        ("home-dark-phone", "/", 390, "dark"),
        ("crate", "/crates/url-tool", 1000, "light"),
        ("denied", "/crates/left-padding", 1000, "light"),
        ("search", "/search?q=url", 1000, "light"),
        ("policy", "/policy", 1000, "dark"),
    ] {
        browser.looks(width, 700, scheme).await;
        browser.open(&format!("{}{page}", mirror.url())).await;
        let picture = browser.screenshot().await;
        fs::write(folder.join(format!("{name}.png")), picture).expect("written");
    }
}
