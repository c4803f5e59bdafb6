//! The `crate-mirror` program; all of it is in the library.

fn main() -> std::process::ExitCode {
    crate_mirror::cli::run()
}
