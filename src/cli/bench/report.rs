//! `startjobs bench report`: runs side by side, from their JSON.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::bench::report::runs;
use crate::cli::{common, exit};

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("report")
        .about("Compare runs by their JSON")
        .arg(Arg::new("files").value_name("FILE").required(true).num_args(1..).value_parser(value_parser!(PathBuf)))
}

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> u8 {
    let read = |file: &PathBuf| -> Result<runs::Named, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let run = serde_json::from_str(&text).map_err(|error| format!("{} is no JSON: {error}", file.display()))?;
        Ok((name_of(file), run))
    };
    let files = matches.get_many::<PathBuf>("files").into_iter().flatten();
    let named: Result<Vec<runs::Named>, String> = files.map(read).collect();
    match named.and_then(|named| runs::table(&named)) {
        Ok(table) => {
            common::print(&table);
            exit::DONE
        }
        Err(error) => {
            eprintln!("startjobs: {error}");
            exit::FAILED
        }
    }
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
