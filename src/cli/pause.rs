//! `startjobs pause` and `startjobs resume`: an operator holds the whole fleet.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::operate::{self, Session};
use super::{common, exit};
use crate::ops::printable::{printable, time};
use crate::stream::pause::Pause;

const PAUSE_EXAMPLES: &str = "Examples:
  startjobs pause --reason 'engine upgrade, INC-42'
  startjobs status                                   shows who has paused, since when and why
  startjobs resume";

const RESUME_EXAMPLES: &str = "Examples:
  startjobs resume";

const NOTES: &str = "While the fleet is paused no replica reads or claims anything; what runs is finished and answered. Jobs stay in the
stream. A pause stays until it is ended, also when every replica is restarted.

Exit codes: 0 done, also where nothing had to be; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

/// `pause` and its flags.
pub fn command() -> Command {
    let reason = Arg::new("reason").long("reason").value_name("TEXT").default_value("").hide_default_value(true);
    Command::new("pause")
        .about("Hold the whole fleet: nothing is read or claimed until resume")
        .before_help(PAUSE_EXAMPLES)
        .after_help(NOTES)
        .arg(reason.help("Why; shown by status"))
        .args(operate::args())
}

/// `resume` and its flags.
pub fn resume_command() -> Command {
    Command::new("resume")
        .about("End the pause of the fleet")
        .before_help(RESUME_EXAMPLES)
        .after_help(NOTES)
        .args(operate::args())
}

/// Runs `pause`.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let reason = matches.get_one::<String>("reason").cloned().unwrap_or_default();
    Session::run(matches, async |session| match session.ask(session.view.group().pause(&who(), &reason)).await {
        Ok(None) => {
            common::print("paused\n");
            exit::DONE
        }
        Ok(Some(before)) => {
            eprintln!("startjobs: paused before, which stays as it is: {}", said(&before));
            common::print("paused\n");
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

/// Runs `resume`.
pub fn resume(matches: &ArgMatches) -> ExitCode {
    Session::run(matches, async |session| match session.ask(session.view.group().resume()).await {
        Ok(before) => {
            match before {
                Some(pause) => eprintln!("startjobs: the pause has ended: {}", said(&pause)),
                None => eprintln!("startjobs: the fleet was not paused"),
            }
            common::print("running\n");
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

/// `user@host`, as far as the surroundings say.
fn who() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".to_owned());
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

fn said(pause: &Pause) -> String {
    let by = if pause.by.is_empty() { "somebody".to_owned() } else { printable(&pause.by) };
    let since = if pause.at_ms == 0 { String::new() } else { format!(" since {}", time(pause.at_ms)) };
    let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", printable(&pause.reason)) };
    format!("by {by}{since}{reason}")
}
