//! How a measurement runs and ends: its place, interruption, removal, its report, and the exit code.

use serde::Serialize;

use super::flags::PlaceArgs;
use crate::bench::Error;
use crate::bench::rig::place::{Aof, Place};
use crate::cli::{exit, output, process};
use crate::ops::printable::json_pretty;
use crate::redis::Kind;

/// Opens the place of a run, with this append-only file unless told otherwise.
pub(super) fn open(args: &PlaceArgs, aof: Aof) -> Result<Place, u8> {
    let redis = Some(args.redis()).filter(|redis| !redis.is_empty());
    Place::open(redis, args.server.aof.unwrap_or(aof)).map_err(|error| say(&error))
}

/// Prints a report for programs or for people.
pub(super) fn show<R: Serialize>(report: &R, as_json: bool, table: impl FnOnce(&R) -> String) {
    output::print(&if as_json { json_pretty(report) } else { table(report) });
}

/// The exit code of a run that was exact, or was not.
pub(super) fn code(is_kept: bool) -> u8 {
    if is_kept { exit::DONE } else { exit::BREACH }
}

/// Runs a measurement, unless it is interrupted, and removes everything either way.
pub(super) async fn measured<T>(
    mut place: Place,
    run: impl AsyncFnOnce(&mut Place) -> Result<T, Error>,
) -> Result<T, u8> {
    let mut stops = process::Stops::listen().map_err(|_| exit::FAILED)?;
    let ran = tokio::select! {
        ran = run(&mut place) => ran.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    if !place.close().await {
        eprintln!("startjobs: something of the run may be left behind");
    }
    ran
}

/// Says why the run cannot go on; answers the exit code.
pub(super) fn say(error: &Error) -> u8 {
    eprintln!("startjobs: {error}");
    match error {
        Error::NoServer(_) => exit::UNAVAILABLE,
        Error::Redis(error) if error.kind == Kind::Unreachable => exit::UNAVAILABLE,
        Error::Settings(_) => exit::CONFIG,
        _ => exit::FAILED,
    }
}
