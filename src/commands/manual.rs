//! `man`: the manual, as man(1) shows it.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;

use super::say::Lines;
use crate::error::{Error, Result};

/// Of what.
#[derive(Args, Clone, Debug, Default)]
pub struct ManualOptions {
    /// The page of a command; the program's own if not said.
    #[arg(value_name = "COMMAND")]
    of: Vec<String>,
    /// List the commands that have a page, one a line, as they are given to `man`.
    #[arg(long, conflicts_with = "of")]
    list: bool,
}

/// Prints a page in roff.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is no such command.
pub fn run(mut program: Command, options: &ManualOptions) -> Result<ExitCode> {
    program.build();
    let mut lines = Lines::default();
    if options.list {
        listed(&program, "", &mut lines);
    } else {
        let command = named(&program, &options.of)?;
        lines.say(String::from_utf8_lossy(&page(command)?).trim_end());
    }
    Ok(lines.end(ExitCode::SUCCESS))
}

/// The command that these words lead to.
fn named<'a>(program: &'a Command, words: &[String]) -> Result<&'a Command> {
    let mut command = program;
    for word in words {
        let found = command.get_subcommands().find(|c| c.get_name() == word);
        command = found.ok_or_else(|| {
            let known = command.get_subcommands().map(Command::get_name);
            let known: Vec<_> = known.filter(|name| *name != "help").collect();
            Error::config(format!(
                "there is no command {word:?}; allowed are {}",
                known.join(", ")
            ))
        })?;
    }
    Ok(command)
}

/// Prints the words of all commands below this one.
fn listed(command: &Command, before: &str, lines: &mut Lines) {
    for below in command.get_subcommands() {
        if below.get_name() == "help" {
            continue;
        }
        let words = format!("{before}{}", below.get_name());
        lines.say(&words);
        listed(below, &format!("{words} "), lines);
    }
}

fn page(command: &Command) -> Result<Vec<u8>> {
    // What is typed has spaces between its words, and the page's name hyphens, as git's pages do.
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(name.replace(' ', "-"))
        .section("1")
        .manual("crate-mirror")
        .render(&mut page)
        .map_err(|e| Error::internal("the page can't be written").caused_by(e))?;
    Ok(page)
}
