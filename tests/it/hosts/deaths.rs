//! A replica dies or stops at every point of a start, and a replica of another host takes the job while a second one of the
//! first host lives: the job is finished on the host of the record.

use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt;
use rustix::process::Signal;
use serde_json::Value;
use startjobs::faults::Point;
use startjobs::stream::entry_id::EntryId;

use super::observer::Observer;
use super::published::{Says, who_is};
use super::{GAME, PATIENCE, address_of, engines, settings_on};
use crate::support::dockerd::Dockerd;
use crate::support::registry::FakeRegistry;
use crate::support::replica_log::Log;
use crate::support::world::World;

/// The host of the record.
const FIRST: usize = 0;
/// The host whose replica takes the job.
const OTHER: usize = 1;
/// Points tried at the same time, each with a Redis and replicas of its own, on the same engines.
const AT_ONCE: usize = 4;
/// So long that the replica that lives may be stopped until another one has claimed.
const LONG: (&str, &str) = ("claim-idle", "20s");
/// The other one claims as soon as it may.
const SHORT: (&str, &str) = ("claim-idle", "2s");
const EXITS: &str = "startjobs.test/exits:1";

/// What happens to the replica that has the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Dies,
    StopsAndGoesOn,
}

/// All points from the record's first intent on.
fn points() -> impl Iterator<Item = Point> {
    Point::ALL.iter().copied().filter(|point| *point != Point::AfterRead)
}

#[tokio::test]
async fn a_job_whose_replica_dies_at_any_point_is_finished_on_its_host_although_another_host_takes_it() {
    each_point(End::Dies, points()).await;
}

#[tokio::test]
async fn a_replica_that_stops_and_goes_on_harms_nothing_although_another_host_took_its_job() {
    // What is published and acknowledged no one takes.
    each_point(End::StopsAndGoesOn, points().filter(|point| *point != Point::AfterSettle)).await;
}

async fn each_point(end: End, points: impl Iterator<Item = Point>) {
    let Some(engines) = engines(|_| Dockerd::start()) else { return };
    let registry = FakeRegistry::start().await;
    for dockerd in &engines {
        let program = Path::new(env!("CARGO_BIN_EXE_startjobs"));
        dockerd.import_image(EXITS, program, &["engine"], &["ENV ENGINE_EXIT_CODE=7"]);
    }
    let (engines, registry) = (&engines, &registry);
    futures_util::stream::iter(points)
        .for_each_concurrent(AT_ONCE, |point| async move {
            let image = match point {
                Point::BeforePull | Point::InPull => registry.image(&format!("ok/{point}-{end:?}").to_lowercase()),
                Point::BeforeCondemn | Point::AfterCondemn => EXITS.to_owned(),
                _ => GAME.to_owned(),
            };
            Case::new(engines, end, point, image).await.runs().await;
        })
        .await;
}

/// One point.
struct Case<'a> {
    engines: &'a [Dockerd],
    world: World,
    observer: Observer,
    end: End,
    point: Point,
    image: String,
    game: String,
}

impl<'a> Case<'a> {
    async fn new(engines: &'a [Dockerd], end: End, point: Point, image: String) -> Self {
        let fleet = uuid::Uuid::new_v4().to_string();
        // No host is taken for dead because of replicas that are stopped for a while.
        let common = [("engine", "docker"), ("fleet-id", fleet.as_str()), ("host-heartbeat", "15s")];
        let (world, observer) = (World::with(&common).await, Observer::start(engines, &fleet));
        let game = format!("{end:?}-{point}").to_lowercase().replace('_', "-");
        Self { engines, world, observer, end, point, image, game }
    }

    fn replica_on(&mut self, host: usize, settings: &[(&str, &str)]) -> usize {
        let own = settings_on(&self.engines[host], host);
        let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.world.replica(&[&own, settings].concat())
    }

    async fn runs(mut self) {
        let (point, began) = (self.point, Instant::now());
        // It is the only one that can read the job.
        let idle = if self.end == End::Dies { LONG } else { SHORT };
        let first = self.replica_on(FIRST, &[("pause-at", point.as_str()), idle]);
        // Only then is its death noticed by its connection.
        self.world
            .eventually("its subscription is heard", async |world: &World| {
                let presences = world.presences().await;
                presences.values().any(|presence| presence.contains("\"heard_ms\":"))
            })
            .await;
        let job = self.world.send(&self.game, &self.image).await;
        self.world.paused(first).await;
        let (lives, other) = (self.replica_on(FIRST, &[LONG]), self.replica_on(OTHER, &[SHORT]));
        self.world.begun(lives).await;
        self.world.begun(other).await;

        // It lives and does not claim for a moment, so the other host does.
        self.world.signal(lives, Signal::STOP);
        if self.end == End::Dies {
            self.world.signal(first, Signal::KILL);
        }
        if point != Point::AfterSettle {
            self.world.logged(other, "its claim", |log| log.count("claimed pending entries") > 0).await;
        }
        self.world.signal(lives, Signal::CONT);
        self.world.settled().await;
        self.world.at_rest().await;
        self.is_as_it_should_be(job).await;
        if point != Point::AfterSettle {
            let is_it = |log: &Log| log.processed() == [job.to_string()];
            self.world.logged(lives, "the job, which was handed over to it", is_it).await;
            assert!(self.world.log(other).count("handed over") >= 1, "{point}\n{}", self.world.logs());
        }

        if self.end == End::StopsAndGoesOn {
            self.world.signal(first, Signal::CONT);
            self.world.signal(first, Signal::TERM);
            let status = self.world.ended(first, PATIENCE).await;
            assert_eq!(status.code(), Some(0), "{point}\n{}", self.world.logs());
            assert_eq!(self.world.log(first).processed(), Vec::<String>::new(), "{point}: it has published");
            self.is_as_it_should_be(job).await;
        }
        println!("{:?} at {point}: {:?}", self.end, began.elapsed());
    }

    /// One outcome, and of what runs one container, on the host of the record.
    async fn is_as_it_should_be(&mut self, job: EntryId) {
        let point = self.point;
        let outcome = self.world.outcome(job).await;
        let code = match point {
            Point::BeforePull | Point::InPull => "container_start_failed",
            Point::BeforeCondemn | Point::AfterCondemn => "engine_exited",
            // The container is found running.
            Point::AfterStart | Point::AfterReady | Point::BeforeCommit => "replay_no_op",
            // It starts the container, or the answer had been stored.
            _ => "",
        };
        assert_eq!(outcome.get("error_code"), code, "{point}: {outcome:?}\n{}", self.world.logs());
        let there: Vec<(usize, Value)> = self
            .engines
            .iter()
            .enumerate()
            .flat_map(|(host, dockerd)| {
                let mut listed = dockerd.list();
                listed.retain(|container| container["Labels"]["rtm.game_id"] == self.game.as_str());
                listed.into_iter().map(move |container| (host, container))
            })
            .collect();
        if outcome.get("outcome") == "failure" {
            assert!(there.is_empty(), "{point}: {there:?}");
        } else {
            let [(FIRST, only)] = there.as_slice() else { panic!("{point}: {there:?}\n{}", self.world.logs()) };
            let found = (only["State"].as_str(), only["Id"].as_str());
            assert_eq!(found, (Some("running"), Some(outcome.get("container_id"))), "{point}: {outcome:?}");
            let endpoint = outcome.get("engine_endpoint");
            assert!(endpoint.contains(&address_of(FIRST)), "{point}: {outcome:?}");
            assert_eq!(who_is(endpoint).await, Says::Game(self.game.clone()), "{point}");
        }
        let overlaps = self.observer.overlaps();
        assert!(overlaps.is_empty(), "{point}: {overlaps:#?}");
    }
}
