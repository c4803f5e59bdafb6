//! `completions`: what a shell needs to know to complete this program's command line.

use std::process::ExitCode;

use clap::Command;
pub use clap_complete::Shell;

use super::say::Lines;

/// Prints the script for `shell`.
pub fn run(mut command: Command, shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "crate-mirror", &mut script);
    let mut lines = Lines::default();
    lines.say(String::from_utf8_lossy(&script).trim_end());
    lines.end(ExitCode::SUCCESS)
}
