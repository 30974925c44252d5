//! Engines are restarted one after the other, while games are started on all of them: ports are used again at once, and no
//! record names the port of another game for longer than is promised.

use std::time::Duration;

use super::{HOSTS, Hosts, TRUE_WITHIN, names};
use crate::support::dockerd::Dockerd;

#[tokio::test]
async fn no_record_lies_after_each_engine_was_restarted_or_killed() {
    let Some(mut hosts) = Hosts::start().await else { return };
    for host in 0..HOSTS {
        hosts.working_on(host, &[]).await;
    }
    let games = names("game", 15);
    hosts.send(&games).await;
    hosts.ends_well().await;
    let mut slowest = Duration::ZERO;
    for (host, end) in [(0, Dockerd::stop as fn(&mut Dockerd)), (1, Dockerd::kill), (2, Dockerd::stop)] {
        let ended = hosts.are(&games, "running", host).await;
        end(&mut hosts.dockerds[host]);
        hosts.dockerds[host].restart();
        // New games take the ports of those that have ended, before and after their records say so.
        let new = names(&format!("new-{host}"), 9);
        hosts.send(&new).await;
        let took = hosts.becomes_true().await;
        println!("host {host}, {} games ended: everything was true after {took:?}", ended.len());
        slowest = slowest.max(took);
        hosts.answered().await;
        for game in &ended {
            assert_eq!(hosts.record(game).await["state"], "stopped", "{game}\n{}", hosts.world.logs());
        }
        // The next job of a game that has ended starts it, wherever there is room.
        let again = hosts.send(&ended).await;
        hosts.answered().await;
        for job in again {
            hosts.success(job, "").await;
        }
    }
    println!("the longest lie lasted {slowest:?}");
    assert!(slowest < TRUE_WITHIN);
    hosts.world.settled().await;
    hosts.world.at_rest().await;
    hosts.becomes_true().await;
    // A game that was started just before its engine went may be silent by the time it is asked.
    hosts.no_endpoint_was_of_another_game(&[]).await;
    hosts.never_ran_twice();
}
