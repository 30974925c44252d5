//! The table as command-line flags.
//!
//! Every value is taken as a text, so that a bad one is a setting's problem among all others (exit code 78) and not
//! a usage error; unknown flags stay usage errors (exit code 2).

use clap::{Arg, ArgAction, ArgMatches};

use super::shape::Shape;
use super::source::Values;
use super::table::{Group, Reach, Row, TABLE};

/// The flags of these groups, and those of the settings file, which every command that reads settings reads.
pub fn args(groups: &[Group]) -> Vec<Arg> {
    let wanted = |row: &&Row| row.group == Group::File || groups.contains(&row.group);
    TABLE.iter().filter(wanted).filter(|row| row.reach != Reach::Environment).map(arg).collect()
}

fn arg(row: &'static Row) -> Arg {
    let help = format!("{} [default: {}] [env: {}]", row.help, row.default.as_str(), row.environment());
    let arg = Arg::new(row.name)
        .long(row.name)
        .value_name(row.shape.placeholder())
        .action(ArgAction::Set)
        .help(help)
        .help_heading(row.group.title());
    match row.shape {
        // `--strict` alone means on; a value needs its equals sign, or `--strict worker` would be ambiguous.
        Shape::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
        _ => arg.allow_negative_numbers(true),
    }
}

/// The settings that were given as flags. Flags that the command does not have are simply not given.
pub fn given(matches: &ArgMatches) -> Values {
    let value = |row: &Row| {
        let text = matches.try_get_one::<String>(row.name).ok()??;
        Some((row.name, text.clone()))
    };
    TABLE.iter().filter_map(value).collect()
}
