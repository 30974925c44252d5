//! Each right that only the death notice needs is withdrawn while jobs are under way: everything works by claim idle then,
//! nothing counts as a condition, and once the right is given back deaths are noticed at once again.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::withdrawn::{OF_THE_NOTICE, grant, is_refused, rights};
use crate::support::scrape::{free_port, get, metric};
use crate::support::servers;
use crate::support::world::{PATIENCE, World};

/// Much longer than a death that is noticed by its connection takes.
const CLAIM_IDLE: (&str, &str) = ("claim-idle", "3s");

/// Replicas that serve metrics.
struct Fleet {
    world: World,
    url: String,
    /// The port of each replica, by its number.
    ports: Vec<u16>,
}

impl Fleet {
    async fn replica(&mut self) -> usize {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let number = self.world.replica(&[("redis-url", &self.url), ("http-addr", &address)]);
        self.world.begun(number).await;
        self.ports.push(port);
        number
    }

    /// Waits until the subscription of each of these is heard, or is not.
    async fn await_notice(&mut self, numbers: &[usize], is_heard: bool) {
        for &number in numbers {
            let port = self.ports[number];
            let what = format!("the subscription of replica {number} is heard: {is_heard}");
            let holds = async |_: &World| (metric(port, "startjobs_disconnect_notice") > 0.5) == is_heard;
            self.world.eventually(&what, holds).await;
        }
    }

    /// The record of a replica's process that has this state.
    async fn record(&mut self, number: usize, state: &str) -> String {
        let pid = self.world.fleet.replica(number).process().id();
        let (began, state) = (std::time::Instant::now(), format!(" {state} "));
        loop {
            let records = self.world.presences().await;
            let mut ours = records.values().filter(|record| record.contains(&format!("\"pid\":{pid},")));
            if let Some(record) = ours.find(|record| record.contains(&state)) {
                return record.clone();
            }
            assert!(began.elapsed() < PATIENCE, "no record of {pid} is{state}: {records:?}\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills a replica that has a job in hand; the others answer it.
    async fn kill_with_work(&mut self, batch: &str, number: usize) {
        let in_hand = self.world.under_way(batch, Some(number)).await;
        self.world.signal(number, Signal::KILL);
        self.world.killed(number).await;
        self.world.settled().await;
        self.world.was_under_way(in_hand).await;
    }

    /// Every condition that these replicas met.
    fn conditions(&self, numbers: &[usize]) -> Vec<String> {
        let pages = numbers.iter().map(|&number| get(self.ports[number], "/metrics").expect("the replica answers").1);
        let lines = pages.flat_map(|page| page.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.starts_with("startjobs_conditions_total{") && !line.ends_with(" 0")).collect()
    }

    /// How often something was refused since the log was cleared.
    async fn refusals(&self) -> u64 {
        let log: Vec<Vec<startjobs::redis::Value>> =
            self.world.redis(&["ACL", "LOG", "128"]).await.convert().expect("entries");
        let counts = log.iter().filter_map(|entry| u64::try_from(entry.get(1)?.as_i64()?).ok());
        counts.sum()
    }
}

async fn withdrawn(fleet: &mut Fleet, number: usize, right: &str, all: &BTreeSet<String>) {
    let pair = [fleet.replica().await, fleet.replica().await];
    fleet.await_notice(&pair, true).await;
    fleet.world.send(&format!("before-{number}"), "sim/slow:1s").await;
    fleet.world.redis(&["ACL", "LOG", "RESET"]).await;
    grant(&fleet.world, all.iter().filter(|one| *one != right)).await;
    if right == "+subscribe" {
        fleet.world.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }
    fleet.world.eventually("it is felt", async |world: &World| is_refused(world).await).await;
    fleet.await_notice(&pair, false).await;

    // The death of one is noticed by its silence, which is many renewals and sweeps of the other: refusals are remembered.
    fleet.kill_with_work(&format!("without-{number}"), pair[0]).await;
    assert!(fleet.record(pair[0], "running").await.contains("\"lost_ms\":"), "{right}");
    assert_eq!(fleet.conditions(&pair[1..]), Vec::<String>::new(), "{right}");
    let refusals = fleet.refusals().await;
    assert!(refusals <= 4, "{right}: {refusals} refusals\n{:?}", fleet.world.redis(&["ACL", "LOG"]).await);

    // A process that begins now asks at once.
    grant(&fleet.world, all.iter()).await;
    let later = [fleet.replica().await, fleet.replica().await];
    fleet.await_notice(&later, true).await;
    fleet.kill_with_work(&format!("again-{number}"), later[0]).await;
    assert!(fleet.record(later[0], "dead").await.contains("{\"died_ms\":"), "{right}");
    for number in [pair[1], later[1]] {
        fleet.world.signal(number, Signal::TERM);
        fleet.world.ended(number, PATIENCE).await;
    }
}

async fn each_is_withdrawn(program: &Path) {
    let redis = RedisServer::start_with(program, &[]).expect("this redis-server starts");
    let url = redis.url().replace("redis://", "redis://startjobs:x@");
    let mut fleet = Fleet { world: World::on(redis, &[CLAIM_IDLE]).await, url, ports: Vec::new() };
    let all = rights();
    grant(&fleet.world, all.iter()).await;
    for (number, right) in OF_THE_NOTICE.into_iter().enumerate() {
        assert!(all.contains(right), "{right} is a right of the replicas");
        withdrawn(&mut fleet, number, right, &all).await;
    }
    fleet.world.at_rest().await;
    fleet.world.sim_log().await;
}

#[tokio::test]
async fn without_a_right_of_the_notice_deaths_are_noticed_by_silence_on_7_0() {
    each_is_withdrawn(Path::new("redis-server")).await;
}

#[tokio::test]
async fn without_a_right_of_the_notice_deaths_are_noticed_by_silence_on_6_2() {
    if let Some(program) = servers::fetched("6.2") {
        each_is_withdrawn(&program).await;
    }
}

#[tokio::test]
async fn without_a_right_of_the_notice_deaths_are_noticed_by_silence_on_8_2() {
    if let Some(program) = servers::fetched("8.2") {
        each_is_withdrawn(&program).await;
    }
}
