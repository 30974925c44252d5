//! Many jobs from all sides, and many of them for one game.

use std::collections::BTreeMap;
use std::time::Duration;

use startjobs::stream::entry_id::EntryId;

use crate::support::dockerd::Dockerd;

use super::{HOSTS, Hosts, address_of, name_of, names};

const GAMES: usize = 36;
/// No replica and no host dies here, so none is taken for dead: not even one that a busy machine lets stand still for seconds.
/// A replica hears of a host that came after it once in a third of the heartbeat, and until then the games of that host wait.
const NEVER_DEAD: [(&str, &str); 3] = [("claim-idle", "60s"), ("host-heartbeat", "30s"), ("retry-attempts", "1000")];
/// Two seconds are promised for a repeated job, whichever host's replica reads it, and a machine that runs three engines beside
/// other work may take three times as long.
const REPEATED_WITHIN: Duration = Duration::from_secs(3 * 2);

#[tokio::test]
async fn each_game_runs_once_over_all_hosts_and_repeated_jobs_are_answered_from_there() {
    let Some(mut hosts) = Hosts::start_with(|_| Dockerd::start(), &NEVER_DEAD).await else { return };
    let mut replicas = Vec::new();
    for host in (0..HOSTS).chain(0..HOSTS) {
        replicas.push(hosts.working_on(host, &[]).await);
    }
    let games = names("game", GAMES);
    // Each game three times, the second and third while the first one may be under way on another host.
    let mut first = Vec::new();
    for some in games.chunks(6) {
        for _ in 0..3 {
            first.extend(hosts.send(some).await);
        }
    }
    hosts.ends_well().await;
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for &job in &first {
        let outcome = hosts.world.outcome(job).await;
        *kinds.entry((outcome.get("game_id").to_owned(), outcome.get("error_code").to_owned())).or_default() += 1;
    }
    for game in &games {
        let of = |code: &str| kinds.get(&(game.clone(), code.to_owned())).copied().unwrap_or_default();
        assert_eq!((of(""), of("replay_no_op")), (1, 2), "{game}: {kinds:?}\n{}", hosts.world.logs());
        // A busy engine may not have been asked since the last one was started.
        hosts.world.eventually("it is seen", async |_| !hosts.observer.runs_of(game).is_empty()).await;
        assert_eq!(hosts.observer.runs_of(game).len(), 1, "{game}");
    }
    for host in 0..HOSTS {
        let on_host = hosts.are(&games, "running", host).await.len();
        println!("host {host} has {on_host} games");
        assert!(on_host >= 3, "the hosts do not share the games\n{}", hosts.world.logs());
    }

    let mut slowest = Duration::ZERO;
    for round in 0..2 {
        let mut jobs: Vec<(EntryId, String)> = Vec::new();
        for game in &games {
            jobs.push((hosts.world.send(game, super::GAME).await, game.clone()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        hosts.ends_well().await;
        for (job, game) in jobs {
            let outcome = hosts.success(job, "replay_no_op").await;
            let record = hosts.record(&game).await;
            assert_eq!(record["container_id"], outcome.get("container_id"), "{record}");
            let host = (0..HOSTS).find(|&host| record["host"] == name_of(host).as_str()).expect("one of ours");
            let endpoint = outcome.get("engine_endpoint");
            assert!(endpoint.contains(&address_of(host)), "{endpoint} is not on host {host}");
            slowest = slowest.max(hosts.took(job).await);
        }
        println!("round {round}: the slowest of {GAMES} repeated jobs took {slowest:?}");
    }
    let handed: usize = replicas.iter().map(|&replica| hosts.world.log(replica).count("handed over")).sum();
    println!("{handed} jobs were handed over, the engines have answered {} times", hosts.observer.samples());
    assert!(handed >= GAMES / 2, "{handed}");
    assert!(slowest < REPEATED_WITHIN, "{slowest:?}\n{}", hosts.world.logs());
    hosts.never_ran_twice();
}
