//! [`Dist`]: a fake distribution host, as rustup asks one: channel manifests with their `.sha256`, tiny components in rustup's own format, and rustup-init.

use std::{io::Write, ops::Deref};

use flate2::{Compression, write::GzEncoder};
use lzma_rust2::{XzOptions, XzWriter};

use super::{
    Upstream,
    mirror::{Mirror, MirrorBuilder},
    package::sha256,
};

/// The machine that tests run on, as far as rustup is concerned.
#[cfg(target_arch = "x86_64")]
pub const HOST: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
pub const HOST: &str = "aarch64-unknown-linux-gnu";
/// A target that isn't the machine's.
pub const OTHER_TARGET: &str = "wasm32-wasip1";

/// A running distribution host. Dropping it stops it.
pub struct Dist(Upstream);

/// What was asked, and what is to go wrong.
impl Deref for Dist {
    type Target = Upstream;

    fn deref(&self) -> &Upstream {
        &self.0
    }
}

/// A release that is on a distribution host.
#[derive(Clone, Debug)]
pub struct Release {
    pub channel: String,
    pub version: String,
    pub day: String,
    /// The paths of its components, in the form that rustup prefers.
    pub components: Vec<String>,
}

/// Another path of a component, in the form that rustup takes where there is no better one.
pub fn as_gz(path: &str) -> String {
    path.replace(".tar.xz", ".tar.gz")
}

impl Release {
    /// The path of the component that is called so.
    pub fn component(&self, name: &str) -> String {
        let start = format!("/dist/{}/{name}-", self.day);
        let found = self.components.iter().find(|path| path.starts_with(&start));
        found
            .unwrap_or_else(|| panic!("{name} isn't in it"))
            .clone()
    }

    /// The path of the manifest of today.
    pub fn manifest(&self) -> String {
        format!("/dist/channel-rust-{}.toml", self.channel)
    }
}

impl Dist {
    /// One on which there is nothing yet.
    pub async fn start() -> Self {
        Self(Upstream::new().ranges().start().await)
    }

    /// The same, on a host that sends neither ETag nor Last-Modified.
    pub async fn without_validators() -> Self {
        Self(Upstream::new().no_validators().start().await)
    }

    /// A mirror of it, with these lines more in `[toolchains]`.
    pub fn mirror(&self, settings: &str) -> MirrorBuilder {
        Mirror::of(&self.0).settings(&self.tables(settings))
    }

    /// The table of the settings that names it.
    pub fn tables(&self, settings: &str) -> String {
        format!(
            "[toolchains]\nenabled = true\nupstream = \"{}\"\n{settings}\n",
            self.url()
        )
    }

    /// Publishes a release: from now on the channel is that. It has rustc, cargo and rust-std for the machine, rust-std for another target, rust-src and clippy.
    pub fn release(&self, channel: &str, version: &str, day: &str) -> Release {
        let release = self.prepare(channel, version, day);
        self.announce(&release);
        release
    }

    /// The same with components that have so many bytes more.
    pub fn large_release(&self, channel: &str, version: &str, day: &str, more: usize) -> Release {
        let release = self.prepare_with(channel, version, day, more);
        self.announce(&release);
        release
    }

    /// The components and the dated manifest of a release that nobody is told of yet.
    pub fn prepare(&self, channel: &str, version: &str, day: &str) -> Release {
        self.prepare_with(channel, version, day, 0)
    }

    fn prepare_with(&self, channel: &str, version: &str, day: &str, more: usize) -> Release {
        let mut manifest = format!("manifest-version = \"2\"\ndate = \"{day}\"\n\n");
        let (mut paths, mut last) = (Vec::new(), "");
        let named = match channel {
            "beta" | "nightly" => channel.to_owned(),
            _ => version.to_owned(),
        };
        for (package, target, files) in [
            ("rustc", HOST, vec![("bin/rustc", tool("rustc", version))]),
            ("cargo", HOST, vec![("bin/cargo", tool("cargo", version))]),
            ("rust-std", HOST, vec![(LIB_HOST, format!("std {version}"))]),
            (
                "rust-std",
                OTHER_TARGET,
                vec![(LIB_OTHER, format!("std {version}"))],
            ),
            (
                "rust-src",
                "*",
                vec![("lib/rustlib/src/rust/lib.rs", format!("// {version}"))],
            ),
            (
                "clippy-preview",
                HOST,
                vec![("bin/cargo-clippy", tool("clippy", version))],
            ),
        ] {
            let short = package.trim_end_matches("-preview");
            let stem = match target {
                "*" => format!("{short}-{named}"),
                target => format!("{short}-{named}-{target}"),
            };
            let component = match target {
                "*" => package.to_owned(),
                target => format!("{package}-{target}"),
            };
            let archive = archive(&stem, &component, &files, more);
            let path = format!("/dist/{day}/{stem}.tar.xz");
            let (xz, gz) = (compressed_xz(&archive), compressed_gz(&archive));
            if last != package {
                manifest +=
                    &format!("[pkg.{package}]\nversion = \"{version} (0123abcde {day})\"\n\n");
                last = package;
            }
            manifest += &format!(
                "[pkg.{package}.target.{}]\navailable = true\nurl = \"https://static.rust-lang.org{}\"\nhash = \"{}\"\nxz_url = \"https://static.rust-lang.org{path}\"\nxz_hash = \"{}\"\n\n",
                quoted(target),
                as_gz(&path),
                sha256(&gz),
                sha256(&xz)
            );
            self.object(&as_gz(&path), gz);
            self.object(&path, xz);
            paths.push(path);
        }
        manifest += &format!(
            "[pkg.rust]\nversion = \"{version} (0123abcde {day})\"\n\n[pkg.rust.target.{HOST}]\navailable = true\nurl = \"https://static.rust-lang.org/dist/{day}/rust-{named}-{HOST}.tar.gz\"\nhash = \"{}\"\n\n",
            sha256(b"nobody asks for it")
        );
        for (kind, package, target) in [
            ("components", "rustc", HOST),
            ("components", "cargo", HOST),
            ("components", "rust-std", HOST),
            ("extensions", "rust-std", OTHER_TARGET),
            ("extensions", "rust-src", "*"),
            ("extensions", "clippy-preview", HOST),
        ] {
            manifest += &format!(
                "[[pkg.rust.target.{HOST}.{kind}]]\npkg = \"{package}\"\ntarget = \"{target}\"\n\n"
            );
        }
        manifest += "[renames.clippy]\nto = \"clippy-preview\"\n\n[profiles]\ncomplete = [\"rustc\", \"cargo\", \"rust-std\", \"rust-src\", \"clippy-preview\"]\ndefault = [\"rustc\", \"cargo\", \"rust-std\", \"clippy-preview\"]\nminimal = [\"rustc\", \"cargo\", \"rust-std\"]\n";
        let release = Release {
            channel: channel.to_owned(),
            version: version.to_owned(),
            day: day.to_owned(),
            components: paths,
        };
        self.put(
            &format!("/dist/{day}/channel-rust-{channel}.toml"),
            manifest,
        );
        release
    }

    /// The channel is that from now on; a stable release has a manifest by its number, too.
    pub fn announce(&self, release: &Release) {
        let dated = format!(
            "/dist/{}/channel-rust-{}.toml",
            release.day, release.channel
        );
        let manifest = self.object_at(&dated);
        self.put(&release.manifest(), manifest.clone());
        if release.channel == "stable" {
            let numbered = format!("channel-rust-{}.toml", release.version);
            self.put(&format!("/dist/{numbered}"), manifest.clone());
            self.put(&format!("/dist/{}/{numbered}", release.day), manifest);
        }
    }

    /// A manifest with its `.sha256`, as the real host has it: 64 digits, two spaces, the name of the file.
    fn put(&self, path: &str, body: impl Into<bytes::Bytes>) {
        let body = body.into();
        let name = path.rsplit('/').next().unwrap_or_default();
        self.object(
            &format!("{path}.sha256"),
            format!("{}  {name}\n", sha256(&body)),
        );
        self.object(path, body);
    }

    /// Publishes a rustup of that version for the machine, which is the newest from now on.
    pub fn rustup(&self, version: &str) {
        let init = format!("#!/bin/sh\necho rustup-init {version}\n");
        for folder in [format!("archive/{version}/{HOST}"), format!("dist/{HOST}")] {
            self.put(&format!("/rustup/{folder}/rustup-init"), init.clone());
        }
        let release = format!("schema-version = '1'\nversion = '{version}'\n");
        self.object("/rustup/release-stable.toml", release);
    }
}

const LIB_HOST: &str = "lib/rustlib/host/lib/libstd.rlib";
const LIB_OTHER: &str = "lib/rustlib/wasm32-wasip1/lib/libstd.rlib";

/// A program that says its version.
fn tool(name: &str, version: &str) -> String {
    format!("#!/bin/sh\necho '{name} {version} (0123abcde 2026-01-01)'\n")
}

/// A target as a key of TOML.
fn quoted(target: &str) -> String {
    match target {
        "*" => "\"*\"".to_owned(),
        target => target.to_owned(),
    }
}

/// A component as rustup installs it (rust-installer, version 3), not yet compressed: what it consists of, and where that goes.
fn archive(stem: &str, component: &str, files: &[(&str, String)], more: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, body: &[u8], mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        let path = format!("{stem}/{path}");
        archive
            .append_data(&mut header, path, body)
            .expect("memory");
    };
    add("rust-installer-version", b"3\n", 0o644);
    add("components", format!("{component}\n").as_bytes(), 0o644);
    let mut listed = String::new();
    for (path, body) in files {
        let mode = if path.starts_with("bin/") {
            0o755
        } else {
            0o644
        };
        add(&format!("{component}/{path}"), body.as_bytes(), mode);
        listed += &format!("file:{path}\n");
    }
    if more > 0 {
        // What doesn't get smaller.
        let mut seed = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        })
        .take(more)
        .collect();
        add(&format!("{component}/share/{component}.bin"), &noise, 0o644);
        listed += &format!("file:share/{component}.bin\n");
    }
    add(
        &format!("{component}/manifest.in"),
        listed.as_bytes(),
        0o644,
    );
    archive.into_inner().expect("memory")
}

fn compressed_gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn compressed_xz(bytes: &[u8]) -> Vec<u8> {
    let encoder = XzWriter::new(Vec::new(), XzOptions::with_preset(0));
    let mut encoder = encoder.expect("valid options");
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
