//! `init`: asks three questions and writes a mirror.toml, with all other settings in it as comments.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::{self, Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::say::{self, Lines};
use crate::{
    config::{self, DEFAULT_FILE, DOCUMENTED, Flags},
    error::{Error, Result},
};

/// How it is asked.
#[derive(Args, Clone, Debug, Default)]
pub struct InitOptions {
    /// Ask nothing: take what is proposed.
    #[arg(long)]
    yes: bool,
}

/// A question: which setting it is about, how it is put, and what is proposed.
struct Question {
    table: &'static str,
    key: &'static str,
    asks: &'static str,
    proposed: String,
}

/// What is asked.
fn questions(flags: &Flags) -> [Question; 3] {
    let listen = flags.listen.map(|at| at.to_string());
    let store = flags.store.clone();
    [
        Question {
            table: "[server]",
            key: "listen",
            asks: "Where do clients reach it? 127.0.0.1:8080 is for this machine alone, 0.0.0.0:8080 for all that can",
            proposed: listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
        },
        Question {
            table: "[store]",
            key: "path",
            asks: "In which folder are crates kept?",
            proposed: store.unwrap_or_else(|| "cache".to_owned()),
        },
        Question {
            table: "[store]",
            key: "max_size",
            asks: "How large may that become? What was used least recently goes first",
            proposed: "50GiB".to_owned(),
        },
    ]
}

/// Asks, and writes the file that `--config` names, or mirror.toml. What is there already is never written over.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is such a file, it can't be written, or nobody answers.
pub fn run(flags: &Flags, options: &InitOptions) -> Result<ExitCode> {
    let file = flags.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    if file.symlink_metadata().is_ok() {
        return Err(exists(&file));
    }
    let mut text = DOCUMENTED.to_owned();
    for question in questions(flags) {
        let answer = match options.yes {
            true => checked(&question, &question.proposed)?,
            false => ask(&question)?,
        };
        text = with(&text, &question, &answer);
    }
    write(&file, &text)?;
    let mut lines = Lines::default();
    let named = match flags.config {
        Some(_) => format!(" --config {}", file.display()),
        None => String::new(),
    };
    lines.say(format_args!(
        "{} is written. Try it with `crate-mirror check{named}`, start it with `crate-mirror{named}`.",
        file.display()
    ));
    Ok(lines.end(ExitCode::SUCCESS))
}

/// The answer to a question, as it stands in the file. Who answers what can't be is told so and asked again.
fn ask(question: &Question) -> Result<String> {
    loop {
        let prompt = format!("{} [{}]: ", question.asks, question.proposed);
        let _ = io::stderr().write_all(prompt.as_bytes());
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        if !io::stdin().is_terminal() {
            let _ = io::stderr().write_all(b"\n");
        }
        match read {
            Ok(0) => {
                return Err(Error::config(
                    "nobody answers; `crate-mirror init --yes` asks nothing",
                ));
            }
            Ok(_) => {}
            Err(e) => {
                return Err(Error::config(format!("no answer can be read: {e}")).with_source(e));
            }
        }
        let said = match line.trim() {
            "" => &question.proposed,
            said => said,
        };
        match checked(question, said) {
            Ok(answer) => return Ok(answer),
            Err(e) => say::aside(e),
        }
    }
}

/// An answer as the settings take it.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when they don't.
fn checked(question: &Question, said: &str) -> Result<String> {
    let said = match question.key {
        // It may be started from elsewhere.
        "path" => absolute(said)?.display().to_string(),
        _ => said.to_owned(),
    };
    let value = toml::Value::String(said).to_string();
    config::parse(&format!("{}\n{} = {value}\n", question.table, question.key))?;
    Ok(value)
}

fn absolute(folder: &str) -> Result<PathBuf> {
    path::absolute(folder).map_err(|e| {
        Error::config(format!(
            "{folder:?} can't be used: {e}; allowed is a folder"
        ))
        .with_source(e)
    })
}

/// The documented settings with one set: its line has no `#` any more, and keeps what is said of it.
fn with(text: &str, question: &Question, value: &str) -> String {
    let (mut section, mut done) = ("", false);
    let commented = format!("# {} = ", question.key);
    let line = |line: &str| -> String {
        if line.starts_with('[') {
            section = if line.starts_with(question.table) {
                question.table
            } else {
                ""
            };
        }
        if done || section != question.table || !line.starts_with(&commented) {
            return format!("{line}\n");
        }
        done = true;
        let said_of_it = line.find("  # ").map_or("", |at| &line[at..]);
        format!("{} = {value}{said_of_it}\n", question.key)
    };
    text.lines().map(line).collect()
}

/// Writes `text` into a new file at `path`, whole or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Error::config(format!("{} can't be written: {e}", path.display())).with_source(e),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".mirror.toml.")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path)
        .map(drop)
        .map_err(|e| failed(e.error))
}

fn exists(path: &Path) -> Error {
    Error::config(format!(
        "{} is there already, and isn't written over; name another file with --config",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_is_set() {
        let mut text = DOCUMENTED.to_owned();
        let flags = Flags::default();
        for (question, value) in
            questions(&flags)
                .iter()
                .zip(["\"0.0.0.0:1\"", "\"/a\"", "\"2GiB\""])
        {
            text = with(&text, question, value);
        }
        let set = config::parse(&text).expect("settings");
        let wanted =
            "[server]\nlisten = \"0.0.0.0:1\"\n[store]\npath = \"/a\"\nmax_size = \"2GiB\"";
        let wanted = config::parse(wanted).expect("settings");
        assert_eq!(format!("{set:?}"), format!("{wanted:?}"));
        assert_eq!(text.lines().count(), DOCUMENTED.lines().count());
        assert!(
            text.contains("max_size = \"2GiB\"  # what was used"),
            "{text}"
        );
    }
}
