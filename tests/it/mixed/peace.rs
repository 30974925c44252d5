//! After the faults: every replica is ready within seconds, everything is answered, and the account is exact.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use startjobs::embedded::process::Process;
use startjobs::lobby::accounting::Sent;
use startjobs::lobby::client::{Dead, Outcome};

use super::processes::{Seat, Supervisor};
use super::stage::{Fate, Stage};
use crate::support::scrape;
use crate::support::sim_log::SimLog;
use crate::support::world::{Entry, World};

/// All that waits is answered within this time, on a machine that does much else.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// A reader whose connection went half-open during the last fault notices it only then.
const STAYS_READY: Duration = Duration::from_secs(4);
const AUDITED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const LONG_LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Waits until every replica is ready and stays so; answers how long the slowest took. `limit` counts from now, and for a
/// replica that takes the place of one that a job killed from its start.
pub(super) async fn ready(stage: &Stage, supervisor: &mut Supervisor<'_>, limit: Duration) -> Duration {
    stage.say("peace");
    let peace = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut ready_at: Vec<Option<Instant>> = vec![None; supervisor.seats.len()];
    let mut said: Vec<String> = vec![String::new(); supervisor.seats.len()];
    loop {
        supervisor.supervise(stage);
        for at in 0..supervisor.seats.len() {
            let wrong = unready(&supervisor.seats[at]);
            let since = supervisor.seats[at].started.max(peace);
            if !supervisor.runs(at) {
                ready_at[at] = None;
            } else if wrong.is_empty() {
                slowest = slowest.max(ready_at[at].get_or_insert_with(Instant::now).saturating_duration_since(since));
            } else {
                ready_at[at] = None;
                assert!(since.elapsed() < limit, "seed {}: after {:?}: {wrong}", stage.seed, since.elapsed());
            }
            if said[at] != wrong {
                let (number, after) = (supervisor.seats[at].number, since.elapsed());
                stage.say(format_args!(
                    "replica {number} after {after:?}: {}",
                    if wrong.is_empty() { "ready" } else { &wrong }
                ));
                said[at] = wrong;
            }
        }
        if ready_at.iter().all(|ready| ready.is_some_and(|since| since.elapsed() >= STAYS_READY)) {
            stage.say(format_args!("every replica is ready, the slowest after {slowest:?}"));
            return slowest;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What a replica says that is not ready or not live.
fn unready(seat: &Seat) -> String {
    let wrong = ["/livez", "/readyz"].into_iter().filter_map(|path| match scrape::get(seat.port, path) {
        Ok((200, _)) => None,
        Ok((status, body)) => Some(format!("{path} {status} {}", body.trim())),
        Err(error) => Some(format!("{path} {error}")),
    });
    wrong.collect::<Vec<_>>().join(", ")
}

/// Waits until all is answered, replacing those that a job kills; answers how long they took to be ready at most.
pub(super) async fn settled(
    stage: &Stage,
    supervisor: &mut Supervisor<'_>,
    lobby: &startjobs::lobby::client::Lobby,
    limit: Duration,
) -> Duration {
    let began = Instant::now();
    let mut worst = Duration::ZERO;
    let expected = stage.books.borrow().len();
    loop {
        if supervisor.supervise(stage) {
            worst = worst.max(ready(stage, supervisor, limit).await);
        }
        let (outcomes, dead) = lobby.answers().await.expect("Redis answers");
        // A job that was given up has both.
        let malformed = stage.books.borrow().iter().filter(|(_, fate)| *fate == Fate::Malformed).count();
        let pending = lobby.pending().await.expect("Redis answers").len();
        let are_all = outcomes >= (expected - malformed) as u64 && dead >= malformed as u64;
        if are_all && pending == 0 {
            stage.say(format_args!("all is answered after {:?}", began.elapsed()));
            return worst;
        }
        assert!(
            began.elapsed() < SETTLED_WITHIN,
            "seed {}: {expected} entries sent, {malformed} malformed, {outcomes} outcomes, {dead} dead letters, {pending} pending",
            stage.seed
        );
        tokio::time::sleep(LONG_LOOK_INTERVAL).await;
    }
}

/// The account is exact, and each entry came to what it had to come to.
pub(super) async fn judged(stage: &Stage, world: &mut World) {
    let fates: HashMap<String, Fate> = stage.books.borrow().iter().map(|(id, fate)| (id.to_string(), *fate)).collect();
    let kind = |fate: &Fate| if *fate == Fate::Malformed { Sent::Malformed } else { Sent::Job };
    world.sent = fates.iter().map(|(id, fate)| (id.clone(), kind(fate))).collect();
    let account = world.account().await;
    println!("mixed: seed {}: {account:?}", stage.seed);
    assert!(account.is_exact(), "seed {}: the account does not balance: {account:?}", stage.seed);
    let wrong = [
        wrong_outcomes(&fates, &world.lobby.all_outcomes().await.expect("outcomes")),
        wrong_letters(&fates, &world.lobby.all_dead().await.expect("dead letters")),
    ];
    assert_eq!(wrong.concat(), Vec::<String>::new(), "seed {}", stage.seed);
    world.at_rest().await;
    // No group that a script makes for the length of its call has stayed.
    let groups = world.redis(&["XINFO", "GROUPS", &world.settings.stream.jobs]).await.into_list().expect("a list");
    assert_eq!(groups.len(), 1, "seed {}: {groups:?}", stage.seed);
    let log = format!("{}sim:log", world.settings.start.record_prefix);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let log = world.lobby.entries(&log).await.expect("the simulated engine's log");
    let log: Vec<Entry> = log
        .into_iter()
        .map(|(id, pairs)| Entry { id, pairs: pairs.iter().map(|(name, value)| (text(name), text(value))).collect() })
        .collect();
    let log = SimLog::read(&log);
    println!("mixed: seed {}: {} containers exist, {} run", stage.seed, log.existing(), log.running());
    for since in [&[][..], &["--since", "adoption"]] {
        audited(stage, world, since);
    }
}

fn wrong_outcomes(fates: &HashMap<String, Fate>, outcomes: &[Outcome]) -> Vec<String> {
    let is_right = |outcome: &Outcome| {
        let code = outcome.error_code.as_str();
        match outcome.source_ref.as_deref().and_then(|source| fates.get(source)) {
            Some(Fate::Starts | Fate::StartsLarge) => outcome.outcome == "success",
            Some(Fate::Missing) => code == "image_not_found",
            Some(Fate::Exits) => code == "engine_exited",
            Some(Fate::Retries) => code == "simulated_error",
            Some(Fate::Kills) => code == "poison",
            Some(Fate::Malformed) | None => false,
        }
    };
    let wrong = outcomes.iter().filter(|outcome| !is_right(outcome));
    wrong
        .map(|outcome| format!("{:?}: {outcome:?}", outcome.source_ref.as_ref().and_then(|id| fates.get(id))))
        .collect()
}

/// Whoever is given up deserves it.
fn wrong_letters(fates: &HashMap<String, Fate>, letters: &[Dead]) -> Vec<String> {
    let is_right = |letter: &Dead| match fates.get(&letter.source_ref) {
        Some(Fate::Malformed) => letter.reason == "malformed",
        Some(Fate::Retries) => letter.reason == "retries_exhausted",
        Some(Fate::Kills) => letter.reason == "poison",
        Some(Fate::Starts | Fate::StartsLarge | Fate::Missing | Fate::Exits) | None => false,
    };
    let wrong = letters.iter().filter(|letter| !is_right(letter));
    wrong.map(|letter| format!("{:?}: {letter:?}", fates.get(&letter.source_ref))).collect()
}

/// `startjobs audit` finds nothing.
fn audited(stage: &Stage, world: &World, since: &[&str]) {
    let log = world.directory.path().join(format!("audit-{}.log", since.len()));
    let arguments: Vec<String> = ["audit"].iter().chain(since).map(|&word| word.to_owned()).collect();
    let environment = [("STARTJOBS_REDIS_URL".to_owned(), world.redis.url())];
    let program = Path::new(env!("CARGO_BIN_EXE_startjobs"));
    let mut audit = Process::start(program, &arguments, &environment, &log).expect("the binary runs");
    let status = audit.wait(AUDITED_WITHIN);
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "seed {}: audit: {said}", stage.seed);
    println!("mixed: seed {}: {arguments:?} finds nothing", stage.seed);
}

/// What a run came to, in one line each.
pub(super) fn summary(stage: &Stage, took: Duration, tried_again: usize) {
    let mut sent: BTreeMap<Fate, usize> = BTreeMap::new();
    for (_, fate) in stage.books.borrow().iter() {
        *sent.entry(*fate).or_default() += 1;
    }
    println!("mixed: seed {}: sent {sent:?}; {tried_again} appends tried again", stage.seed);
    println!("mixed: seed {}: faults {:?}", stage.seed, stage.counts.borrow());
    println!("mixed: seed {}: every replica was ready at most {took:?} after the last fault", stage.seed);
}
