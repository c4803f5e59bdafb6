//! A made-up database of advisories in RustSec's format, as large as the real one and of its proportions. Also used by the benchmark, so it knows nothing of
//! the tests.

use std::{fmt::Write, fs, io, path::Path};

/// As many as RustSec has (August 2026), by kind. Two thirds of them have no score.
pub const MALICIOUS: usize = 73;
pub const UNMAINTAINED: usize = 267;
pub const UNSOUND: usize = 203;
pub const SCORED: usize = 417;
pub const ALL: usize = 1_205;

/// One advisory.
pub struct MadeUp {
    /// Its path in the database.
    pub path: String,
    pub text: String,
}

/// All of them, always the same. Each is about a crate of its own, but for every fifth one, which is about the crate before.
pub fn advisories() -> impl Iterator<Item = MadeUp> {
    (0..ALL).map(advisory)
}

/// Writes them below `folder`.
pub fn write(folder: &Path) -> io::Result<()> {
    for MadeUp { path, text } in advisories() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// The crate that the advisory of this number is about.
pub fn crate_of(number: usize) -> String {
    let number = number - usize::from(number % 5 == 4);
    match number % 3 {
        0 => format!("made-up-{number}"),
        1 => format!("made_up_{number}"),
        _ => format!("madeup{number}"),
    }
}

fn advisory(number: usize) -> MadeUp {
    let (name, year) = (crate_of(number), 2016 + number % 11);
    let (month, day) = (1 + number % 12, 1 + number % 28);
    let id = format!("RUSTSEC-{year}-{number:04}");
    let mut text = format!(
        "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"{year}-{month:02}-{day:02}\"\nurl = \"https://example.com/{name}/issues/{number}\"\naliases = [\"CVE-{year}-{number}\", \"GHSA-aaaa-bbbb-{number:04}\"]\n"
    );
    let informational = match number {
        n if n < MALICIOUS => None,
        n if n < MALICIOUS + UNMAINTAINED => Some("unmaintained"),
        n if n < MALICIOUS + UNMAINTAINED + UNSOUND => Some("unsound"),
        _ => None,
    };
    let category = match number < MALICIOUS {
        true => "malicious",
        false => "memory-corruption",
    };
    let _ = writeln!(text, "categories = [\"{category}\"]");
    if let Some(informational) = informational {
        let _ = writeln!(text, "informational = \"{informational}\"");
    }
    if number >= ALL - SCORED {
        let vector = match number % 3 {
            0 => "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            1 => "CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N",
            _ => "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        };
        let _ = writeln!(text, "cvss = \"{vector}\"");
    }
    let patched = match informational {
        Some("unmaintained") => String::new(),
        _ if number < MALICIOUS => String::new(),
        _ => format!(
            "\">= 1.{0}.3, < 1.{1}.0\", \">= 1.{1}.1\"",
            number % 7,
            number % 7 + 1
        ),
    };
    let _ = write!(
        text,
        "\n[affected]\nfunctions = {{ \"{name}::f\" = [\"< 1.9.0\"] }}\n\n[versions]\npatched = [{patched}]\nunaffected = [\"< 0.{}.0\"]\n```\n\n# Something is wrong with `{name}` in a way of number {number}\n\n",
        number % 4
    );
    for _ in 0..number % 9 {
        text.push_str("At length, it is explained here what goes wrong, how it was found, what follows from it, and what can be done about it until it is mended.\n\n");
    }
    MadeUp {
        path: format!("crates/{name}/{id}.md"),
        text,
    }
}
