//! `startjobs drain`: one replica finishes what it has, and ends.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::session::{FleetArgs, Session, who};
use super::{exit, output};
use crate::ops::printable::{json, printable, span};
use crate::ops::replicas::{Replica, State};
use crate::redis::RedisError;
use crate::stream::drain::DrainPlaced;

const EXAMPLES: &str = "Examples:
  startjobs replicas                                            shows the names
  startjobs drain web3-6f1c --reason 'kernel update, INC-42'
  startjobs drain web3-6f1c --wait 5m
  startjobs drain web3-6f1c --json | jq .result";

const NOTES: &str = "The replica does what it does on SIGTERM: it stops reading, finishes and settles its starts within its drain-timeout, gives back
the rest, signs off, and its process ends with 0. The others take over what it gave back. A process manager that restarts the
process in any case (systemd: Restart=always, Docker: --restart always, Kubernetes: a Deployment) starts a new replica with another
name. To keep the host free of replicas, stop the service there.

The replica hears of it at once, or within ten seconds where the server refuses its messages. A replica of a version without
`drain` ignores it: the command says so after five seconds, and names the version.

Exit codes: 0 the replica has left; 1 nothing was done, because the name is unknown or fits several replicas, or the replica died
before it left; 2 usage; 69 Redis is unavailable; 75 it had not left when --wait ended: it is still to drain; 78 a setting is wrong.";

/// Characters of a name that are enough where they fit one replica alone.
const PREFIX_MIN: usize = 4;
/// Replicas that a refusal names.
const NAMED_MAX: usize = 20;
/// How long after each look for the replica the next one follows.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// A replica that does not drain by then is said not to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Let one replica finish what it has, give back the rest, and end
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct DrainArgs {
    /// The name of the replica, or the beginning of it: at least 4 characters that no other replica's name begins with
    #[arg(value_name = "REPLICA", value_parser = replica_name)]
    replica: String,
    /// Who wants it, instead of user@host
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// The reason, which the replica's log and the events show
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Maximum time to wait until the replica has left
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

fn replica_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.chars().count() < PREFIX_MIN {
        return Err(format!(
            "must be a replica's name, or at least its first {PREFIX_MIN} characters; see `startjobs replicas`"
        ));
    }
    Ok(name.to_owned())
}

/// What became of it.
#[derive(Debug, serde::Serialize)]
struct Answer {
    schema_version: u32,
    /// The whole name; none where no replica was found.
    replica: Option<String>,
    /// `drained`, `undecided`, `died` or `refused`.
    result: &'static str,
    /// For people.
    sentence: String,
    /// The version of the replica, where it says so.
    version: Option<String>,
    /// Whether the replica has begun to drain.
    has_begun: bool,
    /// Entries that it held when it was last looked at.
    pending: u64,
}

/// Runs it.
pub(super) fn run(args: DrainArgs) -> ExitCode {
    let DrainArgs { replica, by, reason, wait, json: as_json, fleet } = args;
    let by = by.unwrap_or_else(who);
    Session::run(fleet, async |session| match ask(session, &replica, (&by, &reason), wait).await {
        Ok(answer) => say(&answer, as_json),
        Err(error) => session.failed(&error),
    })
}

fn say(answer: &Answer, as_json: bool) -> u8 {
    if as_json {
        output::print(&json(answer));
    } else if answer.result == "drained" {
        output::print(&format!("{}\n", answer.sentence));
    } else {
        eprintln!("startjobs: {}", answer.sentence);
    }
    match answer.result {
        "drained" => exit::DONE,
        "undecided" => exit::TIMED_OUT,
        _ => exit::FAILED,
    }
}

fn refused(sentence: String) -> Answer {
    let (replica, version) = (None, None);
    Answer { schema_version: 1, replica, result: "refused", sentence, version, has_begun: false, pending: 0 }
}

async fn replicas(session: &Session) -> Result<Vec<Replica>, RedisError> {
    let look = session.ask(session.view.look()).await?;
    Ok(session.view.replicas(&look).replicas)
}

async fn ask(session: &Session, name: &str, (by, reason): (&str, &str), wait: Duration) -> Result<Answer, RedisError> {
    let replica = match chosen(replicas(session).await?, name) {
        Ok(replica) => replica,
        Err(sentence) => return Ok(refused(sentence)),
    };
    let name = printable(&replica.name);
    match session.ask(session.view.group().drain(&replica.name, by, reason)).await? {
        DrainPlaced::Asked => {}
        DrainPlaced::Before(drain) => {
            eprintln!("startjobs: {name}: {} has asked for this before", printable(&drain.by));
        }
        DrainPlaced::Gone | DrainPlaced::Unknown => return Ok(refused(format!("{name}: it has left meanwhile"))),
    }
    left(session, replica, wait).await
}

/// Waits until the replica has left.
async fn left(session: &Session, mut replica: Replica, wait: Duration) -> Result<Answer, RedisError> {
    let (began, name) = (Instant::now(), printable(&replica.name));
    let (mut has_begun, mut is_said) = (false, false);
    let answer = |replica: &Replica, result, has_begun, sentence: String| Answer {
        schema_version: 1,
        replica: Some(replica.name.clone()),
        result,
        sentence: format!("{name}: {sentence}"),
        version: replica.version.clone(),
        has_begun,
        pending: replica.pending,
    };
    loop {
        // A record that is gone was removed after the replica had left.
        let found = replicas(session).await?.into_iter().find(|one| one.name == replica.name);
        let state = found.as_ref().map_or(State::Left, |found| found.state);
        replica = found.unwrap_or(replica);
        match state {
            State::Left => return Ok(answer(&replica, "drained", true, "it has left".to_owned())),
            State::Dead | State::Lost => {
                let sentence = "it died before it left; the others take over what it held".to_owned();
                return Ok(answer(&replica, "died", has_begun, sentence));
            }
            State::Draining => has_begun = true,
            State::Running | State::Unknown => {}
        }
        let waited = began.elapsed();
        let is_silent = !has_begun && waited >= ANSWERS_WITHIN.min(wait);
        if waited >= wait {
            let sentence = if is_silent { silence(&replica) } else { holds(&replica, wait) };
            return Ok(answer(&replica, "undecided", has_begun, sentence));
        }
        if is_silent && !is_said {
            is_said = true;
            eprintln!("startjobs: {name}: {}", silence(&replica));
        }
        sleep(LOOK_AGAIN_AFTER.min(wait.saturating_sub(waited))).await;
    }
}

fn silence(replica: &Replica) -> String {
    let version = replica.version.as_deref().map_or_else(|| "of an unknown version".to_owned(), printable);
    format!(
        "it does not answer. Its version is {version}; a version without `drain` ignores this: stop its process with SIGTERM. \
         Any other replica drains within ten seconds"
    )
}

fn holds(replica: &Replica, wait: Duration) -> String {
    let starting = replica.in_flight.unwrap_or_default();
    let wait = span(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    format!(
        "it drains, and had not left after {wait}: it holds {} entries, {starting} of them being started. `startjobs pending` lists \
         them; it ends within its drain-timeout",
        replica.pending
    )
}

/// The replica of this name, or the only one that is there and whose name begins so; else why there is none.
fn chosen(mut replicas: Vec<Replica>, name: &str) -> Result<Replica, String> {
    if let Some(at) = replicas.iter().position(|replica| replica.name == name) {
        let replica = replicas.swap_remove(at);
        return match replica.state {
            State::Running | State::Draining => Ok(replica),
            state @ (State::Dead | State::Lost | State::Left) => {
                Err(format!("{}: it is {} already", printable(&replica.name), state.as_str()))
            }
            State::Unknown => {
                Err(format!("{}: it is a consumer of the group, and no replica", printable(&replica.name)))
            }
        };
    }
    replicas.retain(Replica::is_alive);
    let mut fitting: Vec<Replica> = replicas.iter().filter(|one| one.name.starts_with(name)).cloned().collect();
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        0 if replicas.is_empty() => {
            Err("no replica runs here: check --jobs-stream, --group and --redis-url".to_owned())
        }
        0 => Err(format!(
            "no replica has a name that begins with {}. Those that run:{}",
            printable(name),
            list(&replicas)
        )),
        count => Err(format!("{count} replicas have a name that begins with {}:{}", printable(name), list(&fitting))),
    }
}

fn list(replicas: &[Replica]) -> String {
    let more = replicas.len().saturating_sub(NAMED_MAX);
    let mut lines: Vec<String> = replicas.iter().take(NAMED_MAX).map(|replica| printable(&replica.name)).collect();
    if more > 0 {
        lines.push(format!("and {more} more: `startjobs replicas` lists them"));
    }
    lines.iter().flat_map(|line| ["\n  ", line.as_str()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::look::Look;
    use crate::ops::replicas::list as listed;

    #[test]
    fn a_name_or_the_beginning_of_one_name_alone_is_found() {
        let mut look = Look { now_ms: 10_000, ..Look::default() };
        for (name, record) in
            [("web3-aa", "9900 running {}"), ("web3-ab", "9900 draining {}"), ("web4-cc", "9900 left {}")]
        {
            look.replicas.insert(name.into(), record.into());
        }
        look.pending.by.insert("stranger".into(), 3);
        let found = |name: &str| chosen(listed(&look, Duration::from_secs(1)), name).map(|replica| replica.name);
        assert_eq!(found("web3-aa"), Ok("web3-aa".to_owned()));
        assert_eq!(found("web3-ab"), Ok("web3-ab".to_owned()));
        for (name, why) in [
            ("web3", "2 replicas have a name that begins with web3:\n  web3-aa\n  web3-ab"),
            ("web4-cc", "web4-cc: it is left already"),
            ("web4", "no replica has a name that begins with web4. Those that run:\n  web3-aa\n  web3-ab"),
            ("stranger", "stranger: it is a consumer of the group, and no replica"),
        ] {
            assert_eq!(found(name), Err(why.to_owned()), "{name}");
        }
        assert!(chosen(Vec::new(), "web3").is_err_and(|why| why.contains("no replica runs here")));
        assert!(replica_name("web").is_err() && replica_name(" web3 ").is_ok_and(|name| name == "web3"));
    }
}
