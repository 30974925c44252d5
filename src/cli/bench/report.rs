//! `startjobs bench report`: runs side by side, from their JSON.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::report::runs;
use crate::cli::{exit, output};

const EXAMPLES: &str = "Examples:
  startjobs bench report before.json after.json";

/// Compare runs by their JSON
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// What `--json` of the runs printed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &ReportArgs) -> u8 {
    let read = |file: &PathBuf| -> Result<runs::Named, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let run = serde_json::from_str(&text).map_err(|error| format!("{} is no JSON: {error}", file.display()))?;
        Ok((name_of(file), run))
    };
    let named: Result<Vec<runs::Named>, String> = args.files.iter().map(read).collect();
    match named.and_then(|named| runs::table(&named)) {
        Ok(table) => {
            output::print(&table);
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
