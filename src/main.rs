//! The `startjobs` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    startjobs::cli::run(std::env::args_os())
}
