//! The command: its flags, and the loop of looking, drawing and listening.

use std::future::pending;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep_until};

use super::app::{App, Step};
use super::draw::draw;
use super::facts::{Facts, look};
use super::terminal::{Screen, is_there};
use crate::cli::history::has_blocks;
use crate::cli::process::{Stops, program_as_typed};
use crate::cli::session::{FleetArgs, Session};
use crate::cli::{exit, output};
use crate::ops::history::Range;
use crate::ops::printable::printable;
use crate::redis::RedisError;

const EXAMPLES: &str = "Examples:
  startjobs dash
  startjobs dash --interval 5s";

const NOTES: &str = "Keys: q quits; tab or 1 to 5 change the view; arrows and page keys scroll; t changes how far back the charts reach; r looks at
once; p shows how the fleet is paused. Nothing is changed from here.

While Redis does not answer, the numbers that were seen last stay, with their time.

Exit codes: 0 left; 2 usage, or no terminal; 69 Redis is unavailable at the start; 78 a setting is wrong; 129, 130, 143 stopped
by a signal.";

/// Between two drawings, so that ages are true.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// Watch the fleet on a whole terminal
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(in crate::cli) struct DashArgs {
    /// Look at the fleet at this interval
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// The shortest interval: each look costs Redis a few milliseconds.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < INTERVAL_MIN { Err("the shortest interval is 100ms".to_owned()) } else { Ok(interval) }
}

/// Runs it.
pub(in crate::cli) fn run(args: DashArgs) -> ExitCode {
    if !is_there() {
        output::complain(
            "dash needs a terminal for its keys and its screen",
            "without one use `startjobs status --watch 1s`",
        );
        return ExitCode::from(exit::USAGE);
    }
    let interval = args.interval;
    Session::run(args.fleet, async |session| {
        let stops = match Stops::listen() {
            Ok(stops) => stops,
            Err(error) => return failed(&error),
        };
        match Screen::take() {
            Ok(screen) => watch(session, screen, stops, interval).await,
            Err(error) => failed(&error),
        }
    })
}

fn failed(error: &std::io::Error) -> u8 {
    output::complain(&format!("the terminal: {error}"), "use `startjobs status --watch 1s` instead");
    exit::FAILED
}

type Looking<'a> = Pin<Box<dyn Future<Output = Result<Facts, RedisError>> + 'a>>;

/// A look at the fleet is under way or waits for its time; what is seen is drawn, and what is typed is done at once.
async fn watch(session: &Session, mut screen: Screen, mut stops: Stops, interval: Duration) -> u8 {
    let mut app = App::new(program_as_typed(), has_blocks());
    let begin = |range: Range| -> Option<Looking<'_>> { Some(Box::pin(look(session, range))) };
    let (mut looking, mut next) = (begin(app.range), Instant::now() + interval);
    loop {
        let now = Instant::now();
        if let Err(error) = screen.terminal.draw(|frame| draw(frame, &app, now)) {
            drop(screen);
            return failed(&error);
        }
        let is_idle = looking.is_none();
        let looked = async {
            match &mut looking {
                Some(looking) => looking.await,
                None => pending().await,
            }
        };
        tokio::select! {
            code = stops.next() => return code,
            input = screen.input() => match app.input(input) {
                Step::Quit => return exit::DONE,
                Step::Refresh => looking = begin(app.range),
                Step::Draw => {}
            },
            looked = looked => {
                app.looked(looked.map_err(|error| printable(&error.text)), Instant::now());
                (looking, next) = (None, Instant::now() + interval);
            }
            () = sleep_until(next), if is_idle => looking = begin(app.range),
            () = sleep_until(now + DRAW_EVERY) => {}
        }
    }
}
