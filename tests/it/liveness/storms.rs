//! Jobs that kill their process, and storms of kills, with the notice on: each death is known within a second, and no innocent
//! job is condemned. `deploy/search.sh kills` runs many more storms at a short claim idle.

use std::time::{Duration, Instant};

use startjobs::embedded::redis_server::RedisServer;

use super::{Crew, Load};
use crate::support::world::PATIENCE;

/// The last crash of a budget is counted only after claim idle.
const SHORT: (&str, &str) = ("claim-idle", "3s");
const LIMIT: Duration = Duration::from_secs(100);

fn redis() -> RedisServer {
    RedisServer::start().expect("redis-server starts")
}

/// Starts a new replica for each that has ended by itself; answers how many there were.
fn supervise(crew: &mut Crew) -> usize {
    let mut ended = Vec::new();
    for crewman in crew.living.clone() {
        if crew.world.fleet.replica(crewman.number).process().ended().is_some() {
            ended.push(crewman);
        }
    }
    crew.living.retain(|one| !ended.iter().any(|gone| gone.number == one.number));
    for _ in &ended {
        crew.launch(&[]);
    }
    ended.len()
}

/// Nothing but these was condemned, no living replica was declared dead, nothing is left.
async fn only_these_are_condemned(crew: &mut Crew, poison: &[String]) {
    crew.world.settled().await;
    crew.world.at_rest().await;
    let dead = crew.world.lobby.all_dead().await.expect("dead letters");
    let mut condemned: Vec<String> = dead.into_iter().map(|dead| dead.source_ref).collect();
    condemned.sort_unstable();
    assert_eq!(condemned, poison, "{}", crew.world.logs());
    let attempts = crew.attempts().await;
    assert!(attempts.keys().all(|field| field.starts_with("charges:")), "{attempts:?}");
    crew.one_container_a_game().await;
    crew.none_learned_that_it_was_dead();
}

#[tokio::test]
async fn jobs_that_kill_their_process_are_condemned_and_no_others() {
    let mut crew = Crew::of(4, redis(), &[SHORT]).await;
    let mut poison = Vec::new();
    for number in 0..90 {
        let kills = number % 45 == 20;
        let id = crew.world.send(&format!("g{number}"), if kills { "sim/abort" } else { "galaxy/engine:1" }).await;
        if kills {
            poison.push(id.to_string());
        }
    }
    let load = Load::begin(&crew.world, "load", Duration::from_millis(50)).await;
    let (began, mut deaths) = (Instant::now(), 0);
    while crew.world.lobby.all_dead().await.expect("dead letters").len() < poison.len() {
        deaths += supervise(&mut crew);
        assert!(began.elapsed() < LIMIT, "they are not condemned\n{}", crew.world.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("two jobs that kill were condemned after {deaths} deaths and {:?}", began.elapsed());
    load.end(&mut crew.world).await;
    only_these_are_condemned(&mut crew, &poison).await;
    let account = crew.world.account().await;
    assert_eq!(account.outcomes.get("poison"), Some(&2), "{account:?}");
}

/// Shares of the fleet, and all of it, are killed at random moments; what held jobs of 700 ms is started again.
async fn storm(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut crew = Crew::of(4, redis(), &[SHORT, ("simulated-latency", "700ms")]).await;
    crew.world.send_games("g", 48).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(random.u64(50..1_500))).await;
        random.shuffle(&mut crew.living);
        let share = if random.u8(0..3) == 0 { crew.living.len() } else { random.usize(1..=crew.living.len()) };
        // Some of them may not have begun.
        let doomed: Vec<_> = crew.living.drain(..share).collect();
        for crewman in &doomed {
            crew.world.signal(crewman.number, rustix::process::Signal::KILL);
        }
        for crewman in &doomed {
            crew.world.killed(crewman.number).await;
            crew.launch(&[]);
        }
    }
    let began = Instant::now();
    while !crew.world.account().await.lost.is_empty() {
        assert!(began.elapsed() < 2 * PATIENCE, "storm {seed} never ends\n{}", crew.world.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("storm {seed}: all answered {:?} after it", began.elapsed());
    crew.all_heard().await;
    only_these_are_condemned(&mut crew, &[]).await;
}

#[tokio::test]
async fn no_innocent_is_condemned_by_storms_of_kills() {
    let first = fastrand::u64(..1 << 32);
    println!("storms from seed {first} on");
    futures_util::future::join_all((first..first + 3).map(storm)).await;
}
