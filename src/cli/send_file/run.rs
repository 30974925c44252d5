//! Checking, sending, following.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};

use super::follow::{Ends, FOLLOWED_MAX, Followed, Form};
use super::line::{Fault, Job};
use super::lines::{self, Faulty, Reading, is_regular};
use crate::cli::process::Stops;
use crate::cli::{exit, output, process, session};
use crate::lobby::client::Lobby;
use crate::ops::printable::{self, printable};
use crate::settings::Settings;

/// The flags of `send --file`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FileArgs {
    /// Append many jobs: a file with one JSON object a line, or - for stdin
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The line of the file to begin with
    #[arg(long, value_name = "LINE", default_value_t = 1, requires = "file",
        value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// Check every line and append nothing
    #[arg(long, requires = "file", conflicts_with = "wait")]
    check: bool,
}

/// Jobs that go to Redis together.
const BATCH: usize = 128;
/// Faults that are named.
const FAULTS_MAX: usize = 20;
/// How long Redis may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Between two lines about how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Runs it; waits for the outcomes where it is given for how long.
pub(in crate::cli) fn run(settings: &Settings, args: FileArgs, patience: Option<Duration>, form: Form) -> ExitCode {
    let FileArgs { file, from_line, check } = args;
    let path = file.unwrap_or_default();
    let reading = Reading { from_line, max_field_bytes: settings.stream.max_field_bytes, now_ms: process::now_ms() };
    if let Err(error) = lines::is_there(&path) {
        return ExitCode::from(unreadable(&path, &error));
    }
    // What can be read twice is checked as a whole before the first job is sent.
    if check || is_regular(&path) {
        match checked(&path, reading) {
            Ok(jobs) if check => output::note(&format!("{} of {} can be sent", jobs_text(jobs), shown(&path))),
            Ok(jobs) if patience.is_some() && jobs > FOLLOWED_MAX as u64 => {
                output::complain(
                    &format!("--wait follows {FOLLOWED_MAX} jobs at most, and {} has {jobs}", shown(&path)),
                    "send it without --wait, or split it",
                );
                return ExitCode::from(exit::USAGE);
            }
            Ok(_) => {}
            Err(code) => return ExitCode::from(code),
        }
        if check {
            return ExitCode::from(exit::DONE);
        }
    }
    process::block_on(send(settings, &path, reading, (patience, form)))
}

fn shown(path: &Path) -> String {
    if lines::is_stdin(path) { "stdin".to_owned() } else { printable(&path.to_string_lossy()) }
}

fn jobs_text(count: u64) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// Says that there is no such file, or that it may not be read; the exit code that follows.
fn unreadable(path: &Path, error: &std::io::Error) -> u8 {
    output::complain(&format!("--file {}: {error}", shown(path)), "name a file that you may read, or - for stdin");
    exit::USAGE
}

/// How many jobs there are, or the exit code after what is wrong.
fn checked(path: &Path, reading: Reading) -> Result<u64, u8> {
    let (mut jobs, mut faults) = (0, 0);
    let read = lines::read(path, reading, |found| {
        match found {
            Ok(_) => jobs += 1,
            Err((line, fault)) => {
                faults += 1;
                if faults <= FAULTS_MAX {
                    output::complain(&format!("{} line {line}: {fault}", shown(path)), fault.remedy());
                }
            }
        }
        true
    });
    if let Err(error) = read {
        return Err(unreadable(path, &error));
    }
    match faults {
        0 => Ok(jobs),
        faults => {
            if faults > FAULTS_MAX {
                output::note(&format!("{} more lines cannot be sent", faults - FAULTS_MAX));
            }
            output::note("nothing was sent");
            Err(exit::USAGE)
        }
    }
}

/// Where sending has ended.
enum End {
    /// At the end of the file.
    Whole,
    /// At a line that is no job.
    Fault(Faulty),
    /// Redis has not taken the job of this line, as far as is known.
    Refused(u64, String),
    /// `--wait` cannot follow more.
    Full(u64),
    /// A signal: the exit code, and the first line that is not sent, as far as is known.
    Stopped(u8, u64),
}

/// What is sent, and how far it has come.
struct Sending<'a> {
    lobby: &'a Lobby,
    form: Form,
    followed: Option<Followed>,
    sent: u64,
    /// The line behind the last one that is sent.
    next_line: u64,
    said: Instant,
}

/// How long a batch that is under way when a signal comes may take.
const LAST_BATCH_WITHIN: Duration = Duration::from_secs(1);

async fn send(settings: &Settings, path: &Path, reading: Reading, (patience, form): (Option<Duration>, Form)) -> u8 {
    let url = &settings.redis.display_url;
    let mut stops = match Stops::listen() {
        Ok(stops) => stops,
        Err(error) => return process::no_signals(&error),
    };
    let lobby = match Lobby::connect_within(&settings.redis, &settings.stream, CONNECT_WITHIN).await {
        Ok(lobby) => lobby,
        Err(error) => {
            output::complain(
                &format!("no connection to Redis at {url}: {}", printable(&error.text)),
                &session::remedy(error.kind),
            );
            return exit::UNAVAILABLE;
        }
    };
    let from = match patience {
        Some(_) => lobby.results_end().await,
        None => Ok(String::new()),
    };
    let from = match from {
        Ok(from) => from,
        Err(error) => {
            output::complain(
                &format!("cannot read the results from Redis at {url}: {}", printable(&error.text)),
                &session::remedy(error.kind),
            );
            return exit::UNAVAILABLE;
        }
    };
    let followed = patience.map(|_| Followed::default());
    let next_line = reading.from_line;
    let mut sending = Sending { lobby: &lobby, form, followed, sent: 0, next_line, said: Instant::now() };
    let end = sending.all(lines::stream(path, reading), &mut stops).await;
    let Sending { followed, sent, .. } = sending;
    output::note(&format!("sent {}", jobs_text(sent)));
    let code = say(&end, path);
    let (Some(followed), Some(patience)) = (followed, patience) else { return code };
    if matches!(end, End::Stopped(..)) {
        return code;
    }
    let ends = followed.follow(&lobby, from, &mut stops, (patience, form)).await;
    let Ends { succeeded, failed, open, .. } = ends;
    output::note(&format!("{succeeded} success, {failed} failure, {open} without an outcome so far"));
    match ends {
        Ends { stopped: Some(stopped), .. } => {
            output::note("stopped: every job was sent, and those without an outcome stay in the stream");
            stopped
        }
        _ if code != exit::DONE => code,
        Ends { open: 1.., .. } => exit::TIMED_OUT,
        Ends { failed: 1.., .. } => exit::FAILED,
        Ends { .. } => exit::DONE,
    }
}

fn say(end: &End, path: &Path) -> u8 {
    match end {
        End::Whole => exit::DONE,
        End::Fault((line, fault @ Fault::Unreadable(_))) => {
            output::complain(&format!("{} behind line {line} {fault}", shown(path)), fault.remedy());
            exit::FAILED
        }
        End::Fault((line, fault)) => {
            output::complain(
                &format!("{} line {line}: {fault}", shown(path)),
                &format!("{}; go on with --from-line {line}", fault.remedy()),
            );
            exit::USAGE
        }
        End::Refused(line, error) => {
            output::complain(
                &format!("{} line {line}: Redis has not confirmed the job: {error}", shown(path)),
                &format!("go on with --from-line {line} (a job that is sent again does no harm)"),
            );
            exit::UNAVAILABLE
        }
        End::Stopped(code, line) => {
            output::complain(
                &format!("{}: stopped by a signal before line {line}", shown(path)),
                &format!("go on with --from-line {line} (a job that is sent again does no harm)"),
            );
            *code
        }
        End::Full(line) => {
            output::complain(
                &format!("--wait follows {FOLLOWED_MAX} jobs at most"),
                &format!("go on with --from-line {line}"),
            );
            exit::USAGE
        }
    }
}

impl Sending<'_> {
    /// Sends what comes, in batches of what is ready.
    async fn all(&mut self, mut jobs: Receiver<Result<Job, Faulty>>, stops: &mut Stops) -> End {
        let mut ready = Vec::with_capacity(BATCH);
        loop {
            let count = tokio::select! {
                code = stops.next() => return End::Stopped(code, self.next_line),
                count = jobs.recv_many(&mut ready, BATCH) => count,
            };
            if count == 0 {
                return End::Whole;
            }
            let (mut batch, mut fault) = (Vec::with_capacity(ready.len()), None);
            for found in ready.drain(..) {
                match found {
                    Ok(job) => batch.push(job),
                    Err(found) => {
                        fault = Some(found);
                        break;
                    }
                }
            }
            if let Err(end) = self.batch_unless_stopped(&batch, stops).await {
                return end;
            }
            if let Some(fault) = fault {
                return End::Fault(fault);
            }
        }
    }

    /// Sends a batch. After a signal it has a moment left: then it is known what was sent.
    async fn batch_unless_stopped(&mut self, jobs: &[Job], stops: &mut Stops) -> Result<(), End> {
        let first_line = self.next_line;
        let last_line = jobs.last().map(|job| job.line);
        let stopped = {
            let mut batch = std::pin::pin!(self.batch(jobs));
            let code = tokio::select! {
                sent = &mut batch => return sent,
                code = stops.next() => code,
            };
            (code, timeout(LAST_BATCH_WITHIN, batch).await)
        };
        Err(match stopped {
            (_, Ok(Err(end))) => end,
            (code, Ok(Ok(()))) => End::Stopped(code, last_line.map_or(first_line, |line| line + 1)),
            (code, Err(_)) => End::Stopped(code, first_line),
        })
    }

    async fn batch(&mut self, jobs: &[Job]) -> Result<(), End> {
        if let (Some(followed), Some(job)) = (&self.followed, jobs.first())
            && followed.is_full()
        {
            return Err(End::Full(job.line));
        }
        let lobby = self.lobby;
        let append = async |job: &Job| {
            let fields: Vec<_> = job.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            lobby.append_fields(&fields).await
        };
        // One connection takes them in their order.
        let answers = join_all(jobs.iter().map(append)).await;
        let (mut text, mut refused) = (String::new(), None);
        for (job, answer) in jobs.iter().zip(answers) {
            match answer {
                Ok(id) => self.took(job, &id.to_string(), &mut text),
                Err(error) => refused = refused.or(Some(End::Refused(job.line, printable(&error.to_string())))),
            }
        }
        output::print(&text);
        self.say_progress(jobs.last());
        refused.map_or(Ok(()), Err)
    }

    fn took(&mut self, job: &Job, id: &str, text: &mut String) {
        self.sent += 1;
        self.next_line = job.line + 1;
        if let Some(followed) = &mut self.followed {
            followed.add(id, job.line);
        }
        match (self.form, &self.followed) {
            // The object with the outcome follows.
            (Form::Json { .. }, Some(_)) => {}
            (Form::Json { .. }, None) => {
                let object =
                    serde_json::json!({"schema_version": 1, "line": job.line, "entry_id": id, "game_id": job.game});
                *text += &printable::json(&object);
            }
            // Writing to a String cannot fail.
            (Form::Plain, _) => _ = writeln!(text, "{id}"),
        }
    }

    fn say_progress(&mut self, last: Option<&Job>) {
        if let Some(job) = last.filter(|_| self.said.elapsed() >= PROGRESS_EVERY) {
            self.said = Instant::now();
            output::note(&format!("sent {} so far, up to line {}", jobs_text(self.sent), job.line));
        }
    }
}
