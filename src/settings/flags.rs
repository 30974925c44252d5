//! The table as command-line flags.
//!
//! Every value is taken as a text, so that a bad one is a setting's problem among all others (exit code 78) and not
//! a usage error; unknown flags stay usage errors (exit code 2). `-h` leaves these flags out, `--help` shows them.

use std::fmt;
use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::shape::Shape;
use super::source::{Sources, Values};
use super::table::{Reach, Row, TABLE};

/// Which settings a command takes as flags.
pub trait Takes {
    /// Whether this one is among them.
    fn takes(row: &Row) -> bool;
}

/// The settings that were given as flags to a command that takes those of `T`. A field of a command's own arguments.
pub struct SettingFlags<T> {
    given: Values,
    takes: PhantomData<fn() -> T>,
}

impl<T> SettingFlags<T> {
    /// Names and values.
    pub fn given(&self) -> &Values {
        &self.given
    }

    /// These flags and the environment of this process.
    pub(crate) fn sources(self) -> Sources {
        Sources::of_process(self.given)
    }
}

/// Names alone: a value may hold a password.
impl<T> fmt::Debug for SettingFlags<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.given.keys()).finish()
    }
}

impl<T: Takes> FromArgMatches for SettingFlags<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |row: &'static Row| Some((row.name, matches.get_one::<String>(row.name)?.clone()));
        Ok(Self { given: rows::<T>().filter_map(value).collect(), takes: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given.extend(Self::from_arg_matches(matches)?.given);
        Ok(())
    }
}

impl<T: Takes> Args for SettingFlags<T> {
    fn augment_args(command: Command) -> Command {
        command.args(rows::<T>().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Whether this flag is a setting.
pub(crate) fn is_setting(arg: &Arg) -> bool {
    arg.is_hide_short_help_set() && TABLE.iter().any(|row| arg.get_id() == row.name)
}

fn rows<T: Takes>() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.reach != Reach::Environment && T::takes(row))
}

fn arg(row: &'static Row) -> Arg {
    let help = format!("{} [default: {}] [env: {}]", row.help, row.default.as_str(), row.environment());
    let arg = Arg::new(row.name)
        .long(row.name)
        .value_name(row.shape.placeholder())
        .action(ArgAction::Set)
        .help(help)
        .help_heading(row.group.title())
        .hide_short_help(true);
    match row.shape {
        // `--strict` alone means on; a value needs its equals sign, or `--strict worker` would be ambiguous.
        Shape::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
        _ => arg.allow_negative_numbers(true),
    }
}
