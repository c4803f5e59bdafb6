//! The book in docs/ and README.md: their links lead somewhere, every chapter is in the table of contents, and the chapter about settings says what
//! mirror.toml says.
//!
//! `CRATE_MIRROR_WRITE_DOCS=1 cargo test --test it book::` writes the tables of docs/settings.md anew.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate_mirror::config::{self, DOCUMENTED};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All documents that people read, in the order of their paths.
fn documents() -> Vec<PathBuf> {
    let in_folder = |folder: PathBuf| {
        let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let files = files.map(|file| file.expect("an entry").path());
        let files = files.filter(|path| path.extension().is_some_and(|e| e == "md"));
        files.collect::<Vec<_>>()
    };
    let mut documents = in_folder(root().to_owned());
    documents.extend(in_folder(root().join("docs")));
    documents.sort();
    documents
}

/// The lines of a document that aren't code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    })
}

/// What a heading is linked to by, as GitHub and mdBook have it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// The targets of the links in a document: `[words](target)`.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // What is between backticks is no link.
        let words: String = line.split('`').step_by(2).collect();
        for part in words.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Where this project's own files are to be seen; documents of the book link to what isn't in the book by it.
const OWN_FILES: &str = "https://github.com/crate-mirror/crate-mirror/blob/main/";

#[test]
fn every_link_leads_to_what_is_there() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        for link in links(&text) {
            let own = link.strip_prefix(OWN_FILES);
            // A chapter that is still to be written has an empty link in the table of contents.
            if link.is_empty() || own.is_none() && link.contains("://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = match own {
                Some(own) => root().join(own.split('#').next().unwrap_or_default()),
                None if path.is_empty() => document.clone(),
                None => document.parent().expect("a folder").join(path),
            };
            let there = target.exists()
                && (fragment.is_empty() || anchors(&read(&target)).contains(fragment));
            // The book is built from docs/ alone, so a path out of it leads nowhere in there.
            let within = !document.starts_with(root().join("docs")) || !path.starts_with("..");
            if !there || !within {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_chapter_is_in_the_table_of_contents() {
    let contents = links(&read(&root().join("docs/SUMMARY.md")));
    for document in documents() {
        let name = document.file_name().expect("a name").to_string_lossy();
        if document.starts_with(root().join("docs")) && name != "SUMMARY.md" {
            assert!(
                contents.contains(&name.to_string()),
                "{name} isn't in docs/SUMMARY.md"
            );
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= 120, "{lines} lines");
}

/// A section of mirror.toml: its line in brackets, what is said of it, and its keys.
struct Section {
    table: String,
    comment: String,
    rows: Vec<[String; 3]>,
}

/// Splits what comes before a comment from the comment.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        quoted ^= c == '"';
        if c == '#' && !quoted {
            return (line[..at].trim_end(), line[at + 1..].trim());
        }
    }
    (line.trim_end(), "")
}

/// Whether `key = value` in that table changes nothing.
fn is_default(table: &str, setting: &str) -> bool {
    let defaults = config::parse("").expect("valid settings");
    let with = config::parse(&format!("{table}\n{setting}\n"));
    with.is_ok_and(|with| format!("{with:?}") == format!("{defaults:?}"))
}

fn sections() -> Vec<Section> {
    let mut sections = Vec::<Section>::new();
    for line in DOCUMENTED.lines() {
        let content = line.strip_prefix("# ").unwrap_or(line);
        let (setting, comment) = split_comment(content);
        if setting.starts_with('[') {
            sections.push(Section {
                table: setting.to_owned(),
                comment: comment.to_owned(),
                rows: Vec::new(),
            });
        } else if let (Some(section), Some((key, value))) =
            (sections.last_mut(), setting.split_once(" = "))
        {
            let value = if is_default(&section.table, setting) {
                format!("`{value}`")
            } else {
                format!("none; `{value}`")
            };
            let comment = comment.replace('|', "\\|");
            let row = [format!("`{key}`"), value, comment];
            section.rows.push(row);
        }
    }
    sections
}

/// The table of a section as docs/settings.md has it, between the lines that mark it.
fn table_of(section: &Section) -> String {
    let mut table = String::new();
    if !section.comment.is_empty() {
        writeln!(table, "{}.\n", section.comment).expect("text");
    }
    table.push_str("| key | default | what |\n|---|---|---|\n");
    for row in &section.rows {
        writeln!(table, "| {} |", row.join(" | ")).expect("text");
    }
    table
}

/// `chapter` with the tables of mirror.toml in their places; sections that it doesn't have yet are added at its end.
fn with_tables(chapter: &str) -> String {
    let mut chapter = chapter.to_owned();
    for section in sections() {
        let begin = format!("<!-- mirror.toml: {} -->\n", section.table);
        let end = "<!-- end -->\n";
        if !chapter.contains(&begin) {
            write!(chapter, "\n## `{}`\n\n{begin}{end}", section.table).expect("text");
        }
        let start = chapter.find(&begin).expect("it was put there") + begin.len();
        let length = chapter[start..].find(end).expect("the end of the table");
        // Between comments and tables Markdown wants an empty line.
        let table = format!("\n{}\n", table_of(&section));
        chapter.replace_range(start..start + length, &table);
    }
    chapter
}

#[test]
fn the_chapter_about_settings_says_what_mirror_toml_says() {
    let path = root().join("docs/settings.md");
    let chapter = read(&path);
    let wanted = with_tables(&chapter);
    if env::var_os("CRATE_MIRROR_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("written");
        return;
    }
    let differs = chapter.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    assert!(
        chapter == wanted,
        "docs/settings.md isn't as mirror.toml has it, such as {differs:?}: CRATE_MIRROR_WRITE_DOCS=1 cargo test --test it book:: writes it anew"
    );
    let of_mirror_toml = chapter.matches("<!-- mirror.toml: ").count();
    assert_eq!(of_mirror_toml, sections().len(), "a table too many");
}
