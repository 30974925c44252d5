//! `startjobs bench drain`: throughput, alone or against a bare client in the same run.

use clap::{ArgAction, ArgMatches, Command, value_parser};

use super::flags::{SUBJECTS, aof, duration, flag, measured, open, print_json, settings, shared, subjects};
use crate::bench::measure::compare::compare;
use crate::bench::measure::drain::{DrainOptions, Drained};
use crate::bench::rig::children::{Peer, Subject};
use crate::bench::rig::place::{Aof, Place};
use crate::cli::{common, exit};

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("drain")
        .about("Fill a backlog while nobody reads, then measure how fast it is answered")
        .args(shared("1", "0ms", "warn"))
        // As many as keep both sides busy when a start takes no time.
        .mut_arg("slots", |slots| slots.default_value("256"))
        .arg(
            flag("jobs", "COUNT", "Entries of one drain")
                .default_value("200000")
                .value_parser(value_parser!(u64).range(100..=5_000_000)),
        )
        .arg(
            flag("compare", "SUBJECT", "Measure this too, in alternating rounds; may be repeated")
                .action(ArgAction::Append)
                .value_parser(SUBJECTS),
        )
        .arg(
            flag("peer", "NAME=COMMAND", "Measure another program too (see deploy/peers.sh); may be repeated")
                .action(ArgAction::Append)
                .value_parser(value_parser!(Peer)),
        )
        .arg(
            flag("rounds", "COUNT", "Rounds; 5 where subjects are compared, else 1")
                .value_parser(value_parser!(u16).range(1..=100)),
        )
        .arg(duration("limit", "How long one drain may take").default_value("2m"))
}

/// Runs the command.
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, u8> {
    let mut subjects = subjects(matches);
    // Once for the whole run, so that a subject can be a plain value.
    let peers = matches.get_many::<Peer>("peer").into_iter().flatten().cloned();
    subjects.extend(peers.map(|peer| Subject::Peer(Box::leak(Box::new(peer)))));
    let rounds = matches.get_one::<u16>("rounds").copied().unwrap_or(if subjects.len() > 1 { 5 } else { 1 });
    let options = DrainOptions {
        jobs: matches.get_one("jobs").copied().unwrap_or_default(),
        limit: matches.get_one("limit").copied().unwrap_or_default(),
        replicas: matches.get_one::<u16>("replicas").copied().unwrap_or(1).into(),
        settings: settings(matches)?,
        log_level: matches.get_one::<String>("log-level").cloned().unwrap_or_default(),
    };
    let place = open(matches, aof(matches, Aof::Off))?;
    let run = async |place: &mut Place| compare(place, &subjects, rounds.into(), &options, say_round).await;
    let report = measured(place, run).await?;
    if matches.get_flag("json") {
        print_json(&report);
    } else {
        common::print(&report.table());
    }
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

fn say_round(round: usize, subject: Subject, drained: &Drained) {
    let (round, subject) = (round + 1, subject.as_str());
    let Drained { entries_per_s, redis_us_per_entry, client_us_per_entry, .. } = drained;
    eprintln!(
        "round {round}: {subject:<14} {entries_per_s:>9.0} entries/s, Redis {redis_us_per_entry:.2} us, client {client_us_per_entry:.2} us an entry"
    );
}
